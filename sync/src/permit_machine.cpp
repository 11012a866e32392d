// Layer sync: the machine behind Lock, RLock and the semaphores: who has a permit, who is next.
#include "permit_machine.hpp"

#include <algorithm>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t place_mask = 0xffff;
constexpr std::uint64_t abandoned_bit = std::uint64_t{1} << 16;
constexpr std::uint64_t one_token = std::uint64_t{1} << 17;
/// A word that is no permit: a semaphore may grow into it.
constexpr std::uint64_t absent = place_mask;

constexpr bool is_free(std::uint64_t word) { return (word & place_mask) == 0; }
constexpr std::uint64_t granted_to(std::uint64_t word, std::uint32_t place) {
  return ((word & ~(place_mask | abandoned_bit)) + one_token) | place;
}
constexpr std::uint64_t freed(std::uint64_t word) { return word & ~(place_mask | abandoned_bit); }

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

std::optional<Grant> PermitMachine::take_from(std::uint32_t permit, std::uint32_t place) noexcept {
  auto& here = word(permit);
  std::uint64_t seen = here.load(std::memory_order_relaxed);
  while (is_free(seen)) {
    const std::uint64_t mine = granted_to(seen, place);
    if (here.compare_exchange_weak(seen, mine, std::memory_order_acquire,
                                   std::memory_order_relaxed)) {
      return Grant{.word = mine, .permit = permit, .abandoned = (seen & abandoned_bit) != 0};
    }
  }
  return std::nullopt;
}

std::optional<Grant> PermitMachine::take(std::uint32_t place) noexcept {
  if (state_.permits == 1 && !is_counted()) return take_from(0, place);
  if (is_counted()) {
    std::uint64_t value = state_.first.load(std::memory_order_relaxed);
    while (value != 0) {
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
  while (!is_free(seen) && seen != absent && (place == nobody || place_of(seen) == place)) {
    if (here.compare_exchange_weak(seen, freed(seen))) return true;
  }
  return false;
}

bool PermitMachine::give_any(std::uint32_t place) noexcept {
  if (is_counted()) {
    std::uint64_t value = state_.first.load(std::memory_order_relaxed);
    while (value < state_.limit) {
      if (state_.first.compare_exchange_weak(value, value + 1)) return true;
    }
    return false;
  }
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
  if (is_counted()) return state_.first.load();
  std::uint64_t count = 0;
  for (std::uint32_t i = 0; i < state_.permits; ++i) count += is_free(word(i).load()) ? 1 : 0;
  return count;
}

bool PermitMachine::is_available() const noexcept {
  if (is_counted()) return state_.first.load() != 0;
  for (std::uint32_t i = 0; i < state_.permits; ++i) {
    if (is_free(word(i).load())) return true;
  }
  return false;
}

bool PermitMachine::must_be_handed(const Waiter& waiter, Time now) const noexcept {
  return waiter.is_future != 0 || is_fair() || waiter.overtaken >= most_overtakes ||
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
  const std::uint64_t to = granted_to(from, waiter.owner.load(std::memory_order_relaxed));
  waiter.permit = permit | ((from & abandoned_bit) != 0 ? handed_abandoned : 0U);
  waiter.grant = to;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (word(permit).compare_exchange_strong(from, to)) return true;
  waiter.grant = 0;
  return false;
}

bool PermitMachine::hand_any(std::uint32_t number) noexcept {
  if (is_counted()) {
    const auto taken = take(nobody);
    if (taken) arena_.waiter(number).grant = taken->word;
    return taken.has_value();
  }
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
  arena_.waiter(number).state.store(waiter_granted, std::memory_order_release);
}

void PermitMachine::serve(Time now, Actions& actions) {
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
  if (must_be_handed(waiter, now) && !is_counted()) {
    *event.given = hand(first, event.grant.permit, event.grant.word);
    if (*event.given) granted(first, actions);
    return;
  }
  if (waiter.nudged_at != 0) ++waiter.overtaken;
  *event.given = give(event.grant);
  serve(now, actions);
}

void PermitMachine::step(const Freed&, Time now, Actions& actions) {
  const std::uint32_t first = line_.first();
  if (first != nobody && arena_.waiter(first).nudged_at != 0) ++arena_.waiter(first).overtaken;
  serve(now, actions);
}

void PermitMachine::step(const Took& event, Time now, Actions& actions) {
  leave_line(event.waiter);
  serve(now, actions);
}

void PermitMachine::step(const Leave& event, Time now, Actions& actions) {
  if (!line_.holds(event.waiter)) return;
  leave_line(event.waiter);
  serve(now, actions);
}

void PermitMachine::step(const Lost& event, Time now, Actions& actions) {
  for (std::uint32_t i = 0; !is_counted() && i < state_.permits; ++i) {
    const std::uint64_t held = word(i).load();
    if (held == absent || place_of(held) != event.place) continue;
    state_.lost_pid.store(event.pid, std::memory_order_relaxed);
    state_.thread.store(0, std::memory_order_relaxed);
    state_.depth = 0;
    word(i).store(freed(held) | abandoned_bit);
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
  std::uint32_t next = nobody;
  for (std::uint32_t w = line_.first(); w != nobody; w = next) {
    next = line_.next(w);
    Waiter& waiter = arena_.waiter(w);
    const std::uint32_t permit = waiter.permit & ~handed_abandoned;
    if (waiter.grant == 0 || is_counted()) continue;
    if (permit < state_.permits && word(permit).load() == waiter.grant) {
      line_.unlink(w);
      waiter.state.store(waiter_granted, std::memory_order_release);
    } else {
      waiter.grant = 0;
    }
    actions.push_back({.waiter = w});
  }
  state_.waiting.store(line_.length());
}

}  // namespace passel::inline v0::detail
