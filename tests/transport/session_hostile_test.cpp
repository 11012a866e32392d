// Layer transport, tests: peers of a session server that are silent, slow, wrong or too many. The
// proofs and the encryption under it are tested with Listener and Client.
#include <passel/authkey.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/detail/session_server.hpp>
#include <passel/log.hpp>

#include <gtest/gtest.h>

#include "middle.hpp"
#include "raw_peer.hpp"
#include "session_fixture.hpp"
#include "support/process_census.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace passel::detail;
using namespace std::chrono_literals;
using passel::Address;
using passel::AuthKey;
using passel::Errc;
using passel::TcpAddress;
using passel::UnixAddress;
using passel_test::ask;
using passel_test::Echo;
using passel_test::greeting;
using passel_test::Middle;
using passel_test::NoMoreDescriptors;
using passel_test::peak_memory;
using passel_test::process_seconds;
using passel_test::ProcessCensus;
using passel_test::RawPeer;
using passel_test::Server;
using passel_test::wrong_key;

/// What a server says that has no room.
std::string no_room() {
  std::string packet(16, '\0');
  packet[14] = static_cast<char>(254);
  return packet;
}

class HostileSessions : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, HostileSessions,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tcp";
                         });

TEST_P(HostileSessions, ServesWhoKnowsTheKeyMessagesOfAnySize) {
  Server server{{.address = GetParam()}};
  const auto link = server.connect().unwrap();
  for (const std::size_t size : {0UL, 1UL, 65'536UL, 10'000'000UL})
    EXPECT_EQ(ask(*link, size).unwrap().bytes.size(), size);
  EXPECT_EQ(server.server->sessions(), 1U);
}

TEST_P(HostileSessions, Fault39ThousandsThatAreSilentOrSlowHoldUpNobody) {
  const auto before = ProcessCensus::take();
  {
    Server server{{.address = GetParam(), .backlog = 4096, .greeting_timeout = 1h}};
    const auto served = server.connect().unwrap();
    std::vector<RawPeer> kept;
    for (int n = 0; n < 3000; ++n) {
      RawPeer peer{server.address(), nullptr, SOCK_STREAM};
      ASSERT_TRUE(peer.connect());
      if (n % 3 == 1) static_cast<void>(peer.say(greeting().substr(0, 1)));
      if (n % 3 == 2) static_cast<void>(peer.say(greeting()));  // and then nothing
      if (n % 300 == 0) {
        ASSERT_TRUE(ask(*served));
      }
      if (n >= 2900) kept.push_back(std::move(peer));
    }
    for (int round = 0; round < 10; ++round) {
      // Another byte of each, however slowly, and those who know the key are let in at once.
      for (const RawPeer& peer : kept) static_cast<void>(peer.say("\1"));
      const auto link = server.connect().unwrap();
      ASSERT_TRUE(ask(*link));
      ASSERT_TRUE(ask(*served));
    }
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_P(HostileSessions, Fault39WhoSaysNothingIsDroppedAfterItsTime) {
  Server server{{.address = GetParam(), .greeting_timeout = 50ms}};
  const RawPeer silent{server.address(), nullptr, SOCK_STREAM};
  ASSERT_TRUE(silent.connect());
  silent.wait_until_dropped();
}

TEST(HostileSession, Fault39OneHostDoesNotPushOutTheOthers) {
  Server server{{.address = TcpAddress{}, .greeting_timeout = 1h, .max_greeting = 4}};
  const RawPeer oldest{server.address(), "127.0.0.2"};
  ASSERT_TRUE(oldest.connect());
  std::vector<RawPeer> crowd;
  for (int n = 0; n < 20; ++n) {
    crowd.emplace_back(server.address(), "127.0.0.3");
    ASSERT_TRUE(crowd.back().connect());
  }
  // The last four of the twenty-one are there, or three and the one from elsewhere.
  for (int n = 0; n < 17; ++n) crowd[static_cast<std::size_t>(n)].wait_until_dropped();
  EXPECT_FALSE(oldest.dropped());
}

TEST(HostileSession, Fault40AThousandWrongKeysAreCountedAndFillNoLog) {
  std::atomic<int> lines = 0;
  std::string line;
  std::string expected;
  passel::set_log_sink([&](const passel::LogRecord& record) {
    if (lines++ == 0) line = record.text;
  });
  {
    Server server{{.address = UnixAddress{}}};
    const auto served = server.connect().unwrap();
    std::set<std::string> texts;
    for (int n = 0; n < 1000; ++n) {
      const AuthKey guess{"guess " + std::to_string(n)};
      texts.insert(server.connect(guess).error().to_string());
      if (n % 100 == 0) {
        ASSERT_TRUE(ask(*served));
      }
    }
    EXPECT_EQ(texts, std::set<std::string>{"auth_failed: authentication failed"});
    EXPECT_EQ(server.server->rejected(), 1000U);
    EXPECT_TRUE(server.connect());
    expected = to_string(server.address()) + " refused 1 for their keys";
  }
  passel::set_log_sink({});
  EXPECT_NE(line.find(expected), std::string::npos) << line;
  EXPECT_LE(lines.load(), 61);  // one in a second, and the watchdog comes after sixty
}

TEST(HostileSession, Fault40OverTcpTheRightKeyGetsInAfterManyWrongOnes) {
  Server server{{.address = TcpAddress{}}};
  for (int n = 0; n < 8; ++n) EXPECT_EQ(server.connect(wrong_key).error(), Errc::auth_failed);
  EXPECT_TRUE(ask(*server.connect().unwrap()));
  EXPECT_EQ(server.server->rejected(), 8U);
}

TEST(HostileSession, Fault43TcpWithoutAKeyIsRefused) {
  IoLoop loop;
  Echo echo;
  EXPECT_EQ(SessionServer::open(loop, {.address = TcpAddress{}}, echo).error(), Errc::refused);
  Server server{{.address = TcpAddress{}}};
  EXPECT_EQ(SessionLink::connect(loop, server.address(), {}, Deadline::never()).error(),
            Errc::refused);
}

TEST(HostileSession, Fault44ALineCutAtEveryByteOfAnAnswerIsPeerLost) {
  Server server{{.address = TcpAddress{}}};
  const std::uint16_t port = std::get<TcpAddress>(server.address()).port;
  bool whole = false;
  for (std::size_t cut = 0; !whole; ++cut) {
    std::atomic<bool> armed = false;
    std::atomic<bool> all = false;
    Middle* self = nullptr;
    Middle middle{port, [&](std::string& bytes, bool from_client) {
                    if (!armed || from_client) return;
                    all = cut >= bytes.size();
                    bytes.resize(std::min(bytes.size(), cut));
                    self->over = true;
                  }};
    self = &middle;
    const auto link = server.connect(TcpAddress{"127.0.0.1", middle.port}).unwrap();
    ASSERT_TRUE(ask(*link));
    armed = true;
    const auto answer = ask(*link);
    whole = all;
    EXPECT_EQ(answer.is_ok(), whole) << cut;
    if (!answer) {
      ASSERT_EQ(answer.error(), Errc::peer_lost) << cut;
    }
  }
}

TEST(HostileSession, Fault46AChangedByteEndsTheSession) {
  Server server{{.address = TcpAddress{}}};
  const std::uint16_t port = std::get<TcpAddress>(server.address()).port;
  std::atomic<bool> armed = false;
  Middle middle{port, [&](std::string& bytes, bool from_client) {
                  if (armed && !from_client) bytes.back() ^= 1;
                }};
  const auto link = server.connect(TcpAddress{"127.0.0.1", middle.port}).unwrap();
  ASSERT_TRUE(ask(*link));
  armed = true;
  EXPECT_EQ(ask(*link).error(), Errc::malformed);
  EXPECT_FALSE(link->is_open());
}

TEST_P(HostileSessions, Fault45LengthsThatAreLiesTakeNoMemory) {
  Server server{{.address = GetParam()}};
  ASSERT_TRUE(server.connect());
  { const RawPeer warm{server.address(), nullptr, SOCK_STREAM}; }
  const long before = peak_memory();
  for (const std::uint64_t length :
       {std::uint64_t{257}, std::uint64_t{1} << 31, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    const RawPeer peer{server.address(), nullptr, SOCK_STREAM};
    ASSERT_TRUE(peer.connect());
    std::string lie = greeting();
    std::memcpy(lie.data(), &length, sizeof length);
    static_cast<void>(peer.say(lie));
    peer.wait_until_dropped();
  }
  EXPECT_LT(peak_memory() - before, 1024);
}

TEST_P(HostileSessions, Fault49WithoutDescriptorsTheServedGoOnAndNobodySpins) {
  Server server{{.address = GetParam()}};
  const auto served = server.connect().unwrap();
  ASSERT_TRUE(ask(*served));
  std::vector<RawPeer> peers;
  for (int n = 0; n < 80; ++n) peers.emplace_back(server.address(), nullptr, SOCK_STREAM);
  std::optional<NoMoreDescriptors> limit{std::in_place};
  for (const RawPeer& peer : peers) EXPECT_TRUE(peer.connect());  // they wait in the kernel's line
  const double before = process_seconds();
  std::this_thread::sleep_for(300ms);  // what is measured is what it does while nothing happens
  const double used = process_seconds() - before;
  const auto answer = ask(*served);
  for (const RawPeer& peer : peers) peer.wait_until_dropped();  // who still waits is told
  limit.reset();
  EXPECT_TRUE(answer);
  EXPECT_LT(used, 0.15);  // processor time, of 0.3 s: whoever spins uses all of it
  for (const RawPeer& peer : peers) EXPECT_EQ(peer.heard(), no_room());
  peers.clear();
  EXPECT_TRUE(server.connect());
}

TEST_P(HostileSessions, OneSessionTooManyIsToldSo) {
  Server server{{.address = GetParam(), .max_sessions = 1}};
  auto first = server.connect().unwrap();
  EXPECT_EQ(server.connect().error(), Errc::full);
  EXPECT_TRUE(ask(*first));
  first.reset();
  // Its place is free when the server has read its goodbye.
  for (auto next = server.connect(); !next; next = server.connect())
    ASSERT_EQ(next.error(), Errc::full);
}

}  // namespace
