// Layer actors: `for (auto& item : queue)` until the queue is closed and empty.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

namespace passel::inline v0::detail {

/// Input iterator over anything whose `Next` callable gives the next item, or nothing at the end.
/// It holds one item at a time and takes the following one only when it is advanced.
template <class T, class Source>
class DrainIterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using pointer = T*;
  using iterator_category = std::input_iterator_tag;

  DrainIterator() = default;
  explicit DrainIterator(Source& source) : source_{&source} { advance(); }

  [[nodiscard]] T& operator*() const { return *item_; }
  [[nodiscard]] T* operator->() const { return &*item_; }
  DrainIterator& operator++() {
    advance();
    return *this;
  }
  void operator++(int) { advance(); }

  friend bool operator==(const DrainIterator& it, std::default_sentinel_t) noexcept {
    return !it.item_.has_value();
  }

 private:
  void advance() {
    item_.reset();
    if (auto next = source_->next_item()) item_.emplace(*std::move(next));
  }

  Source* source_ = nullptr;
  mutable std::optional<T> item_;
};

}  // namespace passel::inline v0::detail
