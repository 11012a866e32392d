// Layer sync: the machine behind Condition: who waits to be notified, and whose turn it is.
#include "condition_machine.hpp"

namespace passel::inline v0::detail {

// Counted first and left out of the count last: whoever sees none may skip the line.
void ConditionMachine::step(const Arrive& event, Time, Actions&) {
  state_.waiting.fetch_add(1);
  line_.push_back(event.waiter);
}

void ConditionMachine::leave_line(std::uint32_t number) noexcept {
  line_.remove(number);
  state_.waiting.fetch_sub(1);
}

void ConditionMachine::step(const Notify& event, Time now, Actions& actions) {
  for (std::size_t i = 0; i < event.count && !line_.empty(); ++i) {
    const std::uint32_t first = line_.first();
    // Out of these links, but counted here until it stands in the other line: whoever dies between
    // leaves it in one of the two.
    line_.unlink(first);
    arena_.waiter(first).condition = chunk_;
    permits_.step(PermitMachine::Arrive{first}, now, actions);
    state_.waiting.fetch_sub(1);
  }
}

void ConditionMachine::step(const Leave& event, Time, Actions&) {
  *event.was_waiting = line_.holds(event.waiter);
  if (*event.was_waiting) leave_line(event.waiter);
}

void ConditionMachine::step(const Lost& event, Time, Actions&) {
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    if (arena_.waiter(w).owner.load(std::memory_order_relaxed) == event.place) leave_line(w);
  }
}

void ConditionMachine::rebuild() noexcept {
  line_.rebuild();
  for (std::uint32_t w = line_.first(); w != nobody; w = line_.next(w)) {
    arena_.waiter(w).condition = 0;
  }
  state_.waiting.store(line_.length());
}

}  // namespace passel::inline v0::detail
