// Layer sync: calls of hosted objects that hand something out, and may be given up meanwhile.
#pragma once

#include <passel/detail/asked_state.hpp>

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

/// The future of a call that hands something out: the server is told whether that has arrived.
template <class T, class Handed, class Read>
class KeptState final : public AskedState<T> {
 public:
  KeptState(const std::shared_ptr<ProxyCore>& core, Read read)
      : AskedState<T>{core}, read_{std::move(read)} {}

 private:
  ~KeptState() override = default;

  void receive(Result<SessionReply>&& reply) override {
    auto handed = this->template read<Handed>(reply);
    if (!handed) {
      give_back_unread(*this->core(), reply);
      return refuse(handed.error());
    }
    auto got = read_(*std::move(handed), *reply);
    const std::uint64_t call = got.first;
    auto& value = got.second;
    bool kept = this->begin_set_if_wanted();
    if (kept) {
      this->settle(std::move(value));
      // Dropped just now: what nobody has seen goes back.
      kept = !this->reaches_nobody();
      if (!kept) value = this->move_out();
    } else {
      refuse(Error{Errc::cancelled, "nobody waits for it any more"});
    }
    if constexpr (requires { value->detach(); }) {
      if (!kept) value->detach();  // what it stands for goes back by itself
    }
    this->core()->tell(kept ? "kept" : "back", call, reply->lease);
  }
  /// Of a future that was given up there may still be watchers.
  void refuse(const Error& error) {
    if (this->begin_set()) this->settle(error);
  }

  Read read_;
};

/// Calls; `read` gives the number of the call and a Result of the value out of what was handed out
/// and the answer that it came with. Cancelling or dropping the future before it is done gives the
/// call up, and what was handed out goes back.
template <class T, class Handed, class Read>
Future<T> call_to_keep(const std::shared_ptr<ProxyCore>& core, std::string_view method,
                       Result<Encoded> args, Read read) {
  if (!core) return Future<T>::of(no_proxy_error());
  if (!args) return Future<T>::of(args.error());
  return (new KeptState<T, Handed, Read>{core, std::move(read)})
      ->ask(method, *std::move(args), Deadline::never());
}

}  // namespace passel::inline v0::detail
