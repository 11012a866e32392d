// Layer transport: the stream sockets that sessions of different processes run over.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include "socket_address.hpp"

namespace passel::inline v0::detail {

/// A socket that listens for sessions, does not block, and knows its place.
struct SessionSocket {
  Descriptor socket;
  Address address;
  SocketPlace place;
};

/// Errors: as Listener::open.
[[nodiscard]] Result<SessionSocket> listen_for_sessions(const Address& address, int backlog);
/// Connects to such a socket of the same user. Errors: not_found, refused, timeout, system.
[[nodiscard]] Result<Descriptor> connect_session(const Address& address, Deadline deadline);

}  // namespace passel::inline v0::detail
