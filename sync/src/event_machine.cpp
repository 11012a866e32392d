// Layer sync: the machine behind Event: one word that says whether it is set and who has to be
// woken.
#include "event_machine.hpp"

#include <limits>

namespace passel::inline v0::detail {

bool EventMachine::set() noexcept {
  std::uint32_t seen = state_.word.load(std::memory_order_relaxed);
  do {
    if (is_set(seen)) return false;
  } while (!state_.word.compare_exchange_weak(seen, ((seen & ~sleeper_bit) + one_set) | set_bit));
  return (seen & sleeper_bit) != 0;
}

void EventMachine::clear() noexcept { state_.word.fetch_and(~set_bit); }

std::uint32_t EventMachine::announce(std::uint32_t seen) noexcept {
  const std::uint32_t count = seen / one_set;
  while (!is_set(seen) && seen / one_set == count && (seen & sleeper_bit) == 0) {
    if (state_.word.compare_exchange_weak(seen, seen | sleeper_bit)) return seen | sleeper_bit;
  }
  return seen;
}

void EventMachine::arrive(std::uint32_t number, WakeList& wakes) {
  // Who sets it from here on sees the future, or the future sees it set.
  arena_.waiter(number).permit = state_.word.load() / one_set;
  line_.push_back(number);
  state_.futures.fetch_add(1);
  settle(wakes);
}

void EventMachine::leave(std::uint32_t number) {
  if (!line_.holds(number)) return;
  line_.remove(number);
  state_.futures.fetch_sub(1);
}

void EventMachine::settle(WakeList& wakes) {
  const std::uint32_t now = state_.word.load();
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    Waiter& waiter = arena_.waiter(w);
    if (!is_set(now) && waiter.permit == now / one_set) continue;
    wakes.push_back({.waiter = w});
    // Out of the links first: once it sees that it is free its process gives the waiter back.
    line_.unlink(w);
    state_.futures.fetch_sub(1);
    waiter.state.store(waiter_granted, std::memory_order_release);
  }
}

void EventMachine::lose(std::uint32_t place, WakeList& wakes) {
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    if (arena_.waiter(w).owner.load(std::memory_order_relaxed) == place) leave(w);
  }
  settle(wakes);
  // It may have died between setting the event and waking the sleepers.
  futex_wake(state_.word, std::numeric_limits<int>::max(), arena_.scope());
}

void EventMachine::rebuild(WakeList& wakes) {
  line_.rebuild();
  state_.futures.store(line_.length());
  settle(wakes);
}

namespace {

template <class F>
void with_line(SyncObject& event, F change) {
  WakeList wakes;
  SyncArena& arena = event.arena();
  if (!arena.lock_line(event.header(), Deadline::never())) return;
  change(EventMachine{arena, event.header()}, wakes);
  event.header().line.unlock();
  arena.perform(wakes);
}

}  // namespace

void stand_for_event(SyncObject& event, std::uint32_t number) {
  with_line(event, [&](EventMachine machine, auto& wakes) { machine.arrive(number, wakes); });
}

void leave_event(SyncObject& event, std::uint32_t number) {
  with_line(event, [&](EventMachine machine, auto&) { machine.leave(number); });
}

void settle_event(SyncObject& event) {
  with_line(event, [&](EventMachine machine, auto& wakes) { machine.settle(wakes); });
}

}  // namespace passel::inline v0::detail
