// Layer sync: what each kind of object does when a process that used it is gone.
#pragma once

#include "arena.hpp"

#include <vector>

namespace passel::inline v0::detail {

/// A process that is gone, as the objects it used learn of it.
struct Loss {
  std::uint32_t place = 0;
  std::int32_t pid = 0;
  bool orderly = false;  ///< it had said that it was about to end
};

/// Does it for any object, whose line is locked.
void mend(SyncArena& arena, ObjectHeader& header, const Loss& loss,
          std::vector<Wake>& wakes) noexcept;

// Each is called with the line of the object locked, and adds whom to wake.

/// Lock, RLock and both semaphores: what it held goes back, those of its threads that waited leave.
void mend_permits(SyncArena& arena, ObjectHeader& header, const Loss& loss,
                  std::vector<Wake>& wakes) noexcept;

/// Puts the line in order again after somebody died while he changed it.
void rebuild_line(SyncArena& arena, ObjectHeader& header, std::vector<Wake>& wakes) noexcept;

}  // namespace passel::inline v0::detail
