// Layer pool: ThreadPoolExecutor, calls in threads of this process whose results come as futures.
#pragma once

#include <passel/detail/executor_face.hpp>
#include <passel/detail/future_task.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace passel::inline v0 {

/// Settings of a ThreadPoolExecutor; the first three are Python's arguments.
struct ThreadPoolExecutorOptions {
  std::optional<int> max_workers{};  ///< empty: usable_cpu_count() + 4, at most 32
  std::string thread_name_prefix{};  ///< threads are PREFIX_0, ...; empty: "ThreadPoolExecutor-N"
  /// Runs in every thread before its first task, perhaps in several at once. When it throws, the
  /// executor is broken.
  std::function<void()> initializer{};
  /// How many threads may be started beyond max_workers for tasks that wait for futures.
  unsigned max_spare_threads = detail::usual_spare_threads;
  /// When an exception ends the executor's scope, what has not started is cancelled.
  bool cancel_on_exception = false;
  /// Calls that may be unanswered at a time; then submit waits (one of its own tasks may always),
  /// try_submit refuses. 0: any number.
  std::size_t max_pending = 0;
  /// Its destructor, and so the end of the program, does not wait for a task that runs, and cancels
  /// what waits. The task ends by itself or with the process; it must not use what is gone by then,
  /// static objects among them.
  bool daemon = false;
};

/// Runs calls in threads of its own. Any callable with captures, arguments and results that can be
/// moved; nothing is encoded or copied on the way.
///
///     auto executor = passel::ThreadPoolExecutor::start({.max_workers = 4}).unwrap();
///     passel::Future<Page> page = executor.submit(fetch, url);
///     for (auto& count : executor.map(count_words, pages).unwrap()) ...
///     executor.shutdown().unwrap();      // or let its destructor do that
///
/// A thread is started when a task is submitted and none is idle, up to max_workers; tasks start in
/// the order of submitting. What a task returns is its future's value; a returned Result or Future
/// is flattened; a throw is task_failed with a ThrownError, so that `rethrow` gives the very
/// exception. The callable and its arguments are destroyed before the future is done.
///
/// A callable that takes a std::stop_token before its arguments is given one, which
/// Future::request_stop() stops:
///
///     auto f = executor.submit([](std::stop_token stop, int n) { while (!stop.stop_requested())
///     ... }, 3);
///
/// A task may submit to its own executor and wait for the result: a task that waits for a future
/// lends its place to another one, in a spare thread if need be, so that this cannot deadlock as it
/// does in Python; beyond max_spare_threads a warning is logged. After such a wait a task more than
/// max_workers may run for a moment.
///
/// When the initializer throws, what waits and what is submitted later fails as `broken` with its
/// text (BrokenThreadPool), and the threads end. A submit that finds no thread and cannot start one
/// is no_space.
///
/// Safe from any thread, also from its tasks; submit and map wait for room only (`max_pending`). A
/// call that is refused has not moved from its arguments, unless a shutdown in another thread came
/// in between. The destructor is shutdown() and may so wait for tasks; in a task of its own it does
/// not. Needs no Runtime. Semantics: Python's concurrent.futures.ThreadPoolExecutor.
class PASSEL_API ThreadPoolExecutor : public detail::ExecutorFace<ThreadPoolExecutor> {
 public:
  using Options = ThreadPoolExecutorOptions;

  /// Errors: invalid_argument (max_workers < 1). No thread is started yet.
  [[nodiscard]] static Result<ThreadPoolExecutor> start(Options options = {});
  ThreadPoolExecutor(ThreadPoolExecutor&&) noexcept = default;
  ThreadPoolExecutor& operator=(ThreadPoolExecutor&& other) noexcept;
  ~ThreadPoolExecutor();

  /// No new tasks; waits, unless told otherwise, until all submitted ones are done and the threads
  /// have ended. May be repeated. Without `wait` it returns at once, the work goes on, and the
  /// destructor waits for it. Error: deadlock when one of its own tasks asks to wait.
  Result<void> shutdown(ShutdownOptions options = {});
  /// The same, waiting at most `limit`: then timeout, and what runs goes on.
  template <class Rep, class Period>
  Result<void> shutdown_for(std::chrono::duration<Rep, Period> limit,
                            ShutdownOptions options = {}) {
    return shutdown(options, detail::Deadline::after(limit));
  }

  [[nodiscard]] ThreadPoolStats stats() const { return crew_->stats(); }
  [[nodiscard]] unsigned max_workers() const noexcept { return crew_->size(); }

 private:
  friend class detail::ExecutorFace<ThreadPoolExecutor>;
  friend class detail::StreamFace<ThreadPoolExecutor>;
  friend class detail::SubmitFace<ThreadPoolExecutor>;
  ThreadPoolExecutor(std::shared_ptr<detail::ThreadCrew> crew, detail::UnwindWatch unwind)
      : crew_{std::move(crew)}, unwind_{unwind} {}
  Result<void> shutdown(ShutdownOptions options, detail::Deadline deadline);

  template <class F, class... A>
  [[nodiscard]] auto submit_call(detail::Deadline deadline, const TaskOptions*, F&& function,
                                 A&&... args) {
    return detail::submit_task(*crew_, deadline, std::forward<F>(function),
                               std::forward<A>(args)...);
  }
  template <class F, class... A>
  [[nodiscard]] auto stream_call(detail::Deadline deadline, const StreamOptions& options,
                                 F&& function, A&&... args) {
    return detail::stream_from_threads(*crew_, deadline, options, std::forward<F>(function),
                                       std::forward<A>(args)...);
  }
  template <class F, class... Ranges>
  [[nodiscard]] auto map_call(F&& function, const ExecutorMapOptions& options, Ranges&&... ranges) {
    return detail::map_calls(
        [crew = crew_] { return crew->refusal(); },
        [crew = crew_](auto&&... call) {
          return detail::future_of(detail::submit_task(*crew, detail::Deadline::never(),
                                                       std::forward<decltype(call)>(call)...));
        },
        std::forward<F>(function), options, std::forward<Ranges>(ranges)...);
  }

  std::shared_ptr<detail::ThreadCrew> crew_;
  detail::UnwindWatch unwind_;
};

}  // namespace passel::inline v0
