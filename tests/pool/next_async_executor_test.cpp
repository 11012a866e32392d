// The results of an executor's map, and of ThreadPool's imap, one by one as futures.
#include <passel/process_pool_executor.hpp>
#include <passel/queue.hpp>
#include <passel/serial_executor.hpp>
#include <passel/thread_pool.hpp>
#include <passel/thread_pool_executor.hpp>

#include "support/seed.hpp"

#include "endless.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::ExecutorResults;
using passel::Future;
using passel::ProcessPoolExecutor;
using passel::Queue;
using passel::Result;
using passel::SerialExecutor;
using passel::ThreadPool;
using passel::ThreadPoolExecutor;
using ::testing::ElementsAre;

int same(int n) { return n; }
int square_but_three(int n) {
  if (n == 3) throw std::invalid_argument{"no three"};
  return n * n;
}
void nothing(int) {}
int wait_for_number(const Queue<int>& numbers) { return numbers.get().unwrap(); }
/// The first one waits; all say that they have begun.
int begin_and_wait(int n, const Queue<int>& began, const Queue<int>& numbers) {
  began.put(n).unwrap();
  return n == 0 ? numbers.get().unwrap() : n;
}

template <class R>
std::vector<std::string> seen_in(ExecutorResults<R>& results) {
  std::vector<std::string> seen;
  for (;;) {
    const auto next = results.next_async().get();
    if (next && !*next) return seen;
    seen.push_back(next ? std::to_string(**next) : std::string{to_string(next.error().code())});
  }
}
Future<int> sum_of(ExecutorResults<int>& results) {
  int sum = 0;
  for (;;) {
    Result<std::optional<int>> item = co_await results.next_async();
    if (!item) co_return item.error();
    if (!*item) co_return sum;
    sum += **item;
  }
}
std::vector<int> numbers_to(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

template <class E>
class NextOfMap : public ::testing::Test {
 protected:
  E executor_ = E::start({.max_workers = 1}).unwrap();
  Queue<int> numbers_;
};
using Executors = ::testing::Types<ThreadPoolExecutor, ProcessPoolExecutor>;
TYPED_TEST_SUITE(NextOfMap, Executors);

TYPED_TEST(NextOfMap, IsEachResultThenNothing) {
  auto results =
      this->executor_.template map<square_but_three>(std::vector{1, 2, 3, 4, 5}).unwrap();
  EXPECT_THAT(seen_in(results), ElementsAre("1", "4", "task_failed", "16", "25"));
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
  EXPECT_FALSE(results.next());
  auto none = this->executor_.template map<same>(std::vector<int>{}).unwrap();
  EXPECT_EQ(none.next_async().get().unwrap(), std::nullopt);
}

TYPED_TEST(NextOfMap, MixesWithNextChunksAndABuffer) {
  int read = 0;
  Endless endless{&read};
  auto results =
      this->executor_.template map<same>(endless, {.chunksize = 3, .buffersize = 4}).unwrap();
  for (int i = 0; i < 100; i += 2) {
    EXPECT_EQ(results.next_async().get().unwrap(), i);
    EXPECT_EQ(results.next().value().unwrap(), i + 1);
  }
  EXPECT_LE(read, 100 + 5 * 3);
}

TYPED_TEST(NextOfMap, OfTasksWithoutAResult) {
  auto results = this->executor_.template map<nothing>(std::vector{1}).unwrap();
  EXPECT_TRUE(results.next_async().get().unwrap().has_value());
  EXPECT_FALSE(results.next_async().get().unwrap().has_value());
}

TYPED_TEST(NextOfMap, ComesWhenItIsThereAndIsForOneAtATime) {
  const std::vector<Queue<int>> queues(3, this->numbers_);
  auto results = this->executor_.template map<wait_for_number>(queues).unwrap();
  auto next = results.next_async();
  EXPECT_EQ(next.get_for(1ms).error(), Errc::timeout);
  EXPECT_EQ(results.next_async().get().error(), Errc::invalid_state);
  EXPECT_EQ(results.next().value().error(), Errc::invalid_state);
  EXPECT_EQ(results.try_next().value().error(), Errc::invalid_state);
  this->numbers_.put(4).unwrap();
  EXPECT_EQ(next.get().unwrap(), 4);
  this->numbers_.put(5).unwrap();
  EXPECT_EQ(results.next().value().unwrap(), 5);
  auto last = results.next_async();
  this->numbers_.put(6).unwrap();
  EXPECT_EQ(last.get().unwrap(), 6);
}

TYPED_TEST(NextOfMap, ThatIsGivenUpLeavesTheResult) {
  const std::vector<Queue<int>> queues(2, this->numbers_);
  auto results = this->executor_.template map<wait_for_number>(queues).unwrap();
  auto cancelled = results.next_async();
  EXPECT_TRUE(cancelled.cancel());
  { const auto dropped = results.next_async(); }
  this->numbers_.put(5).unwrap();
  EXPECT_EQ(results.next().value().unwrap(), 5);
  { const auto dropped = results.next_async(); }
  this->numbers_.put(6).unwrap();
  EXPECT_EQ(results.next_async().get().unwrap(), 6);
}

TYPED_TEST(NextOfMap, IsCancelledWithItsResults) {
  // A queue for each: who has it may have begun, or never does.
  const std::vector<Queue<int>> first(1);
  std::optional<Future<std::optional<int>>> next;
  {
    auto results = this->executor_.template map<wait_for_number>(first).unwrap();
    next = results.next_async();
  }
  EXPECT_EQ(next->get().error(), Errc::cancelled);
  const std::vector<Queue<int>> second(1);
  auto results = this->executor_.template map<wait_for_number>(second).unwrap();
  next = results.next_async();
  results.cancel();
  EXPECT_EQ(next->get().error(), Errc::cancelled);
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
  first[0].put(0).unwrap();
  second[0].put(0).unwrap();
}

TYPED_TEST(NextOfMap, GoesWithResultsThatAreMoved) {
  const std::vector<Queue<int>> queues(2, this->numbers_);
  auto first = this->executor_.template map<wait_for_number>(queues).unwrap();
  auto next = first.next_async();
  auto results = std::move(first);
  this->numbers_.put(1).unwrap();
  EXPECT_EQ(next.get().unwrap(), 1);
  this->numbers_.put(2).unwrap();
  EXPECT_EQ(results.next_async().get().unwrap(), 2);
}

TYPED_TEST(NextOfMap, IsLateWhenTheTimeOfTheMapIsUp) {
  const Queue<int> began;
  auto results = this->executor_
                     .template map<begin_and_wait>(passel::ExecutorMapOptions{.timeout = 50ms},
                                                   std::vector{0, 1, 2}, std::vector(3, began),
                                                   std::vector(3, this->numbers_))
                     .unwrap();
  auto next = results.next_async();
  EXPECT_EQ(next.get().error(), Errc::timeout);
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
  EXPECT_FALSE(results.next());
  this->numbers_.put(7).unwrap();  // the first one has begun, or never does
  this->executor_.shutdown().unwrap();
  EXPECT_LE(began.qsize(), 1U) << "what had not begun was cancelled";
}

TYPED_TEST(NextOfMap, IsLateAtOnceAfterThat) {
  const std::vector<Queue<int>> queues(1, this->numbers_);
  auto results = this->executor_.template map<wait_for_number>(queues, {.timeout = 0ms}).unwrap();
  EXPECT_EQ(results.next_async().get().error(), Errc::timeout);
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
  this->numbers_.put(0).unwrap();
}

TYPED_TEST(NextOfMap, IsAwaitedByCoroutines) {
  auto results = this->executor_.template map<same>(numbers_to(1'000), {.buffersize = 4}).unwrap();
  EXPECT_EQ(sum_of(results).get().unwrap(), 499'500);
  auto failing = this->executor_.template map<square_but_three>(numbers_to(5)).unwrap();
  EXPECT_EQ(sum_of(failing).get().error(), Errc::task_failed);
}

TYPED_TEST(NextOfMap, GivenUpAtAnyMomentNothingIsLostAndNothingComesTwice) {
  std::mt19937 random{passel_test::seed()};
  const int count = 2'000;
  auto results = this->executor_.template map<same>(numbers_to(count), {.buffersize = 8}).unwrap();
  for (int expected = 0; expected < count;) {
    auto next = results.next_async();
    if (random() % 2 == 0 && next.cancel()) continue;
    ASSERT_EQ(next.get().unwrap(), expected);
    if (++expected == count || random() % 4 != 0) continue;
    ASSERT_EQ(results.next().value().unwrap(), expected++);
  }
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
}

TEST(NextOfThreadImap, ComesInTheOrderOfCompletion) {
  ThreadPool pool = ThreadPool::start({.processes = 2}).unwrap();
  const std::vector<Queue<int>> queues(2);
  auto results = pool.imap_unordered<wait_for_number>(queues).unwrap();
  auto next = results.next_async();
  EXPECT_EQ(results.next().value().error(), Errc::invalid_state);
  queues[1].put(2).unwrap();
  EXPECT_EQ(next.get().unwrap(), 2);
  queues[0].put(1).unwrap();
  EXPECT_EQ(results.next_async().get().unwrap(), 1);
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
}

TEST(NextOfThreadImap, GivenUpAtAnyMomentNothingIsLostAndNothingComesTwice) {
  ThreadPool pool = ThreadPool::start({.processes = 2}).unwrap();
  std::mt19937 random{passel_test::seed()};
  const int count = 2'000;
  auto results = pool.imap_unordered<same>(numbers_to(count), {.chunksize = 3}).unwrap();
  std::vector<int> seen;
  while (seen.size() < static_cast<std::size_t>(count)) {
    auto next = results.next_async();
    if (random() % 2 == 0 && next.cancel()) continue;
    seen.push_back(next.get().unwrap().value());
    if (seen.size() < static_cast<std::size_t>(count) && random() % 4 == 0)
      seen.push_back(results.next().value().unwrap());
  }
  EXPECT_FALSE(results.next());
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, numbers_to(count));
}

TEST(NextOfSerialMap, IsThereAtOnce) {
  SerialExecutor executor;
  auto results = executor.map<square_but_three>(std::vector{2, 3}).unwrap();
  EXPECT_THAT(seen_in(results), ElementsAre("4", "task_failed"));
}

}  // namespace
