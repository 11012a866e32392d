// Layer pool: ProcessPoolExecutor, calls in worker processes whose results come as futures.
#pragma once

#include <passel/detail/executor_face.hpp>
#include <passel/detail/process_crew.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// Settings of a ProcessPoolExecutor; the first four are Python's arguments, `method` its
/// mp_context.
struct ProcessPoolExecutorOptions {
  std::optional<int> max_workers{};          ///< empty: usable_cpu_count()
  std::optional<StartMethod> method{};       ///< empty: start_method()
  PoolInitializer initializer{};             ///< runs in every worker before its first task
  std::optional<int> max_tasks_per_child{};  ///< a worker is replaced after so many; not with fork
  std::string name{};                        ///< as PoolOptions::name
  WorkerDeath on_worker_death = WorkerDeath::costs_its_task;
  /// When an exception ends the executor's scope, what has not started is cancelled.
  bool cancel_on_exception = false;
  std::size_t max_pending = 0;  ///< as PoolOptions::max_pending
};

class ProcessPoolExecutor;
template <>
inline constexpr bool detail::takes_task_options<ProcessPoolExecutor> = true;

/// Runs calls in worker processes: functions (`submit<fib>(30)`) and lambdas without captures, with
/// arguments and results that travel by `codec<T>`.
///
///     auto executor = passel::ProcessPoolExecutor::start({.max_workers = 4}).unwrap();
///     passel::Future<long> f = executor.submit<fib>(30);
///     for (auto& page : executor.map<parse>(files, {.chunksize = 16}).unwrap()) ...
///
/// The workers are a Pool, with the outcomes of tasks that are listed there. So one that dies costs
/// the task that it was running (worker_lost) and is replaced, where Python gives up everything
/// (BrokenProcessPool); only workers that keep dying outside of tasks break the executor, and then
/// pool_failed names the end of the last one. Who wants Python's way says
/// `.on_worker_death = WorkerDeath::breaks_the_pool`. A chunk of a map is one task.
///
/// All workers are started at once. A task that was handed to a worker, which happens a little
/// ahead, counts as running: cancel() is false then.
///
/// Safe from any thread; submit and map wait for room only (`max_pending`). Calls may have
/// TaskOptions, as with Pool. Callbacks of its futures run where those of a Pool do, and must not
/// wait for the executor. Its destructor is shutdown() and so waits for what was submitted (in such
/// a callback it cannot, and cancels that); it must be gone before the Runtime. Semantics: Python's
/// concurrent.futures.ProcessPoolExecutor.
class PASSEL_API ProcessPoolExecutor : public detail::ExecutorFace<ProcessPoolExecutor> {
 public:
  using Options = ProcessPoolExecutorOptions;

  /// Errors: invalid_argument (max_workers < 1, max_tasks_per_child < 1 or together with the start
  /// method fork), and those of Pool::start.
  [[nodiscard]] static Result<ProcessPoolExecutor> start(Options options = {});
  ProcessPoolExecutor(ProcessPoolExecutor&&) noexcept = default;
  ProcessPoolExecutor& operator=(ProcessPoolExecutor&& other) noexcept;
  ~ProcessPoolExecutor();

  /// No new tasks; waits, unless told otherwise, until all submitted ones are done and the workers
  /// have ended. May be repeated. Without `wait` it returns at once, the work goes on, and the
  /// destructor waits for it.
  Result<void> shutdown(ShutdownOptions options = {});
  /// The same, waiting at most `limit`: then timeout, and what runs goes on.
  template <class Rep, class Period>
  Result<void> shutdown_for(std::chrono::duration<Rep, Period> limit,
                            ShutdownOptions options = {}) {
    return shutdown(options, detail::Deadline::after(limit));
  }
  /// Ends all workers at once by SIGTERM, and by SIGKILL who ignores it for half a second. What was
  /// not done fails as cancelled, nothing can be submitted any more. Never waits; may be repeated.
  void terminate_workers() { crew_->terminate(false); }
  /// The same by SIGKILL.
  void kill_workers() { crew_->terminate(true); }

