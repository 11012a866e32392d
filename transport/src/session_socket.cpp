// Layer transport: the stream sockets that sessions of different processes run over.
#include "session_socket.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

namespace passel::inline v0::detail {
namespace {

Error connect_failed(int error_number, const std::string& name) {
  switch (error_number) {
    case ECONNREFUSED: return {Errc::refused, "connection refused: nobody serves at " + name};
    case ENOENT: return {Errc::not_found, "nobody serves at " + name + ": no such file"};
    case EPROTOTYPE: return {Errc::refused, "what listens at " + name + " serves no sessions"};
    case EACCES: return {Errc::refused, name + " belongs to another user"};
    case ETIMEDOUT: return {Errc::timeout, "no connection with " + name + " in time"};
    default: return system_error("connect(" + name + ")", error_number);
  }
}

Result<Descriptor> stream_socket(int family) {
  Descriptor socket{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return system_error("socket", errno);
  return socket;
}

// ---- listening ----------------------------------------------------------------------------------

Result<void> bind_and_listen(int fd, const SocketAddress& raw, int backlog,
                             const std::string& name) {
  if (::bind(fd, raw.raw(), raw.size) == 0 && ::listen(fd, backlog) == 0) return {};
  if (errno == ENOENT) return Error{Errc::not_found, "bind(" + name + "): no such directory"};
  if (errno == EADDRINUSE)
    return Error{Errc::refused, name + " is in use: another server is there"};
  return system_error("bind(" + name + ")", errno);
}

Result<SessionSocket> listen_at_file(const std::string& path, std::span<const AuthKey> given,
                                     int backlog) {
  PASSEL_TRY(auto keys, HandshakeKeys::make(Carrier::host, given));
  PASSEL_TRY(SocketPlace place, SocketPlace::take(path));
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(place.path()));
  PASSEL_TRY(Descriptor socket, stream_socket(AF_UNIX));
  ::fchmod(socket.get(), 0600);  // what bind gives the file
  PASSEL_CHECK(bind_and_listen(socket.get(), raw, backlog, place.path()));
  UnixAddress chosen{place.path()};
  std::string bound = bound_name(socket.get());
  return SessionSocket{std::move(socket), std::move(chosen), std::move(place), std::move(keys),
                       std::move(bound)};
}

/// What proves to the other side of a network who one is. Errors: refused without anything.
Result<std::shared_ptr<const HandshakeKeys>> proof_for(
    const TcpAddress& address, std::span<const AuthKey> keys,
    const std::optional<Certificates>& certificates) {
  if (certificates) {
    PASSEL_TRY(auto identity, TlsIdentity::load(*certificates));
    return std::make_shared<const HandshakeKeys>(std::move(identity));
  }
  if (!keys.empty()) return HandshakeKeys::make(Carrier::network, keys);
  return Error{Errc::refused,
               "sessions at " + to_string(address) + " need an authkey or certificates"};
}

Result<SessionSocket> listen_at_port(const TcpAddress& address, std::span<const AuthKey> given,
                                     const std::optional<Certificates>& certificates, int backlog) {
  PASSEL_TRY(auto keys, proof_for(address, given, certificates));
  PASSEL_TRY(const auto found, look_up(address));
  const SocketAddress& raw = found.front();
  PASSEL_TRY(Descriptor socket, stream_socket(raw.family()));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (raw.family() == AF_INET6)
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  PASSEL_CHECK(bind_and_listen(socket.get(), raw, backlog, to_string(address)));
  SocketAddress bound;
  bound.size = sizeof bound.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0)
    return system_error("getsockname", errno);
  return SessionSocket{std::move(socket), to_address(bound), SocketPlace{}, std::move(keys), {}};
}

// ---- connecting ---------------------------------------------------------------------------------

Result<Descriptor> connect_to_file(const std::string& path, Deadline deadline) {
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(path));
  PASSEL_TRY(Descriptor socket, stream_socket(AF_UNIX));
  while (::connect(socket.get(), raw.raw(), raw.size) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return connect_failed(errno, path);
    // The server has as many in line as it takes: nothing tells when there is room again.
    if (deadline.passed())
      return Error{Errc::timeout, "no place in the line of " + path + " in time"};
    ::poll(nullptr, 0, 1);
  }
  PASSEL_TRY(const bool same, same_user(socket.get()));
  if (!same) return Error{Errc::refused, path + " is served by another user"};
  return socket;
}

