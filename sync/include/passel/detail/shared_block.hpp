// Layer sync: the bytes of a shared value or array, wherever they lie.
#pragma once

#include <passel/detail/segment.hpp>
#include <passel/detail/sync_object.hpp>
#include <passel/result.hpp>
#include <passel/wire_value.hpp>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <type_traits>

namespace passel::inline v0 {

/// What can lie in shared memory as it is: numbers, enums, and structs and arrays of them. Pointers
/// mean nothing in another process, nor do types that own anything.
template <class T>
concept Shareable = std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T> &&
                    !std::is_pointer_v<T> &&
                    !std::is_member_pointer_v<T> && !std::is_array_v<T> &&
                    std::is_same_v<T, std::remove_cv_t<T>> && alignof(T) <= 64;

namespace detail {

/// Zeroed bytes that several processes of this host use at once; copies are the same bytes. Small
/// blocks share the memory that the locks of a process lie in; a large one has a segment of its
/// own. They are given back with the last copy. Safe from any thread.
class PASSEL_API SharedBlock {
 public:
  /// Blocks above this many bytes have a descriptor of their own.
  static constexpr std::size_t small_limit = 16 * 1024;

  /// Errors: no_space.
  [[nodiscard]] static Result<SharedBlock> create(std::size_t size);

  [[nodiscard]] std::byte* data() const noexcept { return data_.get(); }

  /// How it travels; `what` and `type` have to be the same at both ends.
  [[nodiscard]] WireValue encode(std::string_view what, std::string_view type) const;
  /// Errors: type_mismatch; malformed, also when there are fewer than `size` bytes; stale_object.
  [[nodiscard]] static Result<SharedBlock> decode(std::string_view what, std::string_view type,
                                                  const WireValue& value, std::size_t size);

 private:
  explicit SharedBlock(std::shared_ptr<SyncObject> object) noexcept;
  explicit SharedBlock(std::shared_ptr<Segment> segment) noexcept;

  // Exactly one of them is there.
  std::shared_ptr<SyncObject> object_;
  std::shared_ptr<Segment> segment_;
  std::shared_ptr<std::byte> data_;
};

/// "array index 7 out of range of 5 items".
[[nodiscard]] PASSEL_API Error index_out_of_range(std::ptrdiff_t index, std::size_t size);
[[nodiscard]] PASSEL_API Error negative_size(std::ptrdiff_t size);
/// "3 items for a slice of 4".
[[nodiscard]] PASSEL_API Error wrong_slice_length(std::size_t given, std::size_t expected);
[[nodiscard]] PASSEL_API Error text_too_long(std::size_t given, std::size_t limit);
[[nodiscard]] PASSEL_API Error zero_step();
/// The items `expected` of what a shared object travels as. Errors: type_mismatch.
[[nodiscard]] PASSEL_API Result<const WireValue::Items*> parts_of(std::string_view what,
                                                                  const WireValue& value,
                                                                  std::size_t expected);

/// Read and written in one piece by the processor, so that nobody sees half of it.
template <class T>
inline constexpr bool is_atomic = [] {
  if constexpr (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8) {
    return std::atomic_ref<T>::is_always_lock_free;
  } else {
    return false;
  }
}();

template <class T>
[[nodiscard]] T load_shared(T& from) noexcept {
  if constexpr (is_atomic<T>) {
    return std::atomic_ref{from}.load(std::memory_order_acquire);
  } else {
    return from;
  }
}

template <class T>
void store_shared(T& to, const T& value) noexcept {
  if constexpr (is_atomic<T>) {
    std::atomic_ref{to}.store(value, std::memory_order_release);
  } else {
    to = value;
  }
}

}  // namespace detail
}  // namespace passel::inline v0
