// Layer sync: an array in shared memory, as Python's multiprocessing.Array and
// sharedctypes.RawArray.
#pragma once

#include <passel/value.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// Numbers or structs in shared memory, without a lock: Python's sharedctypes.RawArray, and Array
/// with lock=False.
///
///     passel::RawArray<int> zeros(10);            // RawArray('i', 10)
///     passel::RawArray<int> some{680, 626, 934};  // RawArray('i', [680, 626, 934])
///     for (int& x : some) x *= 2;
///
/// Copies are the same array, a copy given to another process as an argument too; it lives until
/// the last one is gone. It cannot go through a Queue. Its length is fixed. Elements are ordinary
/// memory: where one process or thread writes what another one reads, use an Array, or
/// std::atomic_ref on the element.
///
/// As with std::vector, `RawArray<int>(10)` has ten elements and `RawArray<int>{10}` one.
///
/// Source of the semantics: Python's multiprocessing.sharedctypes.RawArray.
template <Shareable T>
class RawArray {
 public:
  using value_type = T;

  /// `size` zeros. Throws passel::Exception when `size` is negative, or there is no memory or
  /// descriptor left; `create` gives that as an error instead.
  explicit RawArray(std::ptrdiff_t size) : RawArray{create(size).unwrap()} {}
  RawArray(std::initializer_list<T> items) : RawArray{create(std::span{items}).unwrap()} {}
  template <std::ranges::sized_range R>
  requires(!std::same_as<std::remove_cvref_t<R>, RawArray> &&
           std::convertible_to<std::ranges::range_reference_t<R>, T>)  //
      explicit RawArray(R&& items)
      : RawArray{create(std::forward<R>(items)).unwrap()} {}
  /// Errors: invalid_argument when `size` is negative; no_space.
  [[nodiscard]] static Result<RawArray> create(std::ptrdiff_t size) {
    if (size < 0) return detail::negative_size(size);
    return make(static_cast<std::size_t>(size));
  }
  template <std::ranges::sized_range R>
  [[nodiscard]] static Result<RawArray> create(R&& items) {
    PASSEL_TRY(RawArray array, make(static_cast<std::size_t>(std::ranges::size(items))));
    std::size_t at = 0;
    for (auto&& item : items) array[at++] = static_cast<T>(item);
    return array;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(block_.data()); }
  [[nodiscard]] T* begin() const noexcept { return data(); }
  [[nodiscard]] T* end() const noexcept { return data() + size_; }
  /// The element; `index` must be below size().
  [[nodiscard]] T& operator[](std::size_t index) const noexcept { return data()[index]; }

  /// The element, a negative index counted from the end. Errors: invalid_argument when there is
  /// none. (Python: array[index])
  [[nodiscard]] Result<T> at(std::ptrdiff_t index) const {
    PASSEL_TRY(const std::size_t place, position(index));
    return detail::load_shared((*this)[place]);
  }
  /// Errors: as at. (Python: array[index] = value)
  Result<void> set(std::ptrdiff_t index, const T& value) const {
    PASSEL_TRY(const std::size_t place, position(index));
    detail::store_shared((*this)[place], value);
    return {};
  }
  /// The elements from `first` up to and without `last`, each `step`th; negative ones count from
  /// the end, what is outside is cut off. Errors: invalid_argument when `step` is 0. (Python:
  /// array[first:last:step]; array[::-1] is `slice(-1, -size - 1, -1)`)
  [[nodiscard]] Result<std::vector<T>> slice(std::ptrdiff_t first, std::ptrdiff_t last,
                                             std::ptrdiff_t step = 1) const {
    if (step == 0) return detail::zero_step();
    const std::ptrdiff_t lowest = step > 0 ? 0 : -1;
    const std::ptrdiff_t highest = step > 0 ? length() : length() - 1;
    const auto clip = [&](std::ptrdiff_t index) {
      return std::clamp(index < 0 ? index + length() : index, lowest, highest);
    };
    std::vector<T> taken;
    const std::ptrdiff_t end = clip(last);
    for (std::ptrdiff_t index = clip(first); step > 0 ? index < end : index > end; index += step)
      taken.push_back((*this)[static_cast<std::size_t>(index)]);
    return taken;
  }
  /// All of them. (Python: array[:])
  [[nodiscard]] std::vector<T> values() const { return {begin(), end()}; }
  /// Replaces the elements from `first` up to and without `last`, cut off as by `slice`. Errors:
  /// invalid_argument when there are not as many `items`; nothing is changed then. (Python:
  /// array[first:last] = items)
  Result<void> assign(std::ptrdiff_t first, std::ptrdiff_t last, std::span<const T> items) const {
    const auto clip = [this](std::ptrdiff_t index) {
      return std::clamp(index < 0 ? index + length() : index, std::ptrdiff_t{0}, length());
    };
    const std::ptrdiff_t begins = clip(first);
    const auto room = static_cast<std::size_t>(std::max(clip(last) - begins, std::ptrdiff_t{0}));
    if (items.size() != room) return detail::wrong_slice_length(items.size(), room);
    std::copy(items.begin(), items.end(), begin() + begins);
    return {};
  }
  Result<void> assign(std::ptrdiff_t first, std::ptrdiff_t last,
                      std::initializer_list<T> items) const {
    return assign(first, last, std::span{items});
  }

