// Layer sync: the machine behind Barrier: who is there, who is called, what breaks a round.
#include "barrier_machine.hpp"

namespace passel::inline v0::detail {
namespace {

constexpr std::uint32_t sleeper_bit = 1;
constexpr std::uint32_t one_change = 2;

constexpr std::uint64_t packed(BarrierMachine::End end) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(end.pid)} << 32 |
         static_cast<std::uint32_t>(end.what);
}

constexpr BarrierMachine::End unpacked(std::uint64_t end) noexcept {
  return {.what = static_cast<BarrierEnd>(static_cast<std::uint32_t>(end)),
          .pid = static_cast<std::int32_t>(end >> 32)};
}

}  // namespace

BarrierMachine::End BarrierMachine::end_of(std::uint32_t number) const noexcept {
  const Waiter& waiter = arena_.waiter(number);
  return {.what = static_cast<BarrierEnd>(waiter.permit.load()),
          .pid = static_cast<std::int32_t>(waiter.grant >> 32)};
}

BarrierMachine::End BarrierMachine::broken_by() const noexcept {
  return unpacked(state_.broken_by.load(std::memory_order_acquire));
}

// A death between two stores leaves them done in this order.
void BarrierMachine::set_phase(BarrierPhase phase) noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  state_.phase.store(phase, std::memory_order_release);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void BarrierMachine::change_word(Actions& actions) {
  std::uint32_t seen = state_.word.load(std::memory_order_relaxed);
  while (!state_.word.compare_exchange_weak(seen, (seen & ~sleeper_bit) + one_change)) {
  }
  if ((seen & sleeper_bit) != 0) actions.push_back({});
}

void BarrierMachine::end_all(End end, Actions& actions) {
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    Waiter& waiter = arena_.waiter(w);
    waiter.permit = static_cast<std::uint32_t>(end.what);
    waiter.grant = std::uint64_t{static_cast<std::uint32_t>(end.pid)} << 32 |
                   static_cast<std::uint32_t>(waiter.grant);
    // Out of the links first: once it sees its end its thread gives the waiter back.
    line_.unlink(w);
    waiter.state.store(waiter_granted, std::memory_order_release);
  }
  state_.waiting.store(0, std::memory_order_relaxed);
  change_word(actions);
}

void BarrierMachine::break_round(End end, Actions& actions) {
  if (phase() == barrier_broken) return;
  state_.broken_by.store(packed(end), std::memory_order_release);
  set_phase(barrier_broken);
  end_all(end, actions);
}

// The place of a process that is gone goes to another one some time.
bool BarrierMachine::is_at_home(std::uint32_t waiter) const noexcept {
  const std::uint32_t owner = arena_.waiter(waiter).owner.load(std::memory_order_relaxed);
  return owner == state_.home &&
         arena_.process(owner).pid.load(std::memory_order_relaxed) == state_.home_pid;
}

void BarrierMachine::complete(std::uint32_t last, BarrierAnswer& answer, Actions& actions) {
  if (state_.action == action_none) {
    set_phase(barrier_releasing);
    end_all({.what = BarrierEnd::released, .pid = 0}, actions);
    set_phase(barrier_filling);
    return;
  }
  std::uint32_t runner = last;
  if (state_.action == action_at_home) {
    for (std::uint32_t w = line_.first(); !is_at_home(runner) && w != nobody; w = line_.next(w)) {
      if (is_at_home(w)) runner = w;
    }
    if (!is_at_home(runner)) {
      break_round({.what = BarrierEnd::unreachable, .pid = state_.home_pid}, actions);
      return;
    }
  }
  state_.runner = runner;
  set_phase(barrier_acting);
  if (runner == last) {
    answer = BarrierAnswer::act;
  } else {
    arena_.waiter(runner).state.store(waiter_nudged, std::memory_order_release);
    change_word(actions);
  }
}

void BarrierMachine::step(const Arrive& event, Time, Actions& actions) {
  if (phase() == barrier_broken) {
    *event.answer = BarrierAnswer::broken;
    return;
  }
  const std::uint32_t index = state_.waiting.load(std::memory_order_relaxed);
  // A line that is full and does not act is that of somebody who died while he completed it: his
  // death is on its way here.
  if (phase() == barrier_acting || index >= state_.parties) {
    *event.answer = BarrierAnswer::later;
    return;
  }
  *event.answer = BarrierAnswer::wait;
  arena_.waiter(event.waiter).grant = index;
  line_.push_back(event.waiter);
  state_.waiting.store(index + 1, std::memory_order_relaxed);
  if (index + 1 == state_.parties) complete(event.waiter, *event.answer, actions);
}

void BarrierMachine::step(const Acted& event, Time, Actions& actions) {
  if (phase() != barrier_acting || has_ended(event.waiter) || state_.runner != event.waiter) return;
  if (event.failed) {
    break_round({.what = BarrierEnd::failed, .pid = event.pid}, actions);
    return;
  }
  set_phase(barrier_releasing);
  end_all({.what = BarrierEnd::released, .pid = 0}, actions);
  set_phase(barrier_filling);
}

void BarrierMachine::step(const Expire& event, Time, Actions& actions) {
  if (phase() != barrier_filling || has_ended(event.waiter)) return;
  break_round({.what = BarrierEnd::timeout, .pid = event.pid}, actions);
}

void BarrierMachine::step(const Abort& event, Time, Actions& actions) {
  break_round({.what = BarrierEnd::aborted, .pid = event.pid}, actions);
}

void BarrierMachine::step(const Reset& event, Time, Actions& actions) {
  if (phase() == barrier_broken) {
    set_phase(barrier_filling);
    return;
  }
  const End end{.what = BarrierEnd::reset, .pid = event.pid};
  state_.broken_by.store(packed(end), std::memory_order_release);
  set_phase(barrier_resetting);
  end_all(end, actions);
  set_phase(barrier_filling);
}

void BarrierMachine::step(const Lost& event, Time, Actions& actions) {
  std::uint32_t waited = 0;
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    if (arena_.waiter(w).owner.load(std::memory_order_relaxed) != event.place) continue;
    line_.remove(w);
    ++waited;
  }
  if (event.orderly && waited == 0) return;
  break_round({.what = event.orderly ? BarrierEnd::ended : BarrierEnd::died, .pid = event.pid},
              actions);
}

void BarrierMachine::rebuild(Actions& actions) {
  line_.rebuild();
  state_.waiting.store(line_.length(), std::memory_order_relaxed);
  switch (phase()) {
    case barrier_releasing:
      end_all({.what = BarrierEnd::released, .pid = 0}, actions);
      set_phase(barrier_filling);
      break;
    case barrier_resetting:
      end_all(broken_by(), actions);
      set_phase(barrier_filling);
      break;
    case barrier_broken: end_all(broken_by(), actions); break;
    default: break;
  }
  // Whoever changed the word may have died before waking those who sleep on it.
  actions.push_back({});
}

}  // namespace passel::inline v0::detail
