// Managers: registered classes in a server process, called through proxies. CPython's counterparts
// stand beside the cases.
#include <passel/base_manager.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base_manager_fixture.hpp"

#include <chrono>
#include <future>
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
using passel::TcpAddress;
using passel::UnixAddress;
using passel::WireValue;
using passel_test::add_in_child;
using passel_test::Board;
using passel_test::Counter;
using passel_test::doubled;
using passel_test::kind_of;
using passel_test::Manager;
using passel_test::Rendezvous;
using passel_test::Sleeper;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

}  // namespace
