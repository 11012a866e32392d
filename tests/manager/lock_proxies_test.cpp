// Locks, semaphores, events, conditions and barriers in a manager's server. CPython's counterparts
// stand beside the cases.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/stopped_process.hpp"

#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::LockProxy;
using passel::Process;
using passel::SyncManager;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ManagerLocks : public ::testing::Test {
 protected:
  SyncManager manager = SyncManager::started().unwrap();
};

// CPython: TestSyncManagerTypes.test_lock
TEST_F(ManagerLocks, ALockHasOneHolder) {
  const auto lock = manager.lock().unwrap();
  EXPECT_EQ(lock.text().unwrap(), "<unlocked Lock>");
  {
    auto guard = lock.acquire().unwrap();
    EXPECT_TRUE(guard.owns_lock());
    EXPECT_FALSE(guard.abandoned());
    EXPECT_TRUE(lock.locked().unwrap());
    EXPECT_EQ(lock.try_acquire().error(), Errc::timeout);
    EXPECT_EQ(lock.acquire_for(1ms).error(), Errc::timeout);
    EXPECT_EQ(lock.acquire_for(-1ms).error(), Errc::invalid_argument);
  }
  EXPECT_FALSE(lock.locked().unwrap());
  const auto unheld = lock.release();
  EXPECT_EQ(unheld.error(), Errc::invalid_state);
  EXPECT_THAT(unheld.error().what(), HasSubstr("release unlocked lock"));
}

TEST_F(ManagerLocks, GrantsHaveGrowingTokens) {
  const auto lock = manager.lock().unwrap();
  auto first = lock.acquire().unwrap();
  const auto token = first.token();
  first.release().unwrap();
  EXPECT_EQ(first.release().error(), Errc::invalid_state);
  auto second = lock.acquire_for(1h).unwrap();
  EXPECT_GT(second.token(), token);
  // Somebody else has released it: the guard's grant is not that of the next holder.
  lock.release().unwrap();
  auto third = lock.try_acquire().unwrap();
  EXPECT_EQ(second.release().error(), Errc::invalid_state);
  EXPECT_TRUE(lock.locked().unwrap());
  third.detach();
  lock.release().unwrap();
}

// What takes two calls takes a lock.
TEST_F(ManagerLocks, CompoundChangesNeedALock) {
  constexpr int threads = 4;
  constexpr int each = 25;
  const auto lock = manager.lock().unwrap();
  const auto dict = manager.dict<std::string, int>({{"n", 0}}).unwrap();
  std::vector<std::jthread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      for (int n = 0; n < each; ++n) {
        const auto guard = lock.acquire().unwrap();
        dict.set("n", dict.at("n").unwrap() + 1).unwrap();
      }
    });
  }
  workers.clear();
  EXPECT_EQ(dict.at("n").unwrap(), threads * each);
}

TEST_F(ManagerLocks, ThoseWhoWaitGetItInTurn) {
  const auto lock = manager.lock().unwrap();
  auto held = lock.acquire().unwrap();
  auto first = lock.acquire_async();
  auto given_up = lock.acquire_async();
  { const auto dropped = lock.acquire_async(); }
  auto second = lock.acquire_async();
  EXPECT_TRUE(given_up.cancel());
  held.release().unwrap();
  auto guard = first.get().unwrap();
  EXPECT_FALSE(second.done());
  guard.release().unwrap();
  EXPECT_GT(second.get().unwrap().token(), guard.token());
  EXPECT_FALSE(lock.locked().unwrap());
}

// CPython: TestSyncManagerTypes.test_rlock
TEST_F(ManagerLocks, AnRLockIsItsThreads) {
  const auto lock = manager.rlock().unwrap();
  auto outer = lock.acquire().unwrap();
  auto inner = lock.acquire().unwrap();
  EXPECT_EQ(outer.token(), inner.token());
  EXPECT_EQ(lock.text().unwrap(), "<locked RLock count=2>");
  std::jthread{[&] {
    EXPECT_EQ(lock.try_acquire().error(), Errc::timeout);
    EXPECT_EQ(lock.release().error(), Errc::invalid_state);
  }}.join();
  inner.release().unwrap();
  EXPECT_TRUE(lock.locked().unwrap());
  outer.release().unwrap();
  EXPECT_FALSE(lock.locked().unwrap());
  EXPECT_THAT(lock.release().error().what(), HasSubstr("cannot release un-acquired lock"));
}

