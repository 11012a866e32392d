// Layer pool: ThreadPool, the interface of Pool over threads of this process.
#pragma once

#include <passel/detail/executor_face.hpp>
#include <passel/detail/pool_face.hpp>
#include <passel/detail/thread_map.hpp>
#include <passel/executor.hpp>
#include <passel/pool.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// Settings of a ThreadPool: Python's arguments, and a name.
struct ThreadPoolOptions {
  std::optional<int> processes{};       ///< how many threads; empty: usable_cpu_count()
  std::function<void()> initializer{};  ///< as ThreadPoolExecutorOptions::initializer
  std::string name{};                   ///< threads are NAME_0, ...; empty: "ThreadPool-N"
  std::size_t max_pending = 0;          ///< as PoolOptions::max_pending
  bool daemon = false;                  ///< as ThreadPoolExecutorOptions::daemon
};

/// Pool over threads: the same calls, for programs that wait more than they compute, or whose tasks
/// share what cannot travel. Any callable, with captures; arguments and results are moved and never
/// encoded, and an exception comes out as itself (`rethrow`).
///
///     auto pool = passel::ThreadPool::start({.processes = 4}).unwrap();
///     passel::Future<Page> page = pool.submit([&cache](const Url& url) { ... }, url);
///     std::vector<int> lengths = pool.map(length_of, words).unwrap();
///     for (auto& page : pool.imap_unordered(fetch, urls).unwrap()) ...
///     pool.close();
///     pool.join().unwrap();
///
/// Of MapOptions `chunksize`, `window` and `progress` count; the others are about processes. Its
/// imap runs two tasks for each thread ahead of what has been taken, unless told otherwise. Threads
/// are started when there is work for them. A task may wait for a future of its own pool, as in a
/// ThreadPoolExecutor. A thread cannot be killed: terminate() cancels what has not started, and
/// what runs ends by itself; join() and the destructor, which terminates first, wait for that,
/// unless it is a daemon.
///
/// Safe from any thread, also from its tasks. Callbacks run on the thread that ran the task. Needs
/// no Runtime. Semantics: Python's multiprocessing.pool.ThreadPool, multiprocessing.dummy.Pool.
class PASSEL_API ThreadPool : public detail::PoolFace<ThreadPool> {
 public:
  /// Errors: invalid_argument (processes < 1).
  [[nodiscard]] static Result<ThreadPool> start(ThreadPoolOptions options = {});
  ThreadPool(ThreadPool&&) noexcept = default;
  ThreadPool& operator=(ThreadPool&& other) noexcept;
  ~ThreadPool();

