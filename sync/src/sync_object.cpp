// Layer sync: a small object in shared memory, as this process holds it, and how it travels.
#include <passel/detail/sync_object.hpp>

#include <passel/detail/misuse.hpp>

#include "arena.hpp"
#include "mend.hpp"

#include <algorithm>
#include <new>

namespace passel::inline v0::detail {
namespace {

// What a handle without a descriptor stands for, in its id.
constexpr std::uint64_t closed_id = 0;

}  // namespace

SyncObject::SyncObject(std::shared_ptr<SyncArena> arena, ObjectHeader* header) noexcept
    : arena_{std::move(arena)},
      header_{header},
      serial_{header->serial},
      state_{SyncArena::state_of(*header)},
      reach_{arena_->reach()} {}

SyncObject::~SyncObject() {
  const std::uint64_t known = place_.load(std::memory_order_relaxed);
  const bool mine = static_cast<std::uint32_t>(known >> 32) == fork_generation() + 1;
  arena_->drop(*header_, mine ? static_cast<std::uint32_t>(known) : nobody);
}

Result<std::shared_ptr<SyncObject>> SyncObject::create(SyncKind kind, std::size_t size, Reach reach,
                                                       std::string_view name) {
  PASSEL_TRY(auto arena, SyncArena::of_this_process(reach));
  return arena->create(kind, size, name);
}

Result<std::shared_ptr<SyncObject>> SyncObject::create_beside(const SyncObject& other,
                                                              SyncKind kind, std::size_t size,
                                                              std::string_view name) {
  return other.arena_->create(kind, size, name);
}

Result<std::shared_ptr<SyncObject>> SyncObject::open(std::string_view what, const std::string& type,
                                                     const WireValue& value) {
  const Handle* handle = value.handle();
  if (handle == nullptr || handle->kind != what || handle->type != type) {
    const auto named = [](std::string_view kind, const std::string& of) {
      return std::string{kind} + (of.empty() ? "" : " of " + of);
    };
    return Error{Errc::type_mismatch, "expected " + named(what, type) + ", found " +
                                          (handle == nullptr ? std::string{to_string(value.kind())}
                                                             : named(handle->kind, handle->type))};
  }
  if (auto here = std::dynamic_pointer_cast<SyncObject>(handle->object)) return here;
  if (handle->id == closed_id) return handle_is_closed(what);
  if (!handle->descriptor || !*handle->descriptor) {
    return Error{Errc::invalid_state, (what.find_first_of("AEIOU") == 0 ? "an " : "a ") +
                                          std::string{what} +
                                          " with reach threads cannot go to another process"};
  }
  PASSEL_TRY(Descriptor descriptor, Descriptor::duplicate(handle->descriptor->get()));
  PASSEL_TRY(auto arena, SyncArena::attach(std::move(descriptor)));
  return arena->find(static_cast<std::uint32_t>(handle->id),
                     static_cast<std::uint32_t>(handle->id >> 32));
}

WireValue SyncObject::handle(std::string_view what, const std::string& type,
                             const std::shared_ptr<SyncObject>& object) {
  Handle handle{.kind = std::string{what},
                .type = type,
                .id = closed_id,
                .descriptor = nullptr,
                .object = object};
  if (object) {
    handle.id = object->id();
    handle.descriptor = object->arena_->descriptor();
  }
  return WireValue{std::move(handle)};
}

std::size_t SyncObject::size() const noexcept {
  return std::size_t{header_->chunks} * sync_chunk - state_offset;
}

SyncKind SyncObject::kind() const noexcept {
  return static_cast<SyncKind>(header_->kind.load(std::memory_order_relaxed));
}

std::string SyncObject::name() const { return header_->name.data(); }

std::uint64_t SyncObject::id() const noexcept {
  return std::uint64_t{header_->serial} << 32 | arena_->chunk_of(*header_);
}

std::uint32_t SyncObject::find_place() noexcept {
  const std::uint32_t place = arena_->place();
  if (place == nobody) return nobody;
  // In a forked child the object may be gone before the child uses it for the first time.
  if (!arena_->enter_user(*header_, serial_, place)) return nobody;
  place_.store(std::uint64_t{fork_generation() + 1} << 32 | place, std::memory_order_relaxed);
  return place;
}

void SyncObject::set_repair(std::function<void(const Abandonment&)> repair) {
  auto kept = std::make_shared<const std::function<void(const Abandonment&)>>(std::move(repair));
  const std::lock_guard lock{repair_mutex_};
  repair_ = std::move(kept);
}

void SyncObject::repair(const Abandonment& what) const {
  std::shared_ptr<const std::function<void(const Abandonment&)>> repair;
  {
    const std::lock_guard lock{repair_mutex_};
    repair = repair_;
  }
  if (repair && *repair) (*repair)(what);
}

void SyncObject::bystander_lost(const ProcessId& process) noexcept {
  static_cast<void>(arena_->process_lost(process));
}

void SyncObject::process_lost(const ProcessId& process) noexcept {
  const bool was_here = arena_->process_lost(process);
  // It was given the barrier and died before it could take hold of it: others may wait for it.
  if (was_here || kind() != SyncKind::barrier) return;
  if (!arena_->lock_line(*header_, Deadline::never())) return;
  mend_barrier(*arena_, *header_, {.place = nobody, .pid = process.pid, .orderly = false});
  header_->line.unlock();
}

bool SyncObject::expect_renewal() noexcept {
  const std::uint32_t thread = this_thread();
  const std::lock_guard lock{repair_mutex_};
  const auto is_mine = [thread](const Renewal& each) { return each.thread == thread; };
  if (std::any_of(renewals_.begin(), renewals_.end(), is_mine)) return true;
  try {
    renewals_.push_back({.thread = thread, .from = 0, .to = 0});
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void SyncObject::renewed(std::uint64_t before, std::uint64_t after) {
  const std::uint32_t thread = this_thread();
  const std::lock_guard lock{repair_mutex_};
  is_renewed_.store(true, std::memory_order_relaxed);
  Renewal* mine = nullptr;
  for (Renewal& each : renewals_) {
    if (each.to == before) {
      each.thread = thread;
      each.to = after;
      return;
    }
    if (each.thread == thread) mine = &each;
  }
  if (mine == nullptr) mine = &renewals_.emplace_back();
  *mine = {.thread = thread, .from = before, .to = after};
}

std::uint64_t SyncObject::find_renewal_of(std::uint64_t word) const noexcept {
  const std::lock_guard lock{repair_mutex_};
  for (const Renewal& each : renewals_) {
    if (each.from == word) return each.to;
  }
  return word;
}

void SyncObject::erase_renewals_of(std::uint64_t word) noexcept {
  const std::lock_guard lock{repair_mutex_};
  std::erase_if(renewals_, [word](const Renewal& each) { return each.to == word; });
  if (renewals_.empty()) is_renewed_.store(false, std::memory_order_relaxed);
}

void SyncObject::keep(std::shared_ptr<void> companion) {
  const std::lock_guard lock{repair_mutex_};
  companion_ = std::move(companion);
}

std::shared_ptr<void> SyncObject::kept() const {
  const std::lock_guard lock{repair_mutex_};
  return companion_;
}

bool SyncObject::used_by_others() const noexcept {
  const std::uint32_t mine = arena_->place();
  for (std::uint32_t p = 1; p <= sync_process_count; ++p) {
    if (p == mine) continue;
    const auto users = header_->users[(p - 1) / 64].load(std::memory_order_relaxed);
    if ((users >> ((p - 1) % 64) & 1) != 0) return true;
  }
  return false;
}

}  // namespace passel::inline v0::detail
