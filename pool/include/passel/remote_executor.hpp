// Layer pool: RemoteExecutor, calls in worker processes of other hosts whose results come as
// futures.
#pragma once

#include <passel/detail/executor_face.hpp>
#include <passel/detail/remote_crew.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

class RemoteExecutor;
template <>
inline constexpr bool detail::takes_task_options<RemoteExecutor> = true;

/// Runs calls in a pool whose workers are on any hosts: exposed functions, with arguments and
/// results that travel by `codec<T>`. It has the functions of every executor, so that a type name
/// is all that changes.
///
///     const auto tasks = passel::ExposedTasks::of<&fetch>();
///     const passel::TcpAddress server{"10.0.0.1", 4711};
///     auto executor = passel::RemoteExecutor::connect(
///                         {.address = server, .authkey = key, .tasks = tasks})
///                         .unwrap();
///     passel::Future<Page> f = executor.submit<fetch>(url, 1);
///     passel::Future<Page> g = executor.submit<fetch>({.deadline = 10s, .attempts = 3}, url, 1);
///     for (auto& page : executor.map<fetch>(urls, depths).unwrap()) ...
///     auto n = executor.submit_named<int>("count", text);         // a task of another program
///
/// The tasks wait at a Manager (`passel serve`), which gives them to whatever workers have joined
/// there; without any they wait.
///
/// | what happens to a task                  | its future                                        |
/// | --------------------------------------- | ------------------------------------------------- |
/// | returns, throws                         | as with Pool                                      |
/// | the process that runs it dies           | worker_lost, or the next attempt                  |
/// | the host that has it is lost            | the same: it may have run there, or half of it    |
/// | its host leaves in order                | nothing: it finishes there, or begins elsewhere   |
/// | no worker offers it, but others         | not_found, naming those there are (UnknownTask)   |
/// | is offered with other types             | type_mismatch, naming both                        |
/// | has over 60 MiB of arguments or answer | too_large                                         |
/// | is over its deadline or time_limit      | timeout; it is stopped where it runs              |
/// | cancel(), also while it runs            | cancelled at once; it is stopped where it runs    |
/// | the server ends or cannot be reached    | peer_lost; later calls try to connect again       |
/// | this process dies                       | its tasks are taken out, those that run stopped   |
///
/// Results for a submitter that is slow to read wait in the server, up to 1 GiB of them for all;
/// beyond that a result is lost, and its future fails with `full`.
///
/// No task is begun more often than its `attempts` say (1, unless asked for), whatever is lost.
///
/// Safe from any thread. submit waits while `max_pending` calls are unanswered, except in a
/// callback. Where the connection is lost one call at a time makes a new one, and the others wait
/// for it, each no longer than its own limit and deadline; try_submit waits for a second. Callbacks
/// of futures run on whichever thread reads the answer and must be quick. Its destructor is
/// shutdown() and so waits for what was submitted; it must be gone before the Runtime. Streams are
/// for local pools. Source of the semantics: Python's concurrent.futures.Executor; the rules about
/// hosts are those of dask.distributed, made strict.
class PASSEL_API RemoteExecutor : public detail::ExecutorFace<RemoteExecutor> {
 public:
  using Options = RemoteExecutorOptions;

  /// Connects, and says which tasks it knows. Errors: not_found (nobody there; a task that no
  /// worker offers while there are workers), type_mismatch (a task is offered with other
  /// types), refused, auth_failed, timeout, invalid_argument, invalid_state (no Runtime).
  [[nodiscard]] static Result<RemoteExecutor> connect(Options options);
  RemoteExecutor(RemoteExecutor&&) noexcept = default;
  RemoteExecutor& operator=(RemoteExecutor&& other) noexcept;
  ~RemoteExecutor();

  /// A task by the name that it is exposed under; the types are those of the arguments, and R.
  template <class R, class... A>
  requires(!detail::first_is<TaskOptions, A...>)
      [[nodiscard]] Future<R> submit_named(std::string_view name, A&&... args) {
    return submit_named<R>(name, crew_->task(), std::forward<A>(args)...);
  }
  template <class R, class... A>
  [[nodiscard]] Future<R> submit_named(std::string_view name, const TaskOptions& options,
                                       A&&... args) {
    using Stored = std::tuple<detail::stored_argument<A>...>;
    return detail::future_of(submit_stored<R, Stored>(detail::Deadline::never(), name, options,
                                                      std::forward<A>(args)...));
  }

  /// No new tasks; waits, unless told otherwise, until all submitted ones are done. With
  /// `cancel_futures` all of them are given up, those that run included. May be repeated.
  Result<void> shutdown(ShutdownOptions options = {});
  /// The same, waiting at most `limit`: then timeout.
  template <class Rep, class Period>
  Result<void> shutdown_for(std::chrono::duration<Rep, Period> limit,
                            ShutdownOptions options = {}) {
    return shutdown(options, detail::Deadline::after(limit));
  }

