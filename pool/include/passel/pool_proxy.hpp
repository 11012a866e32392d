// Layer pool: PoolProxy, a pool of worker processes that lives in a manager's server.
#pragma once

#include <passel/detail/executor_face.hpp>
#include <passel/detail/exposed_answer.hpp>
#include <passel/detail/exposed_task.hpp>
#include <passel/executor.hpp>
#include <passel/future.hpp>
#include <passel/pool_options.hpp>
#include <passel/proxy.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// A pool in a manager's server, which any process may use that has the proxy (Python's
/// SyncManager.Pool). See Manager::pool.
///
///     int nine = pool.apply<square>(3).unwrap();
///     passel::Future<int> later = pool.apply_async<square>(4);   // Python's AsyncResult
///     std::vector<int> all = pool.map<square>(numbers).unwrap();
///     for (auto& n : pool.imap_unordered<square>(numbers).unwrap()) ...
///     pool.close().unwrap();
///     pool.join().unwrap();
///
/// A task is a function, or `passel::exposed<"name", &f>`, that the manager was given before it was
/// started (Manager::expose): the call names it, and the server looks it up. Results, errors and
/// what becomes of a worker that dies are as with Pool; a future belongs to the process that asked,
/// and when it is cancelled, or that process dies, its task is taken out or stopped.
///
/// Errors of all functions: those of a proxy's calls, such as peer_lost when the server is gone;
/// not_found for a task that it does not have, naming those there are; invalid_state after close()
/// or terminate(). The pool is terminated when its last proxy goes. A value, as every proxy; any
/// thread.
class PASSEL_API PoolProxy : public DynamicProxy {
 public:
  using DynamicProxy::DynamicProxy;
  explicit PoolProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  template <auto Spec, class... A>
  [[nodiscard]] Future<typename detail::ExposedCallOf<Spec>::result> apply_async(
      A&&... args) const {
    using Call = detail::ExposedCallOf<Spec>;
    detail::Encoded chunk;
    detail::ChunkWriter writer{chunk};
    const auto written =
        detail::write_exposed_call<typename Call::arguments>(writer, std::forward<A>(args)...);
    if (!written) return Future<typename Call::result>::of(written.error());
    return submit<typename Call::result>(Call::name(), chunk.bytes, [](detail::ChunkReader& in) {
      return detail::read_exposed_answer<typename Call::result>(in);
    });
  }
  template <auto Spec, class... A>
  [[nodiscard]] auto apply(A&&... args) const {
    return apply_async<Spec>(std::forward<A>(args)...).get();
  }

  /// The results of the task for every item, in order; waits. Error: that of the first item that
  /// has one, after all have been run. Of the options, chunksize counts.
  template <auto Spec, class Range>
  [[nodiscard]] auto map(Range&& range, const MapOptions& options = {}) const {
    return map_async<Spec>(std::forward<Range>(range), options).get();
  }
  template <auto Spec, class Range>
  [[nodiscard]] auto map_async(Range&& range, const MapOptions& options = {}) const {
    using R = typename detail::ExposedCallOf<Spec>::result;
    std::vector<Future<std::vector<Result<R>>>> chunks;
    const std::size_t size = chunk_size(range, options);
    detail::ZippedInput<Range> input{std::forward<Range>(range)};
    while (!input.at_end()) chunks.push_back(submit_chunk<Spec>(*this, input, size).many);
    return detail::all_of_chunks<R>(std::move(chunks));
  }

  /// The results one by one, each a Result of its own, in the order of the range; see
  /// ExecutorResults. It is read as far as `ahead` allows: an lvalue must outlive the results.
  template <auto Spec, class Range>
  [[nodiscard]] auto imap(Range&& range, const MapOptions& options = {}) const {
    return imap_in<Spec>(detail::ResultOrder::input, std::forward<Range>(range), options);
  }
  template <auto Spec, class Range>
  [[nodiscard]] auto imap_unordered(Range&& range, const MapOptions& options = {}) const {
    return imap_in<Spec>(detail::ResultOrder::completion, std::forward<Range>(range), options);
  }

  /// No new tasks; those submitted are done, then the workers leave.
  Result<void> close() const { return call<void>("close"); }
  /// Stops the workers at once; what is not finished is cancelled.
  Result<void> terminate() const { return call<void>("terminate"); }
  /// Waits for the end of the workers, after one of these. Errors: invalid_state "Pool is still
  /// running".
  Result<void> join() const { return call<void>("join"); }
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) const {
    return call_for<void>(limit, "join");
  }
  /// How many worker processes it has.
  [[nodiscard]] Result<std::uint32_t> processes() const { return call<std::uint32_t>("processes"); }

 private:
  static constexpr std::size_t ahead = 256;  // chunks of an imap that are submitted and not taken

  template <class R, class Read>
  [[nodiscard]] Future<R> submit(std::string_view task, const std::vector<std::byte>& chunk,
                                 Read read) const {
    if (!valid()) return Future<R>::of(detail::no_proxy_error());
    auto args = detail::encode_pack(task, chunk);
    if (!args) return Future<R>::of(args.error());
    auto promise = std::make_shared<Promise<R>>();
    Future<R> future = promise->future();
    const auto pending = core_->call_async("submit", *std::move(args), detail::Deadline::never(),
                                           detail::exposed_answer<R>(promise, std::move(read)));
    promise->on_cancel([pending] { pending.cancel(); });
    return future;
  }
  template <class Range>
  [[nodiscard]] std::size_t chunk_size(const Range& range, const MapOptions& options) const {
    if (options.chunksize != 0) return options.chunksize;
    const auto workers = processes();
    if constexpr (requires { std::size(range); }) {
      return detail::default_chunk_size(std::size(range), workers ? std::max(*workers, 1U) : 1U);
    } else {
      return 1;
    }
  }
  template <auto Spec, class Input>
  static auto submit_chunk(const PoolProxy& pool, Input& input, std::size_t size) {
    using Call = detail::ExposedCallOf<Spec>;
    using R = typename Call::result;
    using Many = std::vector<Result<R>>;
    auto chunk = detail::write_exposed_chunk<typename Call::arguments>(input, size);
    if (!chunk)
      return detail::PendingResult<R>{
          .one = {}, .many = Future<Many>::of(chunk.error()), .count = 1, .last = true};
    const std::size_t count = chunk->second;
    return detail::PendingResult<R>{
        .one = {},
        .many = pool.submit<Many>(Call::name(), chunk->first,
                                  [count](detail::ChunkReader& in) {
                                    return Result<Many>{detail::read_exposed_answers<R>(in, count)};
                                  }),
        .count = count};
  }
  template <auto Spec, class Range>
  [[nodiscard]] auto imap_in(detail::ResultOrder order, Range&& range,
                             const MapOptions& options) const {
    using R = typename detail::ExposedCallOf<Spec>::result;
    using Answer = Result<ExecutorResults<R>>;
    if (!valid()) return Answer{detail::no_proxy_error()};
    const std::size_t size = std::max<std::size_t>(options.chunksize, 1);
    return Answer{detail::results_of<R>(
        detail::MapPlan{.ahead = detail::chunks_ahead(options, size, ahead), .order = order},
        []() -> std::optional<Error> { return std::nullopt; },
        [pool = *this, size](auto& input) { return submit_chunk<Spec>(pool, input, size); },
        std::forward<Range>(range))};
  }
};

}  // namespace passel::inline v0
