// Layer transport: a session as the asking side has it: calls of any thread over one connection.
#pragma once

#include <passel/authkey.hpp>
#include <passel/certificates.hpp>
#include <passel/codec.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/detail/session_pulse.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

class SessionLink;

/// Under which lease of which session something was granted. Copies are of the same lease.
class PASSEL_API SessionLease {
 public:
  class Keeper;
  /// Of nothing: holds nothing.
  SessionLease() = default;
  SessionLease(std::weak_ptr<const Keeper> keeper, std::uint64_t number) noexcept
      : keeper_{std::move(keeper)}, number_{number} {}
  /// True while the server cannot have given what was granted under this lease to anybody else, as
  /// far as it depends on the session: it is open, and over a network the server is known to have
  /// heard of this side so lately that it cannot take it for lost. Once false it stays so. Asks
  /// nobody and does not wait; any thread.
  [[nodiscard]] bool holds() const;

 private:
  friend class SessionLink;
  std::weak_ptr<const Keeper> keeper_;
  std::uint64_t number_ = 0;
};

/// What came back: an encoded value, the descriptors that belong to it, and under which lease it
/// came.
struct SessionReply {
  std::vector<std::byte> bytes;
  std::vector<std::shared_ptr<Descriptor>> descriptors;
  SessionLease lease{};
};

struct SessionLinkOptions {
  std::string name{};  ///< of this process, for people
  std::string role = "client";
  /// The key of the server; needed at a TcpAddress ...
  std::optional<AuthKey> authkey{};
  /// ... unless there both sides show certificates.
  std::optional<Certificates> certificates{};
  /// Over TCP: so long after the last sign of life the server is asked for another one ...
  std::chrono::milliseconds heartbeat = session_heartbeat;
  /// ... and after this silence it counts as lost.
  std::chrono::milliseconds silence = session_silence;
};

/// One call: the object, what it shall do, and how long the caller waits for it.
struct PASSEL_API SessionCall {
  std::uint64_t target = 0;  ///< 0: the server itself
  std::string_view method;
  Encoded args;
  Deadline deadline = Deadline::never();
  /// How much longer than the deadline to wait for an answer: with some of it the server is who
  /// decides that the time is up, so that what it hands out at the last moment is not lost. Its
  /// largest value: as long as it takes.
  std::chrono::milliseconds patience{0};

  /// When the caller stops waiting.
  [[nodiscard]] Deadline end() const;
};

/// The asking end of a session. Any thread calls; a thread that waits reads the connection itself
/// when no other one does, and tells the others what came for them. While nobody waits, the I/O
/// thread reads as far as answers are still to come for call_async, and always over TCP, where both
/// sides ask each other for signs of life.
///
/// Every call ends: with its answer, at its deadline, or with peer_lost when the server is gone;
/// over TCP also when nothing was heard of it for six seconds.
/// Hold it by shared_ptr; the last one to go says goodbye.
class PASSEL_API SessionLink {
 public:
  using Answered = std::function<void(Result<SessionReply>)>;
  class Core;

  /// Connects and waits until the server has said hello. Errors: not_found, refused, auth_failed,
  /// timeout, version_mismatch, peer_lost, system.
  [[nodiscard]] static Result<std::shared_ptr<SessionLink>> connect(
      IoLoop& loop, const Address& address, const SessionLinkOptions& options, Deadline deadline);
  explicit SessionLink(std::shared_ptr<Core> core) noexcept;
  ~SessionLink();
  SessionLink(const SessionLink&) = delete;
  SessionLink& operator=(const SessionLink&) = delete;

  /// Asks and waits. Errors: those of the answer, timeout, peer_lost, also after leave(),
  /// too_large. Must not be called on the I/O thread.
  Result<SessionReply> call(SessionCall call);
  /// Asks; `answered` is called once, on whichever thread reads the answer, perhaps before this
  /// returns. It must not block. Returns the number for cancel.
  std::uint64_t call_async(const SessionCall& call, Answered answered);
  /// Reads the connection until that call is answered, the deadline, or another thread does it.
  /// Whoever is about to wait for the answer saves a wake-up of the I/O thread.
  void fetch(std::uint64_t call, Deadline deadline);
  /// Gives up waiting: the call ends with `cancelled`, unless it has ended.
  void cancel(std::uint64_t call);
  /// Says something that has no answer. Lost when the session is. Calls nobody back on this thread.
  void notify(std::uint64_t target, std::string_view topic, std::span<const std::byte> value);
  /// Says goodbye; calls that are open end with `peer_lost`. Idempotent.
  void leave();

  [[nodiscard]] bool is_open() const;
  /// Whether that is a lease of this session.
  [[nodiscard]] bool granted(const SessionLease& lease) const noexcept;
  /// Which life of the server this is.
  [[nodiscard]] std::uint64_t epoch() const noexcept;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace passel::inline v0::detail
