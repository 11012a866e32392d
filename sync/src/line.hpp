// Layer sync: the line of those who wait for one object.
#pragma once

#include "arena.hpp"

namespace passel::inline v0::detail {

/// First come, first served, in shared memory. A view: every call needs the object's line locked.
/// Whoever dies while he changes it leaves each waiter either in line or not, and `rebuild` makes
/// the links again.
class Line {
 public:
  Line(SyncArena& arena, ObjectHeader& header) noexcept : arena_{arena}, header_{header} {}

  [[nodiscard]] std::uint32_t first() const noexcept { return header_.first; }
  [[nodiscard]] std::uint32_t next(std::uint32_t number) const noexcept {
    return arena_.waiter(number).next;
  }
  [[nodiscard]] bool empty() const noexcept { return header_.first == nobody; }
  [[nodiscard]] std::uint32_t length() const noexcept;

  void push_back(std::uint32_t number) noexcept;
  void remove(std::uint32_t number) noexcept;
  /// Takes it out of the links alone: it counts as standing until it is granted what it waits for.
  void unlink(std::uint32_t number) noexcept;
  /// True for those who wait here and have not got it.
  [[nodiscard]] bool holds(std::uint32_t number) const noexcept;
  /// True also for those who have got it and do not know yet.
  [[nodiscard]] bool was(std::uint32_t number) const noexcept {
    return arena_.waiter(number).line.load(std::memory_order_acquire) == arena_.chunk_of(header_);
  }
  /// Needs no memory: it runs where nothing may fail.
  void rebuild() noexcept;

 private:
  void link_last(std::uint32_t number) noexcept;
  void insert(std::uint32_t number) noexcept;

  SyncArena& arena_;
  ObjectHeader& header_;
};

}  // namespace passel::inline v0::detail
