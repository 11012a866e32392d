// Layer sync: what is known about locks: who holds them, who waits, and circles of waiters.
#pragma once

#include <passel/export.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace passel::inline v0 {

/// One thread that waits for a lock which another thread holds.
struct LockWait {
  int waiting_pid = 0;
  int waiting_thread = 0;  ///< kernel thread id
  std::string lock;        ///< its name, or its number where it has none
  int holding_pid = 0;
  int holding_thread = 0;
};

/// Threads that wait for each other in a circle: the first waits for a lock that the second holds,
/// and so on; the last waits for one that the first holds.
struct PASSEL_API DeadlockReport {
  std::vector<LockWait> waits;
  /// "thread 12 of process 10 waits for 'a', held by thread 13 of process 10, which waits for ..."
  [[nodiscard]] std::string to_string() const;
};

/// Has `handler` called whenever a thread of this process closes a circle of waiters with its wait
/// for a Lock or RLock, on that thread, before it waits; an empty function ends that. Circles are
/// found between locks that were made by one process, across all processes that use them. Waits
/// with a deadline count: such a circle opens by itself. Without a handler a circle is written to
/// the log, as a warning. A lock made with `LockOptions::deadlock = OnDeadlock::refuse` gives the
/// one who closes the circle an error besides. Where several close one circle at the same moment,
/// one of them tells of it, and one has the error.
///
///     passel::on_deadlock([](const passel::DeadlockReport& r) { std::cerr << r.to_string(); });
///
/// Safe from any thread. (No equivalent in Python.)
PASSEL_API void on_deadlock(std::function<void(const DeadlockReport&)> handler);

}  // namespace passel::inline v0
