// ThreadPool, and what it has in common with Pool, after CPython's _TestPool, which runs over both.
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/thread_pool.hpp>

#include "support/process_census.hpp"

#include "endless.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <atomic>
#include <list>
#include <memory>
#include <numeric>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Callbacks;
using passel::Errc;
using passel::Error;
using passel::Future;
using passel::Pool;
using passel::Result;
using passel::ThreadPool;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

int square(int n) { return n * n; }
int add(int a, int b) { return a + b; }
int three_is_bad(int n) {
  if (n == 3) throw std::invalid_argument{"no three"};
  return n;
}
void count(const passel::Queue<int>& runs) { runs.put(1).unwrap(); }
std::string wait_for_word(const passel::Queue<std::string>& words) { return words.get().unwrap(); }

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}
std::vector<int> squares(int count) {
  std::vector<int> all = numbers(count);
  for (int& n : all) n *= n;
  return all;
}

/// One body for processes and threads: switching is one type name.
template <class P>
class AnyPool : public ::testing::Test {};
using Both = ::testing::Types<Pool, ThreadPool>;
TYPED_TEST_SUITE(AnyPool, Both);

// test_apply, test_async
TYPED_TEST(AnyPool, AppliesFunctionsAndLambdas) {
  auto pool = TypeParam::start({.processes = 2}).unwrap();
  EXPECT_EQ(pool.template apply<add>(3, 4).unwrap(), 7);
  EXPECT_EQ(pool.apply([](int n) { return n + 1; }, 4).unwrap(), 5);
  Future<int> later = pool.template submit<square>(7);
  EXPECT_EQ(later.get().unwrap(), 49);
  EXPECT_EQ(pool.template apply_async<square>(6).get().unwrap(), 36);
  EXPECT_EQ(pool.processes(), 2U);
}

// test_map, test_map_chunksize, test_map_unplicklable and the shapes of ranges
TYPED_TEST(AnyPool, MapKeepsTheOrderWhateverTheChunks) {
  auto pool = TypeParam::start({.processes = 3}).unwrap();
  for (const std::size_t chunksize : {0, 1, 7, 1000}) {
    EXPECT_EQ(pool.template map<square>(numbers(100), {.chunksize = chunksize}).unwrap(),
              squares(100));
  }
  EXPECT_TRUE(pool.template map<square>(std::vector<int>{}).unwrap().empty());
  const std::list<int> items{3, 1, 2};
  EXPECT_THAT(pool.template map<square>(items).unwrap(), ElementsAre(9, 1, 4));
  EXPECT_THAT(pool.map([](int n) { return n % 2 == 0; }, numbers(4)).unwrap(),
              ElementsAre(true, false, true, false));
  EXPECT_TRUE(pool.map([](int) {}, numbers(4)).is_ok());
}

// test_starmap, test_starmap_async
TYPED_TEST(AnyPool, StarmapTakesTuplesAndPairs) {
  auto pool = TypeParam::start({.processes = 2}).unwrap();
  const std::vector<std::tuple<int, int>> tuples{{1, 2}, {3, 4}};
  const std::vector<std::pair<int, int>> pairs{{5, 6}};
  EXPECT_THAT(pool.template starmap<add>(tuples).unwrap(), ElementsAre(3, 7));
  EXPECT_THAT(pool.template starmap_async<add>(pairs).get().unwrap(), ElementsAre(11));
}

// test_map_handle_iterable_exception, _TestPoolWorkerErrors
TYPED_TEST(AnyPool, AMapFailsWithTheErrorOfItsFirstItemAndGoesOn) {
  auto pool = TypeParam::start({.processes = 2}).unwrap();
  const auto failed = pool.template map<three_is_bad>(std::vector{5, 3, 1}, {.chunksize = 1});
  ASSERT_TRUE(failed.is_err());
  EXPECT_TRUE(failed.error() == Errc::task_failed);
  EXPECT_EQ(pool.template apply<square>(3).unwrap(), 9);
}

// test_async with callbacks, test_map_async_callbacks
TYPED_TEST(AnyPool, CallbacksRunOnceBeforeTheResultIsReady) {
  auto pool = TypeParam::start({.processes = 1}).unwrap();
  std::vector<int> good;
  std::vector<Errc> bad;
  const Callbacks one{[&good](int n) { good.push_back(n); },
                      [&bad](const Error& error) { bad.push_back(error.code()); }};
  EXPECT_EQ(pool.template apply_async<three_is_bad>(one, 4).get().unwrap(), 4);
  EXPECT_TRUE(pool.template apply_async<three_is_bad>(one, 3).get().is_err());
  const Callbacks all{[&good](const std::vector<int>& values) {
    good.insert(good.end(), values.begin(), values.end());
  }};
  pool.template map_async<square>(std::vector{2, 3}, all).get().unwrap();
  EXPECT_THAT(good, ElementsAre(4, 4, 9));
  EXPECT_THAT(bad, ElementsAre(Errc::task_failed));
}