  /// The text up to the first NUL, or all of it. (Python: .value of an Array('c', n))
  [[nodiscard]] std::string value() const requires std::same_as<T, char> {
    return {begin(), std::find(begin(), end(), '\0')};
  }
  /// Writes a text, and a NUL behind it when there is room. Errors: invalid_argument when it is
  /// longer than the array.
  Result<void> set_value(std::string_view text) const requires std::same_as<T, char> {
    if (text.size() > size_) return detail::text_too_long(text.size(), size_);
    char* const stop = std::copy(text.begin(), text.end(), begin());
    if (stop != end()) *stop = '\0';
    return {};
  }
  /// All bytes. (Python: .raw)
  [[nodiscard]] std::string raw() const requires std::same_as<T, char> { return {begin(), end()}; }
  /// Writes the first bytes and leaves the rest as it is. Errors: as set_value.
  Result<void> set_raw(std::string_view bytes) const requires std::same_as<T, char> {
    if (bytes.size() > size_) return detail::text_too_long(bytes.size(), size_);
    std::copy(bytes.begin(), bytes.end(), begin());
    return {};
  }

  /// An array of its own, equal to this one now. Errors: no_space. (Python: sharedctypes.copy)
  [[nodiscard]] Result<RawArray> copy() const { return create(std::span<const T>{*this}); }

  /// Whether both are the same array.
  friend bool operator==(const RawArray& a, const RawArray& b) noexcept {
    return a.data() == b.data();
  }

 private:
  friend codec<RawArray>;
  RawArray(detail::SharedBlock block, std::size_t size) noexcept
      : block_{std::move(block)}, size_{size} {}

  static Result<RawArray> make(std::size_t size) {
    if (size > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
      return Error{Errc::no_space, std::to_string(size) + " elements cannot be addressed"};
    }
    PASSEL_TRY(detail::SharedBlock block, detail::SharedBlock::create(size * sizeof(T)));
    return RawArray{std::move(block), size};
  }
  [[nodiscard]] std::ptrdiff_t length() const noexcept {
    return static_cast<std::ptrdiff_t>(size_);
  }
  [[nodiscard]] Result<std::size_t> position(std::ptrdiff_t index) const {
    if (index < -length() || index >= length()) return detail::index_out_of_range(index, size_);
    return static_cast<std::size_t>(index < 0 ? index + length() : index);
  }

  detail::SharedBlock block_;
  std::size_t size_;
};

