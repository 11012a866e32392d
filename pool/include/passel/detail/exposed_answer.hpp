// Layer pool: the answers of exposed tasks as futures.
#pragma once

#include <passel/detail/exposed_task.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/future.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// What sets the promise when a call is answered with the bytes of a chunk, which `read` reads.
template <class R, class Read>
[[nodiscard]] auto exposed_answer(std::shared_ptr<Promise<R>> promise, Read read) {
  return [promise = std::move(promise), read](const Result<SessionReply>& reply) {
    if (!reply) {
      promise->set(reply.error());
      return;
    }
    const auto bytes = raw_bytes(reply->bytes, raw_tag<std::vector<std::byte>>());
    if (!bytes) {
      promise->set(Error{Errc::malformed, "the answer of a task cannot be read"});
      return;
    }
    ChunkReader in{*bytes, {}};
    promise->set(read(in));
  };
}

/// All answers of a map, in order; the first error instead, when there is one.
template <class R>
[[nodiscard]] Future<std::vector<R>> all_of_chunks(
    std::vector<Future<std::vector<Result<R>>>> chunks) {
  std::vector<R> values;
  std::optional<Error> first;
  for (auto& chunk : chunks) {
    auto answers = co_await std::move(chunk);
    if (!answers) {
      if (!first) first = answers.error();
      continue;
    }
    for (Result<R>& answer : *answers) {
      if (answer) {
        values.push_back(*std::move(answer));
      } else if (!first) {
        first = answer.error();
      }
    }
  }
  if (first) co_return *first;
  co_return values;
}

}  // namespace passel::inline v0::detail
