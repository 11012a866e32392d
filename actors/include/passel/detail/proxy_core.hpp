// Layer actors: one hosted object as a process that is not its home knows it.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/detail/spare_buffers.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// A reference to a hosted object: as long as one of them exists, anywhere, the object lives. All
/// proxies that are copies of each other share one. Any thread.
class PASSEL_API ProxyCore {
 public:
  class Body;
  /// A call of call_async, to be given up.
  class PASSEL_API Pending {
   public:
    Pending() = default;
    Pending(std::weak_ptr<SessionLink> link, std::uint64_t call)
        : link_{std::move(link)}, call_{call} {}
    void cancel() const {
      if (const auto link = link_.lock()) link->cancel(call_);
    }
    /// Reads the connection until the call is answered, see SessionLink::fetch.
    void fetch(Deadline deadline) const {
      if (const auto link = link_.lock()) link->fetch(call_, deadline);
    }

   private:
    std::weak_ptr<SessionLink> link_;
    std::uint64_t call_ = 0;
  };

  /// Has the manager at `address` make an object of `type`. Errors: not_found (no such type, nobody
  /// there), those of the constructor, peer_lost.
  [[nodiscard]] static Result<std::shared_ptr<ProxyCore>> create(const Address& address,
                                                                 std::string_view type,
                                                                 Encoded args);
  /// Out of what to_value gave in another process. Errors: type_mismatch.
  [[nodiscard]] static Result<std::shared_ptr<ProxyCore>> from_value(const WireValue& value);
  /// For the journey to another process: the object lives until it has arrived, for ten minutes at
  /// most.
  [[nodiscard]] WireValue to_value() const;

  explicit ProxyCore(std::unique_ptr<Body> body);
  ~ProxyCore();
  ProxyCore(const ProxyCore&) = delete;
  ProxyCore& operator=(const ProxyCore&) = delete;

  /// Errors: those of the method, timeout, peer_lost, stale_object, invalid_state on the I/O
  /// thread.
  Result<SessionReply> call(std::string_view method, Encoded args, Deadline deadline,
                            std::chrono::milliseconds patience = {}) const;
  Pending call_async(std::string_view method, Encoded args, Deadline deadline,
                     SessionLink::Answered answered) const;

  /// Says what became of the answer to a call, which came under that lease: "kept", or "back" when
  /// it reached nobody. Nothing when that session is over: what it had is settled.
  void tell(std::string_view topic, std::uint64_t call, const SessionLease& lease) const;

  [[nodiscard]] const std::string& type() const noexcept;
  [[nodiscard]] const Address& address() const noexcept;
  [[nodiscard]] std::uint64_t object() const noexcept;
  /// The same object of the same life of the same manager.
  [[nodiscard]] bool same_object(const ProxyCore& other) const noexcept;
  /// "<Proxy[Counter] object 3 at /tmp/x>"
  [[nodiscard]] std::string name() const;

 private:
  std::unique_ptr<Body> body_;
};

[[nodiscard]] PASSEL_API Error no_proxy_error();

template <class R>
Result<R> decode_reply(const Result<SessionReply>& reply) {
  if (!reply) return reply.error();
  if constexpr (std::is_void_v<R>) {
    return {};
  } else {
    return decode<R>(reply->bytes, reply->descriptors);
  }
}

/// The same, when nobody needs the reply any more.
template <class R>
Result<R> decode_reply(Result<SessionReply>&& reply) {
  auto result = decode_reply<R>(reply);
  if (reply) give_buffer(std::move(reply->bytes));
  return result;
}

/// Calls and waits.
template <class R>
Result<R> call_object(const std::shared_ptr<ProxyCore>& core, std::string_view method,
                      Result<Encoded> args, Deadline deadline) {
  if (!core) return no_proxy_error();
  if (!args) return args.error();
  return decode_reply<R>(core->call(method, *std::move(args), deadline));
}

/// How much longer than the time limit a server may take to say that it is up.
inline constexpr std::chrono::milliseconds server_patience{1000};
/// For calls that go on when the time is up: a condition takes its lock again.
inline constexpr std::chrono::milliseconds unlimited_patience = std::chrono::milliseconds::max();

/// Calls and waits. The server decides when the time is up: nothing that it hands out at the last
/// moment is lost. One that does not answer in time is not waited for much longer. Errors also:
/// timeout.
template <class R>
Result<R> call_object_patiently(const std::shared_ptr<ProxyCore>& core, std::string_view method,
                                Result<Encoded> args, Deadline deadline,
                                std::chrono::milliseconds patience = server_patience) {
  if (!core) return no_proxy_error();
  if (!args) return args.error();
  return decode_reply<R>(core->call(method, *std::move(args), deadline, patience));
}

}  // namespace passel::inline v0::detail