/// Numbers or structs in shared memory with a lock: Python's multiprocessing.Array.
///
///     passel::Array<int> arr{0, 1, 2, 3};                       // Array('i', range(4))
///     auto p = passel::Process::spawn<negate>(arr).unwrap();
///
///     void negate(const passel::Array<int>& arr) {
///       auto guard = arr.acquire().unwrap();
///       for (int& x : arr) x = -x;
///     }
///
/// The lock is an RLock of its own, or the one that is given; an array without one is a RawArray,
/// and of that all else holds: copies are the same array, `Array<int>(10)` has ten zeros.
///
/// Functions that give or take values (`at`, `set`, `slice`, `assign`, `values`, `value`, `raw`,
/// ...) wait for the lock, as Python's do; errors are those of its acquire and what RawArray says.
/// `operator[]`, `data` and iteration are the memory itself and want a guard around them, as above.
/// With a Lock instead of an RLock a function that waits for it, called by who holds it, waits for
/// ever.
///
/// When a process is killed while it holds the lock, the next one gets it and is told
/// (`Guard::abandoned`): elements may be half changed.
///
/// Source of the semantics: Python's multiprocessing.Array.
template <Shareable T, ValueLock L = RLock>
class Array {
 public:
  using value_type = T;

  /// As the constructors of RawArray, and throws as they do.
  explicit Array(std::ptrdiff_t size, L lock = L{}) : Array{RawArray<T>(size), std::move(lock)} {}
  Array(std::initializer_list<T> items, L lock = L{})
      : Array{RawArray<T>(items), std::move(lock)} {}
  template <std::ranges::sized_range R>
  requires(!std::same_as<std::remove_cvref_t<R>, Array> &&
           !std::same_as<std::remove_cvref_t<R>, RawArray<T>> &&
           std::convertible_to<std::ranges::range_reference_t<R>, T>)  //
      explicit Array(R&& items, L lock = L{})
      : Array{RawArray<T>(std::forward<R>(items)), std::move(lock)} {}
  /// Gives an existing array a lock; see `synchronized`.
  Array(RawArray<T> raw, L lock) : raw_{std::move(raw)}, lock_{std::move(lock)} {}
  /// `size` zeros, or copies of `items`. Errors: invalid_argument when `size` is negative;
  /// no_space.
  template <class Initial>
  requires requires(Initial&& initial) { RawArray<T>::create(std::forward<Initial>(initial)); }
  [[nodiscard]] static Result<Array> create(Initial&& initial) {
    PASSEL_TRY(L lock, L::create());
    PASSEL_TRY(RawArray<T> raw, RawArray<T>::create(std::forward<Initial>(initial)));
    return Array{std::move(raw), std::move(lock)};
  }

  [[nodiscard]] std::size_t size() const noexcept { return raw_.size(); }
  [[nodiscard]] bool empty() const noexcept { return raw_.empty(); }
  [[nodiscard]] T* data() const noexcept { return raw_.data(); }
  [[nodiscard]] T* begin() const noexcept { return raw_.begin(); }
  [[nodiscard]] T* end() const noexcept { return raw_.end(); }
  [[nodiscard]] T& operator[](std::size_t index) const noexcept { return raw_[index]; }

  [[nodiscard]] Result<T> at(std::ptrdiff_t index) const {
    PASSEL_TRY(const Guard guard, lock_.acquire());
    return raw_.at(index);
  }
  Result<void> set(std::ptrdiff_t index, const T& value) const {
    PASSEL_TRY(const Guard guard, lock_.acquire());
    return raw_.set(index, value);
  }
  [[nodiscard]] Result<std::vector<T>> slice(std::ptrdiff_t first, std::ptrdiff_t last,
                                             std::ptrdiff_t step = 1) const {
    PASSEL_TRY(const Guard guard, lock_.acquire());
    return raw_.slice(first, last, step);
  }
  /// Throws passel::Exception where the lock's acquire has an error.
  [[nodiscard]] std::vector<T> values() const {
    const Guard guard = lock_.acquire().unwrap();
    return raw_.values();
  }
  Result<void> assign(std::ptrdiff_t first, std::ptrdiff_t last, std::span<const T> items) const {
    PASSEL_TRY(const Guard guard, lock_.acquire());
    return raw_.assign(first, last, items);
  }
  Result<void> assign(std::ptrdiff_t first, std::ptrdiff_t last,
                      std::initializer_list<T> items) const {
    return assign(first, last, std::span{items});
  }
  /// Throws as values().
  [[nodiscard]] std::string value() const requires std::same_as<T, char> {
    const Guard guard = lock_.acquire().unwrap();
    return raw_.value();
  }
  Result<void> set_value(std::string_view text) const requires std::same_as<T, char> {
    PASSEL_TRY(const Guard guard, lock_.acquire());
    return raw_.set_value(text);
  }
  /// Throws as values().
  [[nodiscard]] std::string raw() const requires std::same_as<T, char> {
    const Guard guard = lock_.acquire().unwrap();
    return raw_.raw();
  }
  Result<void> set_raw(std::string_view bytes) const requires std::same_as<T, char> {
    PASSEL_TRY(const Guard guard, lock_.acquire());
    return raw_.set_raw(bytes);
  }

