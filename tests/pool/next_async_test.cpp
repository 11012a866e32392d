// The results of imap and of streams one by one as futures, for readers who go
// on meanwhile.
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/thread_pool.hpp>

#include "endless.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::Queue;
using passel::Result;
using passel::TaskOutput;
using passel::TaskStream;
using passel::ThreadPool;
using ::testing::ElementsAre;

int square_but_three(int n) {
  if (n == 3) throw std::invalid_argument{"no three"};
  return n * n;
}
void nothing(int) {}
int wait_for_number(const Queue<int>& numbers) { return numbers.get().unwrap(); }
void count_up(TaskOutput<int>& out, int limit) {
  for (int i = 0; i < limit && out.send(i); ++i) continue;
}
void fail_after_one(TaskOutput<int>& out) {
  out.send(1).unwrap();
  throw std::runtime_error{"no more"};
}
/// Passes on what it is told, up to 0.
void pass_on(TaskOutput<int>& out, const Queue<int>& numbers) {
  for (int n = numbers.get().unwrap(); n != 0; n = numbers.get().unwrap()) {
    if (!out.send(n)) return;
  }
}

Future<int> sum_of(TaskStream<int>& stream) {
  int sum = 0;
  for (;;) {
    Result<std::optional<int>> item = co_await stream.next_async();
    if (!item) co_return item.error();
    if (!*item) co_return sum;
    sum += **item;
  }
}

template <class P>
class NextOfStream : public ::testing::Test {
 protected:
  P pool_ = P::start({.processes = 1}).unwrap();
  Queue<int> numbers_;
};
using Pools = ::testing::Types<Pool, ThreadPool>;
TYPED_TEST_SUITE(NextOfStream, Pools);

TYPED_TEST(NextOfStream, IsAnItemThenNothing) {
  auto stream = this->pool_.template stream<count_up>(3).unwrap();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(stream.next_async().get().unwrap(), i);
  EXPECT_EQ(stream.next_async().get().unwrap(), std::nullopt);
  EXPECT_EQ(stream.next_async().get().unwrap(), std::nullopt);
}

TYPED_TEST(NextOfStream, IsTheErrorOfTheTask) {
  auto stream = this->pool_.template stream<fail_after_one>().unwrap();
  EXPECT_EQ(stream.next_async().get().unwrap(), 1);
  EXPECT_EQ(stream.next_async().get().error(), Errc::task_failed);
  EXPECT_EQ(stream.next_async().get().unwrap(), std::nullopt);
}

TYPED_TEST(NextOfStream, ComesWhenItIsSent) {
  auto stream = this->pool_.template stream<pass_on>(this->numbers_).unwrap();
  Future<std::optional<int>> next = stream.next_async();
  EXPECT_EQ(next.get_for(1ms).error(), Errc::timeout);
  EXPECT_EQ(stream.next_async().get().error(), Errc::invalid_state);
  EXPECT_EQ(stream.try_next().value().error(), Errc::invalid_state);
  this->numbers_.put(7).unwrap();
  EXPECT_EQ(next.get().unwrap(), 7);
  this->numbers_.put(8).unwrap();
  EXPECT_EQ(stream.next().value().unwrap(), 8);
  Future<std::optional<int>> last = stream.next_async();
  this->numbers_.put(0).unwrap();
  EXPECT_EQ(last.get().unwrap(), std::nullopt);
}

TYPED_TEST(NextOfStream, ThatIsGivenUpLeavesTheItem) {
  auto stream = this->pool_.template stream<pass_on>(this->numbers_).unwrap();
  Future<std::optional<int>> cancelled = stream.next_async();
  EXPECT_TRUE(cancelled.cancel());
  { const auto dropped = stream.next_async(); }
  this->numbers_.put(5).unwrap();
  EXPECT_EQ(stream.next().value().unwrap(), 5);
  { const auto dropped = stream.next_async(); }
  this->numbers_.put(6).unwrap();
  EXPECT_EQ(stream.next_async().get().unwrap(), 6);
  this->numbers_.put(0).unwrap();
}

TYPED_TEST(NextOfStream, IsCancelledWithItsStream) {
  std::optional<Future<std::optional<int>>> next;
  {
    auto stream = this->pool_.template stream<pass_on>(this->numbers_).unwrap();
    next = stream.next_async();
  }
  EXPECT_EQ(next->get().error(), Errc::cancelled);
  this->numbers_.put(0).unwrap();
}

TYPED_TEST(NextOfStream, IsAwaitedByCoroutines) {
  auto stream = this->pool_.template stream<count_up>({.window = 4}, 1'000).unwrap();
  EXPECT_EQ(sum_of(stream).get().unwrap(), 499'500);
  auto failing = this->pool_.template stream<fail_after_one>().unwrap();
  EXPECT_EQ(sum_of(failing).get().error(), Errc::task_failed);
}

TEST(NextOfImap, IsEachResultThenNothing) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  auto results = pool.imap<square_but_three>(std::vector{1, 2, 3, 4, 5}, {.window = 2}).unwrap();
  std::vector<std::string> seen;
  for (;;) {
    const auto next = results.next_async().get();
    if (next && !*next) break;
    seen.push_back(next ? std::to_string(**next) : std::string{to_string(next.error().code())});
  }
  EXPECT_THAT(seen, ElementsAre("1", "4", "task_failed", "16", "25"));
  EXPECT_EQ(results.next_async().get().unwrap(), std::nullopt);
  EXPECT_FALSE(results.next());
}

TEST(NextOfImap, MixesWithNextAndChunks) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  int read = 0;
  auto results = pool.imap([](int n) { return 2 * n; }, Endless{&read}, {.chunksize = 3}).unwrap();
  for (int i = 0; i < 100; i += 2) {
    EXPECT_EQ(results.next_async().get().unwrap(), 2 * i);
    EXPECT_EQ(results.next().value().unwrap(), 2 * (i + 1));
  }
}

TEST(NextOfImap, OfTasksWithoutAResult) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  auto results = pool.imap<nothing>(std::vector{1}).unwrap();
  const auto first = results.next_async().get().unwrap();
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(results.next_async().get().unwrap().has_value());
}

TEST(NextOfImap, ComesWhenItIsThereAndIsForOneAtATime) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<int> numbers;
  const std::vector<Queue<int>> queues(3, numbers);
  auto results = pool.imap<wait_for_number>(queues).unwrap();
  auto next = results.next_async();
  EXPECT_EQ(next.get_for(1ms).error(), Errc::timeout);
  EXPECT_EQ(results.next_async().get().error(), Errc::invalid_state);
  EXPECT_EQ(results.next().value().error(), Errc::invalid_state);
  EXPECT_TRUE(next.cancel());
  numbers.put(4).unwrap();
  EXPECT_EQ(results.next_async().get().unwrap(), 4);
  numbers.put(5).unwrap();
  EXPECT_EQ(results.next().value().unwrap(), 5);
  std::optional last{std::move(results)};
  auto lost = last->next_async();
  last.reset();
  EXPECT_EQ(lost.get().error(), Errc::cancelled);
  numbers.put(6).unwrap();
}

}  // namespace
