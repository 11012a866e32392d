// Layer sync: what each kind of object does when a process that used it is gone.
#include "mend.hpp"

#include "barrier_machine.hpp"
#include "event_machine.hpp"
#include "permit_machine.hpp"

#include <limits>

namespace passel::inline v0::detail {

void mend_permits(SyncArena& arena, ObjectHeader& header, const Loss& loss,
                  WakeList& wakes) noexcept {
  PermitMachine machine{arena, header};
  machine.step(PermitMachine::Lost{.place = loss.place, .pid = loss.pid}, Deadline::Clock::now(),
               wakes);
}

namespace {

/// Threads that sleep at a barrier are no waiters of their own: they sleep on its word.
void wake_all_at(SyncArena& arena, BarrierMachine& machine) noexcept {
  futex_wake(machine.state().word, std::numeric_limits<int>::max(), arena.scope());
}

}  // namespace

void mend_barrier(SyncArena& arena, ObjectHeader& header, const Loss& loss) noexcept {
  BarrierMachine machine{arena, header};
  BarrierMachine::Actions actions;
  machine.step(BarrierMachine::Lost{.place = loss.place, .pid = loss.pid, .orderly = loss.orderly},
               Deadline::Clock::now(), actions);
  // Whatever the step says: it may have died between the end of a round and the wake-up.
  wake_all_at(arena, machine);
}

void rebuild_barrier(SyncArena& arena, ObjectHeader& header) noexcept {
  BarrierMachine machine{arena, header};
  BarrierMachine::Actions actions;
  machine.rebuild(actions);
  wake_all_at(arena, machine);
}

void mend(SyncArena& arena, ObjectHeader& header, const Loss& loss, WakeList& wakes) noexcept {
  switch (static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed))) {
    case SyncKind::lock:
    case SyncKind::rlock:
    case SyncKind::semaphore:
    case SyncKind::bounded_semaphore: mend_permits(arena, header, loss, wakes); break;
    case SyncKind::condition: mend_condition(arena, header, loss); break;
    case SyncKind::event: EventMachine{arena, header}.lose(loss.place, wakes); break;
    case SyncKind::barrier: mend_barrier(arena, header, loss); break;
    default: break;
  }
}

bool holds_something(SyncArena& arena, ObjectHeader& header, std::uint32_t place) noexcept {
  switch (static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed))) {
    case SyncKind::lock:
    case SyncKind::rlock:
    case SyncKind::semaphore:
    case SyncKind::bounded_semaphore: return PermitMachine{arena, header}.is_held_by(place);
    default: return false;
  }
}

void rebuild_line(SyncArena& arena, ObjectHeader& header, WakeList& wakes) noexcept {
  switch (static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed))) {
    case SyncKind::lock:
    case SyncKind::rlock:
    case SyncKind::semaphore:
    case SyncKind::bounded_semaphore: PermitMachine{arena, header}.rebuild(wakes); break;
    case SyncKind::condition: rebuild_condition(arena, header); break;
    case SyncKind::event: EventMachine{arena, header}.rebuild(wakes); break;
    case SyncKind::barrier: rebuild_barrier(arena, header); break;
    default: Line{arena, header}.rebuild(); break;
  }
}

}  // namespace passel::inline v0::detail