  /// The lock, for scopes over several arrays and values.
  [[nodiscard]] const L& get_lock() const& noexcept { return lock_; }
  /// The array without its lock.
  [[nodiscard]] const RawArray<T>& get_obj() const& noexcept { return raw_; }
  /// Those of the lock.
  [[nodiscard]] Result<Guard> acquire() const& { return lock_.acquire(); }
  template <class Rep, class Period>
  [[nodiscard]] Result<Guard> acquire_for(std::chrono::duration<Rep, Period> timeout) const& {
    return lock_.acquire_for(timeout);
  }
  [[nodiscard]] Result<Guard> try_acquire() const& { return lock_.try_acquire(); }
  Result<void> release() const { return lock_.release(); }

  friend bool operator==(const Array& a, const Array& b) noexcept { return a.raw_ == b.raw_; }

 private:
  RawArray<T> raw_;
  L lock_;
};

/// Gives a raw array a lock, its own or a given one; whoever uses the raw array goes past it.
/// Python's sharedctypes.synchronized.
template <class T>
[[nodiscard]] Array<T> synchronized(RawArray<T> raw) {
  return Array<T>{std::move(raw), RLock{}};
}
template <class T, ValueLock L>
[[nodiscard]] Array<T, L> synchronized(RawArray<T> raw, L lock) {
  return Array<T, L>{std::move(raw), std::move(lock)};
}

/// Arrays travel as handles, to a process that is being started or called.
template <Shareable T>
struct codec<RawArray<T>> {
  static std::string name() { return "Array<" + std::string{type()} + ">"; }
  static WireValue encode(const RawArray<T>& array) {
    return WireValue::tuple({array.block_.encode("Array", type()), WireValue{array.size()}});
  }
  static Result<RawArray<T>> decode(const WireValue& value) {
    PASSEL_TRY(const WireValue::Items* parts, detail::parts_of("Array", value, 2));
    PASSEL_TRY(const auto size, from_value<std::size_t>((*parts)[1]));
    if (size > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
      return detail::mismatch("Array", value);
    }
    PASSEL_TRY(auto block,
               detail::SharedBlock::decode("Array", type(), (*parts)[0], size * sizeof(T)));
    return RawArray<T>{std::move(block), size};
  }

 private:
  static constexpr std::string_view type() { return detail::compiler_type_name<T>(); }
};

template <Shareable T, ValueLock L>
struct codec<Array<T, L>> {
  static std::string name() { return codec<RawArray<T>>::name() + " with " + codec<L>::name(); }
  static WireValue encode(const Array<T, L>& array) {
    return WireValue::tuple({to_value(array.get_obj()), to_value(array.get_lock())});
  }
  static Result<Array<T, L>> decode(const WireValue& value) {
    PASSEL_TRY(const WireValue::Items* parts, detail::parts_of("Array", value, 2));
    PASSEL_TRY(RawArray<T> raw, from_value<RawArray<T>>((*parts)[0]));
    PASSEL_TRY(L lock, from_value<L>((*parts)[1]));
    return Array<T, L>{std::move(raw), std::move(lock)};
  }
};

}  // namespace passel::inline v0