TYPED_TEST(AnyPool, MapsOfCallablesHaveCallbacks) {
  auto pool = TypeParam::start({.processes = 1}).unwrap();
  std::vector<int> good;
  std::vector<Errc> bad;
  const Callbacks told{[&good](const std::vector<int>& values) {
                         good.insert(good.end(), values.begin(), values.end());
                       },
                       [&bad](const Error& error) { bad.push_back(error.code()); }};
  const auto twice = [](int n) { return n == 3 ? throw std::runtime_error{"three"} : 2 * n; };
  EXPECT_TRUE(pool.map_async(twice, std::vector{1, 2}, told).get().is_ok());
  EXPECT_TRUE(pool.map_async(twice, std::vector{1, 3}, told, {.chunksize = 1}).get().is_err());
  const auto sum = [](int a, int b) { return a + b; };
  const std::vector<std::pair<int, int>> pairs{{1, 2}, {3, 4}};
  EXPECT_TRUE(pool.starmap_async(sum, pairs, told).get().is_ok());
  EXPECT_THAT(good, ElementsAre(2, 4, 3, 7));
  EXPECT_THAT(bad, ElementsAre(Errc::task_failed));
}

// test_imap, test_imap_unordered, test_imap_handle_iterable_exception
TYPED_TEST(AnyPool, ImapYieldsInOrderAndImapUnorderedAll) {
  auto pool = TypeParam::start({.processes = 3}).unwrap();
  for (const std::size_t chunksize : {1, 4, 100}) {
    std::vector<int> in_order;
    for (auto& n : pool.template imap<square>(numbers(50), {.chunksize = chunksize}).unwrap())
      in_order.push_back(*n);
    EXPECT_EQ(in_order, squares(50));
    std::multiset<int> all;
    for (auto& n :
         pool.template imap_unordered<square>(numbers(50), {.chunksize = chunksize}).unwrap())
      all.insert(*n);
    const auto expected = squares(50);
    EXPECT_EQ(all, (std::multiset<int>{expected.begin(), expected.end()}));
  }
}

TYPED_TEST(AnyPool, ImapGoesOnAfterAnError) {
  auto pool = TypeParam::start({.processes = 2}).unwrap();
  std::string seen;
  for (auto& n : pool.template imap<three_is_bad>(numbers(6)).unwrap())
    seen += n ? std::to_string(*n) : "!";
  EXPECT_EQ(seen, "012!45");
}

// test_imap_next_timeout
TYPED_TEST(AnyPool, ImapNextWaitsNoLongerThanTold) {
  auto pool = TypeParam::start({.processes = 1}).unwrap();
  const passel::Queue<std::string> words;
  auto results = pool.template imap<wait_for_word>(std::vector{words}).unwrap();
  EXPECT_TRUE(results.next_for(1ms)->error() == Errc::timeout);
  words.put("there").unwrap();
  EXPECT_EQ(**results.next_for(60s), "there");
  EXPECT_FALSE(results.next().has_value());
}

// test_close, test_join, test_context: close and join
TYPED_TEST(AnyPool, CloseFinishesWhatWasSubmittedAndJoinNeedsIt) {
  auto pool = TypeParam::start({.processes = 2}).unwrap();
  EXPECT_EQ(pool.join().error().what(), "Pool is still running");
  const passel::Queue<int> runs;
  std::vector<Future<void>> futures;
  for (int i = 0; i < 20; ++i) futures.push_back(pool.template submit<count>(runs));
  pool.close();
  EXPECT_EQ(pool.template submit<square>(1).get().error().what(), "Pool not running");
  EXPECT_TRUE(pool.template imap<square>(numbers(1)).error() == Errc::invalid_state);
  pool.join().unwrap();
  pool.join_for(1s).unwrap();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(runs.get_for(0s).is_ok());
}

// test_terminate
TYPED_TEST(AnyPool, TerminateCancelsWhatWaits) {
  auto pool = TypeParam::start({.processes = 1}).unwrap();
  const passel::Queue<std::string> words;
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < 10; ++i) futures.push_back(pool.template submit<wait_for_word>(words));
  pool.terminate();
  words.put("for a thread, which cannot be killed").unwrap();
  pool.join().unwrap();
  int cancelled = 0;
  for (auto& each : futures) {
    const auto result = each.get();
    cancelled += result.is_err() && result.error() == Errc::cancelled ? 1 : 0;
  }
  EXPECT_GE(cancelled, 9);
}

