// Layer transport, tests: a man in the middle of a TCP connection.
#pragma once

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace passel_test {

/// Between a client and a listener: hands on what each says, one piece at a time, through `change`.
struct Middle {
  using Change = std::function<void(std::string& bytes, bool from_client)>;
  Middle(std::uint16_t to, Change how) : change{std::move(how)} {
    door = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(door, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
    EXPECT_EQ(::listen(door, 8), 0);
    socklen_t size = sizeof raw;
    ::getsockname(door, reinterpret_cast<sockaddr*>(&raw), &size);
    port = ntohs(raw.sin_port);
    thread = std::thread{[this, to] { run(to); }};
  }
  Middle(const Middle&) = delete;
  Middle& operator=(const Middle&) = delete;
  ~Middle() {
    ::shutdown(door, SHUT_RDWR);
    thread.join();
    ::close(door);
  }
  void run(std::uint16_t to) {
    const int client = ::accept4(door, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_port = htons(to);
    raw.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(listener, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
    std::array<char, 65536> buffer;
    for (bool open = true; open;) {
      std::array<pollfd, 2> watched{{{client, POLLIN, 0}, {listener, POLLIN, 0}}};
      ::poll(watched.data(), 2, -1);
      for (std::size_t side = 0; side < 2; ++side) {
        if (watched[side].revents == 0) continue;
        const ssize_t got = ::recv(watched[side].fd, buffer.data(), buffer.size(), 0);
        if (got <= 0) open = false;
        if (got <= 0) break;
        std::string bytes{buffer.data(), static_cast<std::size_t>(got)};
        change(bytes, side == 0);
        if (bytes.empty() || over) open = false;
        ::send(watched[1 - side].fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      }
    }
    ::close(client);
    ::close(listener);
  }
  Change change;
  std::atomic<bool> over = false;  // the line is cut after the present piece
  int door = -1;
  std::uint16_t port = 0;
  std::thread thread;
};

}  // namespace passel_test
