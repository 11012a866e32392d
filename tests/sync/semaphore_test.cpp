// Semaphore and BoundedSemaphore, after CPython's lock_tests.py and _TestSemaphore: names of its
// cases stand where they were ported.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "managed.hpp"
#include "placements.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <barrier>
#include <csignal>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::BoundedSemaphore;
using passel::Errc;
using passel::Guard;
using passel::Ownership;
using passel::Process;
using passel::Queue;
using passel::Semaphore;
using ::testing::HasSubstr;

template <class Placement>
class SemaphoreAt : public ::testing::Test {
 protected:
  Queue<int> news{{.reach = Placement::reach}};
};
TYPED_TEST_SUITE(SemaphoreAt, Everywhere, PlacementNames);

template <class At>
void take_for_good(const SemaphoreOf<At>& semaphore, const Queue<int>& news,
                   const SemaphoreOf<At>& go) {
  news.put(0).unwrap();
  semaphore.acquire().unwrap().detach();
  news.put(1).unwrap();
  go.acquire().unwrap().detach();  // owned permits of processes that end would come back
}

TYPED_TEST(SemaphoreAt, EachReleaseLetsOneGo) {
  // BaseSemaphoreTests.test_acquire_contended, test_multirelease; _TestSemaphore.test_semaphore
  const SemaphoreOf<TypeParam> semaphore{{.value = 0, .reach = TypeParam::reach}};
  const SemaphoreOf<TypeParam> go{{.value = 0, .reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start_many<take_for_good<TypeParam>>(6, semaphore, this->news, go);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(this->news.get().unwrap(), 0);
  crew.wait_until_blocked();
  semaphore.release().unwrap();
  EXPECT_EQ(this->news.get().unwrap(), 1);
  semaphore.release(3).unwrap();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(this->news.get().unwrap(), 1);
  crew.wait_until_blocked();
  EXPECT_TRUE(this->news.try_get().is_err());
  semaphore.release(5).unwrap();  // more than wait
  for (int i = 0; i < 2; ++i) EXPECT_EQ(this->news.get().unwrap(), 1);
  EXPECT_EQ(semaphore.value(), 3);
  go.release(6).unwrap();
}

template <class At>
void come_in(const SemaphoreOf<At>& permits, const SemaphoreOf<At>& all_in,
             const Queue<int>& inside, const Queue<int>& most) {
  for (int i = 0; i < 50; ++i) {
    const auto permit = permits.acquire().unwrap();
    const int here = inside.get().unwrap() + 1;
    inside.put(here).unwrap();
    if (here == 3) all_in.release().unwrap();
    if (i == 0) {  // until all who may are in
      all_in.acquire().unwrap().detach();
      all_in.release().unwrap();
    }
    const int seen = most.get().unwrap();
    most.put(std::max(seen, here)).unwrap();
    const int now = inside.get().unwrap();
    inside.put(now - 1).unwrap();
  }
}

TYPED_TEST(SemaphoreAt, AsManyAsItHasPermitsAndNoMore) {
  // SEM-04: ThreadTests.test_various_ops
  const typename Objects<TypeParam>::BoundedSemaphore permits{
      {.value = 3, .reach = TypeParam::reach}};
  const SemaphoreOf<TypeParam> all_in{{.value = 0, .reach = TypeParam::reach}};
  Queue<int> most{{.reach = TypeParam::reach}};
  this->news.put(0).unwrap();
  most.put(0).unwrap();
  Crew<TypeParam> crew;
  const SemaphoreOf<TypeParam>& any = permits;
  crew.template start_many<come_in<TypeParam>>(5, any, all_in, this->news, most);
  crew.join();
  EXPECT_EQ(most.get().unwrap(), 3);
  EXPECT_EQ(this->news.get().unwrap(), 0);
  EXPECT_EQ(permits.value(), 3);
}

template <class At>
void try_to_take(const SemaphoreOf<At>& semaphore, const Queue<int>& news,
                 const SemaphoreOf<At>& go) {
  int got = 0;
  for (int i = 0; i < 250; ++i) {
    if (auto guard = semaphore.try_acquire()) {
      guard->detach();
      ++got;
    }
  }
  news.put(got).unwrap();
  go.acquire().unwrap().detach();  // owned permits of processes that end would come back
}

TYPED_TEST(SemaphoreAt, TriesTakeExactlyWhatThereIs) {
  // BaseSemaphoreTests.test_try_acquire_contended
  for (const auto ownership : {Ownership::counted, Ownership::owned}) {
    const SemaphoreOf<TypeParam> semaphore{
        {.value = 700, .reach = TypeParam::reach, .ownership = ownership, .limit = 1000}};
    const SemaphoreOf<TypeParam> go{{.value = 0, .reach = TypeParam::reach}};
    Crew<TypeParam> crew;
    crew.template start_many<try_to_take<TypeParam>>(4, semaphore, this->news, go);
    int got = 0;
    for (int i = 0; i < 4; ++i) got += this->news.get().unwrap();
    EXPECT_EQ(got, 700);
    go.release(4).unwrap();
  }
}

template <class At>
void throw_inside(const SemaphoreOf<At>& semaphore, const Queue<int>& news) {
  try {
    const auto one = semaphore.acquire().unwrap();
    const auto two = semaphore.acquire().unwrap();
    throw std::runtime_error{"inside"};
  } catch (const std::runtime_error&) {
    news.put(static_cast<int>(semaphore.value())).unwrap();
  }
}

TYPED_TEST(SemaphoreAt, ScopesNestAndEndByAnException) {
  // BaseSemaphoreTests.test_with
  const SemaphoreOf<TypeParam> semaphore{{.value = 2, .reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start<throw_inside<TypeParam>>(semaphore, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 2);
}

// ---- one thread ---------------------------------------------------------------------------------

TEST(Semaphore, CountsAsPythonDoes) {
  // BaseSemaphoreTests.test_default_value, test_acquire; SemaphoreTests.test_release_unacquired
  const Semaphore semaphore;
  EXPECT_EQ(semaphore.value(), 1);
  semaphore.acquire().unwrap().detach();
  EXPECT_EQ(semaphore.value(), 0);
  EXPECT_EQ(semaphore.try_acquire().error().code(), Errc::timeout);
  EXPECT_EQ(semaphore.acquire_for(5ms).error().code(), Errc::timeout);  // test_acquire_timeout
  semaphore.release().unwrap();
  semaphore.release(2).unwrap();  // beyond its first value
  EXPECT_EQ(semaphore.value(), 3);
  {
    const auto guard = semaphore.acquire_for(1h).unwrap();
    EXPECT_EQ(guard.token(), 0U);
    EXPECT_EQ(semaphore.value(), 2);
  }
  EXPECT_EQ(semaphore.value(), 3);
}

TEST(Semaphore, ErrorsOfMisuse) {
  // BaseSemaphoreTests.test_constructor; D-06: one error where Python has ValueError and OSError
  EXPECT_EQ(Semaphore::create({.value = -1}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(Semaphore::create({.value = -1}).error().what(),
            "semaphore initial value must be >= 0, it is -1");
  EXPECT_THROW(Semaphore{-1}, passel::Exception);
  EXPECT_THROW(BoundedSemaphore{-1}, passel::Exception);
  EXPECT_EQ(BoundedSemaphore::create({.value = 65537}).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(BoundedSemaphore::create({.value = 65537, .ownership = Ownership::counted}).is_ok());
  EXPECT_EQ(Semaphore::create({.value = 2'147'483'648}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(Semaphore::create({.name = std::string(28, 'x')}).error().code(),
            Errc::invalid_argument);

  const Semaphore semaphore{2'147'483'646};
  EXPECT_EQ(semaphore.release(0).error().code(), Errc::invalid_argument);
  EXPECT_EQ(semaphore.release(-3).error().what(), "n must be one or more, it is -3");
  EXPECT_EQ(semaphore.acquire_for(-1ms).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(semaphore.release(2).is_err());
  EXPECT_EQ(semaphore.value(), 2'147'483'646);
  semaphore.release().unwrap();
  EXPECT_TRUE(semaphore.release().is_err());

  Semaphore closed;
  closed.close();
  EXPECT_EQ(closed.acquire().error().what(), "Semaphore is closed");
  EXPECT_EQ(closed.release().error().code(), Errc::invalid_state);
  EXPECT_EQ(closed.value(), 0);
}

TEST(Semaphore, ToString) {
  // SemaphoreTests.test_repr, BoundedSemaphoreTests.test_repr
  const Semaphore semaphore{3};
  EXPECT_EQ(semaphore.to_string(), "<Semaphore value=3>");
  const auto one = semaphore.acquire().unwrap();
  EXPECT_EQ(semaphore.to_string(), "<Semaphore value=2>");
  const BoundedSemaphore bounded{{.value = 3, .name = "doors"}};
  const auto other = bounded.acquire().unwrap();
  EXPECT_EQ(bounded.to_string(), "<BoundedSemaphore 'doors' value=2/3>");
}

TEST(Semaphore, OwnedPermitsHaveALimitAndTokens) {
  const Semaphore semaphore{{.value = 1, .ownership = Ownership::owned, .limit = 2}};
  auto guard = semaphore.acquire().unwrap();
  EXPECT_EQ(guard.token(), 1U);
  guard.release().unwrap();
  EXPECT_EQ(semaphore.acquire().unwrap().token(), 2U);
  semaphore.release().unwrap();  // one more
  EXPECT_EQ(semaphore.value(), 2);
  EXPECT_THAT(semaphore.release().error().what(), HasSubstr("released too many times"));
  EXPECT_EQ(semaphore.value(), 2);
}

TEST(BoundedSemaphore, RefusesAReleaseTooMany) {
  // BoundedSemaphoreTests.test_release_unacquired, ThreadTests.test_BoundedSemaphore_limit,
  // _TestSemaphore.test_bounded_semaphore
  for (const auto ownership : {Ownership::owned, Ownership::counted}) {
    const BoundedSemaphore bounded{{.value = 2, .ownership = ownership}};
    const auto refused = bounded.release();
    EXPECT_EQ(refused.error().code(), Errc::invalid_argument);
    EXPECT_EQ(refused.error().what(), "Semaphore released too many times: its limit is 2");
    bounded.acquire().unwrap().detach();
    EXPECT_TRUE(bounded.release(2).is_err());
    EXPECT_EQ(bounded.value(), 1);
    bounded.release().unwrap();
    EXPECT_EQ(bounded.value(), 2);
  }
  const BoundedSemaphore none{0};
  EXPECT_EQ(none.try_acquire().error().code(), Errc::timeout);
  EXPECT_TRUE(none.release().is_err());
}

TEST(Semaphore, IsAwaitedAsynchronously) {
  for (const auto ownership : {Ownership::counted, Ownership::owned}) {
    const Semaphore semaphore{{.value = 0, .ownership = ownership, .limit = 100}};
    std::vector<passel::Future<Guard>> futures;
    for (int i = 0; i < 50; ++i) futures.push_back(semaphore.acquire_async());
    futures[0].cancel();
    futures[1] = {};
    semaphore.release(48).unwrap();
    for (std::size_t i = 2; i < futures.size(); ++i) futures[i].get().unwrap().detach();
    EXPECT_EQ(semaphore.value(), 0);
  }
}

TEST(Semaphore, GivesSeveralPermitsBackTogetherOrNone) {
  // Four are taken; who wants to give back more than are taken at that moment changes nothing.
  for (unsigned round = 0; round < rounds(300); ++round) {
    const BoundedSemaphore semaphore{{.value = 4, .reach = passel::Reach::threads}};
    for (int i = 0; i < 4; ++i) semaphore.acquire().unwrap().detach();
    std::atomic<std::int64_t> given{0};
    std::barrier<> begin{3};
    std::vector<std::thread> threads;
    for (const std::int64_t many : {3, 2, 1}) {
      threads.emplace_back([&, many] {
        begin.arrive_and_wait();
        if (semaphore.release(many)) given += many;
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(semaphore.value(), given.load());
    ASSERT_GE(given.load(), 3);  // one and either two or three
  }
}

TEST(Semaphore, AGuardIsGivenBackWhileAnotherReleaseComesToNothing) {
  for (unsigned round = 0; round < rounds(300); ++round) {
    const BoundedSemaphore semaphore{{.value = 2, .reach = passel::Reach::threads}};
    auto guard = semaphore.acquire().unwrap();
    semaphore.acquire().unwrap().detach();
    std::barrier<> begin{2};
    bool both = false;
    std::thread other{[&] {
      begin.arrive_and_wait();
      both = semaphore.release(2).is_ok();
    }};
    begin.arrive_and_wait();
    // Somebody has released it already, or it is given back: never neither.
    const bool mine = guard.release().is_ok();
    other.join();
    ASSERT_NE(mine, both);
    ASSERT_EQ(semaphore.value(), both ? 2 : 1);
  }
}

TEST(Semaphore, SeveralOwnedPermitsWakeAsManyWhoWait) {
  for (const bool fair : {false, true}) {
    const Semaphore semaphore{{.value = 0,
                               .reach = passel::Reach::threads,
                               .fair = fair,
                               .ownership = Ownership::owned,
                               .limit = 8}};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] { semaphore.acquire().unwrap().detach(); });
    }
    semaphore.release(4).unwrap();
    semaphore.release(3).unwrap();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(semaphore.value(), 1);
  }
}

// ---- holders that die ---------------------------------------------------------------------------

void die_with(const Semaphore& semaphore, int permits) {
  std::vector<Guard> held;
  for (int i = 0; i < permits; ++i) held.push_back(semaphore.acquire().unwrap());
  ::kill(::getpid(), SIGKILL);
}

TEST(Fault25SemaphoreHolder, OwnedPermitsComeBackCountedOnesDoNot) {
  const auto before = ProcessCensus::take();
  {
    const BoundedSemaphore owned{4};
    const Semaphore counted{10};
    int gone = 0;
    for (int permits = 0; permits <= 4; ++permits) {
      const Semaphore& any = owned;
      auto one = Process::spawn<die_with>(any, permits).unwrap();
      EXPECT_EQ(one.join().unwrap(), -SIGKILL);
      EXPECT_EQ(owned.value(), 4);
      int told = 0;
      std::vector<Guard> all;
      for (int i = 0; i < 4; ++i) {
        all.push_back(owned.try_acquire().unwrap());
        told += all.back().abandoned() ? 1 : 0;
      }
      EXPECT_EQ(told, permits);
      auto two = Process::spawn<die_with>(counted, permits).unwrap();
      two.join().unwrap();
      gone += permits;
      EXPECT_EQ(counted.value(), 10 - gone);
      if (permits == 3) counted.release(10).unwrap(), gone -= 10;
    }
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(Fault25SemaphoreHolder, WhatItGaveBackBeforeIsNotGivenTwice) {
  const BoundedSemaphore owned{2};
  const Semaphore& any = owned;
  auto child = Process::spawn(
                   [](const Semaphore& semaphore) {
                     semaphore.acquire().unwrap().detach();
                     const auto kept = semaphore.acquire().unwrap();
                     semaphore.release().unwrap();
                     ::kill(::getpid(), SIGKILL);
                   },
                   any)
                   .unwrap();
  child.join().unwrap();
  EXPECT_EQ(owned.value(), 2);
  EXPECT_TRUE(owned.release().is_err());
}

}  // namespace