// CPython: TestSyncManagerTypes.test_semaphore, test_bounded_semaphore
TEST_F(ManagerLocks, SemaphoresCount) {
  const auto semaphore = manager.semaphore(2).unwrap();
  auto one = semaphore.acquire().unwrap();
  auto two = semaphore.acquire().unwrap();
  EXPECT_EQ(semaphore.value().unwrap(), 0);
  EXPECT_EQ(semaphore.try_acquire().error(), Errc::timeout);
  one.release().unwrap();
  two.release().unwrap();
  semaphore.release(3).unwrap();
  EXPECT_EQ(semaphore.value().unwrap(), 5);
  EXPECT_EQ(semaphore.release(0).error(), Errc::invalid_argument);
  EXPECT_EQ(manager.semaphore(-1).error(), Errc::invalid_argument);
  // However many: the server has other clients to serve.
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  semaphore.release(most - 5).unwrap();
  EXPECT_EQ(semaphore.value().unwrap(), most);
  EXPECT_EQ(semaphore.release().error(), Errc::invalid_argument);

  const auto bounded = manager.bounded_semaphore(2).unwrap();
  bounded.acquire().unwrap().release().unwrap();
  const auto more = bounded.release();
  EXPECT_EQ(more.error(), Errc::invalid_argument);
  EXPECT_THAT(more.error().what(), HasSubstr("released too many times"));
}

// CPython: TestSyncManagerTypes.test_event
TEST_F(ManagerLocks, AnEventIsWaitedFor) {
  const auto event = manager.event().unwrap();
  EXPECT_FALSE(event.is_set().unwrap());
  EXPECT_FALSE(event.wait_for(1ms).unwrap());
  EXPECT_FALSE(event.wait_for(-1ms).unwrap());
  auto waiting = event.wait_async();
  EXPECT_FALSE(waiting.done());
  EXPECT_EQ(event.waiting().unwrap(), 1U);
  event.set().unwrap();
  waiting.get().unwrap();
  EXPECT_TRUE(event.wait_for(1h).unwrap());
  event.wait().unwrap();
  event.clear().unwrap();
  EXPECT_FALSE(event.is_set().unwrap());
  EXPECT_EQ(event.text().unwrap(), "<Event: unset>");
}

// CPython: TestSyncManagerTypes.test_condition
TEST_F(ManagerLocks, AConditionWakesThoseWhoWait) {
  const auto condition = manager.condition().unwrap();
  EXPECT_EQ(condition.wait().error(), Errc::invalid_state);
  EXPECT_EQ(condition.notify().error(), Errc::invalid_state);
  const auto list = manager.list<int>().unwrap();
  std::vector<std::jthread> consumers;
  std::mutex mutex;
  std::vector<int> got;
  for (int n = 0; n < 3; ++n) {
    consumers.emplace_back([&] {
      const auto guard = condition.acquire().unwrap();
      condition.wait([&] { return list.size().unwrap() > 0; }).unwrap();
      const std::lock_guard lock{mutex};
      got.push_back(list.pop().unwrap());
    });
  }
  {
    const auto guard = condition.acquire().unwrap();
    list.extend({1, 2}).unwrap();
    condition.notify(2).unwrap();
  }
  {
    const auto guard = condition.acquire().unwrap();
    list.append(3).unwrap();
    condition.notify_all().unwrap();
  }
  consumers.clear();
  std::sort(got.begin(), got.end());
  EXPECT_THAT(got, ElementsAre(1, 2, 3));
}

TEST_F(ManagerLocks, AWaitThatIsNotNotifiedEndsWithTheLock) {
  const auto condition = manager.condition().unwrap();
  const auto guard = condition.acquire().unwrap();
  EXPECT_EQ(condition.wait_for(1ms).error(), Errc::timeout);
  EXPECT_TRUE(condition.locked().unwrap());
  EXPECT_EQ(condition.wait_for(1ms, [] { return false; }).error(), Errc::timeout);
  condition.wait_for(1ms, [] { return true; }).unwrap();
  std::jthread{[&] { EXPECT_EQ(condition.try_acquire().error(), Errc::timeout); }}.join();
}

