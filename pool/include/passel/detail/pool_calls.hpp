// Layer pool: how calls of a Pool become jobs of its handle.
#pragma once

#include <passel/detail/executor_map.hpp>
#include <passel/pool_options.hpp>
#include <passel/pool_results.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// What the thread that submits does next. One that waits keeps the arguments until the answer.
enum class Submitter { goes_on, waits };

/// One call of `Target`. Errors, and then no argument has been moved from: why the pool takes none,
/// full or timeout by the deadline, an argument that cannot be encoded.
template <class Target, Submitter submitter = Submitter::goes_on, class Notice, class... A>
[[nodiscard]] auto submit_to(PoolHandle& pool, Deadline deadline, const TaskOptions* options,
                             Notice notice, A&&... args)
    -> Result<Future<typename ChunkTask<Target, task_arguments<Target, A...>>::result>> {
  using Stored = task_arguments<Target, A...>;
  using Chunk = ChunkTask<Target, Stored>;
  using R = typename Chunk::result;
  if (auto refusal = pool.refusal()) return *std::move(refusal);
  PASSEL_TRY(std::shared_ptr<void> ticket, pool.admit(deadline));
  EncodingScratch scratch;
  ChunkWriter writer{scratch.encoded};
  std::span<const std::byte> tail;
  if constexpr (submitter == Submitter::waits && sizeof...(A) != 0) {
    PASSEL_CHECK(ArgumentList<Stored>::write_but_tail(writer, tail, std::forward<A>(args)...));
  } else {
    PASSEL_CHECK(ArgumentList<Stored>::write(writer, std::forward<A>(args)...));
  }
  std::unique_ptr<PoolTerms> terms;
  if (options != nullptr) terms = terms_of(*options, 1);
  auto* const job = new SubmitJob<R, Notice>(Chunk::id(), &task_name<Target>, scratch.encoded,
                                             pool.number(), std::move(notice));
  job->set_terms(with_ticket(std::move(terms), std::move(ticket)));
  job->refer_to(tail);
  Future<R> future = job->future();
  if constexpr (submitter == Submitter::waits) job->await();
  pool.submit(std::unique_ptr<PoolJob>{job});
  return future;
}

/// A map of `Target` over the range, which is read when there is room for the call. Errors: as
/// submit_to.
template <class Target, bool star, class Range, class Notice>
[[nodiscard]] auto map_to(const std::shared_ptr<PoolHandle>& pool, Deadline deadline, Range& range,
                          const MapOptions& options, Notice notice)
    -> Result<Future<typename MapJob<typename MapShape<Target, star, item_type<Range>>::result,
                                     Notice>::Answer>> {
  using Shape = MapShape<Target, star, item_type<Range>>;
  using Job = MapJob<typename Shape::result, Notice>;
  if (auto refusal = pool->refusal()) return *std::move(refusal);
  PASSEL_TRY(std::shared_ptr<void> ticket, pool->admit(deadline));
  PASSEL_TRY(ChunkedArguments args,
             encode_range<Shape>(range, chunk_size_of(options), pool->processes()));
  auto terms = terms_of(options, args.first(1));
  auto job = std::make_unique<Job>(Shape::Chunk::id(), &task_name<Target>, std::move(args),
                                   std::move(notice));
  if (options.progress) {
    job->set_progress([tell = options.progress](std::size_t done, std::size_t total) {
      tell({.done = done, .total = total});
    });
  }
  job->set_terms(with_ticket(std::move(terms), std::move(ticket)));
  job->describe();
  job->on_stop([weak = std::weak_ptr{pool}, serial = job->serial(),
                which = static_cast<const PoolJob*>(job.get())] {
    if (const auto present = weak.lock()) present->stop(which, serial);
  });
  auto future = job->future();
  pool->submit(std::move(job));
  return future;
}

/// The results of `Target` over the range, as they are asked for.
template <class Target, class Range>
[[nodiscard]] auto imap_from(const std::shared_ptr<PoolHandle>& pool, Range&& range,
                             const MapOptions& options, ResultOrder order)
    -> Result<PoolResults<typename MapShape<Target, false, item_type<Range>>::result>> {
  using Shape = MapShape<Target, false, item_type<Range>>;
  if (auto refusal = pool->refusal()) return *std::move(refusal);
  const std::size_t chunk = std::max<std::size_t>(options.chunksize, 1);
  return PoolResults<typename Shape::result>{
      pool,
      Shape::Chunk::id(),
      &task_name<Target>,
      item_source<Shape>(std::forward<Range>(range)),
      {.chunk = chunk, .window = options.window, .order = order},
      *terms_of(options, chunk)};
}

}  // namespace passel::inline v0::detail
