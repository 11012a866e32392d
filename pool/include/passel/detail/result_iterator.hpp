// Layer pool: `for (auto& result : results)` over what is given out by next().
#pragma once

#include <cstddef>
#include <iterator>

namespace passel::inline v0::detail {

/// Input iterator over a source whose `next()` gives the next item or nothing at the end, and which
/// keeps the one in hand in `current_`.
template <class Source, class Item>
class ResultIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = Item;
  using difference_type = std::ptrdiff_t;
  using pointer = Item*;
  using reference = Item&;

  ResultIterator() = default;
  explicit ResultIterator(Source* source) : source_{source} { ++*this; }
  ResultIterator& operator++() {
    source_->current_ = source_->next();
    if (!source_->current_) source_ = nullptr;
    return *this;
  }
  void operator++(int) { ++*this; }
  [[nodiscard]] Item& operator*() const { return *source_->current_; }
  [[nodiscard]] Item* operator->() const { return &*source_->current_; }
  friend bool operator==(const ResultIterator& a, const ResultIterator& b) noexcept {
    return a.source_ == b.source_;
  }

 private:
  Source* source_ = nullptr;
};

}  // namespace passel::inline v0::detail
