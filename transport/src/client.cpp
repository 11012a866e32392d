// Layer transport: Client: connecting, and the greeting.
#include <passel/client.hpp>

#include "connection_end.hpp"
#include "greeting.hpp"
#include "handshake.hpp"
#include "socket_address.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace passel::inline v0 {
namespace detail {
namespace {

Error connect_error(int error_number, const std::string& name) {
  switch (error_number) {
    case ECONNREFUSED: return {Errc::refused, "connection refused: nobody listens at " + name};
    case ENOENT: return {Errc::not_found, "nobody listens at " + name + ": no such file"};
    case EPROTOTYPE: return {Errc::refused, "what listens at " + name + " is no passel Listener"};
    case EACCES: return {Errc::refused, name + " belongs to another user"};
    case EAGAIN:
    case EINPROGRESS:
    case ETIMEDOUT: return {Errc::timeout, "no connection with " + name + " in time"};
    default: return system_error("connect(" + name + ")", error_number);
  }
}

/// How long the kernel lets a connect wait; zero microseconds are for ever.
void limit_connect(int fd, Deadline deadline) noexcept {
  timeval limit{};
  if (!deadline.is_never()) {
    const auto rest =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline.left()).count() + 1;
    limit.tv_sec = static_cast<time_t>(rest / 1'000'000);
    limit.tv_usec = static_cast<suseconds_t>(rest % 1'000'000);
  }
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

Result<Descriptor> connected_socket(const SocketAddress& address, int type, Deadline deadline,
                                    const std::string& name) {
  Descriptor socket{::socket(address.family(), type | SOCK_CLOEXEC, 0)};
  if (!socket) return system_error("socket", errno);
  while (true) {
    limit_connect(socket.get(), deadline);
    if (::connect(socket.get(), address.raw(), address.size) == 0) break;
    if (errno != EINTR) return connect_error(errno, name);
    if (address.family() == AF_UNIX) continue;
    // The attempt goes on; its outcome is told by the socket.
    PASSEL_TRY(const bool ready, wait_for_events(socket.get(), POLLOUT, deadline));
    int outcome = 0;
    socklen_t size = sizeof outcome;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &outcome, &size);
    if (!ready) outcome = ETIMEDOUT;
    if (outcome != 0) return connect_error(outcome, name);
    break;
  }
  limit_connect(socket.get(), Deadline::never());
  return socket;
}

Result<Descriptor> connect_unix(const UnixAddress& address, Deadline deadline) {
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(address.path));
  PASSEL_TRY(Descriptor socket, connected_socket(raw, SOCK_SEQPACKET, deadline, address.path));
  PASSEL_TRY(const bool same, same_user(socket.get()));
  if (!same) return Error{Errc::refused, address.path + " is listened at by another user"};
  return socket;
}

Result<Descriptor> connect_tcp(const TcpAddress& address, const ClientOptions& options,
                               Deadline deadline) {
  PASSEL_TRY(const auto found, look_up(address));
  std::optional<Error> failed;
  const bool plain = !options.authkey;
  std::size_t left = found.size();
  for (const SocketAddress& raw : found) {
    const Deadline turn = share_of(deadline, left--);
    if (plain && (options.insecure_plaintext == PlaintextTcp::refused || !raw.is_loopback())) {
      failed = plaintext_refused(address, options.insecure_plaintext);
      continue;
    }
    auto socket = connected_socket(raw, SOCK_STREAM, turn, to_string(Address{address}));
    if (socket && met_itself(socket->get()))
      socket = connect_error(ECONNREFUSED, to_string(Address{address}));
    if (socket) {
      prepare_tcp(socket->get());
      return socket;
    }
    failed = socket.error();
  }
  return failed.value_or(
      Error{Errc::invalid_argument, "host '" + address.host + "' has no address"});
}

/// The next message of the greeting; nonsense is somebody who does not know the key.
Result<std::vector<std::byte>> hear(ConnectionEnd& end, Deadline deadline) {
  auto message = end.receive(deadline, max_greeting_size);
  if (message && message->descriptors.empty()) return std::move(message->bytes);
  if (message || message.error() == Errc::malformed || message.error() == Errc::too_large ||
      message.error() == Errc::auth_failed)
    return authentication_failed();
  return message.error();
}

Result<void> prove_key(ConnectionEnd& end, ClientHandshake handshake, Deadline deadline) {
  while (true) {
    PASSEL_TRY(const auto message, hear(end, deadline));
    const HandshakeStep step = handshake.step(message);
    if (!step.say.empty()) PASSEL_CHECK(end.send(step.say, {}, deadline));
    if (step.next == HandshakeStep::Next::listen) continue;
    if (step.next == HandshakeStep::Next::welcome) return {};
    if (step.next != HandshakeStep::Next::encrypt) return authentication_failed();
    PASSEL_TRY(const auto keys, handshake.session_keys());
    PASSEL_CHECK(end.start_tls(Side::client, keys));
    PASSEL_TRY(const bool done, end.shake_hands(deadline));
    if (done) return {};
    return Error{Errc::timeout, "the listener did not answer in time"};
  }
}

/// Before there is a connection: a short key takes a while, and the listener's patience is short.
auto keys_of(const std::optional<AuthKey>& key, bool tcp) {
  const std::span<const AuthKey> keys{key ? &*key : nullptr, key ? 1U : 0U};
  return HandshakeKeys::make(tcp ? Carrier::network : Carrier::host, keys);
}

}  // namespace
}  // namespace detail

Result<Connection> Client::connect_until(const Address& address, const ClientOptions& options,
                                         detail::Deadline deadline) {
  const auto* file = std::get_if<UnixAddress>(&address);
  PASSEL_TRY(auto keys, detail::keys_of(options.authkey, file == nullptr));
  auto socket = file != nullptr
                    ? detail::connect_unix(*file, deadline)
                    : detail::connect_tcp(std::get<TcpAddress>(address), options, deadline);
  if (!socket) return socket.error();
  PASSEL_TRY(auto end, detail::ConnectionEnd::make(*std::move(socket), ConnectionMode::duplex));
  detail::ClientHandshake handshake{
      std::move(keys),
      file == nullptr ? std::string{} : detail::name_of_listener(end->socket().get()),
      detail::fresh_nonce()};
  end->set_kind(detail::PacketKind::greeting);
  PASSEL_CHECK(end->send(handshake.greeting(), {}, deadline));
  if (options.authkey) PASSEL_CHECK(detail::prove_key(*end, std::move(handshake), deadline));
  end->set_kind(detail::PacketKind::message);
  return Connection{std::move(end)};
}

}  // namespace passel::inline v0
