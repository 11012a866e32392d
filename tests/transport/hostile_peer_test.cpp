// Layer transport, tests: peers of Listener and Client that are silent, slow, wrong or in between.
#include <passel/authkey.hpp>
#include <passel/client.hpp>
#include <passel/listener.hpp>
#include <passel/log.hpp>

#include <gtest/gtest.h>

#include "middle.hpp"
#include "raw_peer.hpp"
#include "support/process_census.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::AuthKey;
using passel::Client;
using passel::Connection;
using passel::Errc;
using passel::Listener;
using passel::ListenerOptions;
using passel::TcpAddress;
using passel::UnixAddress;
using passel_test::greeting;
using passel_test::Middle;
using passel_test::NoMoreDescriptors;
using passel_test::ProcessCensus;
using passel_test::RawPeer;
namespace fs = std::filesystem;

const AuthKey right{"the right key, which is long enough"};
const AuthKey wrong{"the wrong key, which is long enough"};

/// Accepts in a thread until it is closed; each accepted connection echoes in a thread of its own.
struct Server {
  explicit Server(Listener opened) : listener{std::move(opened)} {
    thread = std::thread{[this] {
      while (auto line = listener.accept()) {
        echoes.emplace_back([line = *std::move(line)]() mutable {
          while (auto message = line.recv_bytes())
            if (!line.send_bytes(*message)) return;
        });
      }
    }};
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    listener.close();
    thread.join();
    for (std::thread& echo : echoes) echo.join();
  }
  Listener listener;
  std::thread thread;
  std::vector<std::thread> echoes;  // of the accepting thread
};

bool echoes(Connection& line) {
  return line.send_bytes("x").is_ok() && line.recv_bytes().unwrap().size() == 1;
}

class StrangersAt : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, StrangersAt,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tcp";
                         });

TEST_P(StrangersAt, Fault39ThousandsThatAreSilentOrSlowHoldUpNobody) {
  const auto before = ProcessCensus::take();
  {
    Server server{
        Listener::open(GetParam(), {.authkey = right, .backlog = 4096, .greeting_timeout = 1h})
            .unwrap()};
    const Address address = server.listener.address();
    Connection served = Client::connect(address, {.authkey = right}).unwrap();
    std::vector<RawPeer> kept;
    for (int n = 0; n < 3000; ++n) {
      RawPeer peer{address};
      ASSERT_TRUE(peer.connect());
      if (n % 3 == 1) static_cast<void>(peer.say(greeting().substr(0, 1)));
      if (n % 3 == 2) static_cast<void>(peer.say(greeting()));  // and then nothing
      if (n % 300 == 0) {
        ASSERT_TRUE(echoes(served));
      }
      if (n >= 2900) kept.push_back(std::move(peer));
    }
    for (int round = 0; round < 10; ++round) {
      // Another byte of each, however slowly, and those who know the key are let in at once.
      for (const RawPeer& peer : kept) static_cast<void>(peer.say("\1"));
      Connection line = Client::connect(address, {.authkey = right}).unwrap();
      ASSERT_TRUE(echoes(line));
      ASSERT_TRUE(echoes(served));
    }
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(Strangers, Fault39OneHostDoesNotPushOutTheOthers) {
  Listener listener =
      Listener::open(TcpAddress{}, {.authkey = right, .greeting_timeout = 1h, .max_greeting = 4})
          .unwrap();
  const RawPeer oldest{listener.address(), "127.0.0.2"};
  ASSERT_TRUE(oldest.connect());
  EXPECT_EQ(listener.try_accept().error(), Errc::empty);
  std::vector<RawPeer> crowd;
  for (int n = 0; n < 20; ++n) {
    crowd.emplace_back(listener.address(), "127.0.0.3");
    ASSERT_TRUE(crowd.back().connect());
    EXPECT_EQ(listener.try_accept().error(), Errc::empty);
  }
  crowd.front().wait_until_dropped();
  EXPECT_FALSE(oldest.dropped());
}

TEST(Strangers, Fault40AThousandWrongKeysAreCountedAndFillNoLog) {
  std::atomic<int> lines = 0;
  std::string line;
  std::string expected;
  passel::set_log_sink([&](const passel::LogRecord& record) {
    if (lines++ == 0) line = record.text;
  });
  {
    Server server{Listener::open(UnixAddress{}, {.authkey = right}).unwrap()};
    const Address address = server.listener.address();
    Connection served = Client::connect(address, {.authkey = right}).unwrap();
    std::set<std::string> texts;
    for (int n = 0; n < 1000; ++n) {
      const AuthKey guess{"guess " + std::to_string(n)};
      texts.insert(Client::connect(address, {.authkey = guess}).error().to_string());
      if (n % 100 == 0) {
        ASSERT_TRUE(echoes(served));
      }
    }
    EXPECT_EQ(texts, std::set<std::string>{"auth_failed: authentication failed"});
    EXPECT_EQ(server.listener.rejected(), 1000U);
    EXPECT_TRUE(Client::connect(address, {.authkey = right}));
    expected = to_string(address) + " refused 1 for their keys";
  }
  passel::set_log_sink({});
  EXPECT_NE(line.find(expected), std::string::npos) << line;
  EXPECT_LE(lines.load(), 61);  // one in a second, and the watchdog comes after sixty
}

TEST(Strangers, Fault40OverTcpTheRightKeyGetsInAfterManyWrongOnes) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  const Address address = server.listener.address();
  for (int n = 0; n < 8; ++n)
    EXPECT_EQ(Client::connect(address, {.authkey = wrong}).error(), Errc::auth_failed);
  Connection line = Client::connect(address, {.authkey = right}).unwrap();
  EXPECT_TRUE(echoes(line));
  EXPECT_EQ(server.listener.rejected(), 8U);
}

TEST(Strangers, Fault43WhoTakesTheKeyOutOfTheGreetingGetsNothing) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  const std::uint16_t port = std::get<TcpAddress>(server.listener.address()).port;
  bool first = true;
  Middle middle{port, [&](std::string& bytes, bool from_client) {
                  if (std::exchange(first, false) && from_client) bytes[24] = 0;
                }};
  EXPECT_EQ(Client::connect(TcpAddress{"127.0.0.1", middle.port}, {.authkey = right}).error(),
            Errc::auth_failed);
}

