// Layer transport, tests: a Connection whose other end sends what no Connection sends.
#include <passel/connection.hpp>
#include <passel/connection_wait.hpp>
#include <passel/pipe.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Connection;
using passel::connection_wait;
using passel::connection_wait_for;
using passel::Errc;
using passel::Pipe;
using passel::Waitable;
using passel_test::BlockedThread;
using passel_test::ProcessCensus;
using testing::ElementsAre;
using testing::IsEmpty;

/// A Connection, and the raw socket at its other end.
struct Hostile {
  explicit Hostile(int type) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    line = Connection::adopt(ends[0]).unwrap();
    raw = ends[1];
  }
  Hostile(const Hostile&) = delete;
  Hostile& operator=(const Hostile&) = delete;
  ~Hostile() { finish(); }

  void write(std::string_view bytes) const {
    EXPECT_EQ(::send(raw, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT),
              static_cast<ssize_t>(bytes.size()));
  }
  void finish() {
    if (raw >= 0) ::close(std::exchange(raw, -1));
  }

  Connection line;
  int raw = -1;
};

std::string header(std::uint64_t total, std::uint32_t index = 0, std::uint16_t descriptors = 0,
                   std::uint8_t version = 1, std::uint8_t reserved = 0) {
  std::string out(16, '\0');
  std::memcpy(out.data(), &total, 8);
  std::memcpy(out.data() + 8, &index, 4);
  std::memcpy(out.data() + 12, &descriptors, 2);
  out[14] = static_cast<char>(version);
  out[15] = static_cast<char>(reserved);
  return out;
}

long peak_memory_kb() {
  std::ifstream file{"/proc/self/status"};
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmHWM:")) return std::atol(line.c_str() + 6);
  return 0;
}

class HostilePeer : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sockets, HostilePeer, testing::Values(SOCK_SEQPACKET, SOCK_STREAM),
                         [](const auto& socket) {
                           return socket.param == SOCK_STREAM ? "Stream" : "Packets";
                         });

TEST_P(HostilePeer, AnnouncedLengthsTakeNoMemory) {
  const long before = peak_memory_kb();
  for (const std::uint64_t length :
       {std::uint64_t{1} << 31, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    Hostile peer{GetParam()};
    peer.write(header(length));
    EXPECT_EQ(peer.line.recv_bytes().error(), Errc::too_large) << length;
    EXPECT_EQ(peer.line.recv_bytes().error(), Errc::invalid_state);
  }
  Hostile peer{GetParam()};
  peer.write(header(Connection::max_message_size) + std::string(65536, 'x'));
  EXPECT_EQ(peer.line.recv_bytes_for(1ms).error(), Errc::timeout);
  EXPECT_LT(peak_memory_kb() - before, 1024);
}

TEST_P(HostilePeer, GarbageIsMalformed) {
  for (const std::string& garbage :
       {std::string(64, '\xff'), std::string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
        header(5, 1) + "hello", header(5, 0, 0, 2) + "hello", header(5, 0, 0, 1, 1) + "hello",
        header(5, 0, 254) + "hello", header(5, 0, 1) + "hello", header(70000, 1)}) {
    Hostile peer{GetParam()};
    peer.write(garbage);
    peer.finish();
    const auto error = peer.line.recv_bytes().error();
    EXPECT_TRUE(error == Errc::malformed || error == Errc::too_large) << error.to_string();
    EXPECT_EQ(peer.line.recv_bytes().error(), Errc::invalid_state);
  }
}

TEST_P(HostilePeer, CutAtEveryByte) {
  const std::string whole = header(5) + "hello";
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    Hostile peer{GetParam()};
    if (cut != 0) peer.write(whole.substr(0, cut));
    peer.finish();
    const auto got = peer.line.recv_bytes();
    if (cut == whole.size()) {
      EXPECT_EQ(got->size(), 5U);
    } else if (cut == 0) {
      EXPECT_EQ(got.error(), Errc::closed);
    } else {
      EXPECT_EQ(got.error(), GetParam() == SOCK_STREAM ? Errc::peer_lost : Errc::malformed) << cut;
    }
  }
}

TEST_P(HostilePeer, CutBetweenPackets) {
  Hostile peer{GetParam()};
  peer.write(header(70000) + std::string(65536, 'x'));
  peer.finish();
  EXPECT_EQ(peer.line.recv_bytes().error(), Errc::peer_lost);
  EXPECT_EQ(peer.line.recv_bytes().error(), Errc::closed);
}

TEST(ConnectionStream, OneByteAtATimeHoldsNobodyLongerThanItsDeadline) {
  Hostile peer{SOCK_STREAM};
  const std::string whole = header(2) + "hi";
  for (const char byte : whole) {
    EXPECT_EQ(peer.line.recv_bytes_for(0ms).error(), Errc::timeout);
    peer.write({&byte, 1});
  }
  EXPECT_EQ(peer.line.recv_bytes_for(0ms).unwrap().size(), 2U);
}

