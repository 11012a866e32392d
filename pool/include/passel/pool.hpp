// Layer pool: Pool, worker processes that run tasks, with the surface of Python's
// multiprocessing.Pool.
#pragma once

#include <passel/detail/pool_calls.hpp>
#include <passel/detail/pool_face.hpp>
#include <passel/pool_options.hpp>
#include <passel/pool_results.hpp>

#include <chrono>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

class Pool;

namespace detail {
class ProcessCrew;
template <>
inline constexpr bool takes_task_options<Pool> = true;

/// Makes a Pool of a handle, and gives its handle.
struct PoolAccess {
  static Pool make(std::shared_ptr<PoolHandle> handle);
  PASSEL_API static std::shared_ptr<PoolHandle> handle(const Pool& pool);
};
}  // namespace detail

/// Python's AsyncResult: a future with its names. `get`, `get_for`, `wait`, `wait_for`, `ready`,
/// `successful`.
template <class T>
using AsyncResult = Future<T>;

/// Worker processes that run tasks. A task is a function (`pool.submit<fib>(30)`) or a lambda
/// without captures (`pool.submit([](int n) { return n * n; }, 4)`); arguments and results travel
/// by `codec<T>`. What it can be asked for is in its base classes, which ThreadPool has, too:
/// submit, stream (detail/submit_face.hpp, stream_face.hpp), apply, map, starmap, imap
/// (pool_face.hpp).
///
///     auto pool = passel::Pool::start({.processes = 4}).unwrap();
///     passel::Future<long> f = pool.submit<fib>(30);
///     std::vector<int> squares = pool.map<square>(std::vector{1, 2, 3}).unwrap();
///     for (auto& page : pool.imap_unordered<fetch>(urls).unwrap()) ...
///     pool.close();
///     pool.join().unwrap();
///
/// | what happens to a task     | its future                                                     |
/// | -------------------------- | -------------------------------------------------------------- |
/// | returns                    | the value; a returned Result<T> is flattened                   |
/// | throws                     | task_failed with RemoteError{type_name, what}                  |
/// | its worker exits, crashes  | worker_lost with WorkerLost{pid, exit_code, signal, task,      |
/// | or is killed               | attempt}; other tasks go on                                    |
/// | message over max_message   | too_large, arguments as well as results                        |
/// | is over its time           | timeout; see TaskOptions                                       |
/// | cancel() before it is sent | cancelled; it never runs                                       |
/// | request_stop()             | the value if it ends in time, cancelled if it was made to end  |
/// | terminate() first          | cancelled                                                      |
/// | workers keep failing       | pool_failed, naming the last worker's end                      |
///
/// A worker that dies costs only the task it was running: what it had finished is kept, what it had
/// not started goes to another worker, and it is replaced. Deaths outside of a task (in the
/// initializer, while idle) are made good `max_restarts` times within `restart_window`, with
/// growing pauses; the next one fails the pool.
///
/// Safe from any thread of the process that started it. Callbacks (of futures, maps, progress) run
/// one at a time on threads of the library, and never inside a call to the pool that is about
/// another task: they may take locks that are held around such calls. While one waits, no result of
/// the pool arrives, perhaps nothing else for this process either, so they must be quick and must
/// not wait for other results (much as in Python). What is refused or cancelled at once is told
/// within the call. A Pool cannot be sent to another process. Its destructor terminates and joins,
/// as leaving Python's `with Pool()` does, and logs a warning when that costs tasks (held last by a
/// callback of a pool, it terminates without waiting); it must be gone before the Runtime.
/// Semantics: Python's multiprocessing.Pool, apart from its hangs when a worker dies.
class PASSEL_API Pool : public detail::PoolFace<Pool> {
 public:
  /// Starts the workers and returns without waiting for them to be ready. Errors: invalid_argument
  /// (processes < 1, maxtasksperchild < 1, max_message out of range), invalid_state (no Runtime; a
  /// daemon process may not have children), and what kept all workers from starting; then none is
  /// left running. With some of them started the pool works, and goes on trying to start the rest.
  [[nodiscard]] static Result<Pool> start(PoolOptions options = {});
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool&& other) noexcept;
  ~Pool();

  /// Another number of workers, or, with min_processes, the most that there may be. New ones start
  /// at once; of too many the idle ones leave, the others when their task is done. Never waits.
  /// Errors: invalid_argument (below 1), invalid_state in a task, and when the pool is closed.
  Result<void> resize(int processes);
  /// No new tasks; those submitted are still done, then the workers leave. Never waits.
  void close();
  /// Stops the workers at once (SIGTERM, SIGKILL half a second later); what is not finished fails
  /// as cancelled. Never waits.
  void terminate();
  /// Waits until all workers have ended, after close or terminate. May be repeated. Errors:
  /// invalid_state "Pool is still running", deadlock in a callback of a pool.
  Result<void> join() { return handle_->join(detail::Deadline::never()); }
  /// The same, waiting at most `limit`. Errors: as join, timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) {
    return handle_->join(detail::Deadline::after(limit));
  }

  /// close and join; when `limit` is over, what is not finished fails as cancelled and the workers
  /// are ended, as by terminate. Every future is done when this returns. In a callback of a pool it
  /// ends them at once and does not wait.
  template <class Rep, class Period>
  PoolShutdown shutdown_for(std::chrono::duration<Rep, Period> limit) {
    return handle_->shutdown(detail::Deadline::after(limit));
  }

  [[nodiscard]] PoolStats stats() const { return handle_->stats(); }
  /// Tasks that cost every worker they were given to, with what they were sent: the last
  /// `max_dead_letters` of them, and no more than `max_message` bytes together.
  [[nodiscard]] std::vector<DeadLetter> dead_letters() const { return handle_->dead_letters(); }
  [[nodiscard]] unsigned processes() const noexcept { return handle_->processes(); }

 private:
  friend struct detail::PoolAccess;
  friend class detail::ProcessCrew;
  friend class detail::PoolFace<Pool>;
  friend class detail::StreamFace<Pool>;
  friend class detail::SubmitFace<Pool>;
  template <class F>
  using Target = detail::checked_task<std::decay_t<F>>;
  explicit Pool(std::shared_ptr<detail::PoolHandle> handle) : handle_{std::move(handle)} {}

  template <class F, class... A>
  [[nodiscard]] auto submit_call(detail::Deadline deadline, const TaskOptions* options, F&&,
                                 A&&... args) {
    return detail::submit_to<Target<F>>(*handle_, deadline, options, detail::NoCallback{},
                                        std::forward<A>(args)...);
  }
  template <class F, class... A>
  [[nodiscard]] auto apply_call(F&&, A&&... args) {
    return detail::future_of(detail::submit_to<Target<F>, detail::Submitter::waits>(
                                 *handle_, detail::Deadline::never(), nullptr, detail::NoCallback{},
                                 std::forward<A>(args)...))
        .get();
  }
  template <class C, class E, class F, class... A>
  [[nodiscard]] auto notify_call(Callbacks<C, E> callbacks, F&&, A&&... args) {
    return detail::future_of(detail::submit_to<Target<F>>(*handle_, detail::Deadline::never(),
                                                          nullptr, std::move(callbacks),
                                                          std::forward<A>(args)...));
  }
  template <class F, class... A>
  [[nodiscard]] auto stream_call(detail::Deadline deadline, const StreamOptions& options, F&&,
                                 A&&... args) {
    return detail::stream_from<Target<F>>(handle_, deadline, options, std::forward<A>(args)...);
  }
  template <bool star, class F, class Range, class Notice>
  [[nodiscard]] auto map_call(detail::Deadline deadline, F&&, Range&& range, Notice notice,
                              const MapOptions& options) {
    return detail::map_to<Target<F>, star>(handle_, deadline, range, options, std::move(notice));
  }
  template <class F, class Range>
  [[nodiscard]] auto imap_call(F&&, Range&& range, const MapOptions& options,
                               detail::ResultOrder order) {
    return detail::imap_from<Target<F>>(handle_, std::forward<Range>(range), options, order);
  }

  std::shared_ptr<detail::PoolHandle> handle_;
};

inline Pool detail::PoolAccess::make(std::shared_ptr<PoolHandle> handle) {
  return Pool{std::move(handle)};
}

}  // namespace passel::inline v0
