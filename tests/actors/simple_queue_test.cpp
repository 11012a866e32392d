// SimpleQueue, after CPython's BaseSimpleQueueTest.
#include <passel/simple_queue.hpp>

#include <gtest/gtest.h>
#include <support/blocked_thread.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

// The behaviours of BaseSimpleQueueTest and CSimpleQueueTest in CPython's Lib/test/test_queue.py.

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::SimpleQueue;

TEST(SimpleQueue, Basic) {
  SimpleQueue<int> queue;
  EXPECT_TRUE(queue.empty());
  for (const int n : {1, 2, 3}) queue.put(n);
  EXPECT_EQ(queue.qsize(), 3u);
  for (const int n : {1, 2, 3}) EXPECT_EQ(*queue.get(), n);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.try_get().error() == Errc::empty);
  EXPECT_TRUE(queue.get_for(1ms).error() == Errc::empty);
}

TEST(SimpleQueue, NegativeTimeoutRaisesException) {
  SimpleQueue<int> queue;
  queue.put(1);
  EXPECT_EQ(queue.get_for(-1s).error().to_string(),
            "invalid_argument: 'timeout' must be a non-negative number");
  EXPECT_EQ(queue.qsize(), 1u);
}

TEST(SimpleQueue, GetWaitsForAPut) {
  SimpleQueue<std::unique_ptr<int>> queue;
  passel_test::BlockedThread getter{[&] { EXPECT_EQ(**queue.get(), 9); }};
  getter.wait_until_blocked();
  EXPECT_FALSE(getter.ended());
  queue.put(std::make_unique<int>(9));
}

TEST(SimpleQueue, Order) {
  SimpleQueue<int> queue;
  std::thread feeder{[&] {
    for (int i = 0; i < 50'000; ++i) queue.put(i);
  }};
  for (int i = 0; i < 50'000; ++i) ASSERT_EQ(*queue.get(), i);
  feeder.join();
}

enum class Way { block, nonblock, timeout };
class SimpleQueueManyThreads : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Ways, SimpleQueueManyThreads,
                         testing::Values(Way::block, Way::nonblock, Way::timeout));

passel::Result<int> get_by(Way way, SimpleQueue<int>& queue) {
  if (way == Way::block) return queue.get();
  return way == Way::nonblock ? queue.try_get() : queue.get_for(10us);
}

TEST_P(SimpleQueueManyThreads, LoseAndDuplicateNothing) {
  constexpr int feeders = 50;
  constexpr int each = 300;
  SimpleQueue<int> queue;
  std::mutex mutex;
  std::vector<int> got;
  std::vector<std::thread> threads;
  for (int t = 0; t < feeders; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) queue.put(t * each + i);
    });
    threads.emplace_back([&] {
      std::vector<int> mine;
      while (mine.size() < each) {
        if (auto item = get_by(GetParam(), queue)) {
          mine.push_back(*item);
        } else {
          std::this_thread::yield();
        }
      }
      const std::lock_guard lock{mutex};
      got.insert(got.end(), mine.begin(), mine.end());
    });
  }
  for (auto& thread : threads) thread.join();
  std::sort(got.begin(), got.end());
  std::vector<int> want(feeders * each);
  std::iota(want.begin(), want.end(), 0);
  EXPECT_EQ(got, want);
}

TEST(SimpleQueue, References) {
  const auto item = std::make_shared<int>(1);
  {
    SimpleQueue<std::shared_ptr<int>> queue;
    for (int i = 0; i < 100; ++i) queue.put(item);
    EXPECT_EQ(item.use_count(), 101);
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(queue.get());
    EXPECT_EQ(item.use_count(), 41) << "the queue kept a reference after get";
  }
  EXPECT_EQ(item.use_count(), 1);
}

// Puts into the queue it comes from when it is destroyed, once.
struct Reentrant {
  SimpleQueue<Reentrant>* queue;
  explicit Reentrant(SimpleQueue<Reentrant>* q) : queue{q} {}
  Reentrant(Reentrant&& other) noexcept : queue{std::exchange(other.queue, nullptr)} {}
  Reentrant& operator=(Reentrant&&) = delete;
  ~Reentrant() {
    if (queue != nullptr) queue->put(Reentrant{nullptr});
  }
};

TEST(SimpleQueue, Reentrancy) {
  SimpleQueue<Reentrant> queue;
  for (int i = 0; i < 500; ++i) queue.put(Reentrant{&queue});
  int own = 0;
  int put_by_destructors = 0;
  while (auto item = queue.try_get()) ++(item->queue != nullptr ? own : put_by_destructors);
  EXPECT_EQ(own, 500);
  EXPECT_EQ(put_by_destructors, 500);
}

}  // namespace
