// Managers: beginning, ending and dying, of servers and clients; who finds a server, and who is
// refused. CPython's counterparts stand beside the cases.
#include <passel/authkey.hpp>
#include <passel/base_manager.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base_manager_fixture.hpp"
#include "support/own_address.hpp"
#include "support/process_census.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <csignal>
#include <filesystem>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace {

using passel::Address;
using passel::BaseManager;
using passel::Errc;
using passel::Future;
using passel::Process;
using passel::Proxy;
using passel::TcpAddress;
using passel::UnixAddress;
using passel_test::add_in_child;
using passel_test::Board;
using passel_test::Counter;
using passel_test::kind_of;
using passel_test::Manager;
using passel_test::register_types;
using passel_test::Rendezvous;
using passel_test::Sleeper;
using passel_test::the_board;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// CPython: _TestMyManager.test_mymanager_context_prestarted
TEST_P(Manager, StartsOnce) {
  const auto again = manager.start();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error(), Errc::invalid_state);
  EXPECT_THAT(again.error().what(), HasSubstr("already started"));
  manager.shutdown().unwrap();
  const auto after = manager.start();
  ASSERT_FALSE(after);
  EXPECT_THAT(after.error().what(), HasSubstr("has shut down"));
}

// CPython: _TestMyManager.test_mymanager (exitcode)
TEST_P(Manager, ShutDownEndsTheServerWithExitcode0) {
  const auto c = counter();
  EXPECT_EQ(manager.exitcode(), std::nullopt);
  manager.shutdown().unwrap();
  EXPECT_EQ(manager.exitcode(), 0);
  manager.shutdown().unwrap();
  manager.join().unwrap();
  EXPECT_EQ(c.call<&Counter::get>().error(), Errc::peer_lost);
  if (const auto address = manager.address(); address.index() == 0) {
    EXPECT_FALSE(std::filesystem::exists(std::get<UnixAddress>(address).path));
  }
  EXPECT_EQ(manager.create("Counter", 1, "x").error(), Errc::invalid_state);
}

TEST_P(Manager, AServerThatDoesNotEndIsKilled) {
  auto sleeper = manager.create<Sleeper>("Sleeper").unwrap();
  Future<void> never = sleeper.call_async<&Sleeper::sleep_until_killed>();
  // The call is there before the next one is answered.
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
  manager.shutdown().unwrap();
  EXPECT_TRUE(manager.exitcode().has_value());
  EXPECT_FALSE(never.get());
}

// CPython: _TestSharedMemory.test_shared_memory_SharedMemoryServer_ignores_sigint
TEST_P(Manager, TheServerIgnoresSigint) {
  auto c = counter();
  ::kill(*manager.pid(), SIGINT);
  EXPECT_EQ(c.call<&Counter::add>(1).unwrap(), 1);
}

TEST(ManagerSurface, NothingWorksBeforeItIsStarted) {
  BaseManager manager;
  register_types(manager);
  EXPECT_EQ(manager.create("Counter", 1, "x").error(), Errc::invalid_state);
  EXPECT_THAT(manager.create("Counter", 1, "x").error().what(), HasSubstr("not yet started"));
  EXPECT_EQ(manager.shutdown().error(), Errc::invalid_state);
  EXPECT_EQ(manager.join().error(), Errc::invalid_state);
}

TEST(ManagerSurface, TypesAreRegisteredOnceAndBeforeTheStart) {
  BaseManager manager;
  register_types(manager);
  EXPECT_EQ((manager.register_type<Counter>("Counter").error()), Errc::invalid_argument);
  EXPECT_EQ((manager.register_type<Counter>("").error()), Errc::invalid_argument);
  EXPECT_EQ((manager.register_type<Counter>("two\nlines").error()), Errc::invalid_argument);
  manager.start().unwrap();
  EXPECT_EQ((manager.register_type<Counter>("Late").error()), Errc::invalid_state);
  EXPECT_THAT(manager.types().unwrap(),
              ElementsAre("Board", "Counter", "Quick", "Rendezvous", "Sleeper"));
}

void write_on_board(const std::string& text) { the_board().put(text); }
void fail_at_once() { throw std::runtime_error{"no licence"}; }

