// Layer sync: the machine behind Lock, RLock and the semaphores: who has a permit, who is next.
#include "permit_machine.hpp"

#include <algorithm>

namespace passel::inline v0::detail {
namespace {

std::int64_t nanoseconds(PermitMachine::Time time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

void PermitMachine::init(std::uint32_t traits, std::uint32_t words, std::uint64_t value,
                         std::uint64_t limit) noexcept {
  state_.traits = traits;
  state_.permits = words;
  state_.limit = limit;
  if (is_counted()) {
    state_.first.store(value, std::memory_order_relaxed);
    return;
  }
  for (std::uint32_t i = 0; i < words; ++i) {
    word(i).store(i < value ? 0 : absent, std::memory_order_relaxed);
  }
}

std::optional<Grant> PermitMachine::take_any(std::uint32_t place) noexcept {
  if (is_counted()) {
    std::uint64_t value = state_.first.load(std::memory_order_relaxed);
    while ((value & count_mask) != 0) {
      if (state_.first.compare_exchange_weak(value, value - 1, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
        return Grant{.word = value, .permit = 0, .abandoned = false};
      }
    }
    return std::nullopt;
  }
  const std::uint32_t begin = state_.hint.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    if (auto grant = take_from((begin + i) % state_.permits, place)) return grant;
  }
  return std::nullopt;
}

bool PermitMachine::give(const Grant& grant) noexcept {
  if (is_counted()) return give_any(nobody);
  std::uint64_t held = grant.word;
  const bool given = word(grant.permit).compare_exchange_strong(held, freed(held));
  if (given && state_.permits > 1) state_.hint.store(grant.permit, std::memory_order_relaxed);
  return given;
}

bool PermitMachine::give_from(std::uint32_t permit, std::uint32_t place) noexcept {
  auto& here = word(permit);
  std::uint64_t seen = here.load(std::memory_order_relaxed);
  while (is_held(seen, place)) {
    if (here.compare_exchange_weak(seen, freed(seen))) return true;
  }
  return false;
}

bool PermitMachine::give_counted(std::uint64_t n) noexcept {
  std::uint64_t value = state_.first.load(std::memory_order_relaxed);
  while ((value & count_mask) + n <= state_.limit) {
    if (state_.first.compare_exchange_weak(value, value + n)) return true;
  }
  return false;
}

bool PermitMachine::give_any(std::uint32_t place) noexcept {
  if (is_counted()) return give_counted(1);
  for (std::uint32_t i = 0; place != nobody && i < state_.permits; ++i) {
    if (give_from(i, place)) return true;
  }
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    if (give_from(i, nobody)) return true;
  }
  if ((state_.traits & permits_bounded) != 0) return false;
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    std::uint64_t seen = absent;
    if (word(i).compare_exchange_strong(seen, 0)) return true;
  }
  return false;
}

std::uint64_t PermitMachine::available() const noexcept {
  if (is_counted()) return state_.first.load() & count_mask;
  std::uint64_t count = 0;
  for (std::uint32_t i = 0; i < state_.permits; ++i) count += is_free(word(i).load()) ? 1 : 0;
  return count;
}

bool PermitMachine::is_available() const noexcept {
  if (is_counted()) return (state_.first.load() & count_mask) != 0;
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    if (is_free(word(i).load())) return true;
  }
  return false;
}

bool PermitMachine::is_held_by(std::uint32_t place) const noexcept {
  if (is_counted()) return false;
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    if (place_of(word(i).load()) == place) return true;
  }
  return false;
}

bool PermitMachine::must_be_handed(const Waiter& waiter, Time now) const noexcept {
  return waiter.is_future != 0 || is_fair() ||
         (waiter.nudged_at != 0 && nanoseconds(now) - waiter.nudged_at >= longest_overtaken_ns);
}

void PermitMachine::leave_line(std::uint32_t number) noexcept {
  line_.remove(number);
  state_.waiting.fetch_sub(1);
}

// What is about to be granted is written down first. Whoever dies after the word has changed has
// granted it: `rebuild` sees that the word is the one written down.
bool PermitMachine::hand(std::uint32_t number, std::uint32_t permit, std::uint64_t from) noexcept {
  Waiter& waiter = arena_.waiter(number);
  const std::uint64_t to =
      granted_to(from, waiter.owner.load(std::memory_order_relaxed)) | handed_bit;
  waiter.permit = permit | ((from & abandoned_bit) != 0 ? handed_abandoned : 0U);
  waiter.grant = to;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (word(permit).compare_exchange_strong(from, to)) return true;
  waiter.grant = 0;
  return false;
}

