// Layer sync: calls of hosted objects that hand something out, and may be given up meanwhile.
#pragma once

#include <passel/detail/proxy_core.hpp>
#include <passel/future.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace passel::inline v0::detail {

/// What was handed out cannot be read here: it goes back. The number of the call comes first in it.
inline void give_back_unread(const ProxyCore& core, const Result<SessionReply>& reply) {
  if (!reply) return;
  const auto handed = decode<WireValue>(reply->bytes, reply->descriptors);
  if (!handed || handed->items() == nullptr || handed->items()->empty()) return;
  if (const auto call = handed->items()->front().as_uint64())
    core.tell("back", *call, reply->lease);
}

/// Calls; the server is told whether what it handed out has arrived. `read` gives the number of the
/// call and a Result of the value out of what was handed out and the answer that it came with.
/// Cancelling or dropping the future before it is done gives the call up, and what was handed out
/// goes back.
template <class T, class Handed, class Read>
Future<T> call_to_keep(const std::shared_ptr<ProxyCore>& core, std::string_view method,
                       Result<Encoded> args, Read read) {
  if (!core) return Future<T>::of(no_proxy_error());
  if (!args) return Future<T>::of(args.error());
  auto promise = std::make_shared<Promise<T>>();
  auto dropped = std::make_shared<std::atomic<bool>>(false);
  Future<T> future = promise->future();
  const auto pending =
      core->call_async(method, *std::move(args), Deadline::never(),
                       [promise, dropped, core, read](Result<SessionReply> reply) {
                         auto handed = decode_reply<Handed>(reply);
                         if (!handed) {
                           give_back_unread(*core, reply);
                           promise->set(handed.error());
                           return;
                         }
                         auto answer = read(*std::move(handed), *reply);
                         auto& value = answer.second;
                         // Not moved from when nobody wants it.
                         const bool taken = !dropped->load() && promise->set(std::move(value));
                         if constexpr (requires { value->detach(); }) {
                           if (!taken) value->detach();  // what it stands for goes back by itself
                         }
                         core->tell(taken ? "kept" : "back", answer.first, reply->lease);
                       });
  promise->on_cancel([pending] { pending.cancel(); });
  promise->on_abandoned([pending, dropped] {
    dropped->store(true);
    pending.cancel();
  });
  return future;
}

}  // namespace passel::inline v0::detail
