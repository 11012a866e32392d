// Layer actors, tests: several items of a Queue put and got at once, at every reach.
#include <passel/queue.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/blocked_thread.hpp"
#include "support/seed.hpp"

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::JoinableQueue;
using passel::Queue;
using passel::Reach;
using Numbers = std::vector<int>;

class QueueBatches : public testing::TestWithParam<Reach> {
 protected:
  template <class T = int>
  Queue<T> make(std::ptrdiff_t maxsize = 0) const {
    return Queue<T>{{.maxsize = maxsize, .reach = GetParam(), .joinable = true}};
  }
};

INSTANTIATE_TEST_SUITE_P(Reaches, QueueBatches, testing::Values(Reach::threads, Reach::host),
                         [](const auto& reach) {
                           return reach.param == Reach::threads ? "threads" : "host";
                         });

TEST_P(QueueBatches, WhatIsThereIsGotInOrder) {
  const auto queue = make();
  queue.put_many({1, 2, 3, 4, 5}).unwrap();
  EXPECT_EQ(queue.qsize(), 5U);
  EXPECT_EQ(queue.get_many(3).unwrap(), (Numbers{1, 2, 3}));
  EXPECT_EQ(queue.get_many_for(10, 1s).unwrap(), (Numbers{4, 5}));
  EXPECT_EQ(queue.try_get_many(10).error(), Errc::empty);
  EXPECT_EQ(queue.get_many_nowait(10).error(), Errc::empty);
  EXPECT_EQ(queue.get_many_for(10, 5ms).error(), Errc::empty);
  EXPECT_EQ(queue.get_many_for(1, -1s).error(), Errc::invalid_argument);
  EXPECT_EQ(queue.get_many(0).unwrap(), Numbers{});
  queue.put_many(Numbers{}).unwrap();
  EXPECT_TRUE(queue.empty());
}

TEST_P(QueueBatches, AreAsManyTasksAsItems) {
  const auto queue = make();
  queue.put_many({1, 2, 3}).unwrap();
  EXPECT_EQ(queue.get_many(3).unwrap().size(), 3U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(queue.join_for(1ms).error(), Errc::timeout);
    queue.task_done().unwrap();
  }
  queue.join().unwrap();
  EXPECT_EQ(queue.task_done().error(), Errc::invalid_argument);
}

TEST_P(QueueBatches, OneLargerThanTheQueueGoesThroughItInOrder) {
  const auto queue = make(3);
  Numbers sent(100);
  for (int i = 0; i < 100; ++i) sent[static_cast<std::size_t>(i)] = i;
  std::thread putter{[&] { queue.put_many(sent).unwrap(); }};
  Numbers got;
  while (got.size() < sent.size()) {
    const auto several = queue.get_many(10).unwrap();
    EXPECT_GE(several.size(), 1U);
    EXPECT_LE(several.size(), 10U);
    got.insert(got.end(), several.begin(), several.end());
  }
  putter.join();
  EXPECT_EQ(got, sent);
}

TEST_P(QueueBatches, ATrialIsAllOrNothing) {
  const auto queue = make(3);
  queue.put_many({1, 2}).unwrap();
  Numbers two{3, 4};
  EXPECT_EQ(queue.try_put_many(std::move(two)).error(), Errc::full);
  EXPECT_EQ(two, (Numbers{3, 4}));
  EXPECT_EQ(queue.qsize(), 2U);
  queue.try_put_many({3}).unwrap();
  EXPECT_EQ(queue.try_get_many(5).unwrap(), (Numbers{1, 2, 3}));
  EXPECT_EQ(queue.try_put_many({1, 2, 3, 4}).error(), Errc::full);
  EXPECT_TRUE(queue.empty());
}