bool PermitMachine::hand_counted(std::uint32_t number, bool is_given_back) noexcept {
  Waiter& waiter = arena_.waiter(number);
  std::uint64_t seen = state_.first.load();
  for (;;) {
    const std::uint64_t count = seen & count_mask;
    if (is_given_back ? count >= state_.limit : count == 0) break;
    const std::uint64_t to = seen + one_handing - (is_given_back ? 0 : 1);
    waiter.permit = 0;
    waiter.grant = handing_of(to);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (state_.first.compare_exchange_weak(seen, to)) return true;
  }
  waiter.grant = 0;
  return false;
}

// As give_any finds it.
bool PermitMachine::hand_held(std::uint32_t number, std::uint32_t place) noexcept {
  if (is_counted()) return hand_counted(number, true);
  for (const bool of_anybody : {false, true}) {
    for (std::uint32_t i = 0; i < state_.permits; ++i) {
      const std::uint64_t held = word(i).load();
      if (is_held(held, of_anybody ? nobody : place) && hand(number, i, held)) return true;
    }
  }
  return false;
}

// Marked first and given back then, so that all are or none is, also when somebody dies in between:
// `giving` says from when on they all will be.
std::uint64_t PermitMachine::mark_giving(std::uint64_t n, std::uint32_t place) noexcept {
  std::uint64_t marked = 0;
  const auto mark = [&](auto is_meant) {
    for (std::uint32_t i = 0; i < state_.permits && marked < n; ++i) {
      std::uint64_t seen = word(i).load();
      while (is_meant(seen)) {
        if (!word(i).compare_exchange_weak(seen, seen | giving_bit)) continue;
        ++marked;
        break;
      }
    }
  };
  mark([place](std::uint64_t seen) { return is_held(seen, place); });
  mark([](std::uint64_t seen) { return is_held(seen, nobody); });
  if ((state_.traits & permits_bounded) == 0) {
    mark([](std::uint64_t seen) { return seen == absent; });
  }
  return marked;
}

void PermitMachine::unmark_giving() noexcept {
  for (std::uint32_t i = 0; i < state_.permits; ++i) word(i).fetch_and(~giving_bit);
}

void PermitMachine::give_marked(Time now, Actions& actions) {
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    const std::uint64_t marked = word(i).load();
    if ((marked & giving_bit) == 0) continue;
    const std::uint32_t first = line_.first();
    // Handed over in one step, as in ReleaseAny.
    if (first != nobody && must_be_handed(arena_.waiter(first), now) && hand(first, i, marked)) {
      granted(first, actions);
    } else {
      word(i).store((marked & ~giving_bit) == absent ? 0 : freed(marked));
    }
  }
}

void PermitMachine::give_back_unused(const Grant& grant) noexcept {
  if (is_counted()) {
    static_cast<void>(give_counted(1));
    return;
  }
  std::uint64_t held = grant.word;
  word(grant.permit)
      .compare_exchange_strong(held, freed(held) | (grant.abandoned ? abandoned_bit : 0));
}

bool PermitMachine::hand_any(std::uint32_t number) noexcept {
  if (is_counted()) return hand_counted(number, false);
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    const std::uint64_t seen = word(i).load();
    if (is_free(seen) && hand(number, i, seen)) return true;
  }
  return false;
}

void PermitMachine::granted(std::uint32_t number, Actions& actions) {
  actions.push_back({.waiter = number});
  // Out of the links first: once it sees the grant its thread gives the waiter back.
  line_.unlink(number);
  state_.waiting.fetch_sub(1);
  state_.called_until.store(0);
  arena_.waiter(number).state.store(waiter_granted, std::memory_order_release);
}

void PermitMachine::serve(Time now, Actions& actions) {
  serve_line(now, actions);
  const std::uint32_t first = line_.first();
  const bool is_called = first != nobody && arena_.waiter(first).state.load() == waiter_nudged;
  // Several permits wake several: none of them is to wait for another to pass by.
  state_.called_until.store(is_called && state_.permits == 1 && !is_counted()
                                ? arena_.waiter(first).nudged_at + longest_overtaken_ns
                                : 0);
}

void PermitMachine::serve_line(Time now, Actions& actions) {
  std::uint64_t free = available();
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody && free > 0; w = next, --free) {
    next = line_.next(w);
    Waiter& waiter = arena_.waiter(w);
    if (must_be_handed(waiter, now)) {
      if (!hand_any(w)) return;
      granted(w, actions);
    } else if (waiter.state.exchange(waiter_nudged) != waiter_nudged) {
      if (waiter.nudged_at == 0) waiter.nudged_at = nanoseconds(now);
      actions.push_back({.waiter = w});
    }
  }
}

