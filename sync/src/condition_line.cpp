// Layer sync: standing in the line of a condition, leaving it, being notified.
#include "condition_line.hpp"

#include "condition_machine.hpp"
#include "mend.hpp"

namespace passel::inline v0::detail {
namespace {

ObjectHeader& lock_of(SyncArena& arena, ObjectHeader& condition) noexcept {
  return arena.object(
      reinterpret_cast<const ConditionState*>(SyncArena::state_of(condition))->lock);
}

/// A step that needs the line of the condition alone.
template <class Event>
void step(SyncObject& condition, const Event& event) noexcept {
  WakeList none;
  SyncArena& arena = condition.arena();
  ObjectHeader& header = condition.header();
  if (!arena.lock_line(header, Deadline::never())) return;
  ConditionMachine{arena, header, lock_of(arena, header)}.step(event, {}, none);
  header.line.unlock();
}

void notify(SyncArena& arena, ObjectHeader& condition, std::size_t count,
            WakeList& wakes) noexcept {
  ObjectHeader& lock = lock_of(arena, condition);
  if (!arena.lock_line(condition, Deadline::never())) return;
  if (arena.lock_line(lock, Deadline::never())) {
    ConditionMachine{arena, condition, lock}.step(ConditionMachine::Notify{count},
                                                  Deadline::Clock::now(), wakes);
    lock.line.unlock();
  }
  condition.line.unlock();
}

}  // namespace

void stand_in_condition(SyncObject& condition, std::uint32_t waiter) noexcept {
  step(condition, ConditionMachine::Arrive{waiter});
}

bool leave_condition(SyncObject& condition, std::uint32_t waiter) noexcept {
  bool was_waiting = false;
  step(condition, ConditionMachine::Leave{waiter, &was_waiting});
  return was_waiting;
}

void notify_condition(SyncObject& condition, std::size_t count) noexcept {
  WakeList wakes;
  notify(condition.arena(), condition.header(), count, wakes);
  condition.arena().perform(wakes);
}

void mend_condition(SyncArena& arena, ObjectHeader& header, const Loss& loss) noexcept {
  WakeList none;
  ConditionMachine{arena, header, lock_of(arena, header)}.step(ConditionMachine::Lost{loss.place},
                                                               {}, none);
}

void pass_on_notify(SyncArena& arena, std::uint32_t condition, WakeList& wakes) noexcept {
  ObjectHeader& header = arena.object(condition);
  const auto kind = static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed));
  if (kind == SyncKind::condition) notify(arena, header, 1, wakes);
}

void rebuild_condition(SyncArena& arena, ObjectHeader& header) noexcept {
  ConditionMachine{arena, header, lock_of(arena, header)}.rebuild();
}

}  // namespace passel::inline v0::detail
