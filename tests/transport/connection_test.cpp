// Layer transport, tests: Connection and Pipe, after CPython's _TestConnection and _TestPoll.
#include <passel/connection.hpp>
#include <passel/pipe.hpp>

#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <poll.h>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::BufferTooShort;
using passel::Connection;
using passel::ConnectionMode;
using passel::Errc;
using passel::Pipe;
using passel::PipeDirection;
using passel::WireValue;
using passel_test::BlockedThread;
using passel_test::ProcessCensus;

using Bytes = std::vector<std::byte>;

Bytes bytes(const std::string& text) {
  const auto raw = std::as_bytes(std::span{text});
  return {raw.begin(), raw.end()};
}

Bytes pattern(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 31 + i / 251);
  return out;
}

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() {
    Pipe pipe = Pipe::create().unwrap();
    a = std::move(pipe.first);
    b = std::move(pipe.second);
  }
  ProcessCensus before = ProcessCensus::take();
  Connection a;
  Connection b;
};

TEST_F(ConnectionTest, ValuesOfAllKindsComeOutEqual) {
  a.send(42).unwrap();
  a.send(std::string{"吃了吗"}).unwrap();
  a.send(WireValue::list({42, nullptr, "hello"})).unwrap();
  a.send(std::map<std::string, std::vector<double>>{{"x", {1.5, 2}}}).unwrap();
  EXPECT_EQ(b.recv<int>().unwrap(), 42);
  EXPECT_EQ(b.recv<std::string>().unwrap(), "吃了吗");
  EXPECT_EQ(b.recv<WireValue>().unwrap().to_string(), "[42, None, 'hello']");
  EXPECT_EQ((b.recv<std::map<std::string, std::vector<double>>>().unwrap().at("x")),
            (std::vector<double>{1.5, 2}));
  b.send(7).unwrap();
  EXPECT_EQ(a.recv<int>().unwrap(), 7);
}

TEST_F(ConnectionTest, AMessageOfAnotherTypeIsGone) {
  a.send(std::string{"x"}).unwrap();
  a.send(1).unwrap();
  EXPECT_EQ(b.recv<int>().error(), Errc::type_mismatch);
  EXPECT_EQ(b.recv<int>().unwrap(), 1);
  a.send_bytes("raw").unwrap();
  EXPECT_EQ(b.recv<int>().error(), Errc::malformed);
}

TEST_F(ConnectionTest, BoundariesOfMessagesAreKept) {
  a.send_bytes("a").unwrap();
  a.send_bytes("").unwrap();
  a.send_bytes("bc").unwrap();
  EXPECT_TRUE(b.poll().unwrap());
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes("a"));
  EXPECT_TRUE(b.poll().unwrap());  // an empty message is something
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes(""));
  EXPECT_TRUE(b.poll().unwrap());
  EXPECT_TRUE(b.poll().unwrap());  // and polling takes nothing
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes("bc"));
  EXPECT_FALSE(b.poll().unwrap());
  EXPECT_FALSE(b.poll_for(1ms).unwrap());
  EXPECT_FALSE(b.poll_for(-1s).unwrap());
}

TEST_F(ConnectionTest, PartsOfABuffer) {
  const Bytes hello = bytes("hello world");
  a.send_bytes(hello, 6).unwrap();
  a.send_bytes(hello, 2, 3).unwrap();
  a.send_bytes(hello, 11).unwrap();
  a.send_bytes(hello, 4, 0).unwrap();
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes("world"));
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes("llo"));
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes(""));
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes(""));
  EXPECT_EQ(a.send_bytes(hello, 12).error(), Errc::invalid_argument);
  EXPECT_EQ(a.send_bytes(hello, 5, 7).error(), Errc::invalid_argument);
  EXPECT_EQ(a.send_bytes(hello, std::numeric_limits<std::size_t>::max(), 1).error(),
            Errc::invalid_argument);
  EXPECT_FALSE(b.poll().unwrap());  // nothing of those was sent
}

TEST_F(ConnectionTest, IntoABufferOfOnesOwn) {
  std::array<std::byte, 8> buffer{};
  a.send_bytes("abc").unwrap();
  EXPECT_EQ(b.recv_bytes_into(buffer, 2).unwrap(), 3U);
  EXPECT_EQ(std::memcmp(buffer.data(), "\0\0abc\0\0\0", 8), 0);
  a.send_bytes("123456789").unwrap();
  const auto refused = b.recv_bytes_into(buffer);
  ASSERT_EQ(refused.error(), Errc::too_large);
  ASSERT_NE(refused.error().detail<BufferTooShort>(), nullptr);
  EXPECT_EQ(refused.error().detail<BufferTooShort>()->message, bytes("123456789"));
  EXPECT_EQ(b.recv_bytes_into(buffer, 9).error(), Errc::invalid_argument);
  EXPECT_EQ(b.recv_bytes_into_for(buffer, 1ms).error(), Errc::timeout);
  a.send_bytes("on").unwrap();
  EXPECT_EQ(b.recv_bytes_into(buffer).unwrap(), 2U);  // the end stays usable
}

