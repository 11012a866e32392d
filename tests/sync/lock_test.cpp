// Lock, after CPython's lock_tests.py and _TestLock: names of its cases stand where they were
// ported.
#include <passel/lock.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "managed.hpp"
#include "placements.hpp"
#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::Errc;
using passel::Guard;
using passel::Lock;
using passel::LockOptions;
using passel::Process;
using passel::Queue;
using passel::Reach;
using passel::Semaphore;
using passel::StartMethod;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// ---- the same in threads and in processes -------------------------------------------------------

template <class Placement>
class LockAt : public ::testing::Test {
 protected:
  LockOf<Placement> lock{{.reach = Placement::reach}};
  Queue<int> news{{.reach = Placement::reach}};
};
TYPED_TEST_SUITE(LockAt, Everywhere, PlacementNames);

template <class At>
void try_once(const LockOf<At>& lock, const Queue<int>& news) {
  const auto guard = lock.try_acquire();
  news.put(guard.is_ok() ? 1 : 0).unwrap();
}

TYPED_TEST(LockAt, TryAcquireFailsWhileAnotherHoldsIt) {
  // BaseLockTests.test_try_acquire_contended
  Crew<TypeParam> crew;
  {
    const auto guard = this->lock.try_acquire().unwrap();
    crew.template start<try_once<TypeParam>>(this->lock, this->news);
    EXPECT_EQ(this->news.get().unwrap(), 0);
  }
  crew.template start<try_once<TypeParam>>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 1);
}

template <class At>
void take_in_turn(const LockOf<At>& lock, const Queue<int>& news) {
  news.put(0).unwrap();
  const auto guard = lock.acquire().unwrap();
  news.put(1).unwrap();
}

TYPED_TEST(LockAt, AllWhoWaitPassOneByOne) {
  // BaseLockTests.test_acquire_contended
  constexpr int workers = 5;
  Crew<TypeParam> crew;
  auto guard = this->lock.acquire().unwrap();
  crew.template start_many<take_in_turn<TypeParam>>(workers, this->lock, this->news);
  for (int i = 0; i < workers; ++i) EXPECT_EQ(this->news.get().unwrap(), 0);
  crew.wait_until_blocked();
  EXPECT_EQ(this->news.try_get().error().code(), Errc::empty);
  EXPECT_TRUE(this->lock.locked());
  guard.release().unwrap();
  for (int i = 0; i < workers; ++i) EXPECT_EQ(this->news.get().unwrap(), 1);
  crew.join();
  EXPECT_FALSE(this->lock.locked());
}

template <class At>
void leave_taken(const LockOf<At>& lock, const SemaphoreOf<At>& taken, const SemaphoreOf<At>& go) {
  lock.acquire().unwrap().detach();
  taken.release().unwrap();
  go.acquire().unwrap().detach();
}

TYPED_TEST(LockAt, MayBeReleasedByAnother) {
  // LockTests.test_different_thread, _TestLock.test_lock
  Crew<TypeParam> crew;
  const SemaphoreOf<TypeParam> taken{{.value = 0, .reach = TypeParam::reach}};
  const SemaphoreOf<TypeParam> go{{.value = 0, .reach = TypeParam::reach}};
  crew.template start<leave_taken<TypeParam>>(this->lock, taken, go);
  taken.acquire().unwrap().detach();
  EXPECT_TRUE(this->lock.locked());
  EXPECT_TRUE(this->lock.try_acquire().is_err());
  this->lock.release().unwrap();
  EXPECT_FALSE(this->lock.locked());
  EXPECT_EQ(this->lock.release().error().what(), "release unlocked lock");
  go.release().unwrap();
}

template <class At>
void add_under_lock(const LockOf<At>& lock, const Queue<int>& total, int times) {
  for (int i = 0; i < times; ++i) {
    const auto guard = lock.acquire().unwrap();
    const int seen = total.get().unwrap();  // not one step: others must not come between
    total.put(seen + 1).unwrap();
  }
}

