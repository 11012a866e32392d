// Layer pool: Pool, worker processes that run tasks, with the surface of Python's
// multiprocessing.Pool.
#pragma once

#include <passel/detail/stream_face.hpp>
#include <passel/pool_options.hpp>
#include <passel/pool_results.hpp>

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

class Pool;

namespace detail {
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
class PASSEL_API Pool : public detail::StreamFace<Pool> {
 public:
  /// Starts the workers and returns without waiting for them to be ready. Errors: invalid_argument
  /// (processes < 1, maxtasksperchild < 1, max_message out of range), invalid_state (no Runtime; a
  /// daemon process may not have children), and what kept all workers from starting; then none is
  /// left running. With some of them started the pool works, and goes on trying to start the rest.
  [[nodiscard]] static Result<Pool> start(PoolOptions options = {});
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool&& other) noexcept;
  ~Pool();

  /// Has a worker run the task, and returns at once, unless `max_pending` calls are unanswered:
  /// then it waits for one of them, except in a callback of this pool. An error of the submission
  /// itself (invalid_state "Pool not running", an argument that cannot be encoded) is the future's
  /// error. Python's `apply_async` and `Executor.submit`.
  template <auto F, class... A>
  requires(!detail::first_is<TaskOptions, A...>) [[nodiscard]] auto submit(A&&... args) {
    return submit_target<detail::FunctionTarget<F>>(nullptr, {}, std::forward<A>(args)...);
  }
  template <auto F, class... A>
  [[nodiscard]] auto submit(const TaskOptions& options, A&&... args) {
    return submit_target<detail::FunctionTarget<F>>(&options, {}, std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires(std::is_class_v<L> && !std::is_same_v<L, TaskOptions>)
      [[nodiscard]] auto submit(L, A&&... args) {
    return submit_target<detail::checked_task<L>>(nullptr, {}, std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires std::is_class_v<L>
  [[nodiscard]] auto submit(const TaskOptions& options, L, A&&... args) {
    return submit_target<detail::checked_task<L>>(&options, {}, std::forward<A>(args)...);
  }
  /// submit without waiting for room: Errc::full when there is none, and then no argument has been
  /// moved from.
  template <auto F, class... A>
  [[nodiscard]] auto try_submit(A&&... args) {
    return submit_in_time<detail::FunctionTarget<F>>(detail::Deadline::now_or_never(),
                                                     std::forward<A>(args)...);
  }
  /// submit, waiting for room at most so long: then Errc::timeout.
  template <auto F, class Rep, class Period, class... A>
  [[nodiscard]] auto submit_for(std::chrono::duration<Rep, Period> wait, A&&... args) {
    return submit_in_time<detail::FunctionTarget<F>>(detail::Deadline::after(wait),
                                                     std::forward<A>(args)...);
  }

  /// submit under Python's name, with or without callbacks.
  template <auto F, class... A>
  [[nodiscard]] auto apply_async(A&&... args) {
    return submit<F>(std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires std::is_class_v<L>
  [[nodiscard]] auto apply_async(L target, A&&... args) {
    return submit(target, std::forward<A>(args)...);
  }
  template <auto F, class C, class E, class... A>
  [[nodiscard]] auto apply_async(Callbacks<C, E> callbacks, A&&... args) {
    return submit_target<detail::FunctionTarget<F>>(nullptr, std::move(callbacks),
                                                    std::forward<A>(args)...);
  }
  template <class C, class E, class L, class... A>
  requires std::is_class_v<L>
  [[nodiscard]] auto apply_async(Callbacks<C, E> callbacks, L, A&&... args) {
    return submit_target<detail::checked_task<L>>(nullptr, std::move(callbacks),
                                                  std::forward<A>(args)...);
  }

  /// submit and wait: the result or the error. Python's `apply`.
  template <auto F, class... A>
  [[nodiscard]] auto apply(A&&... args) {
    return apply_target<detail::FunctionTarget<F>>(std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires std::is_class_v<L>
  [[nodiscard]] auto apply(L, A&&... args) {
    return apply_target<detail::checked_task<L>>(std::forward<A>(args)...);
  }

  /// The results of the task for every item of `range`, in its order. The whole range is read
  /// first; waits until all tasks are done. Error: that of the first item (in the order of the
  /// range) that has one, and only after all others have been run too; the pool is usable
  /// afterwards. An exception of the range itself passes through.
  ///
  ///     auto lengths = pool.map<length_of>(words, {.chunksize = 100});
  template <auto F, class Range>
  [[nodiscard]] auto map(Range&& range, const MapOptions& options = {}) {
    return map_async<F>(std::forward<Range>(range), options).get();
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto map(L target, Range&& range, const MapOptions& options = {}) {
    return map_async(target, std::forward<Range>(range), options).get();
  }
  /// map without waiting for the results.
  template <auto F, class Range>
  [[nodiscard]] auto map_async(Range&& range, const MapOptions& options = {}) {
    return map_target<detail::FunctionTarget<F>, false>(range, options, {});
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto map_async(L, Range&& range, const MapOptions& options = {}) {
    return map_target<detail::checked_task<L>, false>(range, options, {});
  }
  template <auto F, class Range, class C, class E>
  [[nodiscard]] auto map_async(Range&& range, Callbacks<C, E> callbacks,
                               const MapOptions& options = {}) {
    return map_target<detail::FunctionTarget<F>, false>(range, options, std::move(callbacks));
  }
  template <class L, class Range, class C, class E>
  requires std::is_class_v<L>
  [[nodiscard]] auto map_async(L, Range&& range, Callbacks<C, E> callbacks,
                               const MapOptions& options = {}) {
    return map_target<detail::checked_task<L>, false>(range, options, std::move(callbacks));
  }
  /// map over tuples (or pairs), each one the arguments of a call.
  template <auto F, class Range>
  [[nodiscard]] auto starmap(Range&& range, const MapOptions& options = {}) {
    return starmap_async<F>(std::forward<Range>(range), options).get();
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto starmap(L target, Range&& range, const MapOptions& options = {}) {
    return starmap_async(target, std::forward<Range>(range), options).get();
  }
  template <auto F, class Range>
  [[nodiscard]] auto starmap_async(Range&& range, const MapOptions& options = {}) {
    return map_target<detail::FunctionTarget<F>, true>(range, options, {});
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto starmap_async(L, Range&& range, const MapOptions& options = {}) {
    return map_target<detail::checked_task<L>, true>(range, options, {});
  }
  template <auto F, class Range, class C, class E>
  [[nodiscard]] auto starmap_async(Range&& range, Callbacks<C, E> callbacks,
                                   const MapOptions& options = {}) {
    return map_target<detail::FunctionTarget<F>, true>(range, options, std::move(callbacks));
  }
  template <class L, class Range, class C, class E>
  requires std::is_class_v<L>
  [[nodiscard]] auto starmap_async(L, Range&& range, Callbacks<C, E> callbacks,
                                   const MapOptions& options = {}) {
    return map_target<detail::checked_task<L>, true>(range, options, std::move(callbacks));
  }

  /// The results one by one in the order of `range`, which is read only as far as workers need it;
  /// see PoolResults. An lvalue range is used in place and must outlive the results. Error:
  /// invalid_state "Pool not running".
  template <auto F, class Range>
  [[nodiscard]] auto imap(Range&& range, const MapOptions& options = {}) {
    return imap_target<detail::FunctionTarget<F>>(std::forward<Range>(range), options, true);
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto imap(L, Range&& range, const MapOptions& options = {}) {
    return imap_target<detail::checked_task<L>>(std::forward<Range>(range), options, true);
  }
  /// The same in the order in which tasks finish.
  template <auto F, class Range>
  [[nodiscard]] auto imap_unordered(Range&& range, const MapOptions& options = {}) {
    return imap_target<detail::FunctionTarget<F>>(std::forward<Range>(range), options, false);
  }
  template <class L, class Range>
  requires std::is_class_v<L>
  [[nodiscard]] auto imap_unordered(L, Range&& range, const MapOptions& options = {}) {
    return imap_target<detail::checked_task<L>>(std::forward<Range>(range), options, false);
  }

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
  friend class detail::StreamFace<Pool>;
  explicit Pool(std::shared_ptr<detail::PoolHandle> handle) : handle_{std::move(handle)} {}

  template <class Target, class... A>
  auto apply_target(A&&... args) {
    return submit_target<Target, true>(nullptr, detail::NoCallback{}, std::forward<A>(args)...)
        .get();
  }
  template <class Target, bool awaited = false, class Notice = detail::NoCallback, class... A>
  auto submit_target(const TaskOptions* options, Notice notice, A&&... args) {
    using Chunk = detail::ChunkTask<Target, detail::task_arguments<Target, A...>>;
    using R = typename Chunk::result;
    if (auto refusal = handle_->refusal()) return Future<R>::of(*std::move(refusal));
    auto ticket = handle_->admit(detail::Deadline::never());
    if (!ticket) return Future<R>::of(ticket.error());
    return submit_admitted<Target, awaited>(*std::move(ticket), options, std::move(notice),
                                            std::forward<A>(args)...);
  }
  template <class Target, class... A>
  auto submit_in_time(detail::Deadline deadline, A&&... args) {
    using Chunk = detail::ChunkTask<Target, detail::task_arguments<Target, A...>>;
    using Submitted = Result<Future<typename Chunk::result>>;
    if (auto refusal = handle_->refusal()) return Submitted{*std::move(refusal)};
    auto ticket = handle_->admit(deadline);
    if (!ticket) return Submitted{ticket.error()};
    return Submitted{submit_admitted<Target>(*std::move(ticket), nullptr, detail::NoCallback{},
                                             std::forward<A>(args)...)};
  }
  template <class Target, bool awaited = false, class Notice, class... A>
  auto submit_admitted(std::shared_ptr<void> ticket, const TaskOptions* options, Notice notice,
                       A&&... args) {
    using Stored = detail::task_arguments<Target, A...>;
    using Chunk = detail::ChunkTask<Target, Stored>;
    using R = typename Chunk::result;
    detail::EncodingScratch scratch;
    detail::ChunkWriter writer{scratch.encoded};
    const auto written = detail::ArgumentList<Stored>::write(writer, std::forward<A>(args)...);
    if (!written) return Future<R>::of(written.error());
    std::unique_ptr<detail::PoolTerms> terms;
    if (options != nullptr) terms = detail::terms_of(*options, 1);
    auto* const job =
        new detail::SubmitJob<R, Notice>(Chunk::id(), &detail::task_name<Target>, scratch.encoded,
                                         handle_->number(), std::move(notice));
    job->set_terms(detail::with_ticket(std::move(terms), std::move(ticket)));
    Future<R> future = job->future();
    if constexpr (awaited) job->await();
    handle_->submit(std::unique_ptr<detail::PoolJob>{job});
    return future;
  }

  template <class Target, bool star, class Range, class Notice = detail::NoCallback>
  auto map_target(Range& range, const MapOptions& options, Notice notice) {
    using Shape = detail::MapShape<Target, star, detail::item_type<Range>>;
    using Job = detail::MapJob<typename Shape::result, Notice>;
    using Answer = typename Job::Answer;
    if (auto refusal = handle_->refusal()) return Future<Answer>::of(*std::move(refusal));
    auto args =
        detail::encode_range<Shape>(range, detail::chunk_size_of(options), handle_->processes());
    if (!args) return Future<Answer>::of(args.error());
    auto ticket = handle_->admit(detail::Deadline::never());
    if (!ticket) return Future<Answer>::of(ticket.error());
    auto terms = detail::terms_of(options, args->first(1));
    auto job = std::make_unique<Job>(Shape::Chunk::id(), &detail::task_name<Target>,
                                     *std::move(args), std::move(notice));
    if (options.progress) {
      job->set_progress([tell = options.progress](std::size_t done, std::size_t total) {
        tell({.done = done, .total = total});
      });
    }
    return hand_over(std::move(job), std::move(terms), *std::move(ticket));
  }

  template <class Job>
  auto hand_over(std::unique_ptr<Job> job, std::unique_ptr<detail::PoolTerms> terms,
                 std::shared_ptr<void> ticket) {
    job->set_terms(detail::with_ticket(std::move(terms), std::move(ticket)));
    job->on_stop([pool = std::weak_ptr{handle_}, serial = job->serial(),
                  which = static_cast<const detail::PoolJob*>(job.get())] {
      if (const auto present = pool.lock()) present->stop(which, serial);
    });
    auto future = job->future();
    handle_->submit(std::move(job));
    return future;
  }

  template <class F, class... A>
  auto stream_call(const StreamOptions& options, F&&, A&&... args) {
    return detail::stream_from<detail::checked_task<std::decay_t<F>>>(handle_, options,
                                                                      std::forward<A>(args)...);
  }

  template <class Target, class Range>
  auto imap_target(Range&& range, const MapOptions& options, bool ordered) -> Result<
      PoolResults<typename detail::MapShape<Target, false, detail::item_type<Range>>::result>> {
    using Shape = detail::MapShape<Target, false, detail::item_type<Range>>;
    if (auto refusal = handle_->refusal()) return *std::move(refusal);
    const std::size_t chunk = std::max<std::size_t>(options.chunksize, 1);
    return PoolResults<typename Shape::result>{
        handle_,
        Shape::Chunk::id(),
        &detail::task_name<Target>,
        detail::item_source<Shape>(std::forward<Range>(range)),
        chunk,
        *detail::terms_of(options, chunk),
        ordered};
  }

  std::shared_ptr<detail::PoolHandle> handle_;
};

inline Pool detail::PoolAccess::make(std::shared_ptr<PoolHandle> handle) {
  return Pool{std::move(handle)};
}

}  // namespace passel::inline v0
