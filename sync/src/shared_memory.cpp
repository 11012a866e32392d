// Layer sync: a block of shared memory with a name.
#include <passel/shared_memory.hpp>

#include <utility>

#include "named_memory.hpp"

namespace passel::inline v0 {
namespace {

using detail::NamedMemory;
using detail::NameState;
using detail::Segment;

constexpr std::uint64_t memory_id = 1;
constexpr std::uint64_t unlinked_id = 0;

Error not_found(std::string_view name) {
  return Error{Errc::not_found, "no shared memory named '" + std::string{name} + "'"};
}

std::shared_ptr<NamedMemory> share(Segment segment) {
  const detail::MemoryTrailer& trailer = detail::trailer_of(segment);
  auto memory = std::make_shared<NamedMemory>();
  memory->name.assign(trailer.name.data(), trailer.name_length);
  memory->size = static_cast<std::size_t>(trailer.size);
  memory->segment = std::move(segment);
  return memory;
}

bool is_gone(const Segment& segment) noexcept {
  return detail::trailer_of(segment).state.load(std::memory_order_acquire) !=
         static_cast<std::uint32_t>(NameState::named);
}

Result<void> unlink_memory(const Segment& segment, std::string_view name) {
  auto& state = detail::trailer_of(segment).state;
  const auto gone = static_cast<std::uint32_t>(NameState::gone);
  if (state.exchange(gone, std::memory_order_acq_rel) == gone) return not_found(name);
  return {};
}

}  // namespace

SharedMemory::SharedMemory(std::shared_ptr<NamedMemory> memory) : memory_{std::move(memory)} {
  mapping_ = {memory_->segment.data(), [kept = memory_](std::byte*) { kept->segment.unmap(); }};
}

Result<SharedMemory> SharedMemory::create(std::size_t size, std::string_view name) {
  return create_filled(size, name, [](std::span<std::byte>) {});
}

Result<SharedMemory> SharedMemory::create_filled(std::size_t size, std::string_view name,
                                                 const Fill& fill) {
  if (size == 0) {
    return Error{Errc::invalid_argument, "the size of shared memory must be 1 byte or more, not 0"};
  }
  const std::uint64_t ticket = detail::new_ticket();
  if (name.empty()) {
    // The ticket makes it the only one of its name.
    PASSEL_TRY(Segment segment,
               detail::make_named_memory(detail::automatic_memory_name(ticket), size, ticket));
    fill({segment.data(), size});
    detail::set_state(detail::trailer_of(segment), NameState::named);
    return SharedMemory{share(std::move(segment))};
  }
  PASSEL_CHECK(detail::check_memory_name(name));
  PASSEL_TRY(Segment segment, detail::make_named_memory(name, size, ticket));
  fill({segment.data(), size});
  PASSEL_CHECK(detail::claim_name(segment, name));
  return SharedMemory{share(std::move(segment))};
}

Result<SharedMemory> SharedMemory::attach(std::string_view name) {
  PASSEL_CHECK(detail::check_memory_name(name));
  PASSEL_TRY(Segment segment, detail::find_named_memory(name));
  return SharedMemory{share(std::move(segment))};
}

std::span<std::byte> SharedMemory::buf() const noexcept {
  if (!mapping_) return {};
  return {mapping_.get(), memory_->size};
}

const std::string& SharedMemory::name() const noexcept {
  static const std::string none;
  return memory_ ? memory_->name : none;
}

std::size_t SharedMemory::size() const noexcept { return memory_ ? memory_->size : 0; }

void SharedMemory::close() noexcept {
  if (!mapping_) return;
  const bool unlinked = is_gone(memory_->segment);
  mapping_.reset();
  if (unlinked) give_back();
}

Result<void> SharedMemory::unlink() {
  if (!memory_) return not_found("");
  if (mapping_) return unlink_memory(memory_->segment, memory_->name);
  // Closed: the memory may be mapped by nobody here.
  const detail::Descriptor& known = memory_->segment.descriptor();
  if (!known) return not_found(memory_->name);
  PASSEL_TRY(detail::Descriptor descriptor, detail::Descriptor::duplicate(known.get()));
  PASSEL_TRY(const Segment segment, detail::open_named_memory(std::move(descriptor)));
  const Result<void> unlinked = unlink_memory(segment, memory_->name);
  give_back();
  return unlinked;
}

void SharedMemory::give_back() noexcept {
  // A copy may still have it open, or stand for the name.
  if (memory_.use_count() == 1) memory_->segment = Segment{};
}

std::string SharedMemory::to_string() const {
  return "SharedMemory('" + name() + "', size=" + std::to_string(size()) + ")";
}

Result<SharedMemory> SharedMemory::open(std::string_view kind, const WireValue& value) {
  const Handle* handle = value.handle();
  if (handle == nullptr || handle->kind != kind) return detail::mismatch(kind, value);
  if (handle->id != memory_id) return not_found(handle->type);
  if (!handle->descriptor || !*handle->descriptor) {
    return Error{Errc::malformed, std::string{kind} + " without its descriptor"};
  }
  PASSEL_TRY(detail::Descriptor descriptor,
             detail::Descriptor::duplicate(handle->descriptor->get()));
  PASSEL_TRY(Segment segment, detail::open_named_memory(std::move(descriptor)));
  const detail::MemoryTrailer& trailer = detail::trailer_of(segment);
  if (is_gone(segment)) return not_found({trailer.name.data(), trailer.name_length});
  return SharedMemory{share(std::move(segment))};
}

WireValue SharedMemory::handle(std::string kind) const {
  const bool there = memory_ && memory_->segment.descriptor();
  Handle handle{.kind = std::move(kind),
                .type = name(),
                .id = there ? memory_id : unlinked_id,
                .descriptor = nullptr,
                .object = nullptr};
  if (there) {
    // The memory's own descriptor, kept open by the memory.
    handle.descriptor = {memory_, const_cast<detail::Descriptor*>(&memory_->segment.descriptor())};
  }
  return WireValue{std::move(handle)};
}

}  // namespace passel::inline v0
