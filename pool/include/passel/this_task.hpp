// Layer pool: what a task can ask about itself while it runs in a worker process.
#pragma once

#include <passel/pool.hpp>

#include <optional>
#include <stop_token>

namespace passel::inline v0::this_task {

/// True once the task that this worker process runs should end: it is over its time, or
/// Future::request_stop was called. Cheap enough for every turn of a loop. False outside of a
/// worker. From any thread. Never waits.
///
///     for (const auto& line : lines) {
///       if (passel::this_task::stop_requested()) break;
///       ...
///     }
///
/// A task that does not end gets SIGTERM after the `grace` of its TaskOptions, SIGKILL after twice
/// that.
[[nodiscard]] PASSEL_API bool stop_requested() noexcept;

/// The same as a std::stop_token, for waits that take one (std::condition_variable_any) and for
/// std::stop_callback. The first call starts a thread that waits for the request; it runs the
/// callbacks (without one, when the system has none left, a later call of this does). Outside of a
/// worker: a token for which no stop is possible.
[[nodiscard]] PASSEL_API std::stop_token stop_token();

/// The pool that runs this task, for tasks of its own: all kinds of calls, and their futures. While
/// the task waits for such a future, or for the next result of an imap, its slot is lent to others:
/// nested calls cannot deadlock, not even in a pool of one. Then there are more processes than the
/// pool's number, but no more than that number run tasks, apart from the moment in which a task
/// goes on. The deeper a call is nested, the sooner it is run.
///
///     long total(std::vector<int> parts) {
///       passel::Pool pool = passel::this_task::pool().unwrap();
///       std::vector<long> sums = pool.map<sum_of>(parts).unwrap();
///       ...
///     }
///
/// The first call in a worker must be on the thread of the task; it starts a thread that reads the
/// answers. Only waits of the task's own thread lend the slot. close, terminate and the destructor
/// do nothing to the pool. Calls of a worker that dies are not begun any more. Errors:
/// invalid_state outside of a pool's worker, no_space.
[[nodiscard]] PASSEL_API Result<Pool> pool();

/// Which attempt of the task this is, from 1: greater when workers have died of it, or when an
/// error was tried again. 0 outside of a worker.
[[nodiscard]] PASSEL_API unsigned attempt() noexcept;

/// Number of the worker that runs this task, from 0: each that takes tasks has another one, and the
/// one that replaces it the same, so that it can stand for a device or a file. It is below the
/// number of processes of the pool, unless slots are lent to nested calls: then more have tasks.
/// Empty outside of a worker.
[[nodiscard]] PASSEL_API std::optional<unsigned> worker_index() noexcept;

}  // namespace passel::inline v0::this_task
