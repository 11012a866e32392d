// Layer pool: what the processes of this host share, as anybody of the same user may see it.
#pragma once

#include <passel/lock_report.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace passel::inline v0 {

/// A process that uses this library.
struct ProcessReport {
  int pid = 0;
  int root = 0;         ///< the first process of its family
  std::string role;     ///< "main", "guardian", "child"
  std::string name;     ///< as the system knows it: at most 15 characters
  std::string command;  ///< how the program was called
  char state = '?';     ///< as in /proc/PID/stat: R runs, S sleeps, T is stopped, Z is dead
  unsigned threads = 0;
  unsigned descriptors = 0;
  std::uint64_t memory = 0;              ///< resident bytes
  std::chrono::milliseconds cpu{0};      ///< processor time used
  std::chrono::milliseconds running{0};  ///< since it was started
};

/// A Queue or JoinableQueue between processes.
struct QueueReport {
  std::string id;    ///< of the memory it lies in: the same for all who look
  std::string type;  ///< of its items
  std::uint64_t depth = 0;
  std::uint64_t maxsize = 0;  ///< 0: without limit
  std::uint64_t puts = 0;     ///< since it was made
  std::uint64_t bytes = 0;    ///< of memory for its items
  unsigned getters = 0;       ///< that wait for an item
  unsigned putters = 0;       ///< that wait for room
  bool joinable = false;
  std::uint64_t unfinished = 0;  ///< of a joinable one: items without their task_done
  bool shut_down = false;
  std::vector<int> pids;  ///< who has it open
};

/// A thread, or a future, that holds something or waits for it.
struct PartyReport {
  int pid = 0;
  int thread = 0;  ///< kernel thread id; 0: a future, or not known
};

/// A Lock, RLock, Semaphore, BoundedSemaphore, Condition, Event or Barrier between processes.
struct LockReport {
  std::string id;
  std::string kind;  ///< "lock", "rlock", "semaphore", "bounded semaphore", "condition", ...
  std::string name;  ///< empty where it was given none
  std::vector<PartyReport> holders;  ///< of locks, and of permits that belong to their holder
  std::vector<PartyReport> waiters;  ///< who came first stands first. An Event's: its futures
  std::uint64_t token = 0;           ///< of a lock: its fencing token
  std::uint64_t depth = 0;           ///< of an RLock: how often its holder acquired it
  std::uint64_t available = 0;       ///< free permits
  std::string lock;                  ///< of a condition: the id of its lock
  unsigned parties = 0;              ///< of a barrier
  bool is_set = false;               ///< of an event
  bool is_broken = false;            ///< of a barrier
  std::vector<int> pids;             ///< who has a handle of it
};

/// A worker of a Pool or ProcessPoolExecutor.
struct WorkerReport {
  std::string id;
  int owner = 0;            ///< the process whose pool it is
  int pid = 0;              ///< 0: not there yet, or any more
  std::string state;        ///< "starting", "idle", "busy", "retiring"
  std::uint64_t given = 0;  ///< tasks, since the worker started
  std::uint64_t done = 0;
};

/// What there is to see at one moment.
struct HostReport {
  std::vector<ProcessReport> processes;
  std::vector<QueueReport> queues;
  std::vector<LockReport> locks;
  std::vector<WorkerReport> workers;
  std::vector<DeadlockReport> circles;  ///< threads that wait for each other's locks
};

struct InspectOptions {
  int pid = 0;  ///< only the family of this process; 0: every process of this user
};

/// Looks at the processes of this host that use this library, and at the objects they share:
/// queues, locks and their like, workers of pools, circles of threads that wait for each other.
/// It is done from outside, through /proc: the processes need not answer, so it shows what is the
/// matter with one that is stuck or stopped, and costs them nothing. Objects of reach threads lie
/// in memory of their process alone and are not seen; nor are processes of other users, or of
/// another version of this library. What is told is not of one moment: a queue may have moved on
/// while another was read.
///
///     for (const passel::QueueReport& queue : passel::inspect().unwrap().queues)
///       std::cout << queue.type << ' ' << queue.depth << '\n';
///
/// Never waits. Safe from any thread; needs no Runtime. Errors: not_found when `pid` is no process
/// that uses this library; system when /proc cannot be read. (No equivalent in Python; Erlang's
/// observer, or the JDK's jstat.)
[[nodiscard]] PASSEL_API Result<HostReport> inspect(const InspectOptions& options = {});

}  // namespace passel::inline v0
