// Managers: registered classes in a server process, called through proxies. CPython's counterparts
// stand beside the cases.
#include <passel/base_manager.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/own_address.hpp"
#include "support/process_census.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <csignal>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::BaseManager;
using passel::DynamicProxy;
using passel::Errc;
using passel::Future;
using passel::Process;
using passel::Proxy;
using passel::Result;
using passel::TcpAddress;
using passel::UnixAddress;
using passel::WireValue;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Counter {
  Counter() = default;
  Counter(int start, std::string name) : total{start}, label{std::move(name)} {}
  int add(int n) { return total += n; }
  [[nodiscard]] int get() const { return total; }
  [[nodiscard]] std::string name() const { return label; }
  void fail() { throw std::out_of_range{"no such thing"}; }
  Result<int> refuse(int limit) {
    return passel::Error{Errc::full, "limit " + std::to_string(limit)};
  }
  int secret() { return 42; }
  [[nodiscard]] int pid() const { return ::getpid(); }
  [[nodiscard]] std::string to_string() const { return "Counter at " + std::to_string(total); }
  int total = 0;
  std::string label = "plain";
};

/// One for all clients.
struct Board {
  void put(std::string text) { texts.push_back(std::move(text)); }
  [[nodiscard]] std::vector<std::string> all() const { return texts; }
  std::vector<std::string> texts;
};
Board& the_board() {
  static Board board;
  return board;
}

/// Somebody asks; another one answers.
struct Rendezvous {
  Future<int> wait() {
    waiting.emplace_back();
    return waiting.back().future();
  }
  int meet(int value) {
    const int met = static_cast<int>(waiting.size());
    for (auto& one : waiting) one.set(value);
    waiting.clear();
    return met;
  }
  std::vector<passel::Promise<int>> waiting;
};

struct Sleeper {
  void sleep_until_killed() {
    for (;;) ::pause();
  }
};

int doubled(Counter& counter, int factor) { return counter.total *= factor; }

void register_types(BaseManager& manager) {
  manager
      .register_type<Counter, passel::constructor<int, std::string>, &Counter::add, &Counter::get,
                     &Counter::name, &Counter::fail, &Counter::refuse, &Counter::pid,
                     passel::exposed<"times", &doubled>>("Counter")
      .unwrap();
  manager.register_type<Counter, &Counter::add, passel::quick_methods>("Quick").unwrap();
  manager.register_type<Board, passel::factory<&the_board>, &Board::put, &Board::all>("Board")
      .unwrap();
  manager.register_type<Rendezvous, &Rendezvous::wait, &Rendezvous::meet>("Rendezvous").unwrap();
  manager.register_type<Sleeper, &Sleeper::sleep_until_killed>("Sleeper").unwrap();
}

std::string kind_of(const testing::TestParamInfo<Address>& address) {
  if (address.param.index() == 0) return "Unix";
  return std::get<TcpAddress>(address.param).host == "::1" ? "TcpV6" : "Tcp";
}

/// A server of its own for each case, at each kind of address.
class Manager : public testing::TestWithParam<Address> {
 protected:
  Manager() : manager{{.address = GetParam()}} { register_types(manager); }
  void SetUp() override {
    if (GetParam() == Address{TcpAddress{"::1", 0}} && !passel_test::has_v6())
      GTEST_SKIP() << "this host has no ::1";
    manager.start().unwrap();
  }
  Proxy<Counter> counter(int start = 0, const char* name = "c") {
    return manager.create<Counter>("Counter", start, name).unwrap();
  }
  BaseManager manager;
};
INSTANTIATE_TEST_SUITE_P(Addresses, Manager,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}},
                                         Address{TcpAddress{"::1", 0}}),
                         kind_of);

// CPython: _TestMyManager.test_mymanager
TEST_P(Manager, CallsMethodsOfObjectsInItsServer) {
  auto c = counter(5, "first");
  EXPECT_EQ(c.call<&Counter::add>(3).unwrap(), 8);
  EXPECT_EQ(c.call<&Counter::get>().unwrap(), 8);
  EXPECT_EQ(c.call<&Counter::name>().unwrap(), "first");
  EXPECT_EQ(c.call<&Counter::pid>().unwrap(), manager.pid());
  EXPECT_NE(c.call<&Counter::pid>().unwrap(), ::getpid());
}

