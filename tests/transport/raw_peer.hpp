// Layer transport, tests: a peer without a library, and what its visit costs this process.
#pragma once

#include <passel/listener.hpp>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string>
#include <utility>

namespace passel_test {

/// A peer without a library, at either kind of address.
struct RawPeer {
  explicit RawPeer(const passel::Address& address, const char* from = nullptr,
                   int local_type = SOCK_SEQPACKET) {
    if (const auto* file = std::get_if<passel::UnixAddress>(&address)) {
      fd = ::socket(AF_UNIX, local_type | SOCK_CLOEXEC, 0);
      std::memset(&raw, 0, sizeof raw);
      sockaddr_un place{};
      place.sun_family = AF_UNIX;
      std::memcpy(place.sun_path, file->path.data(), file->path.size());
      std::memcpy(&raw, &place, sizeof place);
      size = sizeof place;
      return;
    }
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in place{};
    place.sin_family = AF_INET;
    if (from != nullptr) {
      place.sin_addr.s_addr = ::inet_addr(from);
      EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
    }
    place.sin_port = htons(std::get<passel::TcpAddress>(address).port);
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::memcpy(&raw, &place, sizeof place);
    size = sizeof place;
  }
  RawPeer(RawPeer&& other) noexcept
      : fd{std::exchange(other.fd, -1)}, raw{other.raw}, size{other.size} {}
  RawPeer& operator=(RawPeer&&) = delete;
  ~RawPeer() {
    if (fd >= 0) ::close(fd);
  }
  [[nodiscard]] bool connect() const {
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&raw), size) == 0;
  }
  /// False when nobody hears it any more.
  [[nodiscard]] bool say(const std::string& bytes) const {
    return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(bytes.size());
  }
  /// What it has been told and has not read yet.
  [[nodiscard]] std::string heard() const {
    std::string bytes(256, '\0');
    const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  [[nodiscard]] bool dropped() const {
    pollfd watched{fd, POLLRDHUP, 0};
    return ::poll(&watched, 1, 0) == 1;
  }
  void wait_until_dropped() const {
    pollfd watched{fd, POLLRDHUP, 0};
    ::poll(&watched, 1, -1);
  }
  int fd = -1;
  sockaddr_storage raw{};
  socklen_t size = 0;
};

/// The first message of a client, whole.
inline std::string greeting() {
  std::string out(16 + 48, '\0');
  out[0] = 48;
  out[14] = 2;
  out.replace(16, 8, "passelc1");
  out[24] = 1;
  return out;
}

/// From now until its end this process can have no more descriptors than it has.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &old_), 0);
    rlimit none = old_;
    const int next = ::dup(0);
    ::close(next);
    none.rlim_cur = static_cast<rlim_t>(next);  // all below are in use
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;
  ~NoMoreDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &old_), 0); }

 private:
  rlimit old_{};
};

/// In KiB, of a process so far.
inline long peak_memory(::pid_t pid = ::getpid()) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string text; std::getline(file, text);)
    if (text.starts_with("VmHWM:")) return std::atol(text.c_str() + 6);
  return 0;
}

/// Processor time of this process so far.
inline double process_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

}  // namespace passel_test