void PermitMachine::step(const Arrive& event, Time now, Actions& actions) {
  line_.push_back(event.waiter);
  state_.waiting.fetch_add(1);
  serve(now, actions);
}

void PermitMachine::step(const Release& event, Time now, Actions& actions) {
  const std::uint32_t first = line_.first();
  if (first == nobody) {
    *event.given = give(event.grant);
    return;
  }
  Waiter& waiter = arena_.waiter(first);
  if (must_be_handed(waiter, now)) {
    *event.given = is_counted() ? hand_counted(first, true)
                                : hand(first, event.grant.permit, event.grant.word);
    if (*event.given) granted(first, actions);
    return;
  }
  *event.given = give(event.grant);
  serve(now, actions);
}

void PermitMachine::step(const ReleaseAny& event, Time now, Actions& actions) {
  const std::uint32_t first = line_.first();
  // Handed over in one step: in between somebody might be quicker time after time.
  if (first != nobody && must_be_handed(arena_.waiter(first), now) &&
      hand_held(first, event.place)) {
    *event.given = true;
    granted(first, actions);
    return;
  }
  *event.given = give_any(event.place);
  if (*event.given) step(Freed{}, now, actions);
}

void PermitMachine::step(const ReleaseMany& event, Time now, Actions& actions) {
  *event.given = mark_giving(event.n, event.place) == event.n;
  if (!*event.given) {
    unmark_giving();
    return;
  }
  state_.giving = 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  give_marked(now, actions);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  state_.giving = 0;
  step(Freed{}, now, actions);
}

void PermitMachine::step(const Unused& event, Time now, Actions& actions) {
  give_back_unused(event.grant);
  serve(now, actions);
}

void PermitMachine::step(const Freed&, Time now, Actions& actions) { serve(now, actions); }

void PermitMachine::step(const Took& event, Time now, Actions& actions) {
  if (line_.holds(event.waiter)) {
    leave_line(event.waiter);
  } else {
    give_back_unused(grant_of(arena_.waiter(event.waiter)));
  }
  serve(now, actions);
}

void PermitMachine::step(const Leave& event, Time now, Actions& actions) {
  if (!line_.holds(event.waiter)) return;
  leave_line(event.waiter);
  serve(now, actions);
}

const Waiter* PermitMachine::unseen_grant(std::uint64_t held, std::uint32_t place) const noexcept {
  if ((held & handed_bit) == 0) return nullptr;
  for (std::uint32_t w = 1; w <= arena_.waiters(); ++w) {
    const Waiter& waiter = arena_.waiter(w);
    if (waiter.owner.load(std::memory_order_relaxed) == place && line_.was(w) &&
        waiter.state.load(std::memory_order_acquire) == waiter_granted && waiter.grant == held) {
      return &waiter;
    }
  }
  return nullptr;
}

void PermitMachine::step(const Lost& event, Time now, Actions& actions) {
  for (std::uint32_t i = 0; !is_counted() && i < state_.permits; ++i) {
    std::uint64_t held = word(i).load();
    if (place_of(held) != event.place) continue;
    // What it never learnt of it cannot have left half done: the next one is told what it would
    // have been told.
    const Waiter* const unseen = unseen_grant(held, event.place);
    const bool is_abandoned = unseen == nullptr || grant_of(*unseen).abandoned;
    if (unseen == nullptr) state_.lost_pid.store(event.pid, std::memory_order_relaxed);
    state_.thread.store(0, std::memory_order_relaxed);
    state_.depth.store(0, std::memory_order_relaxed);
    // Anybody may have released it meanwhile, and another have it now.
    word(i).compare_exchange_strong(held, freed(held) | (is_abandoned ? abandoned_bit : 0));
  }
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    if (arena_.waiter(w).owner.load(std::memory_order_relaxed) == event.place) leave_line(w);
  }
  serve(now, actions);
}

void PermitMachine::rebuild(Actions& actions) {
  line_.rebuild();
  state_.called_until.store(0);
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    Waiter& waiter = arena_.waiter(w);
    if (waiter.grant == 0) continue;
    const std::uint32_t permit = waiter.permit & ~handed_abandoned;
    const bool is_granted = is_counted() ? handing_of(state_.first.load()) == waiter.grant
                                         : word(permit).load() == waiter.grant;
    if (is_granted) {
      line_.unlink(w);
      waiter.state.store(waiter_granted, std::memory_order_release);
    } else {
      waiter.grant = 0;
    }
    actions.push_back({.waiter = w});
  }
  state_.waiting.store(line_.length());
  if (is_counted()) return;
  if (state_.giving != 0) give_marked({}, actions);
  unmark_giving();
  state_.giving = 0;
}

}  // namespace passel::inline v0::detail
