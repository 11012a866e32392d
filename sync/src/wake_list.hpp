// Layer sync: whom to wake when the locks are given back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace passel::inline v0::detail {

/// What is to be done when the locks are given back: somebody has to be woken.
struct Wake {
  std::uint32_t waiter = 0;
};

/// Those whom a step names. It is filled with the line of an object locked, where nothing may fail:
/// a few need no memory, and when there is none for many, everybody is woken. Who sleeps looks
/// again after waking, so that costs time and nothing else.
class WakeList {
 public:
  void push_back(Wake wake) noexcept {
    if (many_.empty() && count_ < few_.size()) {
      few_[count_++] = wake;
      return;
    }
    try {
      if (many_.empty()) many_.assign(few_.begin(), few_.end());
      many_.push_back(wake);
    } catch (const std::bad_alloc&) {
      everybody_ = true;
    }
  }
  [[nodiscard]] const Wake* begin() const noexcept {
    return many_.empty() ? few_.data() : many_.data();
  }
  [[nodiscard]] const Wake* end() const noexcept {
    return begin() + (many_.empty() ? count_ : many_.size());
  }
  /// There was no memory for the list: all who wait are to be woken.
  [[nodiscard]] bool everybody() const noexcept { return everybody_; }

 private:
  std::array<Wake, 16> few_;
  std::size_t count_ = 0;
  std::vector<Wake> many_;
  bool everybody_ = false;
};

}  // namespace passel::inline v0::detail