TYPED_TEST(LockAt, ProtectsACounter) {
  // BaseLockTests.test_acquire_contended, test_thread_leak
  this->news.put(0).unwrap();
  Crew<TypeParam> crew;
  crew.template start_many<add_under_lock<TypeParam>>(4, this->lock, this->news,
                                                      turns<TypeParam>(200));
  crew.join();
  EXPECT_EQ(this->news.get().unwrap(), 4 * turns<TypeParam>(200));
}

template <class At>
void fail_inside(const LockOf<At>& lock, const Queue<int>& news) {
  try {
    const auto guard = lock.acquire().unwrap();
    throw std::runtime_error{"inside"};
  } catch (const std::runtime_error&) {
    news.put(lock.locked() ? 1 : 0).unwrap();
  }
}

TYPED_TEST(LockAt, IsReleasedByAnException) {
  // BaseLockTests.test_with, _TestLock.test_lock_context
  Crew<TypeParam> crew;
  crew.template start<fail_inside<TypeParam>>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 0);
}

template <class At>
void time_out(const LockOf<At>& lock, const Queue<int>& news) {
  const auto guard = lock.acquire_for(20ms);
  require(guard.is_err() && guard.error().code() == Errc::timeout, "no timeout");
  news.put(lock.locked() ? 1 : 0).unwrap();
}

TYPED_TEST(LockAt, StateAfterATimeout) {
  // LockTests.test_state_after_timeout, BaseLockTests.test_timeout
  Crew<TypeParam> crew;
  auto guard = this->lock.acquire_for(1h).unwrap();
  crew.template start<time_out<TypeParam>>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 1);
  guard.release().unwrap();
  EXPECT_FALSE(this->lock.locked());
  EXPECT_TRUE(this->lock.acquire_for(1h).is_ok());
}

// ---- one thread ---------------------------------------------------------------------------------

TEST(Lock, BeginsFreeAndMayEndTaken) {
  // BaseLockTests.test_constructor, test_acquire_destroy; ThreadTests.test_lock_no_args
  Lock lock;
  EXPECT_FALSE(lock.locked());
  lock.acquire().unwrap().detach();
  EXPECT_TRUE(lock.locked());
}

TEST(Lock, IsNotReentrant) {
  // LockTests.test_reacquire: a second acquire by the same thread waits.
  const Lock lock{{.reach = Reach::threads}};
  const auto guard = lock.acquire().unwrap();
  passel::on_deadlock([](const passel::DeadlockReport&) {});
  EXPECT_EQ(lock.acquire_for(10ms).error().code(), Errc::timeout);
  EXPECT_EQ(lock.try_acquire().error().code(), Errc::timeout);
  passel::on_deadlock(nullptr);
}

TEST(Lock, ErrorsOfMisuse) {
  // ThreadingExceptionTests.test_releasing_unacquired_lock, _TestLock.test_lock: one error for
  // both.
  const Lock lock{{.name = "till"}};
  const auto free = lock.release();
  EXPECT_EQ(free.error().code(), Errc::invalid_state);
  EXPECT_EQ(free.error().what(), "release unlocked lock");
  EXPECT_EQ(lock.acquire_for(-1ms).error().code(), Errc::invalid_argument);
  EXPECT_THROW(lock.unlock(), passel::Exception);
  const auto guard = lock.acquire().unwrap();
  EXPECT_EQ(lock.try_acquire().error().what(), "'till' was not free in the time given");

  const auto long_name = Lock::create({.name = std::string(28, 'x')});
  EXPECT_EQ(long_name.error().code(), Errc::invalid_argument);
  EXPECT_THAT(long_name.error().what(), HasSubstr("28 bytes, the limit is 27"));
  EXPECT_TRUE(Lock::create({.name = std::string(27, 'x')}).is_ok());
  EXPECT_THROW(Lock(LockOptions{.name = std::string(28, 'x')}), passel::Exception);
}

