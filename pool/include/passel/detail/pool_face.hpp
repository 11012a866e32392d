// Layer pool: the functions that Pool and ThreadPool have in common: those of Python's Pool.
#pragma once

#include <passel/detail/executor_map.hpp>
#include <passel/detail/submit_face.hpp>
#include <passel/pool_options.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// What is told of the result of a map.
template <class N>
concept MapNotice = is_callbacks<N> || std::is_same_v<N, NoCallback>;

/// apply, map, imap and their kin. `Self` has, besides what SubmitFace needs,
/// `apply_call(function, args...)`, `notify_call(callbacks, function, args...)`,
/// `map_call<star>(deadline, function, range, notice, options)`, which gives a Result<Future<R>>,
/// and `imap_call(function, range, options, order)`.
template <class Self>
class PoolFace : public SubmitFace<Self> {
 public:
  /// submit and wait: the result or the error. Python's `apply`.
  template <auto F, class... A>
  [[nodiscard]] auto apply(A&&... args) {
    return self().apply_call(FunctionTarget<F>{}, std::forward<A>(args)...);
  }
  template <TaskCallable L, class... A>
  [[nodiscard]] auto apply(L&& function, A&&... args) {
    return self().apply_call(std::forward<L>(function), std::forward<A>(args)...);
  }
  /// submit under Python's name, with or without Callbacks.
  template <auto F, class... A>
  [[nodiscard]] auto apply_async(A&&... args) {
    return this->template submit<F>(std::forward<A>(args)...);
  }
  template <TaskCallable L, class... A>
  [[nodiscard]] auto apply_async(L&& function, A&&... args) {
    return this->submit(std::forward<L>(function), std::forward<A>(args)...);
  }
  template <auto F, class C, class E, class... A>
  [[nodiscard]] auto apply_async(Callbacks<C, E> callbacks, A&&... args) {
    return apply_async(std::move(callbacks), FunctionTarget<F>{}, std::forward<A>(args)...);
  }
  template <class C, class E, TaskCallable L, class... A>
  [[nodiscard]] auto apply_async(Callbacks<C, E> callbacks, L&& function, A&&... args) {
    return self().notify_call(std::move(callbacks), std::forward<L>(function),
                              std::forward<A>(args)...);
  }