// MGR-29: a lock that is given, plain or reentrant; holding the condition is holding it.
TEST_F(ManagerLocks, AConditionMayBeOfALockThatIsThere) {
  const auto plain = manager.lock().unwrap();
  const auto reentrant = manager.rlock().unwrap();
  const auto other = manager.condition(plain).unwrap();
  for (const auto& condition :
       {manager.condition(plain).unwrap(), manager.condition(reentrant).unwrap()}) {
    bool ready = false;
    std::jthread notifier;
    {
      auto guard = condition.acquire().unwrap();
      notifier = std::jthread{[&] {
        const auto mine = condition.acquire().unwrap();
        ready = true;
        condition.notify().unwrap();
      }};
      condition.wait([&] { return ready; }).unwrap();
      EXPECT_GT(condition.token().unwrap(), guard.token());
    }
    EXPECT_FALSE(condition.locked().unwrap());
  }
  EXPECT_EQ(other.text().unwrap(), "<Condition(<unlocked Lock>, 0)>");
  auto guard = plain.acquire().unwrap();
  EXPECT_EQ(other.try_acquire().error(), Errc::timeout);
  EXPECT_EQ(other.wait_for(1ms).error(), Errc::timeout);
  guard.release().unwrap();  // still good
  EXPECT_FALSE(plain.locked().unwrap());
}

TEST_F(ManagerLocks, AConditionKeepsTheLockThatItWasGiven) {
  std::optional<passel::LockProxy> lock = manager.lock().unwrap();
  const auto condition = manager.condition(*lock).unwrap();
  lock.reset();
  auto guard = condition.acquire().unwrap();
  EXPECT_TRUE(condition.locked().unwrap());
  guard.release().unwrap();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 2U);
}

TEST_F(ManagerLocks, AConditionTakesNothingButALock) {
  const passel::LockProxy queue{manager.create("Queue", 0).unwrap()};
  EXPECT_EQ(manager.condition(queue).error(), Errc::type_mismatch);
  const passel::LockProxy many{manager.create("Semaphore", 2).unwrap()};
  EXPECT_THAT(manager.condition(many).error().what(), HasSubstr("<Semaphore value=2>"));
}

void wait_for_a_notify(const passel::ConditionProxy& condition, const passel::Queue<int>& told) {
  const auto guard = condition.acquire().unwrap();
  told.put(0).unwrap();
  condition.wait().unwrap();
  told.put(1).unwrap();
  for (;;) ::pause();
}

TEST_F(ManagerLocks, AKilledWaiterOfAConditionIsForgotten) {
  const auto lock = manager.lock().unwrap();
  const auto condition = manager.condition(lock).unwrap();
  const passel::Queue<int> told;
  auto killed = Process::spawn<wait_for_a_notify>(condition, told).unwrap();
  told.get().unwrap();
  while (condition.waiting().unwrap() != 1) std::this_thread::yield();
  killed.kill().unwrap();
  while (condition.waiting().unwrap() != 0) std::this_thread::yield();
  auto other = Process::spawn<wait_for_a_notify>(condition, told).unwrap();
  told.get().unwrap();
  while (condition.waiting().unwrap() != 1) std::this_thread::yield();
  {
    const auto guard = condition.acquire().unwrap();
    condition.notify().unwrap();
  }
  EXPECT_EQ(told.get().unwrap(), 1);
  other.kill().unwrap();  // with the lock
  EXPECT_TRUE(lock.acquire().unwrap().abandoned());
  killed.join().unwrap();
  other.join().unwrap();
}

// Fault 23.
TEST_F(ManagerLocks, TheNotificationOfAWaiterThatDiesWithTheLockIsPassedOn) {
  const auto lock = manager.lock().unwrap();
  const auto rlock = manager.rlock().unwrap();
  for (const auto& condition : {manager.condition(lock).unwrap(), manager.condition(rlock).unwrap(),
                                manager.condition().unwrap()}) {
    const passel::Queue<int> told;
    std::vector<Process> waiters;
    for (std::uint64_t n = 1; n <= 2; ++n) {
      waiters.push_back(Process::spawn<wait_for_a_notify>(condition, told).unwrap());
      EXPECT_EQ(told.get().unwrap(), 0);
      while (condition.waiting().unwrap() != n) std::this_thread::yield();
    }
    {
      const auto guard = condition.acquire().unwrap();
      condition.notify().unwrap();
    }
    EXPECT_EQ(told.get().unwrap(), 1);
    waiters.front().kill().unwrap();
    EXPECT_EQ(told.get().unwrap(), 1);
    waiters.back().kill().unwrap();
    for (Process& waiter : waiters) waiter.join().unwrap();
  }
}