TEST(Strangers, Fault43AnOlderTlsIsNotSpoken) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  const std::uint16_t port = std::get<TcpAddress>(server.listener.address()).port;
  std::atomic<int> changed = 0;
  Middle middle{port, [&](std::string& bytes, bool from_client) {
                  // supported_versions with TLS 1.3 alone: now it says 1.2.
                  const std::string_view only_13{"\0\x2b\0\3\2\3\4", 7};
                  const auto at = bytes.find(only_13);
                  if (!from_client || at == std::string::npos) return;
                  bytes[at + 6] = 3;
                  ++changed;
                }};
  EXPECT_EQ(Client::connect(TcpAddress{"127.0.0.1", middle.port}, {.authkey = right}).error(),
            Errc::auth_failed);
  EXPECT_EQ(changed.load(), 1);
}

TEST(Strangers, Fault43PlaintextIsForLoopbackAndOnlyWhenAskedFor) {
  EXPECT_EQ(Listener::open(TcpAddress{}).error(), Errc::refused);
  EXPECT_EQ(Listener::open(TcpAddress{"0.0.0.0", 0},
                           {.insecure_plaintext = passel::PlaintextTcp::on_loopback})
                .error(),
            Errc::refused);
}

TEST(Strangers, Fault44AnEncryptedLineCutAtEveryByteGivesNoPartOfAMessage) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  const std::uint16_t port = std::get<TcpAddress>(server.listener.address()).port;
  constexpr std::size_t length = 5 + 16 + 5 + 17;  // a record with header and message in it
  for (std::size_t cut = 0; cut < length; ++cut) {
    std::atomic<bool> armed = false;
    Middle* self = nullptr;
    Middle middle{port, [&](std::string& bytes, bool from_client) {
                    if (!armed || from_client) return;
                    EXPECT_EQ(bytes.size(), length);
                    bytes.resize(std::min(bytes.size(), cut));
                    self->over = true;
                  }};
    self = &middle;
    Connection line =
        Client::connect(TcpAddress{"127.0.0.1", middle.port}, {.authkey = right}).unwrap();
    ASSERT_TRUE(echoes(line));
    armed = true;
    line.send_bytes("hello").unwrap();
    ASSERT_EQ(line.recv_bytes().error(), Errc::peer_lost) << cut;
  }
}

