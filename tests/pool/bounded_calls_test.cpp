// How many calls of pools and executors may be unanswered (max_pending), and what those do that
// find no room: the waiting, the trying and the limited forms of submit, map and stream; imap's
// window.
#include <passel/pool.hpp>
#include <passel/process_pool_executor.hpp>
#include <passel/queue.hpp>
#include <passel/serial_executor.hpp>
#include <passel/thread_pool.hpp>
#include <passel/thread_pool_executor.hpp>

#include "support/blocked_thread.hpp"

#include "endless.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::ProcessPoolExecutor;
using passel::Queue;
using passel::Result;
using passel::TaskOutput;
using passel::ThreadPool;
using passel::ThreadPoolExecutor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto square = [](int n) { return n * n; };
int add(int a, int b) { return a + b; }
std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }
void count_up(TaskOutput<int>& out, int limit) {
  for (int i = 0; i < limit; ++i) out.send(i).unwrap();
}
void wait_and_send(TaskOutput<std::string>& out, const Queue<std::string>& words) {
  out.send(words.get().unwrap()).unwrap();
}

template <class P>
inline constexpr bool is_pool = std::is_same_v<P, Pool> || std::is_same_v<P, ThreadPool>;

template <class P>
P make(int workers, std::size_t max_pending) {
  if constexpr (is_pool<P>) {
    return P::start({.processes = workers, .max_pending = max_pending}).unwrap();
  } else {
    return P::start({.max_workers = workers, .max_pending = max_pending}).unwrap();
  }
}

/// Calls that have no answer until they are told so.
template <class P>
class Bounded : public ::testing::Test {
 protected:
  void fill(P& pool, int calls) {
    for (int i = 0; i < calls; ++i) waiting_.push_back(pool.template submit<wait_for_word>(words_));
  }
  void let_go() {
    for (std::size_t i = 0; i < waiting_.size(); ++i) words_.put("go").unwrap();
    for (auto& each : waiting_) EXPECT_EQ(each.get().unwrap(), "go");
    waiting_.clear();
  }

  Queue<std::string> words_;
  std::vector<Future<std::string>> waiting_;
};
using All = ::testing::Types<Pool, ThreadPool, ProcessPoolExecutor, ThreadPoolExecutor>;
TYPED_TEST_SUITE(Bounded, All);

/// Those with map_async and its kin.
template <class P>
class BoundedPool : public Bounded<P> {};
using Pools = ::testing::Types<Pool, ThreadPool>;
TYPED_TEST_SUITE(BoundedPool, Pools);

TYPED_TEST(Bounded, TryingIsFullWhenThereIsNoRoom) {
  auto pool = make<TypeParam>(1, 3);
  this->fill(pool, 3);
  auto function = pool.template try_submit<add>(2, 3);
  ASSERT_TRUE(function.is_err());
  EXPECT_EQ(function.error(), Errc::full);
  EXPECT_THAT(function.error().what(), HasSubstr("3 of 3"));
  EXPECT_EQ(pool.try_submit(square, 2).error(), Errc::full);
  EXPECT_EQ(pool.template try_stream<count_up>(3).error(), Errc::full);
  EXPECT_EQ(pool.template try_stream<count_up>({.window = 2}, 3).error(), Errc::full);
  this->let_go();
  EXPECT_EQ(pool.template try_submit<add>(2, 3).unwrap().get().unwrap(), 5);
  EXPECT_EQ(pool.try_submit(square, 3).unwrap().get().unwrap(), 9);
  auto stream = pool.template try_stream<count_up>({.window = 2}, 2).unwrap();
  std::vector<int> items;
  for (auto& item : stream) items.push_back(*item);
  EXPECT_THAT(items, ElementsAre(0, 1));
}