/// 0, or why it failed.
int outcome_of_connect(int fd, Deadline deadline) {
  while (true) {
    pollfd watched{fd, POLLOUT, 0};
    const timespec left = to_timespec(deadline.left());
    const int ready = ::ppoll(&watched, 1, deadline.is_never() ? nullptr : &left, nullptr);
    if (ready == 0 && deadline.passed()) return ETIMEDOUT;
    if (ready < 0 && errno != EINTR) return errno;
    if (ready <= 0) continue;
    int outcome = 0;
    socklen_t size = sizeof outcome;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &outcome, &size);
    return outcome;
  }
}

Result<Descriptor> connect_to_port(const SocketAddress& raw, const std::string& name,
                                   Deadline deadline) {
  PASSEL_TRY(Descriptor socket, stream_socket(raw.family()));
  int failed = ::connect(socket.get(), raw.raw(), raw.size) == 0 ? 0 : errno;
  // Interrupted or not: the attempt goes on, and its outcome is told by the socket.
  if (failed == EINPROGRESS || failed == EINTR) failed = outcome_of_connect(socket.get(), deadline);
  if (failed == 0 && met_itself(socket.get())) failed = ECONNREFUSED;
  if (failed != 0) return connect_failed(failed, name);
  prepare_tcp(socket.get());
  return socket;
}

/// Connects the carrier to the first address of that host that takes it.
Result<void> connect_to_host(SessionCarrier& carrier, const TcpAddress& address,
                             Deadline deadline) {
  PASSEL_TRY(const auto found, look_up(address));
  std::optional<Error> failed;
  std::size_t left = found.size();
  for (const SocketAddress& raw : found) {
    auto socket = connect_to_port(raw, to_string(address), share_of(deadline, left--));
    if (socket) {
      carrier.socket = *std::move(socket);
      carrier.host = address.host;
      carrier.same_host = raw.is_loopback();
      return {};
    }
    failed = socket.error();
  }
  return failed.value_or(
      Error{Errc::invalid_argument, "host '" + address.host + "' has no address"});
}

}  // namespace

Result<SessionSocket> listen_for_sessions(const Address& address, std::span<const AuthKey> keys,
                                          const std::optional<Certificates>& certificates,
                                          int backlog) {
  if (const auto* file = std::get_if<UnixAddress>(&address))
    return listen_at_file(file->path, keys, backlog);
  return listen_at_port(std::get<TcpAddress>(address), keys, certificates, backlog);
}

Result<std::optional<SessionCarrier>> accept_session(const SessionSocket& socket) {
  SocketAddress from;
  from.size = sizeof from.storage;
  Descriptor client{::accept4(socket.socket.get(), reinterpret_cast<sockaddr*>(&from.storage),
                              &from.size, SOCK_CLOEXEC)};
  if (!client) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
      return Error{Errc::no_space, "no descriptor for a new client"};
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Error{Errc::empty, "no client is there"};
    return std::optional<SessionCarrier>{};  // that client is gone already
  }
  SessionCarrier out;
  out.carrier = socket.keys->carrier();
  if (out.carrier == Carrier::network) {
    prepare_tcp(client.get());
    out.host = crowd_of(std::get<TcpAddress>(to_address(from)).host);
    out.same_host = from.is_loopback();
  } else if (const auto same = same_user(client.get()); !same || !*same) {
    return std::optional<SessionCarrier>{};
  }
  PASSEL_TRY(out.stream, SecureStream::make(Side::listener, socket.keys, socket.bound));
  out.socket = std::move(client);
  return std::optional{std::move(out)};
}

Result<SessionCarrier> connect_session(const Address& address, const std::optional<AuthKey>& key,
                                       const std::optional<Certificates>& certificates,
                                       Deadline deadline) {
  const std::span<const AuthKey> mine{key ? &*key : nullptr, key ? 1U : 0U};
  SessionCarrier out;
  if (const auto* file = std::get_if<UnixAddress>(&address)) {
    out.carrier = Carrier::host;
    PASSEL_TRY(const auto keys, HandshakeKeys::make(out.carrier, mine));
    PASSEL_TRY(out.socket, connect_to_file(file->path, deadline));
    PASSEL_TRY(out.stream,
               SecureStream::make(Side::client, keys, name_of_listener(out.socket.get())));
    return out;
  }
  out.carrier = Carrier::network;
  const auto& tcp = std::get<TcpAddress>(address);
  // Before the server begins to count the time: a short key takes long.
  PASSEL_TRY(const auto keys, proof_for(tcp, mine, certificates));
  PASSEL_CHECK(connect_to_host(out, tcp, deadline));
  PASSEL_TRY(out.stream, SecureStream::make(Side::client, keys, tcp.host));
  return out;
}

}  // namespace passel::inline v0::detail