// CPython: TestInitializers.test_manager_initializer
TEST(ManagerSurface, AnInitializerRunsInTheServerFirst) {
  BaseManager manager;
  register_types(manager);
  manager.start_with<write_on_board>("prepared").unwrap();
  auto board = manager.create<Board>("Board").unwrap();
  EXPECT_THAT(board.call<&Board::all>().unwrap(), ElementsAre("prepared"));
}

TEST(ManagerSurface, AnInitializerThatThrowsIsTheErrorOfTheStart) {
  const auto before = passel_test::ProcessCensus::take();
  BaseManager manager;
  const auto failed = manager.start_with<fail_at_once>();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), Errc::task_failed);
  EXPECT_THAT(failed.error().what(), HasSubstr("no licence"));
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

/// A port of loopback, v4 or v6, or a file.
void use_from_elsewhere(const std::string& where, std::uint16_t port,
                        const passel::Queue<int>& out) {
  Address address = UnixAddress{where};
  if (port != 0) address = TcpAddress{where, port};
  BaseManager manager{{.address = address}};
  manager.connect().unwrap();
  auto c = manager.create<Counter>("Counter", 10, "far").unwrap();
  out.put(c.call<&Counter::add>(1).unwrap()).unwrap();
}

std::pair<std::string, std::uint16_t> place(const Address& address) {
  if (const auto* file = std::get_if<UnixAddress>(&address)) return {file->path, 0};
  const auto& tcp = std::get<TcpAddress>(address);
  return {tcp.host, tcp.port};
}

// CPython: _TestRemoteManager.test_remote
TEST_P(Manager, OtherProcessesConnectByAddress) {
  const passel::Queue<int> out;
  const auto [where, port] = place(manager.address());
  Process::spawn<use_from_elsewhere>(where, port, out).unwrap().join().unwrap();
  EXPECT_EQ(out.get().unwrap(), 11);
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
}

TEST(ManagerSurface, ConnectingToNobodyIsAnError) {
  BaseManager manager{{.address = UnixAddress{"/tmp/passel-nobody-is-here"}}};
  EXPECT_EQ(manager.connect().error(), Errc::not_found);
  EXPECT_EQ(manager.shutdown().error(), Errc::invalid_state);
  // A port that nobody else can get meanwhile.
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof raw;
  ASSERT_EQ(::bind(taken, reinterpret_cast<sockaddr*>(&raw), size), 0);
  ASSERT_EQ(::getsockname(taken, reinterpret_cast<sockaddr*>(&raw), &size), 0);
  const auto nobody =
      BaseManager{{.address = TcpAddress{"127.0.0.1", ntohs(raw.sin_port)}}}.connect();
  ::close(taken);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error(), Errc::refused);
  EXPECT_THAT(nobody.error().what(), HasSubstr("connection refused"));
}

/// Cases that make their own managers at each kind of address.
class ManagerPlace : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, ManagerPlace,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}), kind_of);

passel::Result<void> connect_with(const Address& address, const char* key) {
  return BaseManager{{.address = address, .authkey = passel::AuthKey{key}}}.connect();
}

// CPython: _TestRemoteManager.test_remote (another authkey)
TEST_P(ManagerPlace, WhoHasAnotherKeyIsRefused) {
  const char* const key = "the key of both, which is long";
  BaseManager manager{{.address = GetParam(), .authkey = passel::AuthKey{key}}};
  register_types(manager);
  manager.start().unwrap();
  EXPECT_EQ(connect_with(manager.address(), "another key, which is long").error(),
            Errc::auth_failed);
  EXPECT_EQ(connect_with(manager.address(), "short").error(), Errc::auth_failed);
  EXPECT_TRUE(connect_with(manager.address(), key));
  EXPECT_EQ(manager.create<Counter>("Counter", 1, "c").unwrap().call<&Counter::get>().unwrap(), 1);
}

TEST_P(ManagerPlace, ChildrenThatGetAProxyKnowItsKey) {
  BaseManager manager{{.address = GetParam(), .authkey = passel::AuthKey::generate()}};
  register_types(manager);
  manager.start().unwrap();
  auto c = manager.create<Counter>("Counter", 0, "c").unwrap();
  Process::spawn<add_in_child>(c, 3).unwrap().join().unwrap();
  EXPECT_EQ(c.call<&Counter::get>().unwrap(), 3);
}

