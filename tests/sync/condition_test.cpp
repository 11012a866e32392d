// Condition, after CPython's lock_tests.py and _TestCondition: names of its cases stand where they
// were ported.
#include <passel/condition.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "managed.hpp"
#include "placements.hpp"
#include "support/process_census.hpp"

#include <csignal>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::Condition;
using passel::Errc;
using passel::Guard;
using passel::Lock;
using passel::Process;
using passel::Queue;
using passel::Reach;
using passel::RLock;
using passel::Semaphore;
using ::testing::HasSubstr;

TEST(Condition, GuardsOfSeveralThreadsThatWaitAgainAndAgainGiveTheLockBack) {
  const Lock lock{{.reach = Reach::threads}};
  const Condition cond = Condition::create(lock).unwrap();
  bool go = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      auto guard = lock.acquire().unwrap();
      while (!go) cond.wait().unwrap();
      EXPECT_TRUE(guard.release().is_ok());
    });
  }
  for (int round = 0; round < 10; ++round) {
    while (cond.waiting() != 3) std::this_thread::yield();
    const auto guard = lock.acquire().unwrap();
    go = round == 9;
    cond.notify_all().unwrap();
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(lock.locked());
}

// ---- the same in threads and in processes -------------------------------------------------------

template <class Placement>
class ConditionAt : public ::testing::Test {
 protected:
  /// Returns when that many wait.
  void await_waiters(std::size_t count) {
    while (cond.waiting() != count) std::this_thread::yield();
  }
  void notify(std::size_t n) {
    const auto guard = cond.acquire().unwrap();
    cond.notify(n).unwrap();
  }

  ConditionOf<Placement> cond{{.reach = Placement::reach}};
  Queue<int> news{{.reach = Placement::reach}};
};
TYPED_TEST_SUITE(ConditionAt, Everywhere, PlacementNames);

template <class At>
void wait_once(const ConditionOf<At>& cond, const Queue<int>& news, int me) {
  const auto guard = cond.acquire().unwrap();
  cond.wait().unwrap();
  news.put(me).unwrap();
}

TYPED_TEST(ConditionAt, NotifyWakesExactlySoMany) {
  // ConditionTests.test_notify, _TestCondition.test_notify_n
  Crew<TypeParam> crew;
  for (int i = 0; i < 6; ++i) {
    crew.template start<wait_once<TypeParam>>(this->cond, this->news, i);
    this->await_waiters(static_cast<std::size_t>(i) + 1);
  }
  this->notify(3);
  for (int i = 0; i < 3; ++i) EXPECT_LT(this->news.get().unwrap(), 3);  // first come, first served
  EXPECT_EQ(this->cond.waiting(), 3U);
  crew.wait_until_blocked();
  EXPECT_EQ(this->news.qsize(), 0U);
  this->notify(2);
  for (int i = 0; i < 2; ++i) EXPECT_LT(this->news.get().unwrap(), 5);
  EXPECT_EQ(this->cond.waiting(), 1U);
  this->notify(7);  // one is there
  EXPECT_EQ(this->news.get().unwrap(), 5);
  crew.join();
  EXPECT_EQ(this->cond.waiting(), 0U);
  this->notify(1);  // not remembered
  const auto guard = this->cond.acquire().unwrap();
  EXPECT_EQ(this->cond.wait_for(1ms).error().code(), Errc::timeout);
}

TYPED_TEST(ConditionAt, NotifyAllWakesEveryoneUnderBothNames) {
  // _TestCondition.test_notify_all, ThreadTests.test_old_threading_api
  for (int round = 0; round < 2; ++round) {
    Crew<TypeParam> crew;
    crew.template start_many<wait_once<TypeParam>>(4, this->cond, this->news, round);
    this->await_waiters(4);
    {
      const auto guard = this->cond.acquire().unwrap();
      if (round == 0) this->cond.notify_all().unwrap();
      if (round == 1) this->cond.notifyAll().unwrap();
      EXPECT_EQ(this->cond.waiting(), 0U);
      EXPECT_EQ(this->news.qsize(), 0U);  // nobody goes on while we hold the lock
    }
    for (int i = 0; i < 4; ++i) EXPECT_EQ(this->news.get().unwrap(), round);
  }
}

