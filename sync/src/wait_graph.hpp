// Layer sync: finding circles of threads that wait for each other's locks.
#pragma once

#include "arena.hpp"

#include <passel/detail/sync_object.hpp>
#include <passel/lock_report.hpp>

#include <optional>

namespace passel::inline v0::detail {

/// The circle that `waiter`, just come to stand in line for `object`, closes: who waits for what,
/// held by whom, the new one first. Looks at locks of one arena. None when there is no memory to
/// look.
[[nodiscard]] std::optional<DeadlockReport> find_circle(SyncObject& object, std::uint32_t waiter);
/// The same, when it was not told of: two may come to stand in line at the same time, and close one
/// circle. The table of the arena is locked.
[[nodiscard]] std::optional<DeadlockReport> find_untold_circle(SyncObject& object,
                                                               std::uint32_t waiter);
/// Tells whoever wants to know.
void report_circle(const DeadlockReport& report);

}  // namespace passel::inline v0::detail
