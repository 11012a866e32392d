// Layer transport: Client, the way to a Listener.
#pragma once

#include <passel/authkey.hpp>
#include <passel/connection.hpp>
#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <optional>

namespace passel::inline v0 {

/// Settings of a client.
struct ClientOptions {
  std::optional<AuthKey> authkey{};  ///< the listener must know it
  PlaintextTcp insecure_plaintext = PlaintextTcp::refused;
};

/// Connects to a Listener.
///
///     auto line = passel::Client::connect(passel::UnixAddress{"/run/user/1000/x.sock"}).unwrap();
///     line.send(order).unwrap();
///
/// At a UnixAddress the listener must be a process of the same user. Without a key the connection
/// can be used at once, before it is accepted; when the listener wants one, receiving gives
/// auth_failed (over TCP perhaps closed). With a key connecting waits until the listener accepts,
/// which may be when its process has room for more descriptors again, and both have proved that
/// they know the key: connect_for if that shall have an end.
/// Source of the semantics: Python's multiprocessing.connection.Client.
struct PASSEL_API Client {
  /// Waits until there is a connection. Errors: auth_failed when the listener has another key, or
  /// none; closed when it goes meanwhile; refused when nobody listens there, the listener
  /// belongs to another user, or TCP without authentication was not asked for or leaves this host;
  /// not_found when there is no such file; invalid_argument for an unknown host or a path that no
  /// socket can have; no_space, system. (Python: Client(address))
  [[nodiscard]] static Result<Connection> connect(const Address& address,
                                                  ClientOptions options = {}) {
    return connect_until(address, options, detail::Deadline::never());
  }
  /// Waits at most `timeout`, apart from looking up a name. Errors: as connect, timeout,
  /// invalid_argument when it is negative.
  template <class Rep, class Period>
  [[nodiscard]] static Result<Connection> connect_for(const Address& address,
                                                      std::chrono::duration<Rep, Period> timeout,
                                                      ClientOptions options = {}) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return connect_until(address, options, deadline);
  }

 private:
  static Result<Connection> connect_until(const Address& address, const ClientOptions& options,
                                          detail::Deadline deadline);
};

}  // namespace passel::inline v0
