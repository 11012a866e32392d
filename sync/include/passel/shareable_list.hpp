// Layer sync: a list of fixed length in shared memory, as Python's
// multiprocessing.shared_memory.ShareableList.
#pragma once

#include <passel/shared_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// A list whose items several processes of this host read and replace. Its length is fixed; an item
/// is None, a bool, an int of 64 bits, a float, a str or bytes, and may change from one to another.
/// Source of the semantics: Python's multiprocessing.shared_memory.ShareableList.
///
///     auto list = passel::ShareableList::create({"howdy", -273.154, 100, nullptr, true}).unwrap();
///     list.get<int>(2).unwrap();                       // 100
///     list.set(3, "some").unwrap();                    // None becomes a str
///     list.set(3, "far too many").error();             // too_large
///     auto same = passel::ShareableList::attach(list.shm().name()).unwrap();
///     list.shm().unlink().unwrap();
///
/// A str or bytes item may grow up to the storage it was created with: its length then, in UTF-8,
/// rounded up to the next multiple of 8 (a length of 8 to 16, so that there is always room for one
/// byte more); every other item has 8 bytes. Unlike Python's, bytes and str keep zeros at their
/// end, and a str of many-byte characters gets the storage that it needs.
///
/// A handle on SharedMemory, and as that as to names, copies, processes and threads: see there.
/// Nothing is synchronised: where one process writes an item that another one reads, use a Lock.
/// Without one a reader may see a mixture of the old and the new item, and a process that is killed
/// inside `set` may leave one; numbers that are replaced by numbers of the same kind are always
/// whole. No state of the memory makes a reader go beyond an item's storage.
class PASSEL_API ShareableList {
 public:
  using value_type = WireValue;
  class iterator;

  /// A new list. Errors: those of SharedMemory::create; type_mismatch for an item of another kind;
  /// invalid_argument for an int beyond 64 bits. (Python: ShareableList(sequence, name=name))
  [[nodiscard]] static Result<ShareableList> create(const WireValue::Items& items,
                                                    std::string_view name = {});
  /// The same from a container: `create(std::vector<int>{1, 2, 3})`, also from another list.
  template <std::ranges::input_range R>
  [[nodiscard]] static Result<ShareableList> create(const R& items, std::string_view name = {}) {
    WireValue::Items values;
    for (const auto& item : items) values.push_back(to_value(item));
    return create(values, name);
  }
  /// The list of that name. Errors: those of SharedMemory::attach; malformed when the memory of
  /// that name is no list. (Python: ShareableList(name=name))
  [[nodiscard]] static Result<ShareableList> attach(std::string_view name);

  /// Item `index`, a negative one counted from the end. Errors: invalid_argument when there is no
  /// such item; type_mismatch when it is no T; invalid_state when the memory is closed; malformed.
  /// (Python: list[index])
  template <class T = WireValue>
  [[nodiscard]] Result<T> get(std::ptrdiff_t index) const {
    PASSEL_TRY(WireValue value, read(index));
    if constexpr (std::is_same_v<T, WireValue>) {
      return value;
    } else {
      return from_value<T>(value);
    }
  }
  /// Replaces an item. Errors: invalid_argument when there is no such item, and for an int beyond
  /// 64 bits; too_large "... exceeds available storage ..."; type_mismatch for another kind of
  /// value; invalid_state when the memory is closed. An item that could not be replaced is
  /// unchanged. (Python: list[index] = value)
  Result<void> set(std::ptrdiff_t index, const WireValue& value);

  /// The number of items, also after close.
  [[nodiscard]] std::size_t size() const noexcept { return slots_->size(); }
  [[nodiscard]] bool empty() const noexcept { return slots_->empty(); }
  /// How many items are equal to `value`: of its kind, too (Python takes 1, 1.0 and True for one).
  [[nodiscard]] std::size_t count(const WireValue& value) const;
  /// The first index of an item that is equal. Errors: not_found. (Python: ValueError)
  [[nodiscard]] Result<std::size_t> index(const WireValue& value) const;

  /// Goes over the items one by one, each as it is then; None for what cannot be read.
  [[nodiscard]] iterator begin() const noexcept;
  [[nodiscard]] iterator end() const noexcept;

  /// The memory that it lies in, to close and to unlink it, as in Python.
  [[nodiscard]] SharedMemory& shm() noexcept { return memory_; }
  [[nodiscard]] const SharedMemory& shm() const noexcept { return memory_; }
  /// "ShareableList(['howdy', None, 7], name='psm_7_1f')"
  [[nodiscard]] std::string to_string() const;

 private:
  friend codec<ShareableList>;

  /// Where an item lies. Read once and checked, so that nobody can move it afterwards.
  struct Slot {
    std::uint64_t offset;
    std::uint64_t capacity;
  };
  using Slots = std::shared_ptr<const std::vector<Slot>>;

  ShareableList(SharedMemory memory, Slots slots) noexcept
      : memory_{std::move(memory)}, slots_{std::move(slots)} {}
  [[nodiscard]] static Result<ShareableList> open(SharedMemory memory);
  [[nodiscard]] Result<WireValue> read(std::ptrdiff_t index) const;
  [[nodiscard]] Result<Slot> find(std::ptrdiff_t index, const char* doing) const;

  SharedMemory memory_;
  Slots slots_;
};

/// Goes over a ShareableList; invalid after it, not kept up to date by it.
class ShareableList::iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = WireValue;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = WireValue;

  iterator() = default;
  iterator(const ShareableList* list, std::ptrdiff_t index) noexcept : list_{list}, index_{index} {}
  WireValue operator*() const { return list_->read(index_).unwrap_or({}); }
  iterator& operator++() noexcept {
    ++index_;
    return *this;
  }
  iterator operator++(int) noexcept { return {list_, index_++}; }
  friend bool operator==(const iterator&, const iterator&) = default;

 private:
  const ShareableList* list_ = nullptr;
  std::ptrdiff_t index_ = 0;
};

inline ShareableList::iterator ShareableList::begin() const noexcept { return {this, 0}; }
inline ShareableList::iterator ShareableList::end() const noexcept {
  return {this, static_cast<std::ptrdiff_t>(size())};
}

/// Travels as its memory does: the encoded size has nothing to do with the length.
template <>
struct PASSEL_API codec<ShareableList> {
  static std::string name() { return "ShareableList"; }
  static WireValue encode(const ShareableList& list) { return list.memory_.handle(name()); }
  static Result<ShareableList> decode(const WireValue& value) {
    PASSEL_TRY(SharedMemory memory, SharedMemory::open(name(), value));
    return ShareableList::open(std::move(memory));
  }
};

}  // namespace passel::inline v0