TEST_F(ConnectionTest, OverMaxlengthTheEndCannotBeReadAnyMore) {
  a.send_bytes("12345").unwrap();
  a.send_bytes("1").unwrap();
  EXPECT_EQ(b.recv_bytes(4).error(), Errc::too_large);
  EXPECT_EQ(b.recv_bytes().error(), Errc::invalid_state);
  EXPECT_EQ(b.poll().error(), Errc::invalid_state);
  EXPECT_FALSE(b.readable());
  EXPECT_TRUE(b.writable());
  b.send(1).unwrap();
  EXPECT_EQ(a.recv<int>().unwrap(), 1);
  a.send_bytes("1234").unwrap();

  auto [reader, writer] = Pipe::create({.direction = PipeDirection::one_way}).unwrap();
  writer.send_bytes("1234").unwrap();
  EXPECT_EQ(reader.recv_bytes(4).unwrap().size(), 4U);
  writer.send_bytes("12345").unwrap();
  EXPECT_EQ(reader.recv_bytes(4).error(), Errc::too_large);
  EXPECT_TRUE(reader.closed());  // it could do nothing else
  EXPECT_EQ(writer.send(1).error(), Errc::closed);
}

TEST_F(ConnectionTest, OneWay) {
  auto [reader, writer] = Pipe::create({.direction = PipeDirection::one_way}).unwrap();
  EXPECT_TRUE(reader.readable() && !reader.writable());
  EXPECT_TRUE(writer.writable() && !writer.readable());
  writer.send(1).unwrap();
  EXPECT_EQ(reader.recv<int>().unwrap(), 1);
  EXPECT_EQ(reader.send(1).error().to_string(), "invalid_state: connection is read-only");
  EXPECT_EQ(writer.recv<int>().error().to_string(), "invalid_state: connection is write-only");
  EXPECT_EQ(writer.poll().error(), Errc::invalid_state);
}

TEST_F(ConnectionTest, TheEndOfTheOtherEnd) {
  a.send(1).unwrap();
  a.close();
  EXPECT_EQ(b.recv<int>().unwrap(), 1);  // what was sent before
  EXPECT_TRUE(b.poll().unwrap());
  EXPECT_EQ(b.recv<int>().error(), Errc::closed);
  EXPECT_EQ(b.recv_bytes().error(), Errc::closed);
  EXPECT_EQ(b.send(1).error(), Errc::closed);  // and no SIGPIPE
  EXPECT_FALSE(b.closed());
}

TEST_F(ConnectionTest, WhatWasSentBeforeTheEndIsThereThoughTheOtherEndReadNothing) {
  a.send(1).unwrap();
  b.send(std::string{"never read"}).unwrap();
  a.close();
  EXPECT_EQ(b.recv<int>().unwrap(), 1);
  EXPECT_EQ(b.recv<int>().error(), Errc::closed);
}

TEST_F(ConnectionTest, AClosedHandle) {
  EXPECT_GE(a.fileno().unwrap(), 0);
  a.close();
  a.close();
  EXPECT_TRUE(a.closed() && !a.readable() && !a.writable());
  EXPECT_EQ(a.send(1).error().to_string(), "closed: handle is closed");
  EXPECT_EQ(a.recv<int>().error(), Errc::closed);
  EXPECT_EQ(a.poll().error(), Errc::closed);
  EXPECT_EQ(a.wait().error(), Errc::closed);
  EXPECT_EQ(a.fileno().error(), Errc::closed);
  Connection moved = std::move(b);
  EXPECT_TRUE(b.closed());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(b.send(1).error(), Errc::closed);
  EXPECT_FALSE(moved.closed());
}