  /// The results of the task for every item of `range`, in its order. The whole range is read
  /// first; waits until all tasks are done. Error: that of the first item (in the order of the
  /// range) that has one, and only after all others have been run too; the pool is usable
  /// afterwards. An exception of the range itself passes through.
  ///
  ///     auto lengths = pool.map<length_of>(words, {.chunksize = 100});
  template <auto F, MapRange Range>
  [[nodiscard]] auto map(Range&& range, const MapOptions& options = {}) {
    return map_async<F>(std::forward<Range>(range), options).get();
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto map(L&& function, Range&& range, const MapOptions& options = {}) {
    return map_async(std::forward<L>(function), std::forward<Range>(range), options).get();
  }
  /// map without waiting for the results; for room, where `max_pending` calls are unanswered, it
  /// waits as submit does, and before it reads the range. It counts as one call.
  template <auto F, MapRange Range>
  [[nodiscard]] auto map_async(Range&& range, const MapOptions& options = {}) {
    return map_async<F>(std::forward<Range>(range), NoCallback{}, options);
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto map_async(L&& function, Range&& range, const MapOptions& options = {}) {
    return map_async(std::forward<L>(function), std::forward<Range>(range), NoCallback{}, options);
  }
  /// The same with Callbacks, which are told of the whole result.
  template <auto F, MapRange Range, MapNotice N>
  [[nodiscard]] auto map_async(Range&& range, N callbacks, const MapOptions& options = {}) {
    return map_async(FunctionTarget<F>{}, std::forward<Range>(range), std::move(callbacks),
                     options);
  }
  template <class L, MapRange Range, MapNotice N>
  [[nodiscard]] auto map_async(L&& function, Range&& range, N callbacks,
                               const MapOptions& options = {}) {
    return future_of(mapped<false>(Deadline::never(), std::forward<L>(function),
                                   std::forward<Range>(range), std::move(callbacks), options));
  }
  /// map_async without waiting for room: a Result of the future, full when there is none, and then
  /// the range has not been read.
  template <auto F, MapRange Range>
  [[nodiscard]] auto try_map_async(Range&& range, const MapOptions& options = {}) {
    return try_map_async(FunctionTarget<F>{}, std::forward<Range>(range), options);
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto try_map_async(L&& function, Range&& range, const MapOptions& options = {}) {
    return mapped<false>(Deadline::now_or_never(), std::forward<L>(function),
                         std::forward<Range>(range), NoCallback{}, options);
  }
  /// map_async, waiting for room at most so long: then timeout.
  template <auto F, class Rep, class Period, MapRange Range>
  [[nodiscard]] auto map_async_for(std::chrono::duration<Rep, Period> wait, Range&& range,
                                   const MapOptions& options = {}) {
    return map_async_for(wait, FunctionTarget<F>{}, std::forward<Range>(range), options);
  }
  template <class Rep, class Period, class L, MapRange Range>
  [[nodiscard]] auto map_async_for(std::chrono::duration<Rep, Period> wait, L&& function,
                                   Range&& range, const MapOptions& options = {}) {
    return mapped<false>(Deadline::after(wait), std::forward<L>(function),
                         std::forward<Range>(range), NoCallback{}, options);
  }

  /// map over tuples (or pairs), each one the arguments of a call; its other forms are map's.
  template <auto F, MapRange Range>
  [[nodiscard]] auto starmap(Range&& range, const MapOptions& options = {}) {
    return starmap_async<F>(std::forward<Range>(range), options).get();
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto starmap(L&& function, Range&& range, const MapOptions& options = {}) {
    return starmap_async(std::forward<L>(function), std::forward<Range>(range), options).get();
  }
  template <auto F, MapRange Range>
  [[nodiscard]] auto starmap_async(Range&& range, const MapOptions& options = {}) {
    return starmap_async<F>(std::forward<Range>(range), NoCallback{}, options);
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto starmap_async(L&& function, Range&& range, const MapOptions& options = {}) {
    return starmap_async(std::forward<L>(function), std::forward<Range>(range), NoCallback{},
                         options);
  }
  template <auto F, MapRange Range, MapNotice N>
  [[nodiscard]] auto starmap_async(Range&& range, N callbacks, const MapOptions& options = {}) {
    return starmap_async(FunctionTarget<F>{}, std::forward<Range>(range), std::move(callbacks),
                         options);
  }
  template <class L, MapRange Range, MapNotice N>
  [[nodiscard]] auto starmap_async(L&& function, Range&& range, N callbacks,
                                   const MapOptions& options = {}) {
    return future_of(mapped<true>(Deadline::never(), std::forward<L>(function),
                                  std::forward<Range>(range), std::move(callbacks), options));
  }
  template <auto F, MapRange Range>
  [[nodiscard]] auto try_starmap_async(Range&& range, const MapOptions& options = {}) {
    return try_starmap_async(FunctionTarget<F>{}, std::forward<Range>(range), options);
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto try_starmap_async(L&& function, Range&& range,
                                       const MapOptions& options = {}) {
    return mapped<true>(Deadline::now_or_never(), std::forward<L>(function),
                        std::forward<Range>(range), NoCallback{}, options);
  }
  template <auto F, class Rep, class Period, MapRange Range>
  [[nodiscard]] auto starmap_async_for(std::chrono::duration<Rep, Period> wait, Range&& range,
                                       const MapOptions& options = {}) {
    return starmap_async_for(wait, FunctionTarget<F>{}, std::forward<Range>(range), options);
  }
  template <class Rep, class Period, class L, MapRange Range>
  [[nodiscard]] auto starmap_async_for(std::chrono::duration<Rep, Period> wait, L&& function,
                                       Range&& range, const MapOptions& options = {}) {
    return mapped<true>(Deadline::after(wait), std::forward<L>(function),
                        std::forward<Range>(range), NoCallback{}, options);
  }

  /// The results one by one in the order of `range`, which is read as they are taken, a window
  /// ahead (MapOptions::window): PoolResults of a Pool, ExecutorResults of a ThreadPool. An lvalue
  /// range is used in place and must outlive the results. Never waits, and does not count among the
  /// calls of `max_pending`: its window bounds it. Error: invalid_state "Pool not running".
  ///
  ///     for (auto& page : pool.imap<fetch>(urls, {.window = 16}).unwrap()) ...
  template <auto F, MapRange Range>
  [[nodiscard]] auto imap(Range&& range, const MapOptions& options = {}) {
    return imap(FunctionTarget<F>{}, std::forward<Range>(range), options);
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto imap(L&& function, Range&& range, const MapOptions& options = {}) {
    return self().imap_call(std::forward<L>(function), std::forward<Range>(range), options,
                            ResultOrder::input);
  }
  /// The same in the order in which tasks finish.
  template <auto F, MapRange Range>
  [[nodiscard]] auto imap_unordered(Range&& range, const MapOptions& options = {}) {
    return imap_unordered(FunctionTarget<F>{}, std::forward<Range>(range), options);
  }
  template <class L, MapRange Range>
  [[nodiscard]] auto imap_unordered(L&& function, Range&& range, const MapOptions& options = {}) {
    return self().imap_call(std::forward<L>(function), std::forward<Range>(range), options,
                            ResultOrder::completion);
  }

 protected:
  PoolFace() = default;
  PoolFace(PoolFace&&) noexcept = default;
  PoolFace& operator=(PoolFace&&) noexcept = default;
  ~PoolFace() = default;

 private:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
  template <bool star, class L, class Range, class Notice>
  [[nodiscard]] auto mapped(Deadline deadline, L&& function, Range&& range, Notice notice,
                            const MapOptions& options) {
    return self().template map_call<star>(deadline, std::forward<L>(function),
                                          std::forward<Range>(range), std::move(notice), options);
  }
};

}  // namespace passel::inline v0::detail