  /// No new tasks; those submitted are still done, then the threads end. Never waits.
  void close();
  /// The same, and what has not started is cancelled. Never waits.
  void terminate();
  /// Waits until all threads have ended, after close or terminate. May be repeated. Errors:
  /// invalid_state "Pool is still running", deadlock in a task of its own.
  Result<void> join() { return join(detail::Deadline::never()); }
  /// The same, waiting at most `limit`. Errors: as join, timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) {
    return join(detail::Deadline::after(limit));
  }

  [[nodiscard]] ThreadPoolStats stats() const { return crew_->stats(); }
  [[nodiscard]] unsigned processes() const noexcept { return crew_->size(); }

 private:
  explicit ThreadPool(std::shared_ptr<detail::ThreadCrew> crew) : crew_{std::move(crew)} {}
  Result<void> join(detail::Deadline deadline);

  friend class detail::PoolFace<ThreadPool>;
  friend class detail::StreamFace<ThreadPool>;
  friend class detail::SubmitFace<ThreadPool>;
  template <class F, class... A>
  [[nodiscard]] auto submit_call(detail::Deadline deadline, const TaskOptions*, F&& function,
                                 A&&... args) {
    return detail::submit_task(*crew_, deadline, std::forward<F>(function),
                               std::forward<A>(args)...);
  }
  template <class F, class... A>
  [[nodiscard]] auto apply_call(F&& function, A&&... args) {
    return this->submit(std::forward<F>(function), std::forward<A>(args)...).get();
  }
  template <class C, class E, class L, class... A>
  [[nodiscard]] auto notify_call(Callbacks<C, E> callbacks, L&& function, A&&... args) {
    using F = std::decay_t<L>;
    using R = detail::answer_of<std::invoke_result_t<F&, std::decay_t<A>...>>;
    return this->submit(
        [callbacks = std::move(callbacks),
         call = F{std::forward<L>(function)}](std::decay_t<A>... arguments) mutable {
          Result<R> result = detail::call_for_result<R>(call, std::move(arguments)...);
          callbacks(std::as_const(result));
          return result;
        },
        std::forward<A>(args)...);
  }
  template <class F, class... A>
  [[nodiscard]] auto stream_call(detail::Deadline deadline, const StreamOptions& options,
                                 F&& function, A&&... args) {
    return detail::stream_from_threads(*crew_, deadline, options, std::forward<F>(function),
                                       std::forward<A>(args)...);
  }
  template <bool star, class L, class Range, class Notice>
  [[nodiscard]] auto map_call(detail::Deadline deadline, L&& function, Range&& range, Notice notice,
                              const MapOptions& options) {
    using Call = detail::ItemCall<std::decay_t<L>, star>;
    using Map = detail::ThreadMap<Call, std::decay_t<detail::range_item<Range>>, Notice>;
    using Answer = Result<Future<typename Map::Answer>>;
    auto place = crew_->admit(deadline);
    if (!place) return Answer{place.error()};
    auto items = detail::items_of(std::forward<Range>(range));
    const std::size_t chunk = options.chunksize != 0
                                  ? options.chunksize
                                  : detail::default_chunk_size(items.size(), processes());
    auto* const map = new Map{Call{std::forward<L>(function)}, std::move(items), std::move(notice),
                              options.progress};
    map->hold(*std::move(place));
    auto future = map->future();
    map->submit_to(*crew_, chunk);
    return Answer{std::move(future)};
  }

  template <class L, class Range>
  [[nodiscard]] auto imap_call(L&& function, Range&& range, const MapOptions& options,
                               detail::ResultOrder order) {
    using Call = detail::SharedCall<std::decay_t<L>>;
    using Item = std::decay_t<detail::range_item<Range>>;
    using R = detail::answer_of<std::invoke_result_t<Call&, Item>>;
    using Answer = Result<ExecutorResults<R>>;
    if (auto why = crew_->refusal()) return Answer{*std::move(why)};
    const std::size_t chunk = std::max<std::size_t>(options.chunksize, 1);
    auto submit = [crew = crew_, chunk, call = Call{std::in_place, std::forward<L>(function)}](
                      detail::ZippedInput<Range>& input) {
      if (chunk == 1) {
        return input.take([&]<class T>(T&& item) {
          return detail::PendingResult<R>{
              .one = detail::submit_admitted(*crew, nullptr, call, std::forward<T>(item)),
              .many = {}};
        });
      }
      return submit_chunk<R, Item>(*crew, call, input, chunk);
    };
    const detail::MapPlan plan{
        .ahead = detail::chunks_ahead(options, chunk, std::size_t{2} * processes()),
        .order = order};
    return Answer{detail::results_of<R>(
        plan, [crew = crew_] { return crew->refusal(); }, std::move(submit),
        std::forward<Range>(range))};
  }
  template <class R, class Item, class Call, class Input>
  static detail::PendingResult<R> submit_chunk(detail::ThreadCrew& crew, const Call& call,
                                               Input& input, std::size_t size) {
    std::vector<Item> items;
    while (items.size() < size && !input.at_end()) {
      input.take([&items]<class T>(T&& item) {
        items.push_back(std::forward<T>(item));
        return 0;
      });
    }
    const std::size_t count = items.size();
    auto many = detail::submit_admitted(
        crew, nullptr,
        [call = Call{call}](std::vector<Item> mine) mutable {
          std::vector<Result<R>> results;
          results.reserve(mine.size());
          for (Item& item : mine) {
            results.push_back(detail::call_for_result<R>(call, std::move(item)));
          }
          return results;
        },
        std::move(items));
    return {.one = {}, .many = std::move(many), .count = count};
  }

  std::shared_ptr<detail::ThreadCrew> crew_;
};

}  // namespace passel::inline v0
