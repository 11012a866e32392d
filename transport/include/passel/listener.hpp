// Layer transport: Listener, where connections come in, and the addresses it can have.
#pragma once

#include <passel/authkey.hpp>
#include <passel/connection.hpp>
#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace passel::inline v0 {

/// A socket in the file system, for processes of the same user on this host.
struct UnixAddress {
  std::string path{};  ///< empty, for a Listener: one of its own in a new directory of mode 0700
  friend bool operator==(const UnixAddress&, const UnixAddress&) = default;
};

/// A TCP port.
struct TcpAddress {
  std::string host = "127.0.0.1";  ///< a number, v4 or v6, or a name that is looked up
  std::uint16_t port = 0;          ///< 0, for a Listener: one that is free
  friend bool operator==(const TcpAddress&, const TcpAddress&) = default;
};

/// Where a Listener is. (Python: a str, or a tuple of host and port)
using Address = std::variant<UnixAddress, TcpAddress>;

/// "/run/x.sock", "127.0.0.1:4711", "[::1]:4711".
[[nodiscard]] PASSEL_API std::string to_string(const Address& address);

/// Whether TCP without authentication and encryption is acceptable.
enum class PlaintextTcp {
  refused,
  /// Any user of this host can connect, read along as root, and be taken for the other end.
  on_loopback,
};

/// Settings of a listener.
struct ListenerOptions {
  std::optional<AuthKey> authkey{};  ///< clients must know it; over TCP it also encrypts
  /// Keys that some clients still have: they are let in, too, until everybody has the new one.
  std::vector<AuthKey> former_authkeys{};
  PlaintextTcp insecure_plaintext = PlaintextTcp::refused;
  int backlog =
      128;  ///< connections that may wait for accept; the kernel's limit is net.core.somaxconn
  std::chrono::milliseconds greeting_timeout{2000};  ///< a client that is slower is dropped
  std::size_t max_greeting = 64;  ///< clients that have not said what they are; the oldest goes
};

namespace detail {
class ListenerCore;
}

/// Waits for clients at an address; each accepted one is a Connection.
///
///     auto listener = passel::Listener::open(passel::UnixAddress{"/run/x/x.sock"}).unwrap();
///     auto line = listener.accept().unwrap();
///     auto order = line.recv<Order>().unwrap();
///
/// At a UnixAddress only processes of the same user get in: the socket file has mode 0600, and the
/// kernel's word for who connects is checked. A file that a killed listener left behind is
/// replaced; whether its listener lives is told by a lock beside it ("x.sock.lock"), not by a pid.
/// Both files go when the listener closes.
///
/// With an `authkey` both sides prove to each other that they know it, and neither tells it: at a
/// UnixAddress by HMAC-SHA256 over labels of the sides and fresh numbers of both, over TCP by
/// TLS 1.3 with the key as the pre-shared one, which also encrypts. A client with another key, or
/// none, is told that it is refused and nothing else, counted and logged (one line in a second),
/// and `accept` goes on waiting; from the fourth wrong key on, whoever comes from that host is
/// listened to after a pause of up to a second. Connections over TLS cannot go
/// to another process, and carry no handles.
///
/// A client that connects and then says nothing, or too slowly, holds up nobody: `accept` looks
/// after all of them at once and gives each `greeting_timeout`.
///
/// Move-only; the destructor closes. Any function may be called by any thread; those that accept at
/// the same time take turns.
/// Source of the semantics: Python's multiprocessing.connection.Listener.
class PASSEL_API Listener {
 public:
  /// A closed one.
  Listener() noexcept;
  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  /// Begins to listen. TCP needs an authkey, or `insecure_plaintext`. Errors: refused when another
  /// listener has the address, or when TCP without authentication was not asked for or is not on
  /// loopback; invalid_argument for a path that is too long (107 bytes), abstract (those have no
  /// permissions) or taken by another file, for an unknown host, a backlog below 1 or no room for
  /// greetings; not_found and system as the kernel says; no_space. (Python: Listener(address))
  [[nodiscard]] static Result<Listener> open(Address address = UnixAddress{},
                                             ListenerOptions options = {});

  /// Waits for a client. Errors: closed "listener is closed", also when it is closed meanwhile.
  /// When this process may have no more descriptors it waits until it may. Who comes meanwhile
  /// stays in the kernel's line, up to `backlog`, and is served then: one without a key has been
  /// connected all the time, and may have sent already. (Python: accept)
  Result<Connection> accept() { return accept_until(detail::Deadline::never()); }
  /// Waits at most `timeout`. Errors: as accept, timeout, invalid_argument when it is negative.
  template <class Rep, class Period>
  Result<Connection> accept_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return accept_until(deadline);
  }
  /// Never waits. Errors: as accept, empty.
  Result<Connection> try_accept();

  /// Stops listening and wakes whoever accepts; connections that were accepted stay. The second
  /// time is nothing. (Python: close)
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;
  /// Where it listens, with the path or port that was chosen. (Python: address)
  [[nodiscard]] Address address() const;
  /// How many clients were turned away because of their key.
  [[nodiscard]] std::uint64_t rejected() const noexcept;
  /// Where the last accepted client came from; empty before the first and for Unix sockets, whose
  /// clients have no address. (Python: last_accepted)
  [[nodiscard]] std::optional<Address> last_accepted() const;

 private:
  friend Waitable;
  explicit Listener(std::shared_ptr<detail::ListenerCore> core) noexcept;
  Result<Connection> accept_until(detail::Deadline deadline);

  std::shared_ptr<detail::ListenerCore> core_;
};

}  // namespace passel::inline v0
