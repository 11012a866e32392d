// Layer pool: how pools, tasks and maps are asked for: options, initializers, callbacks.
#pragma once

#include <passel/detail/pool_input.hpp>
#include <passel/process.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// What every worker runs once before its first task, replacements too (Python's `initializer` and
/// `initargs`).
///
///     passel::Pool::start({.initializer = passel::PoolInitializer::with<open_log>("crawl.log")})
///     passel::Pool::start({.initializer = [] { warm_up(); }})
class PoolInitializer {
 public:
  PoolInitializer() = default;
  template <class L>
  requires(std::is_class_v<L> && !std::is_same_v<L, PoolInitializer>) PoolInitializer(L)
      : PoolInitializer{bound<L>()} {
    static_assert(detail::StatelessCallable<L>,
                  "passel: a lambda with captures cannot travel to another process: use "
                  "PoolInitializer::with<function> "
                  "and pass what it captures as arguments");
  }
  /// The function `F`, called with copies of these arguments.
  template <auto F, class... A>
  [[nodiscard]] static PoolInitializer with(A&&... args) {
    return bound<detail::FunctionTarget<F>>(std::forward<A>(args)...);
  }

 private:
  friend class Pool;
  template <class Target, class... A>
  static PoolInitializer bound(A&&... args) {
    using Stored = detail::task_arguments<Target, A...>;
    PoolInitializer made;
    made.args_ = detail::encode_arguments<Stored>(std::forward<A>(args)...);
    made.task_ = detail::Task<Target, Stored>::id();
    return made;
  }
  std::optional<Result<detail::Encoded>> args_;
  detail::TaskId task_;
};

/// What the death of a worker that nobody asked for costs. One that is ended because its task is
/// over its time or was stopped, and one that uses too much memory between two tasks, is replaced
/// in any case.
enum class WorkerDeath {
  costs_its_task,   ///< worker_lost for the task it was running, and the worker is replaced
  breaks_the_pool,  ///< that, and pool_failed for everything else, now and from now on (Python's
                    ///< BrokenProcessPool)
};