TEST_P(HostilePeer, PiecesOfTwoMessagesMixed) {
  Hostile peer{GetParam()};
  peer.write(header(200000) + std::string(65536, 'x'));
  peer.write(header(200000, 2) + std::string(65536, 'y'));
  EXPECT_EQ(peer.line.recv_bytes().error(), Errc::malformed);
}

TEST_P(HostilePeer, RandomBytesNeverHangOrCrash) {
  const auto before = ProcessCensus::take();
  std::mt19937_64 random{passel_test::seed()};
  for (unsigned round = 0; round < passel_test::rounds(300); ++round) {
    Hostile peer{GetParam()};
    for (std::uint64_t packet = random() % 4 + 1; packet > 0; --packet) {
      std::string bytes = header(random() % 3 == 0 ? random() : random() % 100, random() % 2 == 0);
      bytes.append(random() % 100, 'x');
      if (random() % 4 == 0) bytes[random() % bytes.size()] ^= static_cast<char>(random());
      peer.write(bytes);
    }
    peer.finish();
    for (int i = 0; i < 5; ++i) {
      static_cast<void>(peer.line.recv<passel::WireValue>().is_ok());
      if (peer.line.closed()) break;
    }
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(ConnectionStream, CarriesTheSameMessages) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  auto a = Connection::adopt(ends[0]).unwrap();
  auto b = Connection::adopt(ends[1]).unwrap();
  a.send(std::string{"x"}).unwrap();
  a.send_bytes("").unwrap();
  auto [here, there] = Pipe::create().unwrap();
  a.send(there).unwrap();
  EXPECT_EQ(b.recv<std::string>().unwrap(), "x");
  EXPECT_EQ(b.recv_bytes().unwrap().size(), 0U);
  b.recv<Connection>().unwrap().send(3).unwrap();
  EXPECT_EQ(here.recv<int>().unwrap(), 3);
  const std::vector<int> large(1 << 20, 7);
  EXPECT_EQ(a.send_for(large, 1ms).error(), Errc::timeout);  // given up early in it
  std::thread writer{[&] { a.send(large).unwrap(); }};
  EXPECT_EQ(b.recv<std::vector<int>>().unwrap(), large);
  writer.join();
}

TEST(ConnectionWait, TellsWhichAreReadyInTheirOrder) {
  std::vector<Pipe> pipes;
  std::vector<Waitable> objects;
  for (int i = 0; i < 4; ++i) {
    pipes.push_back(Pipe::create().unwrap());
    objects.emplace_back(pipes.back().first);
  }
  EXPECT_THAT(connection_wait_for(objects, 0ms).unwrap(), IsEmpty());
  EXPECT_THAT(connection_wait_for(objects, -5s).unwrap(), IsEmpty());
  EXPECT_THAT(connection_wait_for(objects, 1ms).unwrap(), IsEmpty());
  EXPECT_THAT(connection_wait(std::span<const Waitable>{}).unwrap(), IsEmpty());
  pipes[3].second.send(1).unwrap();
  pipes[1].second.close();  // an end is something to receive
  EXPECT_THAT(connection_wait(objects).unwrap(), ElementsAre(1U, 3U));
  EXPECT_THAT(connection_wait(objects).unwrap(), ElementsAre(1U, 3U));  // nothing was taken
}

TEST(ConnectionWait, DescriptorsAndConnectionsTogether) {
  auto [a, b] = Pipe::create().unwrap();
  int plain[2];
  ASSERT_EQ(::pipe(plain), 0);
  BlockedThread waiter{[&a = a, &plain] {
    EXPECT_THAT(connection_wait({a, plain[0]}).unwrap(), ElementsAre(1U));
  }};
  waiter.wait_until_blocked();
  ASSERT_EQ(::write(plain[1], "x", 1), 1);
  waiter.join();
  b.send(1).unwrap();
  EXPECT_THAT(connection_wait({a, plain[0]}).unwrap(), ElementsAre(0U, 1U));
  ::close(plain[1]);
  ::close(plain[0]);
  EXPECT_EQ(connection_wait({1 << 20}).error(), Errc::invalid_argument);
}

TEST(ConnectionWait, AConnectionThatIsClosedMeanwhileEndsIt) {
  auto [a, b] = Pipe::create().unwrap();
  BlockedThread waiter{[&a = a] { EXPECT_EQ(connection_wait({a}).error(), Errc::closed); }};
  waiter.wait_until_blocked();
  a.close();
  waiter.join();
  EXPECT_EQ(connection_wait({a}).error(), Errc::closed);
}

}  // namespace