/// Under the lock of the condition the queue holds one number.
int peek(const Queue<int>& number) {
  const int there = number.get().unwrap();
  number.put(there).unwrap();
  return there;
}

template <class At>
void count_to(const ConditionOf<At>& cond, const Queue<int>& state, int limit) {
  for (;;) {
    const auto guard = cond.acquire().unwrap();
    const int now = state.get().unwrap();
    state.put(now + 1).unwrap();
    cond.notify().unwrap();
    if (now + 1 == limit) return;
  }
}

TYPED_TEST(ConditionAt, WaitsUntilAPredicateHolds) {
  // ConditionTests.test_waitfor, _TestCondition.test_waitfor
  this->news.put(0).unwrap();
  Crew<TypeParam> crew;
  {
    const auto guard = this->cond.acquire().unwrap();
    crew.template start<count_to<TypeParam>>(this->cond, this->news, 4);
    this->cond.wait([&] { return peek(this->news) == 4; }).unwrap();
    EXPECT_EQ(peek(this->news), 4);
    this->cond.wait([] { return true; }).unwrap();  // at once
  }
}

template <class At>
void notify_often(const ConditionOf<At>& cond, const Queue<int>& news,
                  const SemaphoreOf<At>& enough) {
  news.put(0).unwrap();
  while (!enough.try_acquire()) {
    const auto guard = cond.acquire().unwrap();
    cond.notify_all().unwrap();
  }
}

TYPED_TEST(ConditionAt, TheTimeForAPredicateIsTheTimeOfAllWaits) {
  // ConditionTests.test_waitfor_timeout, _TestCondition.test_waitfor_timeout
  const SemaphoreOf<TypeParam> enough{{.value = 0, .reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start<notify_often<TypeParam>>(this->cond, this->news, enough);
  this->news.get().unwrap();
  {
    const auto guard = this->cond.acquire().unwrap();
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(this->cond.wait_for(50ms, [] { return false; }).error().code(), Errc::timeout);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
  }
  enough.release().unwrap();
}

TYPED_TEST(ConditionAt, WhoIsNotNotifiedWaitsForItsTime) {
  // ConditionTests.test_timeout, _TestCondition.test_timeout
  const auto guard = this->cond.acquire().unwrap();
  for (const auto limit : {0ms, 30ms}) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(this->cond.wait_for(limit).error().code(), Errc::timeout);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, limit);
    EXPECT_EQ(this->cond.waiting(), 0U);
  }
  EXPECT_EQ(this->cond.wait_for(-1s).error().code(), Errc::timeout);
  EXPECT_THAT(this->cond.to_string(), HasSubstr("<locked RLock"));  // again, after each
}

TYPED_TEST(ConditionAt, EveryLevelOfItsRLockIsGivenUpAndHadAgain) {
  // RLockTests.test_recursion_count, ConditionTests.test_acquire
  const RLockOf<TypeParam> lock{{.reach = TypeParam::reach}};
  const ConditionOf<TypeParam> shared{lock};
  const auto first = shared.acquire().unwrap();
  const auto second = lock.acquire().unwrap();  // the same lock
  Crew<TypeParam> crew;
  crew.template start<count_to<TypeParam>>(shared, this->news, 1);
  this->news.put(0).unwrap();
  shared.wait().unwrap();  // the other one could get in
  EXPECT_EQ(lock.recursion_count(), 2U);
}

template <class At>
void take_turns(const ConditionOf<At>& cond, const Queue<int>& number, int parity, int rounds) {
  const auto guard = cond.acquire().unwrap();
  for (int i = 0; i < rounds; ++i) {
    cond.wait([&] { return peek(number) % 2 == parity; }).unwrap();
    number.put(number.get().unwrap() + 1).unwrap();
    cond.notify().unwrap();
  }
}

TYPED_TEST(ConditionAt, PingPongStaysInStep) {
  // _TestCondition.test_wait_result, in both directions
  this->news.put(0).unwrap();
  Crew<TypeParam> crew;
  crew.template start<take_turns<TypeParam>>(this->cond, this->news, 1, turns<TypeParam>(300));
  take_turns<TypeParam>(this->cond, this->news, 0, turns<TypeParam>(300));
  crew.join();
  EXPECT_EQ(peek(this->news), 2 * turns<TypeParam>(300));
}

// ---- misuse and handles -------------------------------------------------------------------------

