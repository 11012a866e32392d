// Lock, after CPython's lock_tests.py and _TestLock: names of its cases stand where they were
// ported.
#include <passel/lock.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "placements.hpp"
#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

#include <atomic>
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
  Lock lock{{.reach = Placement::reach}};
  Queue<int> news{{.reach = Placement::reach}};
};
TYPED_TEST_SUITE(LockAt, Placements, PlacementNames);

void try_once(const Lock& lock, const Queue<int>& news) {
  const auto guard = lock.try_acquire();
  news.put(guard.is_ok() ? 1 : 0).unwrap();
}

TYPED_TEST(LockAt, TryAcquireFailsWhileAnotherHoldsIt) {
  // BaseLockTests.test_try_acquire_contended
  Crew<TypeParam> crew;
  {
    const auto guard = this->lock.try_acquire().unwrap();
    crew.template start<try_once>(this->lock, this->news);
    EXPECT_EQ(this->news.get().unwrap(), 0);
  }
  crew.template start<try_once>(this->lock, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 1);
}

void take_in_turn(const Lock& lock, const Queue<int>& news) {
  news.put(0).unwrap();
  const auto guard = lock.acquire().unwrap();
  news.put(1).unwrap();
}

TYPED_TEST(LockAt, AllWhoWaitPassOneByOne) {
  // BaseLockTests.test_acquire_contended
  constexpr int workers = 5;
  Crew<TypeParam> crew;
  auto guard = this->lock.acquire().unwrap();
  crew.template start_many<take_in_turn>(workers, this->lock, this->news);
  for (int i = 0; i < workers; ++i) EXPECT_EQ(this->news.get().unwrap(), 0);
  crew.wait_until_blocked();
  EXPECT_EQ(this->news.try_get().error().code(), Errc::empty);
  EXPECT_TRUE(this->lock.locked());
  guard.release().unwrap();
  for (int i = 0; i < workers; ++i) EXPECT_EQ(this->news.get().unwrap(), 1);
  crew.join();
  EXPECT_FALSE(this->lock.locked());
}

}  // namespace