// CPython: _TestManagerRestart.test_rapid_restart (get_server and serve_forever)
TEST_P(ManagerPlace, AServerInThisProcessServesOthers) {
  BaseManager manager{{.address = GetParam()}};
  register_types(manager);
  auto server = manager.get_server().unwrap();
  const passel::Queue<int> out;
  const auto [where, port] = place(server.address());
  auto client = Process::spawn<use_from_elsewhere>(where, port, out).unwrap();
  std::thread stopper{[&] {
    EXPECT_EQ(out.get().unwrap(), 11);
    server.stop();
  }};
  server.serve_forever();
  stopper.join();
  client.join().unwrap();
}

TEST_P(ManagerPlace, AServerInThisProcessIsUsedHere) {
  BaseManager manager{{.address = GetParam()}};
  register_types(manager);
  const auto server = manager.get_server().unwrap();
  auto c = manager.create<Counter>("Counter", 1, "here").unwrap();
  EXPECT_EQ(c.call<&Counter::add>(1).unwrap(), 2);
  EXPECT_EQ(c.call<&Counter::pid>().unwrap(), ::getpid());
}

// CPython: _TestManagerRestart.test_rapid_restart
TEST_P(ManagerPlace, ANewManagerTakesTheAddressJustFreed) {
  Address address = passel_test::own_address(GetParam(), "restart");
  for (int life = 0; life < 5; ++life) {
    BaseManager manager{{.address = address}};
    register_types(manager);
    manager.start().unwrap();
    address = manager.address();
    EXPECT_EQ(manager.create<Counter>("Counter", life, "c").unwrap().call<&Counter::get>().unwrap(),
              life);
  }
}

// Fault 36.
TEST_P(Manager, AKilledServerEndsEveryCallAtOnce) {
  auto meeting = manager.create<Rendezvous>("Rendezvous").unwrap();
  Future<int> waits = meeting.call_async<&Rendezvous::wait>();
  auto blocked =
      std::async(std::launch::async, [meeting] { return meeting.call<&Rendezvous::wait>(); });
  ::kill(*manager.pid(), SIGKILL);
  EXPECT_EQ(waits.get().error(), Errc::peer_lost);
  EXPECT_EQ(blocked.get().error(), Errc::peer_lost);
  manager.join().unwrap();
  EXPECT_EQ(manager.exitcode(), -SIGKILL);
  EXPECT_EQ(meeting.call<&Rendezvous::meet>(1).error(), Errc::peer_lost);
}

// Fault 36.
TEST_P(ManagerPlace, ProxiesOfAnEarlierLifeAreStale) {
  Address address = passel_test::own_address(GetParam(), "lives");
  const auto begin = [&address] {
    BaseManager manager{{.address = address}};
    register_types(manager);
    manager.start().unwrap();
    address = manager.address();
    return manager;
  };
  BaseManager first = begin();
  auto old = first.create<Counter>("Counter", 1, "old").unwrap();
  ::kill(*first.pid(), SIGKILL);
  first.join().unwrap();
  BaseManager second = begin();
  auto fresh = second.create<Counter>("Counter", 2, "new").unwrap();
  EXPECT_EQ(old.call<&Counter::get>().error(), Errc::stale_object);
  EXPECT_EQ(fresh.call<&Counter::get>().unwrap(), 2);
}

void hold_and_wait(const Proxy<Counter>& c, const passel::Queue<int>& out) {
  out.put(c.call<&Counter::get>().unwrap()).unwrap();
  for (;;) ::pause();
}

TEST_P(Manager, AKilledClientGivesUpItsProxies) {
  const passel::Queue<int> out;
  std::optional<Process> child;
  {
    auto c = counter(4);
    child = Process::spawn<hold_and_wait>(c, out).unwrap();
    EXPECT_EQ(out.get().unwrap(), 4);
  }
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
  child->kill().unwrap();
  child->join().unwrap();
  // The server learns of it in its own time.
  while (manager.number_of_objects().unwrap() != 0) std::this_thread::yield();
}

TEST(ManagerSurface, NothingIsLeftOver) {
  {
    BaseManager warm;
    warm.start().unwrap();
  }
  const auto before = passel_test::ProcessCensus::take();
  {
    BaseManager manager;
    register_types(manager);
    manager.start().unwrap();
    auto c = manager.create<Counter>("Counter", 1, "x").unwrap();
    c.call<&Counter::get>().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