  [[nodiscard]] PoolStats stats() const { return crew_->pool.stats(); }
  [[nodiscard]] unsigned max_workers() const noexcept { return crew_->pool.processes(); }

 private:
  friend class detail::ExecutorFace<ProcessPoolExecutor>;
  friend class detail::StreamFace<ProcessPoolExecutor>;
  friend class detail::SubmitFace<ProcessPoolExecutor>;
  ProcessPoolExecutor(std::shared_ptr<detail::ProcessCrew> crew, detail::UnwindWatch unwind)
      : crew_{std::move(crew)}, unwind_{unwind} {}
  Result<void> shutdown(ShutdownOptions options, detail::Deadline deadline);

  template <class F>
  static constexpr bool can_travel = detail::StatelessCallable<std::decay_t<F>>;

  template <class F, class... A>
  [[nodiscard]] auto submit_call(detail::Deadline deadline, const TaskOptions* options, F&&,
                                 A&&... args) {
    static_assert(can_travel<F>,
                  "passel: only a function, as in submit<f>(args...), or a lambda without captures "
                  "can travel to another process; pass what it captures as arguments");
    return crew_->submit<std::decay_t<F>>(deadline, options, std::forward<A>(args)...);
  }

  template <class F, class... A>
  [[nodiscard]] auto stream_call(detail::Deadline deadline, const StreamOptions& options,
                                 F&& function, A&&... args) {
    return crew_->stream(deadline, options, std::forward<F>(function), std::forward<A>(args)...);
  }

  template <class F, class... Ranges>
  [[nodiscard]] auto map_call(F&&, const ExecutorMapOptions& options, Ranges&&... ranges) {
    static_assert(can_travel<F>,
                  "passel: only a function, as in map<f>(items), or a lambda without captures can "
                  "travel to another process");
    using Target = std::decay_t<F>;
    using Item = detail::task_arguments<Target, std::decay_t<detail::range_item<Ranges>>...>;
    using R = typename detail::Task<Target, Item>::result;
    using Answer = Result<ExecutorResults<R>>;
    if (auto wrong = detail::map_options_error(options)) return Answer{*std::move(wrong)};
    if (auto why = crew_->refusal()) return Answer{*std::move(why)};
    auto submit = [crew = crew_, chunk = options.chunksize](detail::ZippedInput<Ranges...>& input) {
      return chunk == 1 ? submit_item<Target, R>(*crew, input)
                        : submit_chunk<Target, R, Item>(*crew, input, chunk);
    };
    return Answer{detail::results_of<R>(
        detail::plan_of(options), [crew = crew_] { return crew->refusal(); }, std::move(submit),
        std::forward<Ranges>(ranges)...)};
  }
  template <class Target, class R, class Input>
  [[nodiscard]] static auto submit_item(detail::ProcessCrew& crew, Input& input) {
    return input.take([&crew]<class... A>(A&&... items) {
      return detail::PendingResult<R>{
          .one = detail::future_of(
              crew.submit<Target>(detail::Deadline::never(), nullptr, std::forward<A>(items)...)),
          .many = {}};
    });
  }
  template <class Target, class R, class Item, class Input>
  [[nodiscard]] static auto submit_chunk(detail::ProcessCrew& crew, Input& input,
                                         std::size_t size) {
    std::vector<Item> items;
    for (; items.size() < size && !input.at_end();) {
      items.push_back(
          input.take([]<class... A>(A&&... each) { return Item{std::forward<A>(each)...}; }));
    }
    return detail::PendingResult<R>{
        .one = {},
        .many = detail::future_of(crew.submit<detail::ChunkCall<R, Item, Target>>(
            detail::Deadline::never(), nullptr, items)),
        .count = items.size()};
  }

  std::shared_ptr<detail::ProcessCrew> crew_;
  detail::UnwindWatch unwind_;
};

}  // namespace passel::inline v0
