// Layer sync: taking, awaiting and giving back permits, as Lock, RLock and the semaphores do it.
#include "permits.hpp"

#include "wait_graph.hpp"

#include <passel/detail/misuse.hpp>

#include <algorithm>

namespace passel::inline v0::detail {
namespace {

PermitMachine machine_of(SyncObject& object) {
  return PermitMachine{object.arena(), object.header()};
}

Error not_free_in_time(const SyncObject& object) {
  const std::string name = object.name();
  return Error{Errc::timeout, name.empty() ? "not free in the time given"
                                           : "'" + name + "' was not free in the time given"};
}

/// Between two looks at a permit that others hold.
constexpr int most_pauses = 32;

/// Takes it in the moment when it comes free, as far as waiting for that without sleeping pays.
/// `or_else` ends the wait, too.
template <class F>
std::optional<Grant> take_soon(SyncObject& object, Deadline deadline, F or_else) {
  PermitMachine machine = machine_of(object);
  std::optional<Grant> grant;
  int pauses = 1;
  object.spinner().spin(machine.state().cpu, deadline, [&] {
    if (machine.is_available()) grant = machine.take(object.place());
    if (grant.has_value() || or_else()) return true;
    // Each look takes the word from the CPU of the holder, who may come and go many times before
    // it pays for the two to take turns.
    for (int i = 0; i < pauses; ++i) cpu_relax();
    pauses = std::min(2 * pauses, most_pauses);
    return false;
  });
  return grant;
}

/// Whoever is first in line comes for it by himself.
bool is_called_for(const PermitMachine& machine) {
  const auto until = machine.called_until();
  return until && Deadline::Clock::now() < *until;
}

/// The same step for all events that need the line locked. False when the deadline passed first.
template <class Event>
bool step(SyncObject& object, const Event& event, Deadline deadline) {
  WakeList wakes;
  if (!object.arena().lock_line(object.header(), deadline)) return false;
  machine_of(object).step(event, Deadline::Clock::now(), wakes);
  object.header().line.unlock();
  object.arena().perform(wakes);
  return true;
}

/// After a permit was given back: serves those in line, if there are any.
void serve_line(SyncObject& object, const PermitMachine& machine) {
  if (machine.is_awaited() && !machine.called_until()) {
    step(object, PermitMachine::Freed{}, Deadline::never());
  }
}

/// Gives up a place in line; a grant that came meanwhile is kept.
std::optional<Grant> leave(SyncObject& object, std::uint32_t number) {
  // Only a stopped process can keep the line for long, and then nobody gets on.
  step(object, PermitMachine::Leave{number}, Deadline::never());
  Waiter& waiter = object.arena().waiter(number);
  std::optional<Grant> grant;
  if (waiter.state.load(std::memory_order_acquire) == waiter_granted) grant = grant_of(waiter);
  object.arena().free_waiter(number);
  return grant;
}

/// What a circle of waiters leads to for the one who closes it.
struct Closed {
  std::optional<DeadlockReport> circle;  ///< to be told; none: it waits on
  bool has_left = false;                 ///< it stands in line no more,
  std::optional<Grant> grant;            ///< but had been granted it by then
};

Closed close_circle(SyncObject& object, std::uint32_t number) {
  Closed closed;
  if (!find_circle(object, number)) return closed;
  // Who closes the same circle at the same time sees it as well. One of them is enough to open it,
  // and to tell of it: they look again, one after the other.
  SyncArena& arena = object.arena();
  if (!arena.lock_table()) return closed;
  closed.has_left = (machine_of(object).state().traits & permits_refuse) != 0;
  closed.circle =
      closed.has_left ? find_circle(object, number) : find_untold_circle(object, number);
  closed.has_left = closed.has_left && closed.circle;
  if (closed.has_left) closed.grant = leave(object, number);
  arena.unlock_table();
  return closed;
}

/// Reports the circle of waiters that this one closes. What the wait ends with where the object was
/// made to refuse.
std::optional<Result<Grant>> refused_by_circle(SyncObject& object, std::uint32_t number) {
  Closed closed = close_circle(object, number);
  if (!closed.circle) return std::nullopt;
  try {
    report_circle(*closed.circle);
  } catch (...) {
    // Thrown by the handler of reports: the thread goes on elsewhere, and must not be granted it.
    if (!closed.has_left) closed.grant = leave(object, number);
    if (closed.grant) release_unused(object, *closed.grant);
    throw;
  }
  if (!closed.has_left) return std::nullopt;
  if (closed.grant) return Result<Grant>{*closed.grant};
  return Result<Grant>{Error{Errc::deadlock, closed.circle->to_string()}};
}

}  // namespace

void release_unused(SyncObject& object, const Grant& grant) {
  step(object, PermitMachine::Unused{grant}, Deadline::never());
}

void stand_in_line(SyncObject& object, std::uint32_t waiter) {
  step(object, PermitMachine::Arrive{waiter}, Deadline::never());
}

Result<Grant> await_permit(SyncObject& object, std::uint32_t number, Deadline deadline) {
  PermitMachine machine = machine_of(object);
  Waiter& waiter = object.arena().waiter(number);
  for (;;) {
    std::uint32_t state = waiter.state.load(std::memory_order_acquire);
    if (state == waiter_granted) {
      const Grant grant = grant_of(waiter);
      object.arena().free_waiter(number);
      return grant;
    }
    if (state == waiter_nudged) {
      auto grant = machine.take(object.place());
      if (!grant) {
        grant = take_soon(object, deadline, [&waiter] {
          return waiter.state.load(std::memory_order_acquire) == waiter_granted;
        });
      }
      if (grant) {
        step(object, PermitMachine::Took{number}, Deadline::never());
        object.arena().free_waiter(number);
        return *grant;
      }
      if (machine.wait_again(waiter)) machine.call_itself(waiter);
      continue;
    }
    const bool in_time = futex_wait(waiter.state, waiter_waiting, deadline, object.scope());
    if (in_time) continue;
    if (const auto grant = leave(object, number)) return *grant;
    return not_free_in_time(object);
  }
}

Result<Grant> acquire_permit(SyncObject& object, Deadline deadline, WaitsAs as) {
  const std::uint32_t place = object.place();
  if (place == nobody) return too_many_processes();
  PermitMachine machine = machine_of(object);
  const bool may_overtake = !machine.is_fair();
  if (may_overtake || !machine.is_awaited()) {
    if (const auto grant = machine.take(place)) return *grant;
  }
  if (deadline.is_try()) return not_free_in_time(object);
  if (may_overtake) {
    if (const auto grant = take_soon(object, deadline, [] { return false; })) return *grant;
  }
  PASSEL_TRY(const std::uint32_t number, object.arena().claim_waiter(place, this_thread()));
  if (!step(object, PermitMachine::Arrive{number}, deadline)) {
    object.arena().free_waiter(number);
    return not_free_in_time(object);
  }
  if (as == WaitsAs::thread) {
    if (auto refusal = refused_by_circle(object, number)) return *std::move(refusal);
  }
  return await_permit(object, number, deadline);
}

bool release_permit(SyncObject& object, const Grant& grant) {
  PermitMachine machine = machine_of(object);
  if (!machine.is_awaited() || is_called_for(machine)) {
    const bool given = machine.give(grant);
    if (given) serve_line(object, machine);
    if (given || !machine.is_row()) return given;
  }
  bool given = false;
  step(object, PermitMachine::Release{grant, &given}, Deadline::never());
  return given;
}

bool release_any_permit(SyncObject& object) {
  PermitMachine machine = machine_of(object);
  if (!machine.is_awaited() || is_called_for(machine)) {
    const bool given = machine.give_any(object.place());
    if (given) serve_line(object, machine);
    if (given || !machine.is_row()) return given;
  }
  bool given = false;
  step(object, PermitMachine::ReleaseAny{object.place(), &given}, Deadline::never());
  return given;
}

bool release_owned_permits(SyncObject& object, std::uint64_t n) {
  bool given = false;
  step(object, PermitMachine::ReleaseMany{n, object.place(), &given}, Deadline::never());
  return given;
}

bool release_counted_permits(SyncObject& object, std::uint64_t n) {
  PermitMachine machine = machine_of(object);
  if (!machine.give_counted(n)) return false;
  serve_line(object, machine);
  return true;
}

}  // namespace passel::inline v0::detail
