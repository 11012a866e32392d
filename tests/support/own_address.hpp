// Test support: addresses that no other process of this host takes when they are free for a moment.
#pragma once

#include <passel/listener.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace passel_test {

/// A file named by what it is for, or a port to be chosen at a loopback address of this process's
/// own.
inline passel::Address own_address(const passel::Address& kind, const char* what) {
  const int pid = ::getpid();
  if (kind.index() == 0)
    return passel::UnixAddress{std::string{"/tmp/passel-"} + what + "-" + std::to_string(pid)};
  return passel::TcpAddress{"127." + std::to_string(64 + (pid >> 16)) + "." +
                                std::to_string(pid >> 8 & 255) + "." + std::to_string(pid & 255),
                            0};
}

/// Whether this host has an IPv6 loopback.
inline bool has_v6() {
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_addr = in6addr_loopback;
  const bool has = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&raw), sizeof raw) == 0;
  ::close(fd);
  return has;
}

}  // namespace passel_test