TEST(Condition, NeedsItsLock) {
  // ConditionTests.test_unacquired_wait, test_unacquired_notify
  const Condition cond;
  EXPECT_THAT(cond.wait().error().what(), HasSubstr("cannot wait on un-acquired lock"));
  EXPECT_THAT(cond.notify().error().what(), HasSubstr("cannot notify on un-acquired lock"));
  EXPECT_EQ(cond.notify_all().error().code(), Errc::invalid_state);
  const auto guard = cond.acquire().unwrap();
  std::thread{[&] { EXPECT_EQ(cond.notify().error().code(), Errc::invalid_state); }}.join();
}

TEST(Condition, SharesALockThatIsGiven) {
  const Lock lock;
  const Condition cond{lock};
  const Condition other{lock};  // two conditions of one lock
  EXPECT_FALSE(cond.locked());
  const auto guard = cond.acquire().unwrap();
  EXPECT_TRUE(lock.locked());
  EXPECT_TRUE(cond.locked());
  EXPECT_TRUE(other.locked());
  EXPECT_FALSE(other.try_lock());
  EXPECT_FALSE(cond == other);
  EXPECT_TRUE(cond == Condition{cond});
}

TEST(Condition, AGuardIsGoodAfterTheWait) {
  const Lock lock;
  const Condition cond{lock};
  auto guard = cond.acquire().unwrap();
  const std::uint64_t before = guard.token();
  for (int i = 0; i < 2; ++i) {
    std::thread notifier{[&] {
      const auto held = cond.acquire().unwrap();
      cond.notify().unwrap();
    }};
    cond.wait().unwrap();
    notifier.join();
  }
  EXPECT_GE(guard.token(), before + 4);  // two of the notifier's, two of ours
  guard.release().unwrap();
  EXPECT_FALSE(lock.locked());
}

TEST(Condition, WorksWithTheStandardsLocks) {
  const Condition cond;
  const std::unique_lock held{cond};
  EXPECT_TRUE(cond.wait_for(1ms).error() == Errc::timeout);
}

TEST(Condition, AClosedHandleSaysSo) {
  Condition cond;
  cond.close();
  EXPECT_TRUE(cond.closed());
  EXPECT_EQ(cond.wait().error().code(), Errc::invalid_state);
  EXPECT_EQ(cond.notify().error().code(), Errc::invalid_state);
  EXPECT_EQ(cond.acquire().error().code(), Errc::invalid_state);
  EXPECT_EQ(cond.to_string(), "<closed Condition>");
  Lock gone;
  gone.close();
  EXPECT_EQ(Condition::create(gone).error().code(), Errc::invalid_state);
}

void nothing(const Condition&) {}

TEST(Condition, OfThreadsCannotTravel) {
  const Condition cond{{.reach = Reach::threads}};
  auto child = Process::spawn<nothing>(cond).unwrap();
  EXPECT_EQ(child.join().unwrap(), 1);
}

// ---- without a thread ---------------------------------------------------------------------------

TEST(ConditionAsync, AFutureIsNotifiedInItsTurn) {
  const Condition cond{{.reach = Reach::threads}};
  auto future = cond.wait_async(cond.acquire().unwrap());
  EXPECT_EQ(cond.waiting(), 1U);
  {
    const auto guard = cond.acquire().unwrap();  // it gave the lock up
    cond.notify().unwrap();
    EXPECT_FALSE(future.done());
  }
  auto guard = future.get().unwrap();
  EXPECT_FALSE(cond.try_lock());
  guard.release().unwrap();
  EXPECT_TRUE(cond.try_lock());
  cond.unlock();
}

TEST(ConditionAsync, ADroppedFutureCountsForNothing) {
  const Condition cond;
  {
    auto dropped = cond.wait_async(cond.acquire().unwrap());
    auto cancelled = cond.wait_async(cond.acquire().unwrap());
    EXPECT_EQ(cond.waiting(), 2U);
    EXPECT_TRUE(cancelled.cancel());
  }
  EXPECT_EQ(cond.waiting(), 0U);
  // One that had been notified already hands that on.
  auto first = cond.wait_async(cond.acquire().unwrap());
  auto second = cond.wait_async(cond.acquire().unwrap());
  {
    const auto guard = cond.acquire().unwrap();
    cond.notify().unwrap();
    EXPECT_TRUE(first.cancel());
  }
  second.get().unwrap().release().unwrap();
}

