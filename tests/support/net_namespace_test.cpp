// Test support, tests: two hosts, and what happens to the cable between them.
#include "net_namespace.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

namespace {

using passel_test::TwoHosts;
using Host = TwoHosts::Host;

/// A datagram socket on a host.
struct Post {
  Post(const TwoHosts& hosts, Host host) {
    hosts.on(host, [&] {
      fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      const sockaddr_in here = at(host, 0);
      ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    });
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
    port = ntohs(bound.sin_port);
  }
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;
  ~Post() { ::close(fd); }

  static sockaddr_in at(Host host, std::uint16_t port) {
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_port = htons(port);
    raw.sin_addr.s_addr = ::inet_addr(TwoHosts::address(host).c_str());
    return raw;
  }
  void say(Host to, std::uint16_t to_port, char what) const {
    const sockaddr_in there = at(to, to_port);
    static_cast<void>(::sendto(fd, &what, 1, MSG_DONTWAIT,
                               reinterpret_cast<const sockaddr*>(&there), sizeof there));
  }
  /// What comes next; '-' when nothing is there in that time.
  [[nodiscard]] char hear(int milliseconds) const {
    pollfd watched{fd, POLLIN, 0};
    if (::poll(&watched, 1, milliseconds) != 1) return '-';
    char got = '?';
    static_cast<void>(::recv(fd, &got, 1, 0));
    return got;
  }
  /// Whether that is among what comes until nothing has come for a while.
  [[nodiscard]] bool hears(char what) const {
    for (char got = hear(50); got != '-'; got = hear(50))
      if (got == what) return true;
    return false;
  }
  int fd = -1;
  std::uint16_t port = 0;
};

/// Says it again and again until it is heard: a cable that was mended needs a moment.
char carried(const Post& from, const Post& to, Host where, char what) {
  for (;;) {
    from.say(where, to.port, what);
    if (const char got = to.hear(10); got == what) return got;
  }
}

TEST(TwoHosts, ACableCarriesUntilItIsCut) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  TwoHosts hosts;
  const Post left{hosts, Host::left};
  const Post right{hosts, Host::right};
  EXPECT_EQ(carried(left, right, Host::right, 'a'), 'a');
  EXPECT_EQ(carried(right, left, Host::left, 'b'), 'b');
  hosts.cut();
  left.say(Host::right, right.port, 'c');
  right.say(Host::left, left.port, 'd');
  EXPECT_FALSE(right.hears('c'));
  EXPECT_FALSE(left.hears('d'));
  hosts.mend();
  EXPECT_EQ(carried(left, right, Host::right, 'e'), 'e');
  EXPECT_EQ(carried(right, left, Host::left, 'f'), 'f');
}

TEST(TwoHosts, AMutedHostHearsAndIsNotHeard) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  TwoHosts hosts;
  const Post left{hosts, Host::left};
  const Post right{hosts, Host::right};
  EXPECT_EQ(carried(left, right, Host::right, 'a'), 'a');
  hosts.mute(Host::left);
  left.say(Host::right, right.port, 'b');
  EXPECT_EQ(carried(right, left, Host::left, 'c'), 'c');
  EXPECT_FALSE(right.hears('b'));
  hosts.unmute(Host::left);
  EXPECT_EQ(carried(left, right, Host::right, 'd'), 'd');
}

TEST(TwoHosts, WhatABodyThrowsIsThrown) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  const TwoHosts hosts;
  EXPECT_THROW(hosts.on(Host::left, [] { throw 1; }), int);
}

}  // namespace