TEST_P(QueueBatches, WhoseTimeIsUpHasWhatIsNotIn) {
  const auto queue = make(2);
  Numbers four{1, 2, 3, 4};
  EXPECT_EQ(queue.put_many_for(std::move(four), 5ms).error(), Errc::full);
  EXPECT_EQ(four, (Numbers{3, 4}));
  EXPECT_EQ(queue.put_many_for(Numbers{5}, -1s).error(), Errc::invalid_argument);
  EXPECT_EQ(queue.get_many(5).unwrap(), (Numbers{1, 2}));
}

TEST_P(QueueBatches, AShutdownEndsThem) {
  const auto queue = make(2);
  Numbers four{1, 2, 3, 4};
  {
    passel_test::BlockedThread putter{
        [&] { EXPECT_EQ(queue.put_many(std::move(four)).error(), Errc::closed); }};
    putter.wait_until_blocked();
    queue.shutdown();
  }
  EXPECT_EQ(four, (Numbers{3, 4}));
  EXPECT_EQ(queue.try_put_many({5}).error(), Errc::closed);
  EXPECT_EQ(queue.get_many(5).unwrap(), (Numbers{1, 2}));
  EXPECT_EQ(queue.get_many(5).error(), Errc::closed);
}

TEST_P(QueueBatches, OneWakesAllWhoWaitForAnItem) {
  const auto queue = make();
  std::atomic<int> sum{0};
  {
    std::vector<std::unique_ptr<passel_test::BlockedThread>> getters;
    for (int i = 0; i < 4; ++i) {
      getters.push_back(
          std::make_unique<passel_test::BlockedThread>([&] { sum += queue.get().unwrap(); }));
    }
    for (const auto& getter : getters) getter->wait_until_blocked();
    queue.put_many({1, 20, 300, 4000}).unwrap();
  }
  EXPECT_EQ(sum, 4321);
}

TEST_P(QueueBatches, OneWakesAllWhoWaitForRoom) {
  const auto queue = make(3);
  queue.put_many({1, 2, 3}).unwrap();
  {
    std::vector<std::unique_ptr<passel_test::BlockedThread>> putters;
    for (int i = 0; i < 3; ++i) {
      putters.push_back(
          std::make_unique<passel_test::BlockedThread>([&] { queue.put(4).unwrap(); }));
    }
    for (const auto& putter : putters) putter->wait_until_blocked();
    EXPECT_EQ(queue.get_many(3).unwrap(), (Numbers{1, 2, 3}));
  }
  EXPECT_EQ(queue.qsize(), 3U);
}

TEST_P(QueueBatches, LargeItemsKeepTheirPlaceAmongSmallOnes) {
  const auto queue = make<std::string>();
  std::vector<std::string> sent;
  for (const std::size_t size : {10U, 50'000U, 0U, 200'000U, 16'385U, 3U}) {
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
  }
  queue.put_many(sent).unwrap();
  queue.try_put_many(sent).unwrap();
  std::vector<std::string> got;
  while (got.size() < 2 * sent.size()) {
    auto several = queue.get_many(100).unwrap();
    if (GetParam() == Reach::host && several.size() > 1) {
      for (const auto& one : several) EXPECT_LE(one.size(), 16'384U) << "large ones come alone";
    }
    got.insert(got.end(), several.begin(), several.end());
  }
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i] == sent[i % sent.size()]) << i;
  EXPECT_TRUE(queue.empty());
}