TEST(Lock, AClosedHandleSaysSo) {
  Lock lock;
  const Lock other = lock;
  EXPECT_EQ(lock, other);
  lock.close();
  EXPECT_TRUE(lock.closed());
  EXPECT_NE(lock, other);
  EXPECT_EQ(lock.acquire().error().what(), "Lock is closed");
  EXPECT_EQ(lock.release().error().code(), Errc::invalid_state);
  EXPECT_EQ(lock.acquire_async().get().error().code(), Errc::invalid_state);
  EXPECT_FALSE(lock.locked());
  EXPECT_EQ(lock.to_string(), "<closed Lock>");
  EXPECT_TRUE(other.try_acquire().is_ok());
}

TEST(Lock, GuardsAreMovedReleasedAndDetached) {
  const Lock lock{{.reach = Reach::threads}};
  Guard nothing;
  EXPECT_FALSE(nothing);
  EXPECT_EQ(nothing.release().error().code(), Errc::invalid_state);
  Guard first = lock.acquire().unwrap();
  const auto token = first.token();
  EXPECT_GT(token, 0U);
  EXPECT_FALSE(first.abandoned());
  Guard second = std::move(first);
  EXPECT_FALSE(first.owns_lock());  // NOLINT: that is what is tested
  EXPECT_TRUE(second);
  first = std::move(second);
  EXPECT_TRUE(lock.locked());
  first.release().unwrap();
  EXPECT_EQ(first.release().error().code(), Errc::invalid_state);
  EXPECT_FALSE(lock.locked());

  Guard third = lock.acquire().unwrap();
  EXPECT_GT(third.token(), token);
  third.detach();
  EXPECT_TRUE(lock.locked());
  lock.release().unwrap();
  {
    Guard stale = lock.acquire().unwrap();
    lock.release().unwrap();
    const Guard next = lock.acquire().unwrap();
    EXPECT_EQ(stale.release().error().code(), Errc::invalid_state);  // not the next one's
    EXPECT_TRUE(lock.locked());
  }
  EXPECT_FALSE(lock.locked());
  first = lock.acquire().unwrap();
  first = Guard{};
  EXPECT_FALSE(lock.locked());
}

TEST(Lock, ToString) {
  // BaseLockTests.test_repr, test_locked_repr; SYN-13
  const Lock lock;
  const Lock named{{.name = "till"}};
  const std::string pid = std::to_string(::getpid());
  EXPECT_EQ(lock.to_string(), "<unlocked Lock>");
  const auto guard = lock.acquire().unwrap();
  EXPECT_EQ(lock.to_string(), "<locked Lock owner=" + pid + ">");
  const auto other = named.acquire().unwrap();
  EXPECT_EQ(named.to_string(), "<locked Lock 'till' owner=" + pid + ">");
}

TEST(Lock, IsAStandardLockable) {
  Lock a;
  Lock b{{.reach = Reach::threads}};
  {
    const std::scoped_lock both{a, b};
    EXPECT_TRUE(a.locked() && b.locked());
  }
  EXPECT_FALSE(a.locked() || b.locked());
  std::unique_lock one{a, std::try_to_lock};
  EXPECT_TRUE(one.owns_lock());
  const std::unique_lock late{a, 5ms};
  EXPECT_FALSE(late.owns_lock());
  EXPECT_FALSE(a.try_lock_until(std::chrono::system_clock::now() + 5ms));
  one.unlock();
  EXPECT_TRUE(a.try_lock_for(1h));
  a.unlock();
  std::lock(a, b);
  a.unlock();
  b.unlock();
  const std::lock_guard again{a};
}

// ---- requests that are answered later -----------------------------------------------------------

TEST(LockAsync, IsGrantedAtOnceOrLater) {
  const Lock lock;
  auto now = lock.acquire_async();
  auto first = now.get().unwrap();
  auto later = lock.acquire_async();
  EXPECT_EQ(later.get_for(5ms).error().code(), Errc::timeout);
  first.release().unwrap();
  auto second = later.get().unwrap();
  EXPECT_TRUE(lock.locked());
  second.release().unwrap();
  EXPECT_FALSE(lock.locked());
}

