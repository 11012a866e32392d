// Layer transport: the stream sockets that sessions of different processes run over.
#include "session_socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

Error no_network() { return {Errc::unsupported, "sessions are served at a UnixAddress only"}; }

Error connect_failed(int error_number, const std::string& path) {
  switch (error_number) {
    case ECONNREFUSED: return {Errc::refused, "connection refused: nobody serves at " + path};
    case ENOENT: return {Errc::not_found, "nobody serves at " + path + ": no such file"};
    case EPROTOTYPE: return {Errc::refused, "what listens at " + path + " serves no sessions"};
    case EACCES: return {Errc::refused, path + " belongs to another user"};
    default: return system_error("connect(" + path + ")", error_number);
  }
}

}  // namespace

Result<SessionSocket> listen_for_sessions(const Address& address, int backlog) {
  const auto* file = std::get_if<UnixAddress>(&address);
  if (file == nullptr) return no_network();
  PASSEL_TRY(SocketPlace place, SocketPlace::take(file->path));
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(place.path()));
  Descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return system_error("socket", errno);
  ::fchmod(socket.get(), 0600);  // what bind gives the file
  if (::bind(socket.get(), raw.raw(), raw.size) != 0 || ::listen(socket.get(), backlog) != 0) {
    if (errno == ENOENT)
      return Error{Errc::not_found, "bind(" + place.path() + "): no such directory"};
    return system_error("bind(" + place.path() + ")", errno);
  }
  UnixAddress chosen{place.path()};
  return SessionSocket{std::move(socket), std::move(chosen), std::move(place)};
}

Result<Descriptor> connect_session(const Address& address, Deadline deadline) {
  const auto* file = std::get_if<UnixAddress>(&address);
  if (file == nullptr) return no_network();
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(file->path));
  Descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return system_error("socket", errno);
  while (::connect(socket.get(), raw.raw(), raw.size) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return connect_failed(errno, file->path);
    // The server has as many in line as it takes: nothing tells when there is room again.
    if (deadline.passed())
      return Error{Errc::timeout, "no place in the line of " + file->path + " in time"};
    ::poll(nullptr, 0, 1);
  }
  PASSEL_TRY(const bool same, same_user(socket.get()));
  if (!same) return Error{Errc::refused, file->path + " is served by another user"};
  return socket;
}

}  // namespace passel::inline v0::detail