TYPED_TEST(Bounded, WaitingForRoomHasALimit) {
  auto pool = make<TypeParam>(1, 1);
  this->fill(pool, 1);
  auto late = pool.template submit_for<add>(1ms, 2, 3);
  ASSERT_TRUE(late.is_err());
  EXPECT_EQ(late.error(), Errc::timeout);
  EXPECT_THAT(late.error().what(), HasSubstr("1 of 1"));
  EXPECT_EQ(pool.submit_for(1ms, square, 2).error(), Errc::timeout);
  EXPECT_EQ(pool.template stream_for<count_up>(1ms, 2).error(), Errc::timeout);
  this->let_go();
  EXPECT_EQ(pool.template submit_for<add>(1min, 2, 3).unwrap().get().unwrap(), 5);
  EXPECT_EQ(pool.submit_for(1min, square, 3).unwrap().get().unwrap(), 9);
  EXPECT_TRUE(pool.template stream_for<count_up>(1min, {.window = 1}, 1).is_ok());
}

TYPED_TEST(Bounded, SubmittingWaitsForRoom) {
  auto pool = make<TypeParam>(2, 1);
  this->fill(pool, 1);
  std::atomic<bool> through{false};
  passel_test::BlockedThread submits{[&] {
    EXPECT_EQ(pool.submit(square, 6).get().unwrap(), 36);
    through = true;
  }};
  submits.wait_until_blocked();
  EXPECT_FALSE(through);
  this->let_go();
  submits.join();
}

TYPED_TEST(Bounded, ARefusedCallHasNotMovedFromItsArguments) {
  auto pool = make<TypeParam>(1, 1);
  this->fill(pool, 1);
  std::string text(100, 'x');
  auto size = [](const std::string& given) { return given.size(); };
  EXPECT_EQ(pool.try_submit(size, std::move(text)).error(), Errc::full);
  EXPECT_EQ(text.size(), 100U);
  EXPECT_EQ(pool.submit_for(1ms, size, std::move(text)).error(), Errc::timeout);
  EXPECT_EQ(text.size(), 100U);
  this->let_go();
  EXPECT_EQ(pool.submit(size, std::move(text)).get().unwrap(), 100U);
}

TYPED_TEST(Bounded, AStreamHasItsPlaceUntilItsTaskHasEnded) {
  auto pool = make<TypeParam>(1, 1);
  auto stream = pool.template stream<wait_and_send>(this->words_).unwrap();
  EXPECT_EQ(pool.try_submit(square, 2).error(), Errc::full);
  this->words_.put("item").unwrap();
  EXPECT_EQ(stream.next().value().unwrap(), "item");
  EXPECT_FALSE(stream.next());
  EXPECT_EQ(pool.submit(square, 2).get().unwrap(), 4);
}

TYPED_TEST(Bounded, TheEndTellsThoseWhoWaitForRoom) {
  auto pool = make<TypeParam>(1, 1);
  this->fill(pool, 1);
  passel_test::BlockedThread submits{
      [&] { EXPECT_EQ(pool.submit(square, 6).get().error(), Errc::invalid_state); }};
  submits.wait_until_blocked();
  if constexpr (is_pool<TypeParam>) {
    pool.close();
  } else {
    pool.shutdown({.wait = false}).unwrap();
  }
  submits.join();
  EXPECT_EQ(pool.try_submit(square, 6).error(), Errc::invalid_state);
  this->let_go();
}

TYPED_TEST(Bounded, WithoutALimitNobodyIsRefused) {
  auto pool = make<TypeParam>(1, 0);
  this->fill(pool, 20);
  auto more = pool.try_submit(square, 3);
  EXPECT_TRUE(more.is_ok());
  this->let_go();
  EXPECT_EQ(more->get().unwrap(), 9);
}

