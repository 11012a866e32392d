// Layer actors: in which order the queues between threads give their items out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

// An order holds the items of a ThreadQueue. `push` takes the item or throws what T threw and
// leaves everything as it was (a T whose move may throw is copied when it can be); `next` is the
// item that goes out next; `pop` forgets it after it was moved; `drain` gives all items up.

/// First in, first out.
template <class T>
class FifoOrder {
 public:
  using Storage = std::deque<T>;
  void push(T& item) { items_.push_back(std::move_if_noexcept(item)); }
  [[nodiscard]] T& next() { return items_.front(); }
  void pop() { items_.pop_front(); }
  void drain(Storage& into) { items_.swap(into); }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

 private:
  Storage items_;
};

/// Last in, first out.
template <class T>
class LifoOrder {
 public:
  using Storage = std::deque<T>;
  void push(T& item) { items_.push_back(std::move_if_noexcept(item)); }
  [[nodiscard]] T& next() { return items_.back(); }
  void pop() { items_.pop_back(); }
  void drain(Storage& into) { items_.swap(into); }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

 private:
  Storage items_;
};

/// Smallest first by Compare; equal items in the order in which they came. A binary heap that does
/// all comparisons of a step before its first move, so that a Compare that throws changes nothing.
template <class T, class Compare = std::less<T>>
class PriorityOrder {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "items of a priority queue are moved about in it, so their moves must not throw");
  struct Entry {
    T item;
    std::uint64_t arrival;
  };

 public:
  using Storage = std::vector<Entry>;
  PriorityOrder() = default;
  explicit PriorityOrder(Compare compare) : compare_{std::move(compare)} {}

  void push(T& item) {
    heap_.reserve(grown_capacity());
    std::size_t hole = heap_.size();
    while (hole > 0 && compare_(item, heap_[parent(hole)].item)) hole = parent(hole);
    std::size_t from = heap_.size();
    heap_.push_back(Entry{std::move(item), arrivals_++});
    Entry entry = std::move(heap_.back());
    for (; from != hole; from = parent(from)) heap_[from] = std::move(heap_[parent(from)]);
    heap_[hole] = std::move(entry);
  }

  /// Finds the way by which the heap closes after `pop`, and so does all comparisons of it.
  [[nodiscard]] T& next() {
    path_length_ = 0;
    const std::size_t last = heap_.size() - 1;
    for (std::size_t hole = 0, child = 1; child < last; hole = child, child = 2 * hole + 1) {
      if (child + 1 < last && before(heap_[child + 1], heap_[child])) ++child;
      if (!before(heap_[child], heap_[last])) break;
      path_[path_length_++] = child;
    }
    return heap_.front().item;
  }

  void pop() {
    Entry last = std::move(heap_.back());
    heap_.pop_back();
    if (heap_.empty()) return;
    std::size_t hole = 0;
    for (std::size_t i = 0; i < path_length_; ++i) {
      heap_[hole] = std::move(heap_[path_[i]]);
      hole = path_[i];
    }
    heap_[hole] = std::move(last);
  }

  void drain(Storage& into) { heap_.swap(into); }
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

 private:
  static std::size_t parent(std::size_t child) noexcept { return (child - 1) / 2; }

  [[nodiscard]] bool before(const Entry& a, const Entry& b) {
    if (compare_(a.item, b.item)) return true;
    return a.arrival < b.arrival && !compare_(b.item, a.item);
  }

  [[nodiscard]] std::size_t grown_capacity() const {
    if (heap_.size() < heap_.capacity()) return heap_.capacity();
    return std::max<std::size_t>(8, heap_.capacity() * 2);
  }

  Storage heap_;
  std::size_t path_[64] = {};
  std::size_t path_length_ = 0;
  std::uint64_t arrivals_ = 0;
  [[no_unique_address]] Compare compare_{};
};

}  // namespace passel::inline v0::detail