/// Settings of a pool. The first four are Python's Pool arguments, `method` its context.
struct PoolOptions {
  std::optional<int> processes{};  ///< empty: usable_cpu_count()
  /// Workers that are there when there is nothing to do, from 1 to `processes`. More are started
  /// one after the other while tasks wait, and leave when they had none for `idle_timeout`. Empty:
  /// all.
  std::optional<int> min_processes{};
  std::chrono::milliseconds idle_timeout{10'000};
  PoolInitializer initializer{};
  std::optional<int>
      maxtasksperchild{};  ///< a worker is replaced after so many tasks (a chunk of a map is one)
  std::string name{};      ///< workers are called NAME-1, ...; empty: "ForkServerPoolWorker-1", ...
  std::optional<StartMethod> method{};  ///< empty: start_method()
  WorkerDeath on_worker_death = WorkerDeath::costs_its_task;
  int max_restarts = 3;  ///< deaths outside a task within restart_window that are made good
  std::chrono::milliseconds restart_window{5'000};
  std::chrono::milliseconds start_timeout{
      60'000};  ///< until a new worker must have run its initializer
  std::chrono::milliseconds stop_grace{5'000};  ///< until a worker that was told to leave is killed
  /// Largest argument list or result in bytes, at most 1 GiB.
  std::size_t max_message = std::size_t{64} << 20;
  /// Calls that may be unanswered at a time (a map is one, imap has its window instead); then
  /// submit waits, try_submit refuses. A cancelled one counts until its turn comes; tasks of the
  /// pool may always call it. 0: any number.
  std::size_t max_pending = 0;
  /// A worker that uses more memory of its own than this, in bytes, is ended, and its task is lost
  /// with the cause out_of_memory. Looked at every 100 ms. 0: no limit.
  std::size_t max_memory = 0;
  /// A worker that uses more than this, in bytes, is replaced between two tasks. 0: never.
  std::size_t recycle_memory = 0;
  /// Lines of a worker's stderr that are kept for WorkerLost::last_lines. Its stderr is then a pipe
  /// to this process, which passes on what its own stderr takes without waiting. 0: it is that of
  /// this process.
  std::size_t stderr_lines = 0;
  /// CPUs that workers may use: the worker of number i (this_task::worker_index) those of entry i,
  /// counted from the start again when there are fewer entries. Empty: all that this process may.
  std::vector<std::vector<int>> cpus{};
  /// Added to the nice level of workers: above 0 they give way to other processes.
  int nice = 0;
  /// A task that takes longer is told of by a warning in the log, once: its name, age and worker,
  /// and whether that computes or where it sleeps. 0: never.
  std::chrono::milliseconds warn_after{0};
  /// A signal at which workers write the stack of the thread that gets it to stderr and go on (as
  /// Python's faulthandler.register); they get it with that warning, too. 0: none. Names of
  /// functions need an executable linked with -rdynamic, else addr2line knows them.
  int stack_signal = 0;
  /// Tasks that cost their last worker, kept for Pool::dead_letters; the oldest goes first.
  std::size_t max_dead_letters = 100;
};

/// What makes a task be tried again, as far as its attempts allow.
enum class RetryOn {
  worker_lost,  ///< the death of its worker
  any_error,    ///< that, and an exception or an error that it returns
};

/// Settings of one task.
///
///     pool.submit<fetch>({.deadline = 10s, .attempts = 3, .backoff = 100ms}, url)
///
/// At its deadline, or over its limit of time, the future is Errc::timeout; a task that runs then
/// is asked to stop (this_task::stop_requested), after `grace` its worker gets SIGTERM, after twice
/// that SIGKILL, and is replaced. The same happens on Future::request_stop, where the answer of a
/// task that ends in time still counts, and is Errc::cancelled otherwise. A task that is over its
/// time is not tried again.
struct TaskOptions {
  std::optional<std::chrono::nanoseconds>
      deadline{};                       ///< from now to its end, waiting and all attempts included
  unsigned attempts = 1;                ///< how many workers may die of it before its future fails
  std::chrono::nanoseconds backoff{0};  ///< before the second attempt; doubled for each further one
  RetryOn retry_on = RetryOn::worker_lost;
  int priority = 0;  ///< the highest goes first, equals in the order of submitting
  std::optional<std::chrono::nanoseconds> time_limit{};  ///< for one attempt, from its start
  std::chrono::nanoseconds grace{std::chrono::seconds{1}};
  std::string name{};  ///< in errors and statistics; empty: the function's
};

/// Settings of a stream.
///
///     pool.stream<pages>({.window = 8, .task = {.deadline = 10s}}, url)
///
/// Time in which the task waits for its reader counts as its own.
struct StreamOptions {
  static constexpr std::size_t most_window = 128;
  std::size_t window = 64;  ///< items that may be sent and not taken yet; 1 to most_window
  TaskOptions task{};       ///< for worker processes; threads have none of these
};

/// How far a map has come.
struct PoolProgress {
  std::size_t done = 0;  ///< items with a result or an error
  std::size_t total = 0;
};

/// Settings of a map. Those it shares with TaskOptions count for each chunk; `deadline` counts for
/// the whole map, and `time_limit` for each item.
struct MapOptions {
  /// Items in one message; 0: len / (4 * processes) for map, rounded up, and 1 for imap and for
  /// maps with a time_limit or with retries of any error.
  std::size_t chunksize = 0;
  /// For imap: items that may be read ahead of those that have been taken, at least a chunk. 0: as
  /// many as keep the workers busy, by what tasks take.
  std::size_t window = 0;
  unsigned attempts = 1;
  std::chrono::nanoseconds backoff{0};
  RetryOn retry_on = RetryOn::worker_lost;
  int priority = 0;
  std::optional<std::chrono::nanoseconds> deadline{};
  std::optional<std::chrono::nanoseconds> time_limit{};
  std::chrono::nanoseconds grace{std::chrono::seconds{1}};
  std::string name{};
  /// Called for each item that is done, where callbacks of the pool's futures run (see Pool), and
  /// as quick. For map, starmap and their async forms.
  std::function<void(PoolProgress)> progress{};
};

/// Python's `callback` and `error_callback`: one of them runs once, where callbacks of futures
/// run (see Pool), before the result is ready; neither for a call that was cancelled while it
/// waited.
///
///     pool.apply_async<fetch>(passel::Callbacks{[](const Page& page) { ... },
///                                               [](const passel::Error& error) { ... }}, url)
template <class C, class E = detail::NoCallback>
class Callbacks {
 public:
  /// `callback(value)` (or `callback()`), and `error_callback(error)`.
  explicit Callbacks(C callback, E error_callback = {})
      : callback_{std::move(callback)}, error_callback_{std::move(error_callback)} {}

  template <class R>
  void operator()(const Result<R>& result) noexcept {
    try {
      if (result.is_err()) {
        error_callback_(result.error());
      } else if constexpr (std::is_void_v<R>) {
        callback_();
      } else {
        callback_(*result);
      }
    } catch (...) {
      // As with Future::on_done: a failure that nobody waits for.
      detail::report_background_error(detail::current_exception_error());
    }
  }

 private:
  C callback_;
  [[no_unique_address]] E error_callback_;
};

namespace detail {

/// The terms of a job, or nothing when they are the usual ones. `share`: items in one task.
template <class Options>
std::unique_ptr<PoolTerms> terms_of(const Options& options, std::size_t share) {
  auto terms = std::make_unique<PoolTerms>();
  terms->attempts = options.attempts;
  terms->backoff = options.backoff;
  terms->retry_failures = options.retry_on == RetryOn::any_error;
  terms->priority = options.priority;
  if (options.deadline) terms->deadline = Deadline::after(*options.deadline).when();
  if (options.time_limit)
    terms->limit = *options.time_limit * static_cast<std::int64_t>(std::max<std::size_t>(share, 1));
  terms->grace = options.grace;
  terms->name = options.name;
  return terms;
}

/// The terms with the job's place among the calls that may be unanswered, if it has one.
inline std::unique_ptr<PoolTerms> with_ticket(std::unique_ptr<PoolTerms> terms,
                                              std::shared_ptr<void> ticket) {
  if (ticket == nullptr) return terms;
  if (!terms) terms = std::make_unique<PoolTerms>();
  terms->ticket = std::move(ticket);
  return terms;
}

/// How many chunks of an imap may be ahead of what has been taken: those of its window, if it has
/// one.
inline std::size_t chunks_ahead(const MapOptions& options, std::size_t chunk, std::size_t usual) {
  return options.window == 0 ? usual : std::max<std::size_t>(options.window / chunk, 1);
}

/// The size of a chunk that was asked for, or the one that its other options need; 0: by length.
inline std::size_t chunk_size_of(const MapOptions& options) {
  if (options.chunksize != 0) return options.chunksize;
  return options.time_limit || options.retry_on == RetryOn::any_error ? 1 : 0;
}

}  // namespace detail
}  // namespace passel::inline v0
