// Layer transport: the stream sockets that sessions of different processes run over.
#pragma once

#include <passel/authkey.hpp>
#include <passel/certificates.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include "handshake.hpp"
#include "secure_stream.hpp"
#include "socket_address.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>

namespace passel::inline v0::detail {

/// A socket that listens for sessions, does not block, and knows its place and its key.
struct SessionSocket {
  Descriptor socket;
  Address address;
  SocketPlace place;
  std::shared_ptr<const HandshakeKeys> keys;
  std::string bound;  ///< the name that the socket has for the kernel; empty over a network
};

/// What a session runs over.
struct SessionCarrier {
  Descriptor socket;
  std::unique_ptr<SecureStream> stream;
  Carrier carrier = Carrier::host;
  std::string host{};     ///< of the peer; empty: this one
  bool same_host = true;  ///< as far as its address tells: some tunnels begin on this one
};

/// Lets in who knows one of the keys, or over TCP shows a certificate if there are any; without
/// either, everybody. Errors: as Listener::open; refused without either at a TcpAddress; those of
/// TlsIdentity::load.
[[nodiscard]] Result<SessionSocket> listen_for_sessions(
    const Address& address, std::span<const AuthKey> keys,
    const std::optional<Certificates>& certificates, int backlog);
/// The next client; nothing when it is gone already, or not of the same user. Errors: empty when
/// there is none now, no_space when this process may have no more descriptors or memory.
[[nodiscard]] Result<std::optional<SessionCarrier>> accept_session(const SessionSocket& socket);
/// Connects to such a socket. Errors: not_found, refused, timeout, invalid_argument, system.
[[nodiscard]] Result<SessionCarrier> connect_session(
    const Address& address, const std::optional<AuthKey>& key,
    const std::optional<Certificates>& certificates, Deadline deadline);

}  // namespace passel::inline v0::detail