TEST_P(Manager, CallsByNameWithoutTheClass) {
  const DynamicProxy c = manager.create("Counter", 5, "first").unwrap();
  EXPECT_EQ(c.call<int>("add", 3).unwrap(), 8);
  EXPECT_EQ(c.call("get").unwrap(), WireValue{8});
  EXPECT_EQ(c.call<int>("times", 2).unwrap(), 16);
  EXPECT_THAT(c.methods().unwrap(),
              ElementsAre("add", "fail", "get", "name", "pid", "refuse", "times"));
}

TEST_P(Manager, CallsAFunctionAsAMethodUnderItsOwnName) {
  auto c = counter(5);
  EXPECT_EQ((c.call<passel::exposed<"times", &doubled>>(3).unwrap()), 15);
}

// CPython: _TestMyManager.test_mymanager (exposed)
TEST_P(Manager, ExposesWhatIsListedAndNothingElse) {
  const auto c = counter();
  const auto refused = c.call<int>("secret");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errc::not_found);
  EXPECT_THAT(refused.error().what(), HasSubstr("'secret'"));
  EXPECT_THAT(refused.error().what(), HasSubstr("add, fail, get"));
  EXPECT_EQ(c.call<&Counter::get>().unwrap(), 0);
}

// CPython: TestManagerExceptions.test_dispatch
TEST_P(Manager, ErrorsOfMethodsArriveAsWhatTheyAre) {
  const auto c = counter();
  const auto thrown = c.call<&Counter::fail>();
  ASSERT_FALSE(thrown);
  EXPECT_EQ(thrown.error(), Errc::task_failed);
  const auto* remote = thrown.error().detail<passel::RemoteError>();
  ASSERT_NE(remote, nullptr);
  EXPECT_EQ(remote->type_name, "std::out_of_range");
  EXPECT_EQ(remote->what, "no such thing");
  const auto returned = c.call<&Counter::refuse>(7);
  ASSERT_FALSE(returned);
  EXPECT_EQ(returned.error(), Errc::full);
  EXPECT_EQ(returned.error().what(), "limit 7");
}

TEST_P(Manager, ArgumentsOfOtherTypesAreErrorsOfTheCallAlone) {
  const auto c = counter();
  const auto wrong = c.call<int>("add", "three");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error(), Errc::type_mismatch);
  EXPECT_THAT(wrong.error().what(), HasSubstr("argument 1"));
  EXPECT_EQ(c.call<int>("add").error(), Errc::type_mismatch);
  EXPECT_EQ(c.call<int>("add", 1).unwrap(), 1);
}

// CPython: _TestRemoteManager.test_remote (an unregistered type)
TEST_P(Manager, UnknownTypesAreNamed) {
  const auto none = manager.create("Nothing");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error(), Errc::not_found);
  EXPECT_THAT(none.error().what(), HasSubstr("'Nothing'"));
  EXPECT_THAT(none.error().what(), HasSubstr("Board, Counter, Quick"));
  EXPECT_EQ(manager.create("Counter", "wrong").error(), Errc::type_mismatch);
}

TEST_P(Manager, QuickMethodsRunLikeOthers) {
  auto c = manager.create<Counter>("Quick").unwrap();
  EXPECT_EQ(c.call<&Counter::add>(3).unwrap(), 3);
}

TEST_P(Manager, AnswersLater) {
  auto c = counter();
  Future<int> first = c.call_async<&Counter::add>(3);
  Future<int> second = c.call_async<int>("add", 4);
  EXPECT_EQ(second.get().unwrap(), 7);
  EXPECT_EQ(first.get().unwrap(), 3);
}

TEST_P(Manager, AMethodThatReturnsAFutureHoldsUpNobody) {
  auto meeting = manager.create<Rendezvous>("Rendezvous").unwrap();
  Future<int> first = meeting.call_async<&Rendezvous::wait>();
  Future<int> second = meeting.call_async<&Rendezvous::wait>();
  EXPECT_EQ(meeting.call<&Rendezvous::meet>(9).unwrap(), 2);
  EXPECT_EQ(first.get().unwrap(), 9);
  EXPECT_EQ(second.get().unwrap(), 9);
}

TEST_P(Manager, AnsweringSideThatGoesAwayBreaksTheCall) {
  auto meeting = manager.create<Rendezvous>("Rendezvous").unwrap();
  Future<int> waits = meeting.call_async<&Rendezvous::wait>();
  manager.shutdown().unwrap();
  const auto broken = waits.get();
  ASSERT_FALSE(broken);
  EXPECT_TRUE(broken.error() == Errc::peer_lost || broken.error() == Errc::broken)
      << broken.error().to_string();
}