// CPython: TestSyncManagerTypes.test_barrier
TEST_F(ManagerLocks, ABarrierLetsAllPassTogether) {
  const auto barrier = manager.barrier(3).unwrap();
  EXPECT_EQ(barrier.parties().unwrap(), 3);
  auto first = barrier.call_async<int>("wait");
  auto second = barrier.call_async<int>("wait");
  EXPECT_EQ(barrier.n_waiting().unwrap(), 2);
  EXPECT_EQ(barrier.wait().unwrap(), 2);
  EXPECT_EQ(first.get().unwrap(), 0);
  EXPECT_EQ(second.get().unwrap(), 1);
  EXPECT_EQ(barrier.n_waiting().unwrap(), 0);

  auto waiting = barrier.call_async<int>("wait");
  EXPECT_EQ(barrier.wait_for(1ms).error(), Errc::broken);
  EXPECT_EQ(waiting.get().error(), Errc::broken);
  EXPECT_TRUE(barrier.broken().unwrap());
  EXPECT_EQ(barrier.wait().error(), Errc::broken);
  barrier.reset().unwrap();
  EXPECT_FALSE(barrier.broken().unwrap());
  auto aborted = barrier.call_async<int>("wait");
  barrier.abort().unwrap();
  EXPECT_THAT(aborted.get().error().what(), HasSubstr("aborted"));
  EXPECT_EQ(manager.barrier(0).error(), Errc::invalid_argument);
  EXPECT_EQ(manager.barrier(1, {.timeout = -1ns}).error(), Errc::invalid_argument);
  EXPECT_EQ(manager.barrier(1, {.action = "paint"}).error(), Errc::not_found);
}

std::atomic<int> painted{0};
void paint() { ++painted; }
passel::Result<void> run_out_of_paint() { return passel::Error{Errc::full, "no paint"}; }
void drop_the_brush() { throw std::runtime_error{"oops"}; }

class ManagerBarrierAction : public ::testing::Test {
 protected:
  ManagerBarrierAction() {
    manager.register_action<&paint>("paint").unwrap();
    manager.register_action<&run_out_of_paint>("run out").unwrap();
    manager.register_action<&drop_the_brush>("drop").unwrap();
  }
  SyncManager manager;
};

// MGR-31: the action is called in the server, once in each round, before anybody goes on.
TEST_F(ManagerBarrierAction, IsCalledOnceInEachRound) {
  auto server = manager.get_server().unwrap();  // so that this process sees what it does
  const auto barrier = manager.barrier(3, {.action = "paint"}).unwrap();
  for (int round = 1; round <= 20; ++round) {
    auto first = barrier.call_async<int>("wait");
    auto second = barrier.call_async<int>("wait");
    EXPECT_EQ(barrier.wait().unwrap(), 2);
    EXPECT_EQ(painted.load(), round);
    EXPECT_EQ(first.get().unwrap(), 0);
    EXPECT_EQ(second.get().unwrap(), 1);
  }
}

TEST_F(ManagerBarrierAction, ThatFailsBreaksTheBarrier) {
  manager.start().unwrap();
  const auto thrown = manager.barrier(2, {.action = "drop"}).unwrap();
  auto first = thrown.call_async<int>("wait");
  EXPECT_EQ(thrown.wait().error(), Errc::task_failed);
  EXPECT_THAT(first.get().error().what(), HasSubstr("its action failed"));
  EXPECT_TRUE(thrown.broken().unwrap());
  const auto returned = manager.barrier(1, {.action = "run out"}).unwrap();
  EXPECT_EQ(returned.wait().error(), Errc::full);
  EXPECT_EQ(returned.wait().error(), Errc::broken);
  EXPECT_EQ(manager.register_action<&paint>("late").error(), Errc::invalid_state);
}

std::promise<void> brush_up;
std::promise<void> brush_down;
void hold_the_brush() {
  brush_up.set_value();
  brush_down.get_future().get();
}

TEST_F(ManagerBarrierAction, MayRunWhileOthersAreEarlyAndTheBarrierIsAborted) {
  manager.register_action<&hold_the_brush>("hold").unwrap();
  auto server = manager.get_server().unwrap();
  const auto barrier = manager.barrier(1, {.action = "hold"}).unwrap();
  auto painter = barrier.call_async<int>("wait");
  brush_up.get_future().get();
  EXPECT_EQ(barrier.n_waiting().unwrap(), 1);
  EXPECT_EQ(barrier.wait_for(1ms).error(), Errc::timeout);  // early for the next round
  auto early = barrier.call_async<int>("wait");
  barrier.abort().unwrap();
  EXPECT_EQ(painter.get().error(), Errc::broken);
  EXPECT_FALSE(early.done());
  brush_down.set_value();
  EXPECT_EQ(early.get().error(), Errc::broken);
}