TEST_P(QueueBatches, FromManyToManyLoseAndDuplicateNothing) {
  constexpr int putters = 3;
  const int each = static_cast<int>(passel_test::rounds(300));
  const auto queue = make<std::pair<int, int>>(7);
  std::mutex mutex;
  std::vector<Numbers> got(putters);
  std::vector<std::thread> threads;
  for (int p = 0; p < putters; ++p) {
    threads.emplace_back([&, p] {
      for (int next = 0; next < each;) {
        std::vector<std::pair<int, int>> batch;
        for (int i = 0; i < 1 + next % 11 && next < each; ++i) batch.emplace_back(p, next++);
        queue.put_many(std::move(batch)).unwrap();
      }
    });
  }
  std::vector<std::thread> getters;
  for (int g = 0; g < 3; ++g) {
    getters.emplace_back([&, g] {
      while (auto several = queue.get_many(static_cast<std::size_t>(1 + 3 * g))) {
        const std::lock_guard lock{mutex};
        for (const auto& [p, number] : *several) got[static_cast<std::size_t>(p)].push_back(number);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  queue.shutdown();
  for (auto& getter : getters) getter.join();
  for (Numbers& of_one : got) {
    std::sort(of_one.begin(), of_one.end());
    ASSERT_EQ(of_one.size(), static_cast<std::size_t>(each));
    for (int i = 0; i < each; ++i) ASSERT_EQ(of_one[static_cast<std::size_t>(i)], i);
  }
}

/// Copies of it can be made so often.
struct Costly {
  explicit Costly(int n) : number{n} {}
  Costly(const Costly& other) : number{other.number} {
    if (left-- == 0) throw std::bad_alloc{};
  }
  Costly& operator=(const Costly&) = default;
  int number;
  static inline int left = 1000;
};

TEST(QueueBatch, WhatThrowsStaysInTheQueueAndTheOthersAreGot) {
  const Queue<Costly> queue{{.reach = Reach::threads}};
  for (int i = 0; i < 4; ++i) queue.put(Costly{i}).unwrap();
  Costly::left = 2;
  const auto got = queue.get_many(4).unwrap();
  ASSERT_EQ(got.size(), 2U);
  Costly::left = 0;
  EXPECT_THROW(static_cast<void>(queue.get_many(4)), std::bad_alloc);
  Costly::left = 1000;
  const auto rest = queue.get_many(4).unwrap();
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_EQ(rest[0].number, 2);
  EXPECT_EQ(rest[1].number, 3);
}

TEST(QueueBatch, ItemsThatCanOnlyBeMovedAreMoved) {
  const Queue<std::unique_ptr<int>> queue;
  std::vector<std::unique_ptr<int>> items;
  for (int i = 0; i < 3; ++i) items.push_back(std::make_unique<int>(i));
  queue.put_many(std::move(items)).unwrap();
  EXPECT_TRUE(items.empty());
  const auto got = queue.get_many(5).unwrap();
  ASSERT_EQ(got.size(), 3U);
  EXPECT_EQ(*got[2], 2);
}

TEST(QueueBatch, AnItemOverTheLimitEndsTheBatchAndATrialPutsNone) {
  const Queue<std::string> queue{{.message_limit = 10}};
  std::vector<std::string> items{"good", std::string(11, 'x'), "good, too"};
  EXPECT_EQ(queue.try_put_many(items).error(), Errc::too_large);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.put_many(std::move(items)).error(), Errc::too_large);
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[1], "good, too");
  EXPECT_EQ(queue.get_many(5).unwrap(), std::vector<std::string>{"good"});
}

TEST(QueueBatch, WhatAnotherProcessGotComesBackWithItsLastHandle) {
  JoinableQueue<int> queue;
  queue.put_many({1, 2, 3, 4}).unwrap();
  {
    // A second attachment, as another process has it.
    const auto encoded = passel::detail::encode(queue).unwrap();
    const auto other =
        passel::detail::decode<JoinableQueue<int>>(encoded.bytes, encoded.descriptors).unwrap();
    EXPECT_EQ(other.get_many(3).unwrap(), (Numbers{1, 2, 3}));
    other.task_done().unwrap();
  }
  EXPECT_EQ(queue.get_many(10).unwrap(), (Numbers{2, 3, 4}));
}

TEST(QueueBatch, OfAClosedHandleIsAnError) {
  Queue<int> queue;
  queue.close();
  EXPECT_EQ(queue.put_many({1}).error(), Errc::invalid_state);
  EXPECT_EQ(queue.try_get_many(1).error(), Errc::invalid_state);
}

}  // namespace