TYPED_TEST(AnyPool, RefusesFewerThanOneProcess) {
  EXPECT_EQ(TypeParam::start({.processes = 0}).error().to_string(),
            "invalid_argument: number of processes must be at least 1, not 0");
}

TYPED_TEST(AnyPool, AMapTellsHowFarItIs) {
  auto pool = TypeParam::start({.processes = 2}).unwrap();
  std::vector<std::size_t> told;
  pool.template map<square>(numbers(10), {.chunksize = 3,
                                          .progress =
                                              [&told](passel::PoolProgress now) {
                                                EXPECT_EQ(now.total, 10U);
                                                told.push_back(now.done);
                                              }})
      .unwrap();
  EXPECT_THAT(told, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
}

// --- threads alone

TEST(ThreadPool, RunsClosuresInThisProcess) {
  auto pool = ThreadPool::start({.processes = 4}).unwrap();
  std::atomic<int> sum{0};
  pool.map([&sum](int n) { sum += n; }, numbers(101)).unwrap();
  EXPECT_EQ(sum, 5050);
  EXPECT_EQ(pool.apply(::getpid).unwrap(), ::getpid());
  auto owned = pool.apply([](std::unique_ptr<int> n) { return n; }, std::make_unique<int>(4));
  EXPECT_EQ(**owned, 4);
}

TEST(ThreadPool, ThreadsHaveItsName) {
  auto pool = ThreadPool::start({.processes = 1, .name = "crew"}).unwrap();
  pool.apply([] {}).unwrap();
  EXPECT_THAT(pool.stats().threads, ElementsAre("crew_0"));
}

TEST(ThreadPool, MapMovesItemsAndGivesResultsThatCannotBeCopied) {
  auto pool = ThreadPool::start({.processes = 2}).unwrap();
  std::vector<std::unique_ptr<int>> items;
  for (int i = 0; i < 10; ++i) items.push_back(std::make_unique<int>(i));
  const auto doubled = pool.map(
      [](std::unique_ptr<int> n) {
        *n *= 2;
        return n;
      },
      std::move(items), {.chunksize = 3});
  ASSERT_TRUE(doubled.is_ok());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(*(*doubled)[static_cast<std::size_t>(i)], 2 * i);
}

TEST(ThreadPool, AMapMayBeCancelledAndRunsNoFurther) {
  auto pool = ThreadPool::start({.processes = 1}).unwrap();
  std::binary_semaphore may_end{0};
  auto blocked = pool.submit([&may_end] { may_end.acquire(); });
  std::atomic<int> ran{0};
  auto mapped = pool.map_async([&ran](int) { ++ran; }, numbers(10));
  EXPECT_TRUE(mapped.cancel());
  may_end.release();
  pool.close();
  pool.join().unwrap();
  EXPECT_EQ(ran, 0);
  EXPECT_TRUE(blocked.done());
}

// test_imap_unordered: as they come
TEST(ThreadPool, ImapUnorderedGivesTheQuickFirst) {
  auto pool = ThreadPool::start({.processes = 2}).unwrap();
  std::binary_semaphore may_end{0};
  auto results = pool.imap_unordered(
                         [&may_end](int n) {
                           if (n == 0) may_end.acquire();
                           return n;
                         },
                         numbers(3))
                     .unwrap();
  EXPECT_THAT((std::vector<int>{**results.next(), **results.next()}), ElementsAre(1, 2));
  EXPECT_TRUE(results.next_for(1ms)->error() == Errc::timeout);
  may_end.release();
  EXPECT_EQ(**results.next(), 0);
  EXPECT_FALSE(results.next().has_value());
}

// test_imap reads lazily (python/cpython#101586)
TEST(ThreadPool, ImapReadsItsInputAsResultsAreTaken) {
  auto pool = ThreadPool::start({.processes = 2}).unwrap();
  int read = 0;
  const Endless endless{&read};
  auto results = pool.imap<square>(endless).unwrap();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(**results.next(), i * i);
  EXPECT_LE(read, 20 + 4);
}

TEST(ThreadPool, DestructionTerminatesAndLeavesNothing) {
  const auto before = passel_test::ProcessCensus::take();
  std::vector<Future<void>> futures;
  {
    auto pool = ThreadPool::start({.processes = 3}).unwrap();
    for (int i = 0; i < 100; ++i) futures.push_back(pool.submit([] {}));
  }
  for (auto& each : futures) EXPECT_TRUE(each.done());
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(ThreadPool, ATaskMayMapInItsOwnPool) {
  auto pool = ThreadPool::start({.processes = 1}).unwrap();
  auto nested = pool.submit([&pool] { return pool.map(square, numbers(5)).unwrap(); });
  EXPECT_EQ(nested.get().unwrap(), squares(5));
}

}  // namespace
