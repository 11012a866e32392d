// Layer transport, tests: Listener and Client, after CPython's _TestListener and
// _TestListenerClient, and clients that mean no good.
#include <passel/client.hpp>
#include <passel/connection_wait.hpp>
#include <passel/listener.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::Client;
using passel::Connection;
using passel::connection_wait;
using passel::Errc;
using passel::Listener;
using passel::ListenerOptions;
using passel::PlaintextTcp;
using passel::TcpAddress;
using passel::UnixAddress;
using passel_test::BlockedThread;
using passel_test::ProcessCensus;
using testing::ElementsAre;
namespace fs = std::filesystem;

const ListenerOptions plain{.insecure_plaintext = PlaintextTcp::on_loopback};

/// A directory of the test's own.
struct TestDirectory {
  TestDirectory() {
    std::string name = (fs::temp_directory_path() / "passel-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  ~TestDirectory() { fs::remove_all(path); }
  [[nodiscard]] std::string operator/(const char* name) const { return (path / name).string(); }
  fs::path path;
};

std::string path_of(const Listener& listener) {
  return std::get<UnixAddress>(listener.address()).path;
}

/// A client without a library: connects to the Unix socket, and says what it is told to.
struct RawClient {
  explicit RawClient(const std::string& path) {
    fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  RawClient(RawClient&& other) noexcept : fd{std::exchange(other.fd, -1)} {}
  RawClient& operator=(RawClient&&) = delete;
  ~RawClient() { ::close(fd); }
  void write(const std::string& bytes) const {
    EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  /// Whether the listener dropped it.
  [[nodiscard]] bool dropped() const {
    pollfd watched{fd, POLLRDHUP, 0};
    return ::poll(&watched, 1, 0) == 1;
  }
  int fd = -1;
  bool connected = false;
};

std::string greeting(char has_key) {
  std::string out(16 + 48, '\0');
  out[0] = 48;
  out[14] = 2;
  out.replace(16, 8, "passelc1");
  out[24] = has_key;
  return out;
}

struct Kind {
  const char* name;
  Address address;
};

class ListenerAt : public testing::TestWithParam<Kind> {
 protected:
  static Listener open() { return Listener::open(GetParam().address, plain).unwrap(); }
  static Connection connect(const Listener& listener) {
    return Client::connect(listener.address(), {.insecure_plaintext = PlaintextTcp::on_loopback})
        .unwrap();
  }
};
INSTANTIATE_TEST_SUITE_P(Addresses, ListenerAt,
                         testing::Values(Kind{"Unix", UnixAddress{}}, Kind{"V4", TcpAddress{}},
                                         Kind{"V6", TcpAddress{"::1", 0}},
                                         Kind{"Name", TcpAddress{"localhost", 0}}),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(ListenerAt, ClientsAreAcceptedAndTalk) {
  const auto before = ProcessCensus::take();
  {
    Listener listener = open();
    EXPECT_FALSE(listener.last_accepted());
    Connection there = connect(listener);
    Connection here = listener.accept().unwrap();
    there.send(std::string{"hello"}).unwrap();
    EXPECT_EQ(here.recv<std::string>().unwrap(), "hello");
    const std::vector<int> large(1 << 20, 5);
    std::thread writer{[&] { here.send(large).unwrap(); }};
    EXPECT_EQ(there.recv<std::vector<int>>().unwrap(), large);
    writer.join();
    if (std::holds_alternative<TcpAddress>(GetParam().address)) {
      EXPECT_NE(std::get<TcpAddress>(listener.address()).port, 0);
      ASSERT_TRUE(listener.last_accepted());
      EXPECT_EQ(std::get<TcpAddress>(*listener.last_accepted()).host,
                std::get<TcpAddress>(listener.address()).host);
    } else {
      EXPECT_FALSE(listener.last_accepted());
    }
    listener.close();
    there.close();  // connections outlive their listener
    EXPECT_EQ(here.recv<int>().error(), Errc::closed);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_P(ListenerAt, AClientMayWriteAndLeaveBeforeItIsAccepted) {
  Listener listener = open();
  {
    Connection there = connect(listener);
    there.send(42).unwrap();
  }
  Connection here = listener.accept().unwrap();
  EXPECT_TRUE(here.poll().unwrap());
  EXPECT_EQ(here.recv<int>().unwrap(), 42);
  EXPECT_EQ(here.recv<int>().error(), Errc::closed);
}

TEST_P(ListenerAt, AnAddressIsForOneListener) {
  const TestDirectory own;
  const bool file = std::holds_alternative<UnixAddress>(GetParam().address);
  Listener listener = file ? Listener::open(UnixAddress{own / "x.sock"}).unwrap() : open();
  EXPECT_EQ(Listener::open(listener.address(), plain).error(), Errc::refused);
  const Address address = listener.address();
  listener.close();
  EXPECT_FALSE(Client::connect(address, {.insecure_plaintext = PlaintextTcp::on_loopback}).is_ok());
  Listener next = Listener::open(address, plain).unwrap();
  EXPECT_EQ(next.address(), address);
}

TEST_P(ListenerAt, CloseWakesWhoeverAccepts) {
  Listener listener = open();
  BlockedThread first{[&] { EXPECT_EQ(listener.accept().error(), Errc::closed); }};
  first.wait_until_blocked();
  BlockedThread second{[&] { EXPECT_EQ(listener.accept_for(1h).error(), Errc::closed); }};
  second.wait_until_blocked();
  listener.close();
  first.join();
  second.join();
  listener.close();
  EXPECT_TRUE(listener.closed());
  EXPECT_EQ(listener.accept().error().to_string(), "closed: listener is closed");
  EXPECT_EQ(listener.try_accept().error(), Errc::closed);
}

TEST_P(ListenerAt, Deadlines) {
  Listener listener = open();
  EXPECT_EQ(listener.try_accept().error(), Errc::empty);
  EXPECT_EQ(listener.accept_for(1ms).error(), Errc::timeout);
  EXPECT_EQ(listener.accept_for(-1ms).error(), Errc::invalid_argument);
  Connection there = connect(listener);
  EXPECT_TRUE(listener.accept_for(1h));
  EXPECT_TRUE(Client::connect_for(listener.address(), 1h,
                                  {.insecure_plaintext = PlaintextTcp::on_loopback}));
}

TEST_P(ListenerAt, ManyClientsAndSeveralWhoAccept) {
  Listener listener = open();
  std::atomic<int> sum{0};
  {
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) sum += listener.accept().unwrap().recv<int>().unwrap();
      });
      threads.emplace_back([&] {
        for (int i = 1; i <= 20; ++i) connect(listener).send(i).unwrap();
      });
    }
    for (auto& thread : threads) thread.join();
  }
  EXPECT_EQ(sum.load(), 2 * 210);
}

TEST_P(ListenerAt, WaitingForAClientAndOtherThings) {
  Listener listener = open();
  Connection there = connect(listener);
  EXPECT_THAT(connection_wait({listener}).unwrap(), ElementsAre(0U));
  Connection here = listener.accept().unwrap();
  there.send(1).unwrap();
  EXPECT_THAT(connection_wait({listener, here}).unwrap(), ElementsAre(1U));
  listener.close();
  EXPECT_EQ(connection_wait({listener}).error(), Errc::closed);
}

TEST(ListenerUnix, OnlyTheOwnerCanReachItAndNothingIsLeft) {
  fs::path directory;
  {
    Listener listener = Listener::open().unwrap();
    const fs::path path = path_of(listener);
    directory = path.parent_path();
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    ASSERT_EQ(::stat(directory.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
  }
  EXPECT_FALSE(fs::exists(directory));
  const TestDirectory own;
  Listener::open(UnixAddress{own / "x.sock"}).unwrap().close();
  EXPECT_TRUE(fs::is_empty(own.path));
}

TEST(ListenerUnix, PathsThatCannotBe) {
  const TestDirectory own;
  EXPECT_EQ(Listener::open(UnixAddress{std::string("\0abstract", 9)}).error(),
            Errc::invalid_argument);
  EXPECT_EQ(Listener::open(UnixAddress{own / std::string(108, 'x').c_str()}).error(),
            Errc::invalid_argument);
  EXPECT_EQ(Listener::open(UnixAddress{own / "missing/x.sock"}).error(), Errc::not_found);
  std::ofstream{own / "file"} << "precious";
  EXPECT_EQ(Listener::open(UnixAddress{own / "file"}).error(), Errc::invalid_argument);
  EXPECT_EQ(fs::file_size(own / "file"), 8U);
  EXPECT_FALSE(fs::exists(own / "file.lock"));
  EXPECT_EQ(Listener::open({}, {.backlog = 0}).error(), Errc::invalid_argument);
  EXPECT_EQ(Listener::open({}, {.max_greeting = 0}).error(), Errc::invalid_argument);
}

TEST(ListenerUnix, ASocketThatADeadListenerLeftIsReplaced) {
  const TestDirectory own;
  const std::string path = own / "x.sock";
  {
    // What SIGKILL leaves: the files, without anybody who holds the lock.
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
    std::ofstream{path + ".lock"} << "";
  }
  EXPECT_EQ(Client::connect(UnixAddress{path}).error(), Errc::refused);
  Listener listener = Listener::open(UnixAddress{path}).unwrap();
  EXPECT_TRUE(Client::connect(UnixAddress{path}));
}

TEST(ClientTo, WhereNobodyListens) {
  const TestDirectory own;
  EXPECT_EQ(Client::connect(UnixAddress{own / "x.sock"}).error(), Errc::not_found);
  EXPECT_EQ(Client::connect(UnixAddress{}).error(), Errc::invalid_argument);
  Listener listener = Listener::open(TcpAddress{}, plain).unwrap();
  const Address gone = listener.address();
  listener.close();
  EXPECT_EQ(Client::connect(gone, {.insecure_plaintext = PlaintextTcp::on_loopback}).error(),
            Errc::refused);
  EXPECT_EQ(Client::connect(TcpAddress{"no host", 1}).error(), Errc::invalid_argument);
  EXPECT_EQ(Client::connect(TcpAddress{"", 1}).error(), Errc::invalid_argument);
}

TEST(ClientTo, AFullListenerIsWaitedForUntilTheDeadline) {
  Listener listener = Listener::open({}, {.backlog = 1}).unwrap();
  std::vector<Connection> waiting;
  auto one_more = Client::connect_for(listener.address(), 1ms);
  while (one_more) {
    waiting.push_back(*std::move(one_more));
    one_more = Client::connect_for(listener.address(), 1ms);
  }
  EXPECT_EQ(one_more.error(), Errc::timeout);
  EXPECT_TRUE(listener.accept());
  EXPECT_TRUE(Client::connect_for(listener.address(), 1h));
}

TEST(PlainTcp, HasToBeAskedForAndStaysOnThisHost) {
  EXPECT_EQ(Listener::open(TcpAddress{}).error(), Errc::refused);
  EXPECT_EQ(Listener::open(TcpAddress{"0.0.0.0", 0}, plain).error(), Errc::refused);
  EXPECT_EQ(Listener::open(TcpAddress{"::", 0}, plain).error(), Errc::refused);
  Listener listener = Listener::open(TcpAddress{}, plain).unwrap();
  EXPECT_EQ(Client::connect(listener.address()).error(), Errc::refused);
  EXPECT_EQ(
      Client::connect(TcpAddress{"192.0.2.1", 9}, {.insecure_plaintext = PlaintextTcp::on_loopback})
          .error(),
      Errc::refused);
}

TEST(HostileClients, SilentOnesHoldUpNobody) {
  Listener listener = Listener::open({}, {.greeting_timeout = 1h}).unwrap();
  std::vector<RawClient> silent;
  for (int i = 0; i < 50; ++i) silent.emplace_back(path_of(listener));
  for (int i = 0; i < 5; ++i) {
    Connection there = Client::connect(listener.address()).unwrap();
    EXPECT_TRUE(listener.accept());
  }
  EXPECT_FALSE(silent.front().dropped());  // they may still speak
  silent.front().write(greeting(0));
  EXPECT_TRUE(listener.accept());
}

TEST(HostileClients, SilentOnesAreDroppedInTime) {
  Listener listener = Listener::open({}, {.greeting_timeout = 5ms}).unwrap();
  const RawClient silent{path_of(listener)};
  while (!silent.dropped()) EXPECT_EQ(listener.accept_for(5ms).error(), Errc::timeout);
}

TEST(HostileClients, OfTooManySilentOnesTheOldestGoes) {
  Listener listener = Listener::open({}, {.greeting_timeout = 1h, .max_greeting = 4}).unwrap();
  std::vector<RawClient> silent;
  for (int i = 0; i < 4; ++i) {
    silent.emplace_back(path_of(listener));
    EXPECT_EQ(listener.try_accept().error(), Errc::empty);
  }
  EXPECT_FALSE(silent[0].dropped());
  Connection there = Client::connect(listener.address()).unwrap();
  EXPECT_TRUE(listener.accept());
  EXPECT_TRUE(silent[0].dropped());
  EXPECT_FALSE(silent[1].dropped());
}

TEST(HostileClients, WhoGreetsWrongIsDropped) {
  const auto before = ProcessCensus::take();
  {
    Listener listener = Listener::open().unwrap();
    std::string no_passel = greeting(0);
    no_passel[16] = 'x';
    // The version of the greeting names the digest of the proof: there is none to be talked into.
    std::string other_version = greeting(0);
    other_version[23] = '2';
    std::string announced = greeting(0).substr(0, 16);
    std::memset(announced.data(), 0x7f, 8);
    for (const std::string& wrong :
         {std::string{"GET / HTTP/1.1\r\n\r\n"}, std::string(64, '\xff'), no_passel, other_version,
          announced, greeting(2), greeting(0).substr(0, 40), std::string(1, 'x')}) {
      const RawClient client{path_of(listener)};
      client.write(wrong);
      EXPECT_EQ(listener.try_accept().error(), Errc::empty);
      EXPECT_TRUE(client.dropped());
    }
    // A message in place of the greeting.
    const RawClient client{path_of(listener)};
    std::string message = greeting(0);
    message[14] = 1;
    client.write(message);
    EXPECT_EQ(listener.try_accept().error(), Errc::empty);
    EXPECT_TRUE(client.dropped());
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(HostileClients, OneThatWantsAKeyIsRefusedAtOnce) {
  Listener listener = Listener::open().unwrap();
  const RawClient raw{path_of(listener)};
  raw.write(greeting(1));
  EXPECT_EQ(listener.try_accept().error(), Errc::empty);
  Connection line = Connection::adopt(::dup(raw.fd)).unwrap();
  EXPECT_EQ(line.recv<int>().error(), Errc::auth_failed);
  EXPECT_EQ(line.recv<int>().error(), Errc::auth_failed);
}

TEST(ListenerWithoutDescriptors, WaitsAndRecovers) {
  Listener listener = Listener::open().unwrap();
  Connection there = Client::connect(listener.address()).unwrap();
  Connection second = Client::connect(listener.address()).unwrap();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  const int next = ::dup(0);
  ::close(next);
  none.rlim_cur = static_cast<rlim_t>(next);  // all below are in use
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto tried = listener.accept_for(1ms);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(tried.error(), Errc::timeout);
  EXPECT_TRUE(listener.accept());  // both were kept in line
  EXPECT_TRUE(listener.accept());
}

TEST(ListenerSignals, AreNoErrors) {
  struct sigaction nothing {};
  struct sigaction old {};
  nothing.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &nothing, &old), 0);
  Listener listener = Listener::open().unwrap();
  std::atomic<pthread_t> thread{};
  BlockedThread accepts{[&] {
    thread.store(::pthread_self());
    EXPECT_TRUE(listener.accept());
  }};
  accepts.wait_until_blocked();
  for (int n = 0; n < 20; ++n) ::pthread_kill(thread.load(), SIGUSR1);
  accepts.wait_until_blocked();
  Connection there = Client::connect(listener.address()).unwrap();
  accepts.join();
  ::sigaction(SIGUSR1, &old, nullptr);
}

}  // namespace
