// Layer sync: the bytes of a shared value or array, wherever they lie.
#include <passel/detail/shared_block.hpp>

#include <passel/codec.hpp>

#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t block_kind = 0x70736c'626c0001;  // "psl" "bl", version 1
// Handles of objects in an arena are told apart by it: there no object has the number of a chunk
// that is this high.
constexpr std::uint64_t segment_id = 0xffff'ffff;

}  // namespace

SharedBlock::SharedBlock(std::shared_ptr<SyncObject> object) noexcept
    : object_{std::move(object)}, data_{object_, object_->state()} {}

SharedBlock::SharedBlock(std::shared_ptr<Segment> segment) noexcept
    : segment_{std::move(segment)}, data_{segment_, segment_->data()} {}

Result<SharedBlock> SharedBlock::create(std::size_t size) {
  if (size <= small_limit) {
    PASSEL_TRY(auto object, SyncObject::create(SyncKind::bytes, size, Reach::host));
    return SharedBlock{std::move(object)};
  }
  PASSEL_TRY(Segment segment, Segment::create("passel.array", block_kind, size));
  PASSEL_CHECK(segment.populate(0, segment.size()));
  return SharedBlock{std::make_shared<Segment>(std::move(segment))};
}

WireValue SharedBlock::encode(std::string_view what, std::string_view type) const {
  if (object_) return SyncObject::handle(what, std::string{type}, object_);
  Handle handle{.kind = std::string{what},
                .type = std::string{type},
                .id = segment_id,
                .descriptor = nullptr,
                .object = nullptr};
  // The segment's own descriptor, kept open by the segment.
  handle.descriptor = {segment_, const_cast<Descriptor*>(&segment_->descriptor())};
  return WireValue{std::move(handle)};
}

Result<SharedBlock> SharedBlock::decode(std::string_view what, std::string_view type,
                                        const WireValue& value, std::size_t size) {
  const auto too_small = [size](std::size_t found) {
    return Error{Errc::malformed, std::to_string(found) +
                                      " bytes of shared memory for a value of " +
                                      std::to_string(size) + " bytes"};
  };
  const Handle* handle = value.handle();
  if (handle == nullptr || handle->id != segment_id) {
    PASSEL_TRY(auto object, SyncObject::open(what, std::string{type}, value));
    if (object->kind() != SyncKind::bytes) return mismatch(what, value);
    if (object->size() < size) return too_small(object->size());
    return SharedBlock{std::move(object)};
  }
  if (handle->kind != what || handle->type != type) return mismatch(what, value);
  if (!handle->descriptor || !*handle->descriptor) {
    return Error{Errc::malformed, std::string{what} + " without its descriptor"};
  }
  PASSEL_TRY(Descriptor descriptor, Descriptor::duplicate(handle->descriptor->get()));
  PASSEL_TRY(Segment segment, Segment::attach(std::move(descriptor), block_kind));
  if (segment.size() < size) return too_small(segment.size());
  return SharedBlock{std::make_shared<Segment>(std::move(segment))};
}

Error index_out_of_range(std::ptrdiff_t index, std::size_t size) {
  return Error{Errc::invalid_argument, "array index " + std::to_string(index) +
                                           " out of range of " + std::to_string(size) + " items"};
}

Error negative_size(std::ptrdiff_t size) {
  return Error{Errc::invalid_argument,
               "the size of an Array must be 0 or more, not " + std::to_string(size)};
}

Error wrong_slice_length(std::size_t given, std::size_t expected) {
  return Error{Errc::invalid_argument,
               std::to_string(given) + " items for a slice of " + std::to_string(expected)};
}

Error text_too_long(std::size_t given, std::size_t limit) {
  return Error{Errc::invalid_argument,
               std::to_string(given) + " bytes for an Array of " + std::to_string(limit)};
}

Error zero_step() { return Error{Errc::invalid_argument, "slice step cannot be 0"}; }

Result<const WireValue::Items*> parts_of(std::string_view what, const WireValue& value,
                                         std::size_t expected) {
  const WireValue::Items* parts = value.items();
  if (parts == nullptr || parts->size() != expected) return mismatch(what, value);
  return parts;
}

}  // namespace passel::inline v0::detail
