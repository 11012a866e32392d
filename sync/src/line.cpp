// Layer sync: the line of those who wait for one object.
#include "line.hpp"

namespace passel::inline v0::detail {

std::uint32_t Line::length() const noexcept {
  std::uint32_t count = 0;
  for (std::uint32_t w = first(); w != nobody; w = next(w)) ++count;
  return count;
}

void Line::link_last(std::uint32_t number) noexcept {
  Waiter& waiter = arena_.waiter(number);
  waiter.previous = header_.last;
  waiter.next = nobody;
  if (header_.last == nobody) {
    header_.first = number;
  } else {
    arena_.waiter(header_.last).next = number;
  }
  header_.last = number;
}

void Line::push_back(std::uint32_t number) noexcept {
  Waiter& waiter = arena_.waiter(number);
  waiter.ticket.store(++header_.next_ticket, std::memory_order_relaxed);
  waiter.line.store(arena_.chunk_of(header_), std::memory_order_release);
  link_last(number);
}

bool Line::holds(std::uint32_t number) const noexcept {
  const Waiter& waiter = arena_.waiter(number);
  if (waiter.line.load(std::memory_order_acquire) != arena_.chunk_of(header_)) return false;
  const std::uint32_t state = waiter.state.load(std::memory_order_acquire);
  if (state != waiter_waiting && state != waiter_nudged) return false;
  // One that was granted is given back without the lock: it may wait for something else by now.
  return waiter.line.load(std::memory_order_relaxed) == arena_.chunk_of(header_);
}

void Line::remove(std::uint32_t number) noexcept {
  arena_.waiter(number).line.store(0, std::memory_order_release);
  unlink(number);
}

void Line::unlink(std::uint32_t number) noexcept {
  const Waiter& waiter = arena_.waiter(number);
  if (waiter.previous == nobody) {
    header_.first = waiter.next;
  } else {
    arena_.waiter(waiter.previous).next = waiter.next;
  }
  if (waiter.next == nobody) {
    header_.last = waiter.previous;
  } else {
    arena_.waiter(waiter.next).previous = waiter.previous;
  }
}

// In its place by its ticket, from the end: waiters are numbered in the order of their coming for
// the most part.
void Line::insert(std::uint32_t number) noexcept {
  const std::uint64_t ticket = arena_.waiter(number).ticket;
  std::uint32_t before = header_.last;
  while (before != nobody && arena_.waiter(before).ticket > ticket) {
    before = arena_.waiter(before).previous;
  }
  if (before == header_.last) return link_last(number);
  const std::uint32_t behind = before == nobody ? header_.first : arena_.waiter(before).next;
  Waiter& waiter = arena_.waiter(number);
  waiter.previous = before;
  waiter.next = behind;
  arena_.waiter(behind).previous = number;
  if (before == nobody) {
    header_.first = number;
  } else {
    arena_.waiter(before).next = number;
  }
}

void Line::rebuild() noexcept {
  header_.first = header_.last = nobody;
  for (std::uint32_t w = 1; w <= arena_.waiters(); ++w) {
    if (arena_.waiter(w).owner.load() != nobody && holds(w)) insert(w);
  }
}

}  // namespace passel::inline v0::detail
