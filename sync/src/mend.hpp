// Layer sync: what each kind of object does when a process that used it is gone.
#pragma once

#include "arena.hpp"

namespace passel::inline v0::detail {

/// A process that is gone, as the objects it used learn of it.
struct Loss {
  std::uint32_t place = 0;
  std::int32_t pid = 0;
  bool orderly = false;  ///< it had said that it was about to end
};

/// Does it for any object, whose line is locked.
void mend(SyncArena& arena, ObjectHeader& header, const Loss& loss, WakeList& wakes) noexcept;

// Each is called with the line of the object locked, and adds whom to wake.

/// Lock, RLock and both semaphores: what it held goes back, those of its threads that waited leave.
void mend_permits(SyncArena& arena, ObjectHeader& header, const Loss& loss,
                  WakeList& wakes) noexcept;

/// Condition: those of its threads that waited leave.
void mend_condition(SyncArena& arena, ObjectHeader& header, const Loss& loss) noexcept;
/// Somebody was notified by the condition at that chunk and will not go on: the next one is
/// notified in its place. No line is locked.
void pass_on_notify(SyncArena& arena, std::uint32_t condition, WakeList& wakes) noexcept;

/// Whether the process at `place` holds something of the object that goes back when it ends.
[[nodiscard]] bool holds_something(SyncArena& arena, ObjectHeader& header,
                                   std::uint32_t place) noexcept;

/// Barrier: broken when the process waited, or was lost by accident.
void mend_barrier(SyncArena& arena, ObjectHeader& header, const Loss& loss) noexcept;

/// Puts the line in order again after somebody died while he changed it.
void rebuild_line(SyncArena& arena, ObjectHeader& header, WakeList& wakes) noexcept;
/// The same for a condition.
void rebuild_condition(SyncArena& arena, ObjectHeader& header) noexcept;
/// And for a barrier.
void rebuild_barrier(SyncArena& arena, ObjectHeader& header) noexcept;

}  // namespace passel::inline v0::detail
