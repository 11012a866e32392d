// Layer transport: addresses as the kernel takes them, and files that belong to listening sockets.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// One address in the kernel's form.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] const sockaddr* raw() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] int family() const noexcept { return storage.ss_family; }
  [[nodiscard]] bool is_loopback() const noexcept;
};

/// Errors: invalid_argument (too long, abstract).
[[nodiscard]] Result<SocketAddress> unix_socket_address(const std::string& path);
/// The part of the time for the first of so many attempts, which are made one after the other.
[[nodiscard]] Deadline share_of(Deadline deadline, std::size_t attempts);
/// What a socket says when its other end is gone, or the network in between.
[[nodiscard]] bool is_gone(int error_number) noexcept;
/// All that a host name stands for. Errors: invalid_argument.
[[nodiscard]] Result<std::vector<SocketAddress>> look_up(const TcpAddress& address);
[[nodiscard]] Address to_address(const SocketAddress& address);
/// Those who count as one: an IPv4 address, or the /64 of an IPv6 one, which belongs to one host
/// or its owner.
[[nodiscard]] std::string crowd_of(const std::string& host);
/// Whether a socket is connected with itself: a connect to a free port of one's own host may be.
[[nodiscard]] bool met_itself(int fd) noexcept;
/// The name that the listener at the other end of a Unix socket has bound, in the words of the
/// kernel; empty when there is none.
[[nodiscard]] std::string name_of_listener(int fd);
/// The name that this Unix socket has bound.
[[nodiscard]] std::string bound_name(int fd);
/// No delay of small messages, and an end of the line a few seconds after the other host is gone.
void prepare_tcp(int fd) noexcept;
/// Whether the process at the other end of a Unix socket belongs to the same user.
[[nodiscard]] Result<bool> same_user(int fd);
[[nodiscard]] Error plaintext_refused(const Address& address, PlaintextTcp asked);

/// The place in the file system where a Unix listener is: the lock that makes it one listener's,
/// and the removal of what it made.
class SocketPlace {
 public:
  SocketPlace() = default;
  SocketPlace(SocketPlace&& other) noexcept { swap(other); }
  SocketPlace& operator=(SocketPlace&& other) noexcept {
    SocketPlace taken{std::move(other)};
    swap(taken);
    return *this;
  }
  ~SocketPlace() { remove(); }

  /// Takes the place, and removes the socket that a dead listener left there. An empty path: one in
  /// a new directory. Errors: refused, invalid_argument, not_found, system.
  [[nodiscard]] static Result<SocketPlace> take(const std::string& path);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  void remove() noexcept;

 private:
  void swap(SocketPlace& other) noexcept;

  std::string path_;
  std::string directory_;  // to be removed, too
  Descriptor lock_;
  std::uint32_t generation_ = 0;  // a forked child removes nothing
};

}  // namespace passel::inline v0::detail