TEST(Strangers, Fault45LengthsThatAreLiesTakeNoMemory) {
  Listener listener = Listener::open(TcpAddress{}, {.authkey = right}).unwrap();
  { const RawPeer warm{listener.address()}; }
  const long before = passel_test::peak_memory();
  for (const std::uint64_t length :
       {std::uint64_t{257}, std::uint64_t{1} << 31, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    const RawPeer peer{listener.address()};
    ASSERT_TRUE(peer.connect());
    std::string lie = greeting();
    std::memcpy(lie.data(), &length, sizeof length);
    ASSERT_TRUE(peer.say(lie));
    while (!peer.dropped()) EXPECT_EQ(listener.accept_for(1ms).error(), Errc::timeout);
  }
  EXPECT_LT(passel_test::peak_memory() - before, 1024);
}

double thread_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

TEST(Strangers, Fault49WithoutDescriptorsTheServedGoOnAndNobodySpins) {
  Listener listener = Listener::open(UnixAddress{}, {.authkey = right}).unwrap();
  Connection there;
  std::thread first{
      [&] { there = Client::connect(listener.address(), {.authkey = right}).unwrap(); }};
  Connection here = listener.accept().unwrap();
  first.join();
  std::vector<RawPeer> peers;
  for (int n = 0; n < 80; ++n) peers.emplace_back(listener.address());
  std::optional<NoMoreDescriptors> limit{std::in_place};
  for (const RawPeer& peer : peers) EXPECT_TRUE(peer.connect());  // they wait in the kernel's line
  const double before = thread_seconds();
  const auto tried = listener.accept_for(300ms);
  const double used = thread_seconds() - before;
  there.send_bytes("x").unwrap();
  const auto got = here.recv_bytes();
  limit.reset();
  EXPECT_EQ(tried.error(), Errc::timeout);
  EXPECT_TRUE(got);
  EXPECT_LT(used, 0.15);  // processor time, of 0.3 s: whoever spins uses all of it
  peers.clear();
  std::thread second{[&] { EXPECT_TRUE(Client::connect(listener.address(), {.authkey = right})); }};
  EXPECT_TRUE(listener.accept());
  second.join();
}

TEST(Strangers, Fault49WhoCameWithoutDescriptorsIsServedWhenThereAreSome) {
  Listener listener = Listener::open(UnixAddress{}).unwrap();
  const RawPeer peer{listener.address()};
  std::optional<NoMoreDescriptors> limit{std::in_place};
  EXPECT_TRUE(peer.connect());
  std::string without_key = greeting();
  without_key[24] = 0;
  EXPECT_TRUE(peer.say(without_key));
  EXPECT_EQ(listener.try_accept().error(), Errc::empty);
  EXPECT_EQ(listener.accept_for(100ms).error(), Errc::timeout);  // it has looked more than once
  limit.reset();
  Connection line = listener.accept().unwrap();
  line.send_bytes("x").unwrap();
  EXPECT_FALSE(peer.dropped());
}

TEST(Strangers, Fault54TheDirectoryOfAKilledListenerIsRemovedByTheNextOne) {
  std::string parent = (fs::temp_directory_path() / "passel-test-XXXXXX").string();
  ASSERT_NE(::mkdtemp(parent.data()), nullptr);
  const auto leave = [&](const char* name, std::chrono::seconds ago) {
    const std::string directory = parent + "/" + name;
    EXPECT_EQ(::mkdir(directory.c_str(), 0700), 0);
    std::ofstream{directory + "/listener"};
    std::ofstream{directory + "/listener.lock"};
    timespec times[2]{};
    times[0].tv_sec = times[1].tv_sec = ::time(nullptr) - ago.count();
    EXPECT_EQ(::utimensat(AT_FDCWD, (directory + "/listener.lock").c_str(), times, 0), 0);
  };
  leave("passel-killed", 2min);
  leave("passel-Nowmad", 0s);  // its maker may be about to take the lock
  leave("passel-of-somebody-else", 2min);
  // Somebody else has listened at the path meanwhile and taken away what was his.
  const auto leave_empty = [&](const char* name, std::chrono::seconds ago) {
    const std::string directory = parent + "/" + name;
    EXPECT_EQ(::mkdir(directory.c_str(), 0700), 0);
    timespec times[2]{};
    times[0].tv_sec = times[1].tv_sec = ::time(nullptr) - ago.count();
    EXPECT_EQ(::utimensat(AT_FDCWD, directory.c_str(), times, 0), 0);
  };
  leave_empty("passel-vacant", 2min);
  leave_empty("passel-youngs", 0s);  // its maker may be about to make the lock
  const char* const set = std::getenv("XDG_RUNTIME_DIR");
  const std::string kept = set != nullptr ? set : "";
  ASSERT_EQ(::setenv("XDG_RUNTIME_DIR", parent.c_str(), 1), 0);
  {
    Listener living = Listener::open().unwrap();
    const std::string path = std::get<UnixAddress>(living.address()).path;
    EXPECT_TRUE(path.starts_with(parent));
    timespec times[2]{};
    times[0].tv_sec = times[1].tv_sec = ::time(nullptr) - 120;
    EXPECT_EQ(::utimensat(AT_FDCWD, (path + ".lock").c_str(), times, 0), 0);
    Listener next = Listener::open().unwrap();
    EXPECT_TRUE(fs::exists(path));
    EXPECT_FALSE(fs::exists(parent + "/passel-killed"));
    EXPECT_FALSE(fs::exists(parent + "/passel-vacant"));
    EXPECT_TRUE(fs::exists(parent + "/passel-Nowmad"));
    EXPECT_TRUE(fs::exists(parent + "/passel-youngs"));
    EXPECT_TRUE(fs::exists(parent + "/passel-of-somebody-else"));
  }
  if (set != nullptr)
    ::setenv("XDG_RUNTIME_DIR", kept.c_str(), 1);
  else
    ::unsetenv("XDG_RUNTIME_DIR");
  EXPECT_EQ(std::distance(fs::directory_iterator{parent}, fs::directory_iterator{}), 3);
  fs::remove_all(parent);
}

}  // namespace