  /// The workers that are there, and what they offer. Errors: peer_lost.
  [[nodiscard]] Result<RemotePoolStats> stats() const { return crew_->stats(); }

 private:
  friend class detail::ExecutorFace<RemoteExecutor>;
  friend class detail::StreamFace<RemoteExecutor>;
  friend class detail::SubmitFace<RemoteExecutor>;
  explicit RemoteExecutor(std::shared_ptr<detail::RemoteCrew> crew) : crew_{std::move(crew)} {}
  Result<void> shutdown(ShutdownOptions options, detail::Deadline deadline);

  template <class R, class Stored, class... A>
  [[nodiscard]] Result<Future<R>> submit_stored(detail::Deadline deadline, std::string_view name,
                                                const TaskOptions& options, A&&... args) {
    PASSEL_TRY(detail::RemoteCrew::Place place, crew_->admit(deadline));
    detail::Encoded encoded;
    detail::ChunkWriter writer{encoded};
    PASSEL_CHECK(detail::write_exposed_call<Stored>(writer, std::forward<A>(args)...));
    return crew_->submit<R>(std::move(place), name, options, std::move(encoded.bytes), deadline);
  }
  template <class F, class... A>
  [[nodiscard]] auto submit_call(detail::Deadline deadline, const TaskOptions* options, F&&,
                                 A&&... args) {
    static_assert(detail::is_function_target<std::decay_t<F>>,
                  "passel: only an exposed function, as in submit<f>(args...), can be asked of "
                  "another host");
    using Target = std::decay_t<F>;
    using Stored = detail::task_arguments<Target>;
    using Chunk = detail::ExposedChunk<Target, Stored>;
    using R = typename Chunk::result;
    const auto name = crew_->name_of(Chunk::id(), detail::task_name<Target>());
    if (!name) return Result<Future<R>>{name.error()};
    return submit_stored<R, Stored>(deadline, *name, options != nullptr ? *options : crew_->task(),
                                    std::forward<A>(args)...);
  }
  template <class F, class... A>
  static void stream_call(detail::Deadline, const StreamOptions&, F&&, A&&...) {
    static_assert(sizeof...(A) > 1000, "passel: a task at another host cannot stream its results");
  }

  template <class F, class... Ranges>
  [[nodiscard]] auto map_call(F&&, const ExecutorMapOptions& options, Ranges&&... ranges) {
    static_assert(detail::is_function_target<std::decay_t<F>>,
                  "passel: only an exposed function, as in map<f>(items), can be asked of another "
                  "host");
    using Target = std::decay_t<F>;
    using Stored = detail::task_arguments<Target>;
    using Chunk = detail::ExposedChunk<Target, Stored>;
    using R = typename Chunk::result;
    using Answer = Result<ExecutorResults<R>>;
    if (auto wrong = detail::map_options_error(options)) return Answer{*std::move(wrong)};
    if (auto why = crew_->refusal()) return Answer{*std::move(why)};
    const auto name = crew_->name_of(Chunk::id(), detail::task_name<Target>());
    if (!name) return Answer{name.error()};
    auto submit = [crew = crew_, task = *name,
                   chunk = options.chunksize](detail::ZippedInput<Ranges...>& input) {
      return submit_items<R, Stored>(*crew, task, input, chunk);
    };
    return Answer{detail::results_of<R>(
        detail::plan_of(options), [crew = crew_] { return crew->refusal(); }, std::move(submit),
        std::forward<Ranges>(ranges)...)};
  }
  template <class R, class Stored, class Input>
  [[nodiscard]] static detail::PendingResult<R> submit_items(detail::RemoteCrew& crew,
                                                             std::string_view task, Input& input,
                                                             std::size_t size) {
    auto chunk = detail::write_exposed_chunk<Stored>(input, size);
    if (!chunk) return {.one = Future<R>::of(chunk.error()), .many = {}, .last = true};
    auto place = crew.admit(detail::Deadline::never());
    if (!place) return {.one = Future<R>::of(place.error()), .many = {}, .last = true};
    if (size == 1)
      return {.one = crew.submit<R>(*std::move(place), task, crew.task(), std::move(chunk->first),
                                    detail::Deadline::never()),
              .many = {}};
    const std::size_t items = chunk->second;
    return {.one = {},
            .many = crew.submit_many<R>(*std::move(place), task, std::move(chunk->first), items),
            .count = items};
  }

  std::shared_ptr<detail::RemoteCrew> crew_;
};

}  // namespace passel::inline v0
