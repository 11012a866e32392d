// Layer transport: Client: connecting, and the greeting.
#include <passel/client.hpp>

#include "connection_end.hpp"
#include "greeting.hpp"
#include "key_proof.hpp"
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
  for (const SocketAddress& raw : found) {
    if (plain && (options.insecure_plaintext == PlaintextTcp::refused || !raw.is_loopback())) {
      failed = plaintext_refused(address, options.insecure_plaintext);
      continue;
    }
    auto socket = connected_socket(raw, SOCK_STREAM, deadline, to_string(Address{address}));
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

Result<void> prove_key(ConnectionEnd& end, const AuthKey& key, bool tcp, Deadline deadline) {
  const ClientGreeting greeting{.has_key = 1, .nonce = fresh_nonce()};
  PASSEL_CHECK(end.send(greeting_bytes(greeting), {}, deadline));
  PASSEL_TRY(const auto answer, hear(end, deadline));
  const auto listener = read_listener_greeting(answer);
  if (!listener) return authentication_failed();
  PASSEL_TRY(const Secret secret,
             tcp ? derive_network_key(key.bytes()) : derive_key(key.bytes(), unix_key_purpose));
  PASSEL_TRY(const Proof mine, prove(secret, Side::client, greeting.nonce, listener->nonce));
  if (tcp) {
    // The key of the session depends on what was said in the clear.
    PASSEL_CHECK(end.start_tls(Side::client, mine));
    PASSEL_TRY(const bool done, end.shake_hands(deadline));
    if (done) return {};
    return Error{Errc::timeout, "the listener did not answer in time"};
  }
  PASSEL_CHECK(end.send(mine, {}, deadline));
  PASSEL_TRY(const auto theirs, hear(end, deadline));
  PASSEL_TRY(const Proof expected, prove(secret, Side::listener, greeting.nonce, listener->nonce));
  if (!same_proof(theirs, expected)) return authentication_failed();
  return {};
}

}  // namespace
}  // namespace detail

Result<Connection> Client::connect_until(const Address& address, const ClientOptions& options,
                                         detail::Deadline deadline) {
  const auto* file = std::get_if<UnixAddress>(&address);
  auto socket = file != nullptr
                    ? detail::connect_unix(*file, deadline)
                    : detail::connect_tcp(std::get<TcpAddress>(address), options, deadline);
  if (!socket) return socket.error();
  PASSEL_TRY(auto end, detail::ConnectionEnd::make(*std::move(socket), ConnectionMode::duplex));
  end->set_kind(detail::PacketKind::greeting);
  if (options.authkey) {
    PASSEL_CHECK(detail::prove_key(*end, *options.authkey, file == nullptr, deadline));
  } else {
    PASSEL_CHECK(end->send(detail::greeting_bytes(detail::ClientGreeting{}), {}, deadline));
  }
  end->set_kind(detail::PacketKind::message);
  return Connection{std::move(end)};
}

}  // namespace passel::inline v0