TEST(LockAsync, CancelledOrDroppedGivesUpItsPlace) {
  const Lock lock;
  auto guard = lock.acquire().unwrap();
  auto cancelled = lock.acquire_async();
  auto dropped = lock.acquire_async();
  auto wanted = lock.acquire_async();
  EXPECT_TRUE(cancelled.cancel());
  dropped = {};
  guard.release().unwrap();
  EXPECT_TRUE(wanted.get().is_ok());
  EXPECT_EQ(cancelled.get().error().code(), Errc::cancelled);
  EXPECT_TRUE(lock.acquire().is_ok());
}

TEST(LockAsync, DroppedWhileItsGrantIsOnTheWayGoesBack) {
  const Lock lock;
  for (unsigned i = 0; i < 300; ++i) {
    auto guard = lock.acquire().unwrap();
    auto future = lock.acquire_async();
    std::thread releaser{[&] { guard.release().unwrap(); }};
    if (i % 2 == 0) {
      future.cancel();
    } else {
      future = {};
    }
    releaser.join();
    future = {};
    EXPECT_TRUE(lock.acquire().is_ok());  // for ever, if it were lost
  }
}

TEST(LockAsync, ManyAreServedInOrder) {
  const Lock lock{{.reach = Reach::threads}};
  auto guard = lock.acquire().unwrap();
  constexpr int many = 1000;
  std::vector<passel::Future<Guard>> futures;
  for (int i = 0; i < many; ++i) futures.push_back(lock.acquire_async());
  guard.release().unwrap();
  std::uint64_t last = 0;
  for (auto& future : futures) {
    const auto one = future.get().unwrap();
    EXPECT_GT(one.token(), last);
    last = one.token();
  }
  EXPECT_FALSE(lock.locked());
}

TEST(LockAsync, OutlivesItsHandle) {
  passel::Future<Guard> future;
  Guard guard;
  {
    Lock lock;
    guard = lock.acquire_async().get().unwrap();
    future = lock.acquire_async();
  }
  guard.release().unwrap();
  EXPECT_TRUE(future.get().unwrap().owns_lock());
}

// ---- fairness -----------------------------------------------------------------------------------

