// Layer pool: Pool, worker processes that run tasks, with the surface of Python's
// multiprocessing.Pool.
#pragma once

#include <passel/detail/pool_input.hpp>
#include <passel/pool_results.hpp>
#include <passel/process.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
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

/// Settings of a pool. The first four are Python's Pool arguments, `method` its context.
struct PoolOptions {
  std::optional<int> processes{};  ///< empty: usable_cpu_count()
  PoolInitializer initializer{};
  std::optional<int>
      maxtasksperchild{};  ///< a worker is replaced after so many tasks (a chunk of a map is one)
  std::string name{};      ///< workers are called NAME-1, ...; empty: "ForkServerPoolWorker-1", ...
  std::optional<StartMethod> method{};  ///< empty: start_method()
  int max_restarts = 3;  ///< deaths outside a task within restart_window that are made good
  std::chrono::milliseconds restart_window{5'000};
  std::chrono::milliseconds start_timeout{
      60'000};  ///< until a new worker must have run its initializer
  std::chrono::milliseconds stop_grace{5'000};  ///< until a worker that was told to leave is killed
  /// Largest argument list or result in bytes, at most 1 GiB.
  std::size_t max_message = std::size_t{64} << 20;
};

/// Settings of one task.
struct TaskOptions {
  unsigned attempts = 1;  ///< how many workers may die of it before its future fails
};

/// Settings of a map.
struct MapOptions {
  std::size_t chunksize =
      0;  ///< items in one message; 0: len / (4 * processes) for map, rounded up, and 1 for imap
  unsigned attempts = 1;  ///< for each chunk
};

/// Worker processes that run tasks. A task is a function (`pool.submit<fib>(30)`) or a lambda
/// without captures (`pool.submit([](int n) { return n * n; }, 4)`); arguments and results travel
/// by `codec<T>`.
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
/// | cancel() before it is sent | cancelled; it never runs                                       |
/// | terminate() first          | cancelled                                                      |
/// | workers keep failing       | pool_failed, naming the last worker's end                      |
///
/// A worker that dies costs only the task it was running: what it had finished is kept, what it had
/// not started goes to another worker, and it is replaced. Deaths outside of a task (in the
/// initializer, while idle) are made good `max_restarts` times within `restart_window`, with
/// growing pauses; the next one fails the pool.
///
/// Safe from any thread of the process that started it. Callbacks of futures run on the pool's own
/// reading thread: while one waits, no result arrives, so they must be quick and must not wait for
/// the pool (Python's rule too). A Pool cannot be sent to another process. Its destructor
/// terminates and joins, as leaving Python's `with Pool()` does; it must be gone before the
/// Runtime. Semantics: Python's multiprocessing.Pool, apart from its hangs when a worker dies.
class PASSEL_API Pool {
 public:
  /// Starts the workers and returns without waiting for them to be ready. Errors: invalid_argument
  /// (processes < 1, maxtasksperchild < 1, max_message out of range), invalid_state (no Runtime; a
  /// daemon process may not have children), and whatever kept the first worker from starting; then
  /// none is left running.
  [[nodiscard]] static Result<Pool> start(PoolOptions options = {});
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool&& other) noexcept;
  ~Pool();

  /// Has a worker run the task, and returns at once. An error of the submission itself
  /// (invalid_state "Pool not running", an argument that cannot be encoded) is the future's error.
  /// Python's `apply_async` and `Executor.submit`.
  template <auto F, class... A>
  requires(!detail::first_is<TaskOptions, A...>) [[nodiscard]] auto submit(A&&... args) {
    return submit_target<detail::FunctionTarget<F>>(TaskOptions{}, std::forward<A>(args)...);
  }
  template <auto F, class... A>
  [[nodiscard]] auto submit(TaskOptions options, A&&... args) {
    return submit_target<detail::FunctionTarget<F>>(options, std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires(std::is_class_v<L> && !std::is_same_v<L, TaskOptions>)
      [[nodiscard]] auto submit(L, A&&... args) {
    return submit_target<detail::checked_task<L>>(TaskOptions{}, std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires std::is_class_v<L>
  [[nodiscard]] auto submit(TaskOptions options, L, A&&... args) {
    return submit_target<detail::checked_task<L>>(options, std::forward<A>(args)...);
  }

  /// submit and wait: the result or the error. Python's `apply`.
  template <auto F, class... A>
  [[nodiscard]] auto apply(A&&... args) {
    return submit<F>(std::forward<A>(args)...).get();
  }
  template <class L, class... A>
  requires std::is_class_v<L>
  [[nodiscard]] auto apply(L target, A&&... args) {
    return submit(target, std::forward<A>(args)...).get();
  }

  /// The results of the task for every item of `range`, in its order. The whole range is read
  /// first; waits until all tasks are done. Error: that of the first item (in the order of the
  /// range) that has one, and only after all others have been run too; the pool is usable
  /// afterwards. An exception of the range itself passes through.
  ///
  ///     auto lengths = pool.map<length_of>(words, {.chunksize = 100});
  template <auto F, class Range>
  [[nodiscard]] auto map(Range&& range, MapOptions options = {}) {
    return map_async<F>(std::forward<Range>(range), options).get();
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto map(L target, Range&& range, MapOptions options = {}) {
    return map_async(target, std::forward<Range>(range), options).get();
  }
  /// map without waiting for the results.
  template <auto F, class Range>
  [[nodiscard]] auto map_async(Range&& range, MapOptions options = {}) {
    return map_target<detail::FunctionTarget<F>, false>(range, options);
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto map_async(L, Range&& range, MapOptions options = {}) {
    return map_target<detail::checked_task<L>, false>(range, options);
  }
  /// map over tuples (or pairs), each one the arguments of a call.
  template <auto F, class Range>
  [[nodiscard]] auto starmap(Range&& range, MapOptions options = {}) {
    return starmap_async<F>(std::forward<Range>(range), options).get();
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto starmap(L target, Range&& range, MapOptions options = {}) {
    return starmap_async(target, std::forward<Range>(range), options).get();
  }
  template <auto F, class Range>
  [[nodiscard]] auto starmap_async(Range&& range, MapOptions options = {}) {
    return map_target<detail::FunctionTarget<F>, true>(range, options);
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto starmap_async(L, Range&& range, MapOptions options = {}) {
    return map_target<detail::checked_task<L>, true>(range, options);
  }

  /// The results one by one in the order of `range`, which is read only as far as workers need it;
  /// see PoolResults. An lvalue range is used in place and must outlive the results. Error:
  /// invalid_state "Pool not running".
  template <auto F, class Range>
  [[nodiscard]] auto imap(Range&& range, MapOptions options = {}) {
    return stream_target<detail::FunctionTarget<F>>(std::forward<Range>(range), options, true);
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto imap(L, Range&& range, MapOptions options = {}) {
    return stream_target<detail::checked_task<L>>(std::forward<Range>(range), options, true);
  }
  /// The same in the order in which tasks finish.
  template <auto F, class Range>
  [[nodiscard]] auto imap_unordered(Range&& range, MapOptions options = {}) {
    return stream_target<detail::FunctionTarget<F>>(std::forward<Range>(range), options, false);
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto imap_unordered(L, Range&& range, MapOptions options = {}) {
    return stream_target<detail::checked_task<L>>(std::forward<Range>(range), options, false);
  }

  /// No new tasks; those submitted are still done, then the workers leave. Never waits.
  void close();
  /// Stops the workers at once (SIGTERM, SIGKILL half a second later); what is not finished fails
  /// as cancelled. Never waits.
  void terminate();
  /// Waits until all workers have ended, after close or terminate. May be repeated. Error:
  /// invalid_state "Pool is still running".
  Result<void> join() { return handle_->join(detail::Deadline::never()); }
  /// The same, waiting at most `limit`. Errors: as join, timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) {
    return handle_->join(detail::Deadline::after(limit));
  }

  [[nodiscard]] PoolStats stats() const { return handle_->stats(); }
  [[nodiscard]] unsigned processes() const noexcept { return handle_->processes(); }

 private:
  explicit Pool(std::shared_ptr<detail::PoolHandle> handle) : handle_{std::move(handle)} {}

  template <class Target, class... A>
  auto submit_target(TaskOptions options, A&&... args) {
    using Stored = detail::task_arguments<Target, A...>;
    using Chunk = detail::ChunkTask<Target, Stored>;
    using R = typename Chunk::result;
    if (auto refusal = handle_->refusal()) return Future<R>::of(*std::move(refusal));
    detail::EncodingScratch scratch;
    detail::ChunkWriter writer{scratch.encoded};
    const auto written = detail::ArgumentList<Stored>::write(writer, std::forward<A>(args)...);
    if (!written) return Future<R>::of(written.error());
    auto job = std::make_unique<detail::SubmitJob<R>>(Chunk::id(), &detail::task_name<Target>,
                                                      scratch.encoded);
    job->set_attempts(options.attempts);
    auto future = job->future();
    handle_->submit(std::move(job));
    return future;
  }

  template <class Target, bool star, class Range>
  auto map_target(Range& range, MapOptions options) {
    using Shape = detail::MapShape<Target, star, detail::item_type<Range>>;
    using Job = detail::MapJob<typename Shape::result>;
    using Answer = typename Job::Answer;
    if (auto refusal = handle_->refusal()) return Future<Answer>::of(*std::move(refusal));
    auto args = detail::encode_range<Shape>(range, options.chunksize, handle_->processes());
    if (!args) return Future<Answer>::of(args.error());
    auto job =
        std::make_unique<Job>(Shape::Chunk::id(), &detail::task_name<Target>, *std::move(args));
    job->set_attempts(options.attempts);
    auto future = job->future();
    handle_->submit(std::move(job));
    return future;
  }

  template <class Target, class Range>
  auto stream_target(Range&& range, MapOptions options, bool ordered) -> Result<
      PoolResults<typename detail::MapShape<Target, false, detail::item_type<Range>>::result>> {
    using Shape = detail::MapShape<Target, false, detail::item_type<Range>>;
    if (auto refusal = handle_->refusal()) return *std::move(refusal);
    return PoolResults<typename Shape::result>{
        handle_,
        Shape::Chunk::id(),
        &detail::task_name<Target>,
        detail::item_source<Shape>(std::forward<Range>(range)),
        std::max<std::size_t>(options.chunksize, 1),
        options.attempts,
        ordered};
  }

  std::shared_ptr<detail::PoolHandle> handle_;
};

}  // namespace passel::inline v0
