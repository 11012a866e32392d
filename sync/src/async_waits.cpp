// Layer sync: those who wait for a permit or an event without a thread of their own.
#include "async_waits.hpp"

#include "condition_line.hpp"
#include "event_machine.hpp"
#include "mend.hpp"

#include <passel/detail/misuse.hpp>
#include <passel/detail/quiet_thread.hpp>

#include <thread>

namespace passel::inline v0::detail {
namespace {

std::optional<Grant> grant_of(SyncArena& arena, std::uint32_t number) {
  const Waiter& waiter = arena.waiter(number);
  if (waiter.state.load(std::memory_order_acquire) != waiter_granted) return std::nullopt;
  return grant_of(waiter);
}

void step(SyncObject& object, const auto& event) {
  WakeList wakes;
  if (!object.arena().lock_line(object.header(), Deadline::never())) return;
  PermitMachine{object.arena(), object.header()}.step(event, Deadline::Clock::now(), wakes);
  object.header().line.unlock();
  object.arena().perform(wakes);
}

}  // namespace

std::uint64_t AsyncWaits::add(const std::shared_ptr<SyncObject>& object, PermitCallback done,
                              std::shared_ptr<SyncObject> condition) {
  auto waiter = object->arena().claim_waiter(place_, 0);
  if (!waiter) {
    done(waiter.error());
    return 0;
  }
  object->arena().waiter(*waiter).is_future = 1;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock{mutex_};
    if (!runs_) {
      // The thread keeps both alive and ends with the last wait.
      auto self = shared_from_this();
      auto thread = start_quiet_thread(
          "passel.waits", [self, arena = object->arena_pointer()] { self->run(arena); });
      runs_ = thread.is_ok();
      if (runs_) thread->detach();
    }
    if (runs_) {
      number = next_++;
      try {
        waits_.emplace(number, Wait{.object = object,
                                    .condition = condition,
                                    .waiter = *waiter,
                                    .done = std::move(done)});
      } catch (...) {
        object->arena().free_waiter(*waiter);
        throw;
      }
    }
  }
  if (number == 0) {
    object->arena().free_waiter(*waiter);
    done(Error{Errc::no_space, "no thread can be started"});
    return 0;
  }
  if (condition) {
    stand_in_condition(*condition, *waiter);
  } else if (object->kind() == SyncKind::event) {
    stand_for_event(*object, *waiter);
  } else {
    step(*object, PermitMachine::Arrive{*waiter});
  }
  return number;
}

bool AsyncWaits::cancel(std::uint64_t number) {
  Wait wait;
  {
    const std::lock_guard lock{mutex_};
    const auto found = waits_.find(number);
    if (found == waits_.end()) return false;
    wait = std::move(found->second);
    waits_.erase(found);
  }
  SyncArena& arena = wait.object->arena();
  const bool is_event = wait.object->kind() == SyncKind::event;
  const bool notified = wait.condition && !leave_condition(*wait.condition, wait.waiter);
  if (is_event) {
    leave_event(*wait.object, wait.waiter);
  } else {
    step(*wait.object, PermitMachine::Leave{wait.waiter});
  }
  const auto grant = grant_of(arena, wait.waiter);
  arena.free_waiter(wait.waiter);
  if (notified) {
    WakeList wakes;
    pass_on_notify(arena, arena.chunk_of(wait.condition->header()), wakes);
    arena.perform(wakes);
  }
  if (grant && !is_event) release_unused(*wait.object, *grant);
  // The thread may have nothing left to wait for.
  auto& bell = arena.process(place_).bell;
  bell.fetch_add(1);
  futex_wake(bell, 1, arena.scope());
  return true;
}

// Nodes change hands: that needs no memory, and there is nobody whom its lack could be told.
std::map<std::uint64_t, AsyncWaits::Wait> AsyncWaits::take_granted() {
  std::map<std::uint64_t, Wait> granted;
  for (auto it = waits_.begin(); it != waits_.end();) {
    const auto wait = it++;
    if (grant_of(wait->second.object->arena(), wait->second.waiter)) {
      granted.insert(granted.end(), waits_.extract(wait));
    }
  }
  return granted;
}

void AsyncWaits::run(const std::shared_ptr<SyncArena>& arena) {
  auto& bell = arena->process(place_).bell;
  for (;;) {
    const std::uint32_t rung = bell.load();
    std::map<std::uint64_t, Wait> granted;
    {
      const std::lock_guard lock{mutex_};
      granted = take_granted();
      if (granted.empty() && waits_.empty()) {
        runs_ = false;
        return;
      }
    }
    for (auto& [number, wait] : granted) {
      const auto grant = grant_of(*arena, wait.waiter);
      arena->free_waiter(wait.waiter);
      wait.done(*grant);
    }
    if (granted.empty()) futex_wait(bell, rung, Deadline::never(), arena->scope());
  }
}

std::uint64_t acquire_permit_async(const std::shared_ptr<SyncObject>& object, PermitCallback done) {
  const std::uint32_t place = object->place();
  if (place == nobody) {
    done(too_many_processes());
    return 0;
  }
  PermitMachine machine{object->arena(), object->header()};
  if (!machine.is_awaited()) {
    if (const auto grant = machine.take(place)) {
      done(*grant);
      return 0;
    }
  }
  return object->arena().async_waits(place)->add(object, std::move(done));
}

bool cancel_permit(const std::shared_ptr<SyncObject>& object, std::uint64_t number) {
  const std::uint32_t place = object->place();
  return place != nobody && object->arena().async_waits(place)->cancel(number);
}

}  // namespace passel::inline v0::detail