TYPED_TEST(BoundedPool, AMapIsOneCallAndReadsNothingWithoutRoom) {
  auto pool = make<TypeParam>(1, 1);
  this->fill(pool, 1);
  int read = 0;
  EXPECT_EQ(pool.try_map_async(square, Endless{&read}).error(), Errc::full);
  EXPECT_EQ(pool.map_async_for(1ms, square, Endless{&read}).error(), Errc::timeout);
  EXPECT_EQ(read, 0);
  const std::vector<std::pair<int, int>> pairs{{1, 2}, {3, 4}};
  EXPECT_EQ(pool.template try_starmap_async<add>(pairs).error(), Errc::full);
  EXPECT_EQ(pool.template starmap_async_for<add>(1ms, pairs).error(), Errc::timeout);
  this->let_go();
  const std::vector<int> numbers{1, 2, 3};
  EXPECT_THAT(pool.try_map_async(square, numbers, {.chunksize = 1}).unwrap().get().unwrap(),
              ElementsAre(1, 4, 9));
  EXPECT_THAT(pool.map_async_for(1min, square, numbers).unwrap().get().unwrap(),
              ElementsAre(1, 4, 9));
  EXPECT_THAT(pool.template try_starmap_async<add>(pairs).unwrap().get().unwrap(),
              ElementsAre(3, 7));
  EXPECT_THAT(pool.template starmap_async_for<add>(1min, pairs).unwrap().get().unwrap(),
              ElementsAre(3, 7));
}

TYPED_TEST(BoundedPool, AnImapIsBoundedByItsWindowAlone) {
  auto pool = make<TypeParam>(1, 1);
  this->fill(pool, 1);
  int read = 0;
  auto results = pool.imap(square, Endless{&read}, {.window = 3}).unwrap();
  EXPECT_EQ(results.try_next().value().error(), Errc::timeout);
  EXPECT_LE(read, 3);
  this->let_go();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(results.next().value().unwrap(), i * i);
    EXPECT_LE(read, i + 1 + 3);
  }
}

TYPED_TEST(BoundedPool, AWindowOfChunks) {
  auto pool = make<TypeParam>(2, 0);
  int read = 0;
  auto results =
      pool.imap_unordered(square, Endless{&read}, {.chunksize = 4, .window = 8}).unwrap();
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(results.next().value().is_ok());
    EXPECT_LE(read, i + 1 + 8 + 3);  // a chunk is read as a whole
  }
}

TEST(BoundedThreads, ATaskMayAlwaysCallItsOwnExecutor) {
  auto executor = ThreadPoolExecutor::start({.max_workers = 1, .max_pending = 1}).unwrap();
  auto outer = executor.submit([&executor] { return executor.submit(square, 5).get(); });
  EXPECT_EQ(outer.get().unwrap(), 25);
  ThreadPool pool = ThreadPool::start({.processes = 1, .max_pending = 1}).unwrap();
  auto mapped = pool.submit([&pool] { return pool.map(square, std::vector{1, 2}); });
  EXPECT_THAT(mapped.get().unwrap(), ElementsAre(1, 4));
}

TEST(BoundedThreads, ManyCallersAreHeldToTheLimit) {
  auto executor = ThreadPoolExecutor::start({.max_workers = 4, .max_pending = 3}).unwrap();
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        auto done = executor.submit([&] {
          const int now = ++inside;
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          --inside;
        });
        EXPECT_TRUE(done.get().is_ok());
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_LE(most, 3);
  EXPECT_EQ(executor.stats().queued, 0U);
}

TEST(BoundedProcesses, ExecutorsTakeTaskOptions) {
  auto executor = ProcessPoolExecutor::start({.max_workers = 1}).unwrap();
  Queue<std::string> words;
  auto late = executor.submit<wait_for_word>({.deadline = 1ms, .grace = 0ms}, words);
  EXPECT_EQ(late.get().error(), Errc::timeout);
  EXPECT_EQ(executor.try_submit<add>({.attempts = 2}, 1, 2).unwrap().get().unwrap(), 3);
  EXPECT_EQ(executor.submit_for(1min, {.priority = 1}, square, 4).unwrap().get().unwrap(), 16);
}

TEST(SerialExecutor, AlwaysHasRoom) {
  passel::SerialExecutor executor;
  EXPECT_EQ(executor.try_submit(square, 3).unwrap().get().unwrap(), 9);
  EXPECT_EQ(executor.submit_for<add>(0ms, 1, 2).unwrap().get().unwrap(), 3);
  executor.shutdown().unwrap();
  EXPECT_EQ(executor.try_submit(square, 3).error(), Errc::invalid_state);
}

}  // namespace
