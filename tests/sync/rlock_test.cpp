// RLock, after CPython's lock_tests.py (RLockTests) and _TestLock: names of its cases stand where
// they were ported.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/rlock.hpp>
#include <passel/semaphore.hpp>

#include <gtest/gtest.h>

#include "managed.hpp"
#include "placements.hpp"

#include <unistd.h>
#include <csignal>
#include <mutex>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::Errc;
using passel::Guard;
using passel::Process;
using passel::Queue;
using passel::RLock;
using passel::Semaphore;

template <class Placement>
class RLockAt : public ::testing::Test {
 protected:
  RLockOf<Placement> lock{{.reach = Placement::reach}};
  Queue<int> news{{.reach = Placement::reach}};
};
TYPED_TEST_SUITE(RLockAt, Everywhere, PlacementNames);

template <class At>
void look_at(const RLockOf<At>& lock, const Queue<int>& news) {
  const bool taken = lock.try_acquire().is_ok();
  news.put((taken ? 1 : 0) + (lock.is_owned() ? 2 : 0) + (lock.recursion_count() > 0 ? 4 : 0))
      .unwrap();
}

TYPED_TEST(RLockAt, IsFreeAfterAsManyReleases) {
  // RLockTests.test_reacquire, test_recursion_count, test__is_owned; _TestLock.test_rlock
  for (std::uint32_t depth = 1; depth <= 3; ++depth) {
    this->lock.acquire().unwrap().detach();
    EXPECT_EQ(this->lock.recursion_count(), depth);
    EXPECT_TRUE(this->lock.is_owned());
  }
  for (int left = 3; left > 0; --left) {
    Crew<TypeParam> crew;
    crew.template start<look_at<TypeParam>>(this->lock, this->news);
    EXPECT_EQ(this->news.get().unwrap(), 0);
    this->lock.release().unwrap();
  }
  EXPECT_FALSE(this->lock.is_owned());
  EXPECT_FALSE(this->lock.locked());
  Crew<TypeParam> crew;
  crew.template start<look_at<TypeParam>>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 1);
}

template <class At>
void release_as_stranger(const RLockOf<At>& lock, const Queue<int>& news) {
  const auto refused = lock.release();
  require(refused.is_err(), "a stranger released it");
  require(refused.error().what() == "cannot release un-acquired lock", "another text");
  news.put(static_cast<int>(refused.error().code())).unwrap();
}

TYPED_TEST(RLockAt, IsReleasedByItsOwnerAlone) {
  // RLockTests.test_different_thread, test_release_unacquired; _TestLock.test_rlock
  const int expected = static_cast<int>(Errc::invalid_state);
  Crew<TypeParam> crew;
  crew.template start<release_as_stranger<TypeParam>>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), expected);
  const auto guard = this->lock.acquire().unwrap();
  crew.template start<release_as_stranger<TypeParam>>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), expected);
  EXPECT_TRUE(this->lock.is_owned());
}

template <class At>
void add_twice_taken(const RLockOf<At>& lock, const Queue<int>& total, int times) {
  for (int i = 0; i < times; ++i) {
    const auto outer = lock.acquire().unwrap();
    const auto inner = lock.acquire().unwrap();
    const int seen = total.get().unwrap();
    total.put(seen + 1).unwrap();
  }
}

TYPED_TEST(RLockAt, ProtectsACounter) {
  // BaseLockTests.test_acquire_contended
  this->news.put(0).unwrap();
  Crew<TypeParam> crew;
  crew.template start_many<add_twice_taken<TypeParam>>(4, this->lock, this->news,
                                                       turns<TypeParam>(100));
  crew.join();
  EXPECT_EQ(this->news.get().unwrap(), 4 * turns<TypeParam>(100));
}

TEST(RLock, GuardsInAnyOrder) {
  const RLock lock;
  Guard outer = lock.acquire().unwrap();
  Guard inner = lock.acquire_for(1h).unwrap();
  EXPECT_EQ(outer.token(), inner.token());
  outer.release().unwrap();
  EXPECT_TRUE(lock.is_owned());
  EXPECT_EQ(outer.release().error().code(), Errc::invalid_state);
  inner.release().unwrap();
  EXPECT_FALSE(lock.locked());
  EXPECT_EQ(lock.release().error().what(), "cannot release un-acquired lock");
  EXPECT_EQ(lock.acquire_for(-1s).error().code(), Errc::invalid_argument);
}

TEST(RLock, IsAStandardLockable) {
  const RLock a;
  const RLock b;
  const std::scoped_lock both{a, b};
  const std::scoped_lock again{a, b};
  EXPECT_EQ(a.recursion_count(), 2U);
  EXPECT_TRUE(b.try_lock());
  b.unlock();
  EXPECT_TRUE(b.try_lock_for(1h));
  b.unlock();
}

TEST(RLock, ToString) {
  // RLockTests.test_repr, test_locked_repr; SYN-13
  RLock lock{{.name = "stock"}};
  EXPECT_EQ(lock.to_string(), "<unlocked RLock 'stock'>");
  const auto one = lock.acquire().unwrap();
  const auto two = lock.acquire().unwrap();
  EXPECT_EQ(lock.to_string(),
            "<locked RLock 'stock' owner=" + std::to_string(::getpid()) + " count=2>");
  RLock closed;
  closed.close();
  EXPECT_EQ(closed.to_string(), "<closed RLock>");
  EXPECT_EQ(closed.acquire().error().what(), "RLock is closed");
  EXPECT_EQ(closed.recursion_count(), 0U);
}

TEST(RLock, AnAsynchronousGuardBelongsToNoThread) {
  const RLock lock;
  auto guard = lock.acquire_async().get().unwrap();
  EXPECT_FALSE(lock.is_owned());
  EXPECT_EQ(lock.try_acquire().error().code(), Errc::timeout);
  EXPECT_EQ(lock.release().error().code(), Errc::invalid_state);
  auto next = lock.acquire_async();
  std::thread{[&] { guard.release().unwrap(); }}.join();
  EXPECT_TRUE(next.get().unwrap().release().is_ok());
  EXPECT_TRUE(lock.try_acquire().is_ok());
}

void die_at_depth(const RLock& lock, int depth) {
  for (int i = 0; i < depth; ++i) lock.lock();
  ::kill(::getpid(), SIGKILL);
}

TEST(Fault26RLockHolder, DiesAtAnyDepthAndTheNextHasItOnce) {
  const RLock lock;
  std::uint64_t token = 0;
  for (int depth = 1; depth <= 4; ++depth) {
    auto child = Process::spawn<die_at_depth>(lock, depth).unwrap();
    EXPECT_EQ(child.join().unwrap(), -SIGKILL);
    auto guard = lock.acquire().unwrap();
    EXPECT_TRUE(guard.abandoned());
    EXPECT_GT(guard.token(), token + 1);
    token = guard.token();
    EXPECT_EQ(lock.recursion_count(), 1U);
    guard.release().unwrap();
    EXPECT_FALSE(lock.locked());
    EXPECT_FALSE(lock.acquire().unwrap().abandoned());  // told once
    ++token;
  }
}

}  // namespace