TEST(ConditionAsync, NeedsAGuardOfItsLock) {
  const Condition cond;
  const Lock other;
  EXPECT_EQ(cond.wait_async(Guard{}).get().error().code(), Errc::invalid_state);
  EXPECT_EQ(cond.wait_async(other.acquire().unwrap()).get().error().code(), Errc::invalid_state);
  auto outer = cond.acquire().unwrap();
  auto twice = cond.wait_async(cond.acquire().unwrap());
  EXPECT_EQ(twice.get().error().code(), Errc::invalid_state);
  EXPECT_TRUE(outer.release().is_ok());
  auto mine = cond.acquire().unwrap();
  std::thread{[&] {
    EXPECT_EQ(cond.wait_async(std::move(mine)).get().error().code(), Errc::invalid_state);
  }}.join();
}

// ---- deaths -------------------------------------------------------------------------------------

class ConditionDeaths : public ConditionAt<InProcesses> {};

TEST_F(ConditionDeaths, Fault23ADeadWaiterIsNotCounted) {
  const auto before = ProcessCensus::take();
  Crew<InProcesses> crew;
  for (int i = 0; i < 4; ++i) {
    crew.start<wait_once<InProcesses>>(cond, news, i);
    await_waiters(static_cast<std::size_t>(i) + 1);
  }
  for (int i = 0; i < 2; ++i) {
    crew.processes()[static_cast<std::size_t>(i)].kill().unwrap();
    crew.processes()[static_cast<std::size_t>(i)].join().unwrap();
  }
  EXPECT_EQ(cond.waiting(), 2U);
  notify(2);
  EXPECT_EQ(news.get().unwrap() + news.get().unwrap(), 2 + 3);
  for (auto& process : crew.processes()) process.join().unwrap();
  crew.processes().clear();
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_F(ConditionDeaths, Fault23WhoDiesBeforeItGoesOnPassesTheNotifyOn) {
  Crew<InProcesses> crew;
  for (int i = 0; i < 2; ++i) {
    crew.start<wait_once<InProcesses>>(cond, news, i);
    await_waiters(static_cast<std::size_t>(i) + 1);
  }
  auto& first = crew.processes().front();
  ASSERT_EQ(::kill(*first.pid(), SIGSTOP), 0);
  notify(1);  // reaches one that cannot go on
  EXPECT_EQ(cond.waiting(), 1U);
  first.kill().unwrap();
  EXPECT_EQ(news.get().unwrap(), 1);
  EXPECT_EQ(first.join().unwrap(), -SIGKILL);
  crew.processes().erase(crew.processes().begin());
}

void hold_and_notify(const Condition& cond, const Queue<int>& news) {
  const auto guard = cond.acquire().unwrap();
  cond.notify_all().unwrap();
  news.put(-1).unwrap();
  ::pause();
}

TEST_F(ConditionDeaths, Fault21WhoIsNotifiedByADeadHolderGoesOn) {
  Crew<InProcesses> crew;
  crew.start<wait_once<InProcesses>>(cond, news, 7);
  await_waiters(1);
  auto holder = Process::spawn<hold_and_notify>(cond, news).unwrap();
  EXPECT_EQ(news.get().unwrap(), -1);
  holder.kill().unwrap();
  EXPECT_EQ(news.get().unwrap(), 7);
  holder.join().unwrap();
}

TEST_F(ConditionDeaths, Fault21ALockThatCouldNotBeRepairedInAWaitIsFreeAtEveryLevel) {
  cond.on_abandoned([](const passel::Abandonment&) { throw 7; });
  std::thread waiter{[&] {
    const auto once = cond.acquire().unwrap();
    const auto twice = cond.acquire().unwrap();
    EXPECT_THROW(static_cast<void>(cond.wait()), int);
  }};
  await_waiters(1);
  auto holder = Process::spawn<hold_and_notify>(cond, news).unwrap();
  EXPECT_EQ(news.get().unwrap(), -1);
  holder.kill().unwrap();
  waiter.join();
  holder.join().unwrap();
  cond.on_abandoned({});
  EXPECT_TRUE(cond.acquire().unwrap().release().is_ok());
  EXPECT_FALSE(cond.locked());
}

}  // namespace