TEST(Fault31Unfairness, AFairLockServesInOrderOfArrival) {
  const Lock lock{{.reach = Reach::threads, .fair = true}};
  auto guard = lock.acquire().unwrap();
  std::vector<int> order;
  std::list<BlockedThread> waiters;
  for (int i = 0; i < 64; ++i) {
    waiters.emplace_back([&, i] {
      const auto mine = lock.acquire().unwrap();
      order.push_back(i);
    });
    waiters.back().wait_until_blocked();
  }
  guard.release().unwrap();
  waiters.clear();
  ASSERT_EQ(order.size(), 64U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(Fault31Unfairness, NobodyIsOvertakenForEver) {
  // A greedy thread takes the lock over and over, by guards and by unlock(): whoever waits gets it.
  for (const bool by_guard : {true, false}) {
    Lock lock{{.reach = Reach::threads}};
    std::atomic<bool> stop{false};
    std::thread greedy{[&] {
      while (!stop) {
        if (by_guard) {
          const auto guard = lock.acquire().unwrap();
        } else {
          const std::scoped_lock guard{lock};
        }
      }
    }};
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(lock.acquire().is_ok());
    stop = true;
    greedy.join();
  }
}

// ---- handles travel -----------------------------------------------------------------------------

void count_handles(const Lock& one, const Lock& two, const Lock& other, const Queue<int>& news) {
  news.put((one == two ? 1 : 0) + (one == other ? 2 : 0) + (one.locked() ? 4 : 0)).unwrap();
}

void pass_on(const Lock& lock, const Queue<int>& news) {
  const auto child = Process::spawn<try_once<InProcesses>>(lock, news).unwrap();
  child.join().unwrap();
}

class LockTravels : public ::testing::TestWithParam<StartMethod> {};
INSTANTIATE_TEST_SUITE_P(Methods, LockTravels,
                         ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& method) { return passel::to_string(method.param); });

TEST_P(LockTravels, ToAChildTwiceInOneArgumentList) {
  const Lock lock;
  const Lock other;
  const Queue<int> news;
  const auto guard = lock.acquire().unwrap();
  auto child =
      Process::spawn<count_handles>({.method = GetParam()}, lock, lock, other, news).unwrap();
  EXPECT_EQ(news.get().unwrap(), 1 + 4);
  EXPECT_EQ(child.join().unwrap(), 0);
}

TEST_P(LockTravels, ToAGrandchild) {
  const auto before = ProcessCensus::take();
  {
    const Lock lock;
    const Queue<int> news;
    auto guard = lock.acquire().unwrap();
    Process::spawn<pass_on>({.method = GetParam()}, lock, news).unwrap().join().unwrap();
    EXPECT_EQ(news.get().unwrap(), 0);
    guard.release().unwrap();
    Process::spawn<pass_on>({.method = GetParam()}, lock, news).unwrap().join().unwrap();
    EXPECT_EQ(news.get().unwrap(), 1);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

void take_and_go(const Lock& lock) { lock.acquire().unwrap().detach(); }

TEST_P(LockTravels, LeftTakenByAProcessThatEndsItGoesBack) {
  // The child's handle is gone before the child is.
  const Lock lock;
  Process::spawn<take_and_go>({.method = GetParam()}, lock).unwrap().join().unwrap();
  const auto guard = lock.acquire().unwrap();
  EXPECT_TRUE(guard.abandoned());
}

TEST(Lock, ReachThreadsStaysHere) {
  const Lock lock{{.reach = Reach::threads}};
  auto refused = Process::spawn<take_and_go>(lock);
  if (refused.is_err()) {
    EXPECT_THAT(refused.error().what(), HasSubstr("reach threads cannot go to another process"));
  } else {
    EXPECT_NE(refused->join().unwrap(), 0);
  }
  EXPECT_FALSE(lock.locked());
}

TEST(Lock, GoesThroughNoQueue) {
  // CTX-09: Python's "should only be shared between processes through inheritance".
  const Queue<Lock> queue{{.reach = Reach::host}};
  const auto refused = queue.put(Lock{});
  ASSERT_TRUE(refused.is_err());
  EXPECT_EQ(refused.error().code(), Errc::invalid_state);
  EXPECT_THAT(refused.error().what(), HasSubstr("should only be shared between processes through"));
}

TEST(Lock, ManyCostOneDescriptorAndLeaveNothing) {
  const auto before = ProcessCensus::take();
  {
    const Lock first;
    const auto one = ProcessCensus::take();
    std::vector<Lock> locks;
    for (int i = 0; i < 5000; ++i) {
      locks.emplace_back();
      locks.back().lock();
    }
    EXPECT_EQ(one.left_over(ProcessCensus::take()), "");
  }
  EXPECT_EQ(before.left_over(ProcessCensus::take()), "");
}

TEST(Lock, WorksInAForkedChild) {
  // LockTests.test_at_fork_reinit: memory of one process is copied, that of the host is shared.
  const Lock copied{{.reach = Reach::threads}};
  const Lock shared;
  copied.lock();
  const pid_t child = ::fork();
  if (child == 0) {
    const bool good = copied.locked() && copied.release().is_ok() && copied.try_acquire().is_ok();
    shared.lock();
    ::_exit(good && shared.to_string().find(std::to_string(::getpid())) != std::string::npos ? 7
                                                                                             : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(copied.locked());
  EXPECT_TRUE(shared.locked());
  shared.release().unwrap();
  copied.unlock();
}

}  // namespace
