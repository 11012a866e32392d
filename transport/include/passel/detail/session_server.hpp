// Layer transport: a server of sessions: accepts, greets and serves all of them on the I/O thread.
#pragma once

#include <passel/authkey.hpp>
#include <passel/certificates.hpp>
#include <passel/codec.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/detail/session_pulse.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

/// A call of a peer. Views are valid while it is handed over, no longer.
struct ServedCall {
  std::uint64_t session = 0;
  std::uint64_t id = 0;      ///< unique in its session; growing
  std::uint64_t target = 0;  ///< 0: the server itself
  std::uint64_t trace = 0;   ///< the thread of the caller
  std::string_view method;
  std::span<const std::byte> args;
  DescriptorSpan descriptors;
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

/// Who is at the other end of a session.
struct SessionPeer {
  std::string name;
  std::string role;
  std::int32_t pid = 0;
  /// Which key it has proved to know: 0 is SessionServerOptions::authkey, n the nth other one.
  std::size_t key = 0;
};

/// What a SessionServer asks of its owner. All of it runs on the I/O thread, one at a time, and may
/// call back into the server.
class PASSEL_API SessionService {
 public:
  SessionService() = default;
  SessionService(const SessionService&) = delete;
  SessionService& operator=(const SessionService&) = delete;
  virtual ~SessionService();

  virtual void session_opened(std::uint64_t session, const SessionPeer& peer);
  /// Answer it with SessionServer::reply, now or later, once.
  virtual void serve(const ServedCall& call) = 0;
  /// The caller no longer waits, or is gone; whatever is replied is dropped. May come twice.
  virtual void call_abandoned(std::uint64_t session, std::uint64_t call, std::uint64_t target);
  /// The answer reached nobody: the caller gave up when it was on its way, or it was too large, and
  /// the caller got that error instead. Then it comes from within `reply`. The target is what the
  /// caller says.
  virtual void answer_unwanted(std::uint64_t session, std::uint64_t call, std::uint64_t target);
  /// It has read so much that there is room for answers again; see SessionServer::has_room.
  virtual void session_ready(std::uint64_t session);
  virtual void notified(std::uint64_t session, std::uint64_t target, std::string_view topic,
                        std::span<const std::byte> value);
  /// Nothing more comes from it, and what it held may be given to others. Comes once for each
  /// session that was opened: over a network no sooner than its client knows that it may be lost,
  /// unless that has said goodbye.
  virtual void session_closed(std::uint64_t session, const Error& why);
};

struct SessionServerOptions {
  Address address = UnixAddress{};
  std::optional<AuthKey> authkey{};   ///< which clients must know; needed at a TcpAddress
  std::vector<AuthKey> other_keys{};  ///< let in as well; see SessionPeer::key
  /// Over TCP: what clients must show, and are shown, instead of knowing a key.
  std::optional<Certificates> certificates{};
  std::string name{};       ///< of the server, for people
  std::uint64_t epoch = 0;  ///< which life of the server this is
  int backlog = 128;
  std::chrono::milliseconds greeting_timeout{2000};  ///< a client that is slower is dropped
  std::size_t max_greeting = 64;              ///< clients that have not said hello; the oldest goes
  std::size_t max_sessions = 20'000;          ///< further ones are turned away
  std::size_t max_sessions_of_host = 20'000;  ///< from one address, over TCP
  std::size_t max_open_calls = 100'000;       ///< of one session; further ones get `full`
  std::size_t max_open_bytes = std::size_t{256} << 20;  ///< of the arguments of these
  /// Over TCP: after so long a silence a client is asked whether it lives ...
  std::chrono::milliseconds heartbeat = session_heartbeat;
  /// ... and after this one it counts as lost.
  std::chrono::milliseconds silence = session_silence;
};

/// Listens at an address and serves everybody who comes and knows the key. At a UnixAddress only
/// processes of the same user get in; over TCP everything is encrypted (TLS 1.3 with the key as the
/// pre-shared one). Handshakes are made as their bytes come, between other work. A client that is
/// silent or slow holds up nobody: it is dropped when it does not say hello in time, or, when there
/// are many, as the oldest of those who came from where most of them did; nothing more is read from
/// one that does not read its answers. One with another key is told that it is refused and nothing
/// else, counted and logged (one line in a second); from the fourth on, whoever comes from that
/// host is listened to after a pause. When this process may have no more descriptors, new clients
/// wait and those who are in are served. Over TCP a client of which nothing was heard for six
/// seconds is lost.
class PASSEL_API SessionServer {
 public:
  class Core;
  /// Takes the address; whoever comes waits until `serve`. May take its time: names are looked up,
  /// and a short key is made ready for a network. `service` must outlive it. Errors: as
  /// Listener::open.
  [[nodiscard]] static Result<std::unique_ptr<SessionServer>> listen(IoLoop& loop,
                                                                     SessionServerOptions options,
                                                                     SessionService& service);
  /// Serves from now on. Errors: invalid_state when the loop has been stopped.
  [[nodiscard]] Result<void> serve();
  /// Both of it.
  [[nodiscard]] static Result<std::unique_ptr<SessionServer>> open(IoLoop& loop,
                                                                   SessionServerOptions options,
                                                                   SessionService& service);
  explicit SessionServer(std::shared_ptr<Core> core) noexcept;
  /// Ends every session (the service is told) and stops listening. Waits for the I/O thread, when
  /// this is another one.
  ~SessionServer();
  SessionServer(const SessionServer&) = delete;
  SessionServer& operator=(const SessionServer&) = delete;

  /// Answers a call; any thread. On the I/O thread answers collect while a batch of calls is
  /// served.
  void reply(std::uint64_t session, std::uint64_t call, Result<Encoded> answer);
  /// False when that client has so much to read yet that what can wait had better not be sent: its
  /// answers are refused (`full`) some time after. Then session_ready comes once, when there is
  /// room. I/O thread.
  [[nodiscard]] bool has_room(std::uint64_t session);
  /// A handle for replies that may come when the server is gone.
  [[nodiscard]] std::weak_ptr<Core> core() const noexcept { return core_; }
  static void reply(const std::weak_ptr<Core>& core, std::uint64_t session, std::uint64_t call,
                    Result<Encoded> answer);

  [[nodiscard]] const Address& address() const noexcept;
  [[nodiscard]] std::size_t sessions() const;
  /// Clients that were refused for their keys.
  [[nodiscard]] std::uint64_t rejected() const noexcept;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace passel::inline v0::detail