void take_and_tell(const LockProxy& lock, const passel::Queue<int>& told) {
  lock.acquire().unwrap().detach();
  told.put(1).unwrap();
  for (;;) ::pause();
}

// Fault: a holder that dies.
TEST_F(ManagerLocks, TheLockOfAKilledHolderIsGivenToTheNext) {
  const auto lock = manager.lock().unwrap();
  const passel::Queue<int> told;
  auto child = Process::spawn<take_and_tell>(lock, told).unwrap();
  told.get().unwrap();
  EXPECT_EQ(lock.try_acquire().error(), Errc::timeout);
  child.kill().unwrap();
  const auto guard = lock.acquire().unwrap();
  EXPECT_TRUE(guard.abandoned());
  EXPECT_EQ(guard.token(), 2U);
  child.join().unwrap();
}

void take_three(const passel::SemaphoreProxy& signals, const LockProxy& lives) {
  lives.acquire().unwrap().detach();
  for (int n = 0; n < 3; ++n) signals.acquire().unwrap().detach();
}

// CPython: TestSyncManagerTypes.test_semaphore (signals that one side gives and another takes)
TEST_F(ManagerLocks, WhatIsOnlyCountedDoesNotComeBack) {
  const auto signals = manager.semaphore(0).unwrap();
  const auto slots = manager.semaphore(0, passel::Ownership::owned).unwrap();
  const auto bounded = manager.bounded_semaphore(3).unwrap();
  const std::vector<std::pair<passel::SemaphoreProxy, int>> all{
      {signals, 0}, {slots, 3}, {bounded, 3}};
  for (const auto& [semaphore, left] : all) {
    if (!(semaphore == bounded)) semaphore.release(3).unwrap();
    const auto lives = manager.lock().unwrap();
    auto taker = Process::spawn<take_three>(semaphore, lives).unwrap();
    EXPECT_EQ(taker.join().unwrap(), 0);
    // When its lock can be had the server knows that it has ended.
    lives.acquire().unwrap().release().unwrap();
    EXPECT_EQ(semaphore.value().unwrap(), left);
  }
}

template <class Lock>
void take_and_wait(const Lock& lock) {
  const auto guard = lock.acquire().unwrap();
  for (;;) ::pause();
}

template <class Lock>
void expect_nothing_abandoned(const Lock& lock) {
  auto mine = lock.acquire().unwrap();
  auto waiter = Process::spawn<take_and_wait<Lock>>(lock).unwrap();
  while (lock.template call<int>("waiting").unwrap() == 0) std::this_thread::yield();
  passel_test::stop_all_of(*waiter.pid());
  mine.release().unwrap();
  waiter.kill().unwrap();
  EXPECT_FALSE(lock.acquire().unwrap().abandoned());
  waiter.join().unwrap();
}

TEST_F(ManagerLocks, AGrantThatNobodyLearntOfLeavesNothingAbandoned) {
  expect_nothing_abandoned(manager.lock().unwrap());
  expect_nothing_abandoned(manager.rlock().unwrap());
}

void wait_for(const passel::ConditionProxy& condition, const LockProxy& lives) {
  lives.acquire().unwrap().detach();
  const auto guard = condition.acquire().unwrap();
  condition.wait().unwrap();
}

// Fault 23.
TEST_F(ManagerLocks, ANotifyWhoseReceiverDiesIsPassedOn) {
  const auto condition = manager.condition().unwrap();
  const auto lives = manager.lock().unwrap();
  auto first = Process::spawn<wait_for>(condition, lives).unwrap();
  while (condition.waiting().unwrap() < 1) std::this_thread::yield();
  std::jthread second{[&] {
    const auto guard = condition.acquire().unwrap();
    condition.wait().unwrap();
  }};
  while (condition.waiting().unwrap() < 2) std::this_thread::yield();
  auto guard = condition.acquire().unwrap();
  condition.notify().unwrap();
  first.kill().unwrap();
  // The server knows it.
  EXPECT_TRUE(lives.acquire().unwrap().abandoned());
  guard.release().unwrap();
  second.join();
  first.join().unwrap();
}

TEST_F(ManagerLocks, AKilledServerEndsEveryWait) {
  const auto event = manager.event().unwrap();
  auto waiting = event.call_async<void>("wait");
  ::kill(*manager.pid(), SIGKILL);
  EXPECT_EQ(waiting.get().error(), Errc::peer_lost);
  EXPECT_EQ(event.set().error(), Errc::peer_lost);
}

}  // namespace