TEST(ManagerOptions, TimesThatAreNoneAreErrorsThatNameThem) {
  BaseManager endless{{.silence = std::chrono::milliseconds::max()}};
  EXPECT_EQ(endless.start().error(), Errc::invalid_argument);
  BaseManager early{{.shutdown_timeout = std::chrono::milliseconds{-1}}};
  EXPECT_EQ(early.start().error().what(), std::string{"shutdown_timeout of -1 ms: 0 to 86400000"});
}

TEST_P(Manager, ACallEndsAtItsDeadline) {
  auto meeting = manager.create<Rendezvous>("Rendezvous").unwrap();
  const auto late = meeting.call_for<&Rendezvous::wait>(10ms);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), Errc::timeout);
  // Whether it had begun is the server's secret; others are served as before.
  EXPECT_LE(meeting.call_for<&Rendezvous::meet>(1h, 1).unwrap(), 1);
}

// CPython: _TestRemoteManager.test_remote (the get_queue pattern)
TEST_P(Manager, AFactoryThatGivesOneObjectGivesItToAll) {
  auto mine = manager.create<Board>("Board").unwrap();
  auto yours = manager.create<Board>("Board").unwrap();
  EXPECT_EQ(mine, yours);
  mine.call<&Board::put>("hello").unwrap();
  EXPECT_THAT(yours.call<&Board::all>().unwrap(), ElementsAre("hello"));
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
}

TEST_P(Manager, ObjectsLiveAsLongAsTheirProxies) {
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
  {
    const auto first = counter();
    const auto second = counter();
    const auto copy = first;
    EXPECT_EQ(manager.number_of_objects().unwrap(), 2U);
    EXPECT_EQ(copy, first);
    EXPECT_FALSE(first == second);
  }
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
}

TEST_P(Manager, DebugInfoShowsObjectsAndReferences) {
  const auto c = counter(3);
  EXPECT_EQ(manager.debug_info().unwrap(), "1: Counter refcount=1\n    Counter at 3\n");
}

// CPython: _TestMyManager.test_mymanager (repr and str)
TEST_P(Manager, ProxiesPrintWhatTheyAre) {
  const auto c = counter(3);
  EXPECT_EQ(c.to_string(),
            "<Proxy[Counter] object 1 at " + passel::to_string(manager.address()) + ">");
  EXPECT_EQ(c.text().unwrap(), "Counter at 3");
  EXPECT_EQ(c.type(), "Counter");
  EXPECT_EQ(c.address(), manager.address());
}

TEST_P(Manager, ABlockedMethodHoldsUpNoOtherObject) {
  auto sleeper = manager.create<Sleeper>("Sleeper").unwrap();
  Future<void> never = sleeper.call_async<&Sleeper::sleep_until_killed>();
  auto c = counter();
  EXPECT_EQ(c.call<&Counter::add>(1).unwrap(), 1);
  EXPECT_FALSE(never.done());
}

TEST_P(Manager, ThreadsShareOneConnection) {
  auto c = counter();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([c] {
      for (int i = 0; i < 100; ++i) c.call<&Counter::add>(1).unwrap();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(c.call<&Counter::get>().unwrap(), 800);
}

TEST_P(Manager, ThreadsThatWaitAreEachToldOfTheirOwnAnswer) {
  auto meeting = manager.create<Rendezvous>("Rendezvous").unwrap();
  auto c = counter();
  std::vector<std::future<int>> waiting;
  for (int t = 0; t < 4; ++t)
    waiting.push_back(std::async(std::launch::async,
                                 [meeting] { return meeting.call<&Rendezvous::wait>().unwrap(); }));
  int met = 0;
  while (met < 4) {
    c.call<&Counter::add>(1).unwrap();
    met += meeting.call<&Rendezvous::meet>(5).unwrap();
  }
  for (auto& one : waiting) EXPECT_EQ(one.get(), 5);
}

void add_in_child(const Proxy<Counter>& c, int n) { c.call<&Counter::add>(n).unwrap(); }

// CPython: TestSyncManagerTypes.test_queue (a proxy given to a process)
TEST_P(Manager, ProxiesGoToOtherProcesses) {
  auto c = counter();
  for (int n = 1; n <= 3; ++n) Process::spawn<add_in_child>(c, n).unwrap().join().unwrap();
  EXPECT_EQ(c.call<&Counter::get>().unwrap(), 6);
}

TEST_P(Manager, AProxyOnItsWayKeepsItsObject) {
  std::optional<Process> child;
  {
    auto c = counter();
    child = Process::make<add_in_child>({}, c, 1);
  }
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
  child->start().unwrap();
  EXPECT_EQ(child->join().unwrap(), 0);
}

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