TEST_F(ConnectionTest, NothingIsLeftOpen) {
  { auto pipe = Pipe::create().unwrap(); }
  a.close();
  b = Connection{};
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_F(ConnectionTest, DescriptorsAreReadableExactlyWhenThereIsSomething) {
  const auto readable = [this] {
    pollfd watched{b.fileno().unwrap(), POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  };
  EXPECT_FALSE(readable());
  a.send(1).unwrap();
  a.send(2).unwrap();
  EXPECT_TRUE(readable());
  b.recv<int>().unwrap();
  EXPECT_TRUE(readable());
  b.recv<int>().unwrap();
  EXPECT_FALSE(readable());
}

TEST_F(ConnectionTest, LargeMessages) {
  for (const std::size_t size : {std::size_t{65535}, std::size_t{65536}, std::size_t{65537},
                                 std::size_t{131072}, std::size_t{16} << 20}) {
    const Bytes sent = pattern(size);
    std::thread writer{[&] { a.send_bytes(sent).unwrap(); }};
    EXPECT_EQ(b.recv_bytes().unwrap(), sent) << size;
    writer.join();
  }
  std::thread echo{[this] { b.send(b.recv<std::string>().unwrap()).unwrap(); }};
  const std::string text(std::size_t{16} << 20, 'x');
  a.send(text).unwrap();
  EXPECT_EQ(a.recv<std::string>().unwrap(), text);
  echo.join();
}

TEST_F(ConnectionTest, Over2GiBIsRefusedBeforeAnythingIsSent) {
  // An address range that is never touched: the length alone decides.
  const std::span<const std::byte> huge{static_cast<const std::byte*>(nullptr) + 4096,
                                        Connection::max_message_size + 1};
  const auto refused = a.send_bytes(huge);
  EXPECT_EQ(refused.error().to_string(),
            "too_large: message of 2147483648 bytes, limit 2147483647");
  EXPECT_FALSE(b.poll().unwrap());
}

TEST_F(ConnectionTest, Deadlines) {
  EXPECT_EQ(b.recv_for<int>(1ms).error(), Errc::timeout);
  EXPECT_EQ(b.recv_for<int>(-1ms).error(), Errc::invalid_argument);
  EXPECT_EQ(b.recv_bytes_for(1ms).error(), Errc::timeout);
  EXPECT_EQ(b.try_recv<int>().error(), Errc::empty);
  EXPECT_EQ(b.try_recv_bytes().error(), Errc::empty);
  a.send_for(5, 1h).unwrap();
  EXPECT_EQ(b.recv_for<int>(std::chrono::nanoseconds::max()).unwrap(), 5);
  BlockedThread reader{[this] { EXPECT_EQ(b.recv_for<int>(1h).unwrap(), 6); }};
  reader.wait_until_blocked();
  EXPECT_EQ(b.try_recv<int>().error(), Errc::empty);
  EXPECT_EQ(b.recv_for<int>(1ms).error(), Errc::timeout);  // while another thread waits
  a.send(6).unwrap();
}

TEST_F(ConnectionTest, AMessageGivenUpByADeadlineNeverComes) {
  const Bytes large = pattern(std::size_t{4} << 20);
  EXPECT_EQ(a.send_bytes_for(large, 1ms).error(), Errc::timeout);
  EXPECT_EQ(b.recv_bytes_for(1ms).error(), Errc::timeout);  // takes in what has come of it
  a.send_bytes("next").unwrap();
  EXPECT_EQ(b.recv_bytes().unwrap(), bytes("next"));
  // And in pieces of its own, with the deadline of the reader passing in the middle.
  EXPECT_EQ(a.send_bytes_for(large, 1ms).error(), Errc::timeout);
  EXPECT_EQ(b.try_recv_bytes().error(), Errc::empty);
  std::thread writer{[&] { a.send_bytes(large).unwrap(); }};
  auto got = b.recv_bytes_for(0ms);
  while (!got) got = b.recv_bytes_for(0ms);
  EXPECT_EQ(*got, large);
  writer.join();
}

TEST_F(ConnectionTest, AnEndInTheMiddleOfAMessageIsAnErrorOnce) {
  EXPECT_EQ(a.send_bytes_for(pattern(std::size_t{4} << 20), 1ms).error(), Errc::timeout);
  a.close();
  EXPECT_EQ(b.recv_bytes().error(), Errc::peer_lost);
  EXPECT_EQ(b.recv_bytes().error(), Errc::closed);
}

TEST_F(ConnectionTest, ThreadsGetEachMessageOnce) {
  constexpr int each = 2000;
  std::atomic<long> sum{0};
  {
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          if (i % 500 == 0)
            a.send(std::vector<int>(40000, i)).unwrap();  // in several packets
          else
            a.send(std::vector<int>(static_cast<std::size_t>(t + 1), i)).unwrap();
        }
      });
      threads.emplace_back([&] {
        for (int i = 0; i < each; ++i) {
          const auto got = b.recv<std::vector<int>>().unwrap();
          EXPECT_EQ(std::set<int>(got.begin(), got.end()).size(), 1U);
          sum += got[0];
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  EXPECT_EQ(sum.load(), 2L * each * (each - 1) / 2);
}

TEST_F(ConnectionTest, CloseEndsTheWaitsOfOtherThreads) {
  BlockedThread reader{[this] { EXPECT_EQ(a.recv<int>().error(), Errc::closed); }};
  BlockedThread in_line{[this] { EXPECT_EQ(a.recv_for<int>(1h).error(), Errc::closed); }};
  BlockedThread poller{[this] { EXPECT_EQ(a.poll_for(1h).error(), Errc::closed); }};
  BlockedThread writer{
      [this] { EXPECT_EQ(a.send_bytes(pattern(std::size_t{4} << 20)).error(), Errc::closed); }};
  for (auto* thread : {&reader, &in_line, &poller, &writer}) thread->wait_until_blocked();
  a.close();
  for (auto* thread : {&reader, &in_line, &poller, &writer}) thread->join();
  // A message that was being sent is not one that was sent.
  EXPECT_EQ(b.recv_bytes().error(), Errc::peer_lost);
  EXPECT_EQ(b.recv_bytes().error(), Errc::closed);
}

TEST_F(ConnectionTest, SignalsAreNoErrors) {
  struct sigaction nothing {};
  struct sigaction old {};
  nothing.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &nothing, &old), 0);  // no SA_RESTART
  std::atomic<pthread_t> thread{};
  BlockedThread reader{[&] {
    thread.store(::pthread_self());
    EXPECT_EQ(b.recv<int>().unwrap(), 1);
    EXPECT_EQ(b.recv_for<int>(1h).unwrap(), 2);
    EXPECT_TRUE(b.poll_for(1h).unwrap());
  }};
  for (int i = 1; i <= 3; ++i) {
    reader.wait_until_blocked();
    for (int n = 0; n < 20; ++n) ::pthread_kill(thread.load(), SIGUSR1);
    reader.wait_until_blocked();
    a.send(i).unwrap();
  }
  reader.join();
  ::sigaction(SIGUSR1, &old, nullptr);
}

TEST_F(ConnectionTest, EndsTravelThroughConnections) {
  auto [here, there] = Pipe::create({.direction = PipeDirection::one_way}).unwrap();
  a.send(there).unwrap();
  auto arrived = b.recv<Connection>().unwrap();
  EXPECT_TRUE(arrived.writable() && !arrived.readable());
  arrived.send(5).unwrap();
  EXPECT_EQ(here.recv<int>().unwrap(), 5);
  there.close();
  arrived.send(6).unwrap();
  EXPECT_EQ(here.recv<int>().unwrap(), 6);
  arrived.close();  // the last copy
  EXPECT_EQ(here.recv<int>().error(), Errc::closed);
  // Many at once, and those that are of no use.
  std::vector<Connection> many;
  for (int i = 0; i < 253; ++i) many.push_back(Pipe::create().unwrap().first);
  a.send(many).unwrap();
  EXPECT_EQ(b.recv<std::vector<Connection>>().unwrap().size(), 253U);
  many.push_back(Pipe::create().unwrap().first);
  EXPECT_EQ(a.send(many).error(), Errc::too_large);
  a.send(there).unwrap();
  EXPECT_EQ(b.recv<Connection>().error(), Errc::closed);
  a.send(1).unwrap();
  EXPECT_EQ(b.recv<Connection>().error(), Errc::type_mismatch);
}

TEST_F(ConnectionTest, AMessageWhoseDescriptorsFindNoRoomIsAnErrorAndTheNextOneComes) {
  auto [here, there] = Pipe::create().unwrap();
  a.send(there).unwrap();
  a.send(1).unwrap();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto lost = b.recv<Connection>();
  const auto made = Pipe::create();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(lost.error(), Errc::no_space);
  EXPECT_EQ(made.error(), Errc::no_space);
  EXPECT_EQ(b.recv<int>().unwrap(), 1);
}

TEST_F(ConnectionTest, OneValueIsOneConnection) {
  const WireValue value = passel::to_value(a);
  auto first = passel::from_value<Connection>(value).unwrap();
  EXPECT_EQ(passel::from_value<Connection>(value).error(), Errc::invalid_state);
  first.send(1).unwrap();
  EXPECT_EQ(b.recv<int>().unwrap(), 1);
  EXPECT_FALSE(a.closed());
}

TEST_F(ConnectionTest, AdoptTakesConnectedSocketsOnly) {
  EXPECT_EQ(Connection::adopt(-1).error(), Errc::invalid_argument);
  EXPECT_EQ(Connection::adopt(1 << 20).error(), Errc::invalid_argument);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(Connection::adopt(ends[0]).error(), Errc::invalid_argument);
  EXPECT_EQ(::close(ends[0]), 0);  // left open
  EXPECT_EQ(::close(ends[1]), 0);
  EXPECT_EQ(ProcessCensus::settle(ProcessCensus::take()), "");
}

}  // namespace
