// Layer sync: what each kind of object does when a process that used it is gone.
#include "mend.hpp"

#include "permit_machine.hpp"

namespace passel::inline v0::detail {

void mend_permits(SyncArena& arena, ObjectHeader& header, const Loss& loss,
                  std::vector<Wake>& wakes) noexcept {
  PermitMachine machine{arena, header};
  machine.step(PermitMachine::Lost{.place = loss.place, .pid = loss.pid}, Deadline::Clock::now(),
               wakes);
}

void mend(SyncArena& arena, ObjectHeader& header, const Loss& loss,
          std::vector<Wake>& wakes) noexcept {
  switch (static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed))) {
    case SyncKind::lock:
    case SyncKind::rlock:
    case SyncKind::semaphore:
    case SyncKind::bounded_semaphore: mend_permits(arena, header, loss, wakes); break;
    case SyncKind::condition: mend_condition(arena, header, loss); break;
    default: break;
  }
}

void rebuild_line(SyncArena& arena, ObjectHeader& header, std::vector<Wake>& wakes) noexcept {
  switch (static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed))) {
    case SyncKind::lock:
    case SyncKind::rlock:
    case SyncKind::semaphore:
    case SyncKind::bounded_semaphore: PermitMachine{arena, header}.rebuild(wakes); break;
    case SyncKind::condition: rebuild_condition(arena, header); break;
    default: Line{arena, header}.rebuild(); break;
  }
}

}  // namespace passel::inline v0::detail
