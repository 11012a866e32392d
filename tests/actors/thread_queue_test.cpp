// Thread queues, after CPython's test_queue, over three orders.
#include <passel/detail/blocking_queue.hpp>
#include <passel/lifo_queue.hpp>
#include <passel/priority_queue.hpp>

#include <gtest/gtest.h>
#include <support/blocked_thread.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// The behaviours of CPython's Lib/test/test_queue.py (BaseQueueTestMixin, FailingQueueTest), for
// all three orders; each case is named after the method it follows.

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel_test::BlockedThread;

template <class T>
class FifoQueue : public passel::detail::BlockingQueue<T, passel::detail::FifoOrder<T>> {
 public:
  explicit FifoQueue(std::ptrdiff_t maxsize = 0)
      : passel::detail::BlockingQueue<T, passel::detail::FifoOrder<T>>{maxsize} {}
};

template <class Q>
class ThreadQueue : public testing::Test {};

struct KindNames {
  template <class Q>
  static std::string GetName(int) {
    if (std::is_same_v<Q, FifoQueue<int>>) return "Fifo";
    if (std::is_same_v<Q, passel::LifoQueue<int>>) return "Lifo";
    return "Priority";
  }
};
using Kinds = testing::Types<FifoQueue<int>, passel::LifoQueue<int>, passel::PriorityQueue<int>>;
TYPED_TEST_SUITE(ThreadQueue, Kinds, KindNames);

template <class Q>
std::vector<int> expected_order(std::vector<int> put) {
  if (std::is_same_v<Q, passel::LifoQueue<int>>) std::reverse(put.begin(), put.end());
  if (std::is_same_v<Q, passel::PriorityQueue<int>>) std::sort(put.begin(), put.end());
  return put;
}

template <class Q>
std::vector<int> drain(Q& queue) {
  std::vector<int> items;
  while (auto item = queue.try_get()) items.push_back(*item);
  return items;
}

TYPED_TEST(ThreadQueue, Basic) {
  TypeParam queue{3};
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.qsize(), 0u);
  for (const int n : {111, 333, 222}) ASSERT_TRUE(queue.put(n));
  EXPECT_EQ(queue.qsize(), 3u);
  EXPECT_TRUE(queue.full());
  EXPECT_EQ(drain(queue), (expected_order<TypeParam>({111, 333, 222})));
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
}

TYPED_TEST(ThreadQueue, NoWait) {
  TypeParam queue{2};
  ASSERT_TRUE(queue.try_put(1));
  ASSERT_TRUE(queue.try_put(2));
  const auto full = queue.try_put(3);
  ASSERT_TRUE(full.is_err());
  EXPECT_EQ(full.error().to_string(), "full: the queue holds 2 of 2 items");
  EXPECT_TRUE(queue.try_get());
  EXPECT_TRUE(queue.try_get());
  const auto empty = queue.try_get();
  ASSERT_TRUE(empty.is_err());
  EXPECT_TRUE(empty.error() == Errc::empty);
}

TYPED_TEST(ThreadQueue, TimedOutCallsSayFullOrEmptyAndWaitedThatLong) {
  TypeParam queue{1};
  ASSERT_TRUE(queue.put(1));
  auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(queue.put_for(2, 20ms).error() == Errc::full);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  ASSERT_TRUE(queue.get());
  start = std::chrono::steady_clock::now();
  EXPECT_TRUE(queue.get_for(20ms).error() == Errc::empty);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
}

TYPED_TEST(ThreadQueue, NegativeTimeoutRaisesException) {
  TypeParam queue{1};
  EXPECT_EQ(queue.put_for(1, -1s).error().to_string(),
            "invalid_argument: 'timeout' must be a non-negative number");
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.get_for(-1s).error() == Errc::invalid_argument);
  EXPECT_TRUE(queue.join_for(-1ms).error() == Errc::invalid_argument);
}

TYPED_TEST(ThreadQueue, PutBlocksUntilGet) {
  TypeParam queue{1};
  ASSERT_TRUE(queue.put(1));
  BlockedThread putter{[&] { EXPECT_TRUE(queue.put(2)); }};
  putter.wait_until_blocked();
  EXPECT_FALSE(putter.ended());
  EXPECT_EQ(*queue.get(), 1);
  EXPECT_EQ(*queue.get(), 2);
}

TYPED_TEST(ThreadQueue, GetBlocksUntilPut) {
  TypeParam queue;
  BlockedThread getter{[&] { EXPECT_EQ(*queue.get(), 7); }};
  getter.wait_until_blocked();
  EXPECT_FALSE(getter.ended());
  ASSERT_TRUE(queue.put(7));
}

TYPED_TEST(ThreadQueue, ManyThreadsLoseAndDuplicateNothing) {
  constexpr int threads = 50;
  constexpr int each = 200;
  TypeParam queue{17};
  std::mutex mutex;
  std::vector<int> got;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) EXPECT_TRUE(queue.put(t * each + i));
    });
    all.emplace_back([&] {
      std::vector<int> mine;
      for (int i = 0; i < each; ++i) mine.push_back(*queue.get());
      const std::lock_guard lock{mutex};
      got.insert(got.end(), mine.begin(), mine.end());
    });
  }
  for (auto& thread : all) thread.join();
  std::sort(got.begin(), got.end());
  std::vector<int> want(threads * each);
  std::iota(want.begin(), want.end(), 0);
  EXPECT_EQ(got, want);
}

TYPED_TEST(ThreadQueue, QueueTaskDone) {
  TypeParam queue;
  const auto done = queue.task_done();
  ASSERT_TRUE(done.is_err());
  EXPECT_EQ(done.error().to_string(), "invalid_argument: task_done() called too many times");
  ASSERT_TRUE(queue.put(1));
  EXPECT_TRUE(queue.task_done());
  EXPECT_TRUE(queue.task_done().is_err());
}

TYPED_TEST(ThreadQueue, QueueJoinWorksRepeatedly) {
  TypeParam queue;
  std::atomic<int> sum{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 2; ++w) {
    workers.emplace_back([&] {
      for (auto& item : queue) {
        sum += item;
        EXPECT_TRUE(queue.task_done());
      }
    });
  }
  for (int round = 1; round <= 2; ++round) {
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue.put(i));
    ASSERT_TRUE(queue.join());
    EXPECT_EQ(sum.load(), round * 99 * 50);
  }
  queue.shutdown();
  for (auto& worker : workers) worker.join();
  EXPECT_TRUE(queue.join());
}

TYPED_TEST(ThreadQueue, JoinTimesOutWhileTasksAreOpen) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  const auto joined = queue.join_for(5ms);
  ASSERT_TRUE(joined.is_err());
  EXPECT_EQ(joined.error().to_string(), "timeout: 1 tasks of the queue are not done yet");
}

TYPED_TEST(ThreadQueue, ShrinkingQueue) {
  TypeParam queue{3};
  for (const int n : {1, 2, 3}) ASSERT_TRUE(queue.put(n));
  queue.set_maxsize(2);
  EXPECT_TRUE(queue.try_put(4).error() == Errc::full);
  ASSERT_TRUE(queue.get());
  EXPECT_TRUE(queue.try_put(4).error() == Errc::full);
  ASSERT_TRUE(queue.get());
  EXPECT_TRUE(queue.try_put(4));
  EXPECT_EQ(queue.qsize(), 2u);
}

TYPED_TEST(ThreadQueue, RaisingTheLimitWakesPutters) {
  TypeParam queue{1};
  ASSERT_TRUE(queue.put(1));
  BlockedThread putter{[&] { EXPECT_TRUE(queue.put(2)); }};
  putter.wait_until_blocked();
  queue.set_maxsize(0);
  putter.join();
  EXPECT_EQ(queue.qsize(), 2u);
  EXPECT_EQ(queue.maxsize(), 0u);
}

TYPED_TEST(ThreadQueue, ShutdownEmpty) {
  TypeParam queue;
  queue.shutdown();
  EXPECT_TRUE(queue.is_shutdown());
  EXPECT_TRUE(queue.put(1).error() == Errc::closed);
  EXPECT_TRUE(queue.get().error() == Errc::closed);
  EXPECT_TRUE(queue.try_get().error() == Errc::closed);
}

TYPED_TEST(ThreadQueue, ShutdownNonemptyDrainsThenCloses) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  queue.shutdown();
  EXPECT_TRUE(queue.put(2).error() == Errc::closed);
  EXPECT_TRUE(queue.try_put(2).error() == Errc::closed);
  EXPECT_EQ(*queue.get(), 1);
  EXPECT_TRUE(queue.get().error() == Errc::closed);
}

TYPED_TEST(ThreadQueue, ShutdownImmediate) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  queue.shutdown({.immediate = true});
  EXPECT_TRUE(queue.put(2).error() == Errc::closed);
  EXPECT_TRUE(queue.get().error() == Errc::closed);
  EXPECT_EQ(queue.qsize(), 0u);
  EXPECT_TRUE(queue.join()) << "what was removed counts as done";
}

TYPED_TEST(ThreadQueue, ShutdownAllowedTransitions) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  queue.shutdown();
  queue.shutdown();
  EXPECT_EQ(queue.qsize(), 1u);
  queue.shutdown({.immediate = true});
  EXPECT_EQ(queue.qsize(), 0u);
  queue.shutdown();
  EXPECT_TRUE(queue.is_shutdown());
}

TYPED_TEST(ThreadQueue, ShutdownWakesBlockedPutters) {
  for (const bool immediate : {false, true}) {
    TypeParam queue{1};
    ASSERT_TRUE(queue.put(1));
    BlockedThread one{[&] { EXPECT_TRUE(queue.put(2).error() == Errc::closed); }};
    BlockedThread two{[&] { EXPECT_TRUE(queue.put_for(2, 1h).error() == Errc::closed); }};
    one.wait_until_blocked();
    two.wait_until_blocked();
    queue.shutdown({.immediate = immediate});
  }
}

TYPED_TEST(ThreadQueue, ShutdownPendingGet) {
  for (const bool immediate : {false, true}) {
    TypeParam queue;
    BlockedThread one{[&] { EXPECT_TRUE(queue.get().error() == Errc::closed); }};
    BlockedThread two{[&] { EXPECT_TRUE(queue.get_for(1h).error() == Errc::closed); }};
    one.wait_until_blocked();
    two.wait_until_blocked();
    queue.shutdown({.immediate = immediate});
  }
}

TYPED_TEST(ThreadQueue, ShutdownAllMethodsInManyThreads) {
  for (const bool immediate : {false, true}) {
    TypeParam queue{4};
    std::latch ready{8};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        while (queue.put(1)) {
        }
      });
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        while (queue.get()) EXPECT_TRUE(queue.task_done());
      });
    }
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    queue.shutdown({.immediate = immediate});
    for (auto& thread : threads) thread.join();
    EXPECT_TRUE(queue.empty());
    EXPECT_TRUE(queue.join());
  }
}

TYPED_TEST(ThreadQueue, ShutdownJoinWaitsForWhatIsLeft) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  queue.shutdown();
  EXPECT_TRUE(queue.join_for(1ms).error() == Errc::timeout);
  BlockedThread one{[&] { EXPECT_TRUE(queue.join()); }};
  BlockedThread two{[&] { EXPECT_TRUE(queue.join()); }};
  one.wait_until_blocked();
  two.wait_until_blocked();
  EXPECT_FALSE(one.ended());
  ASSERT_TRUE(queue.get());
  ASSERT_TRUE(queue.task_done());
}

TYPED_TEST(ThreadQueue, ShutdownImmediateJoinWakesBothJoiners) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  ASSERT_TRUE(queue.put(2));
  BlockedThread one{[&] { EXPECT_TRUE(queue.join()); }};
  BlockedThread two{[&] { EXPECT_TRUE(queue.join()); }};
  one.wait_until_blocked();
  two.wait_until_blocked();
  queue.shutdown({.immediate = true});
}

TYPED_TEST(ThreadQueue, ShutdownImmediateStillWaitsForTasksInHand) {
  TypeParam queue;
  ASSERT_TRUE(queue.put(1));
  ASSERT_TRUE(queue.put(2));
  ASSERT_TRUE(queue.get());
  queue.shutdown({.immediate = true});
  EXPECT_TRUE(queue.join_for(1ms).error() == Errc::timeout);
  ASSERT_TRUE(queue.task_done());
  EXPECT_TRUE(queue.join());
}

TYPED_TEST(ThreadQueue, IterationEndsWhenShutDownAndDrained) {
  TypeParam queue;
  for (const int n : {2, 1, 3}) ASSERT_TRUE(queue.put(n));
  queue.shutdown();
  std::vector<int> seen;
  for (auto& item : queue) seen.push_back(item);
  EXPECT_EQ(seen, (expected_order<TypeParam>({2, 1, 3})));
}

struct Counted {
  static inline std::atomic<int> alive{0};
  int key = 0;
  explicit Counted(int k) : key{k} { ++alive; }
  Counted(Counted&& other) noexcept : key{other.key} { ++alive; }
  Counted& operator=(Counted&& other) noexcept = default;
  ~Counted() { --alive; }
  friend bool operator<(const Counted& a, const Counted& b) { return a.key < b.key; }
};

template <class Q>
void keeps_nothing_after_get() {
  {
    Q queue;
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue.put(Counted{i}));
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(queue.get());
    EXPECT_EQ(Counted::alive.load(), 40);
    queue.shutdown({.immediate = true});
    EXPECT_EQ(Counted::alive.load(), 0);
  }
  Q dropped;
  ASSERT_TRUE(dropped.put(Counted{1}));
}

TEST(ThreadQueueItems, References) {
  keeps_nothing_after_get<FifoQueue<Counted>>();
  keeps_nothing_after_get<passel::LifoQueue<Counted>>();
  keeps_nothing_after_get<passel::PriorityQueue<Counted>>();
  EXPECT_EQ(Counted::alive.load(), 0);
}

TEST(ThreadQueueItems, AFailedPutHasNotMovedFromItsArgument) {
  FifoQueue<std::unique_ptr<int>> queue{1};
  ASSERT_TRUE(queue.put(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_TRUE(queue.try_put(std::move(second)).error() == Errc::full);
  EXPECT_TRUE(queue.put_for(std::move(second), 1ms).error() == Errc::full);
  EXPECT_TRUE(queue.put_for(std::move(second), -1ms).error() == Errc::invalid_argument);
  queue.shutdown();
  EXPECT_TRUE(queue.put(std::move(second)).error() == Errc::closed);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(ThreadQueueItems, DestructorsMayUseTheQueue) {
  struct Nosy {
    FifoQueue<Nosy>* queue;
    explicit Nosy(FifoQueue<Nosy>* q) : queue{q} {}
    Nosy(Nosy&& other) noexcept : queue{std::exchange(other.queue, nullptr)} {}
    Nosy& operator=(Nosy&&) = delete;
    ~Nosy() {
      if (queue != nullptr) {
        EXPECT_TRUE(queue->try_get().is_err());
      }
    }
  };
  FifoQueue<Nosy> queue;
  ASSERT_TRUE(queue.put(Nosy{&queue}));
  queue.shutdown({.immediate = true});
  EXPECT_TRUE(queue.empty());
}

// A T whose copies fail on demand, and whose moves are copies.
struct Fragile {
  static inline std::atomic<bool> failing{false};
  int value = 0;
  explicit Fragile(int v) : value{v} {}
  Fragile(const Fragile& other) : value{other.value} {
    if (failing.load()) throw std::runtime_error{"You Lose"};
  }
  Fragile& operator=(const Fragile&) = default;
};

TEST(FailingQueue, AnItemWhoseCopyThrowsLeavesTheQueueAsItWas) {
  FifoQueue<Fragile> queue{2};
  const Fragile one{1};
  ASSERT_TRUE(queue.put(one));
  Fragile two{2};
  Fragile::failing = true;
  EXPECT_THROW(static_cast<void>(queue.put(std::move(two))), std::runtime_error);
  EXPECT_THROW(static_cast<void>(queue.get()), std::runtime_error);
  EXPECT_EQ(queue.qsize(), 1u);
  Fragile::failing = false;
  EXPECT_EQ(queue.get()->value, 1);
  EXPECT_TRUE(queue.task_done());
  EXPECT_TRUE(queue.task_done().is_err()) << "the failed put was counted";
}

// Fails once, for the first getter that takes it out of the queue.
struct FailsOnce {
  std::shared_ptr<std::atomic<bool>> armed;
  explicit FailsOnce(std::shared_ptr<std::atomic<bool>> flag) : armed{std::move(flag)} {}
  FailsOnce(const FailsOnce& other) : armed{other.armed} {
    if (armed->exchange(false)) throw std::runtime_error{"You Lose"};
  }
  FailsOnce& operator=(const FailsOnce&) = default;
};

TEST(FailingQueue, AThrowingGetterPassesItsWakeUpOn) {
  FifoQueue<FailsOnce> queue{1};
  const auto armed = std::make_shared<std::atomic<bool>>(false);
  std::atomic<int> threw{0};
  std::atomic<int> got{0};
  const auto body = [&] {
    try {
      if (queue.get()) ++got;
    } catch (const std::runtime_error&) {
      ++threw;
    }
  };
  {
    BlockedThread blocker{[&] {
      // The item gets armed only once it is inside: copies on the way in succeed.
      ASSERT_TRUE(queue.put(FailsOnce{armed}));
      ASSERT_TRUE(queue.put(FailsOnce{armed}));
    }};
    blocker.wait_until_blocked();
    armed->store(true);
    EXPECT_THROW(static_cast<void>(queue.get()), std::runtime_error);
    BlockedThread one{body};
    BlockedThread two{body};
  }
  EXPECT_EQ(got.load(), 2);
  EXPECT_EQ(threw.load(), 0);
  EXPECT_TRUE(queue.empty());
}

struct ThrowingLess {
  bool* armed;
  bool operator()(int a, int b) const {
    if (*armed) throw std::runtime_error{"You Lose"};
    return a < b;
  }
};

TEST(FailingQueue, AComparisonThatThrowsLeavesThePriorityQueueAsItWas) {
  bool armed = false;
  passel::PriorityQueue<int, ThrowingLess> queue{0, ThrowingLess{&armed}};
  for (const int n : {5, 3, 9, 1, 7, 4}) ASSERT_TRUE(queue.put(n));
  armed = true;
  EXPECT_THROW(static_cast<void>(queue.put(2)), std::runtime_error);
  EXPECT_THROW(static_cast<void>(queue.get()), std::runtime_error);
  armed = false;
  EXPECT_EQ(queue.qsize(), 6u);
  EXPECT_EQ(drain(queue), (std::vector<int>{1, 3, 4, 5, 7, 9}));
}

TEST(PriorityQueue, TiesComeInTheOrderInWhichTheyWerePut) {
  struct ByFirst {
    bool operator()(const std::pair<int, int>& a, const std::pair<int, int>& b) const {
      return a.first < b.first;
    }
  };
  passel::PriorityQueue<std::pair<int, int>, ByFirst> queue;
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(queue.put({i % 3, i}));
  std::pair<int, int> last{-1, -1};
  while (auto item = queue.try_get()) {
    EXPECT_LT(last, *item);
    last = *item;
  }
  EXPECT_EQ(last, (std::pair{2, 299}));
}

TEST(PriorityQueue, TakesMoveOnlyItemsAndAnyOrder) {
  struct Larger {
    bool operator()(const std::unique_ptr<int>& a, const std::unique_ptr<int>& b) const {
      return *a > *b;
    }
  };
  passel::PriorityQueue<std::unique_ptr<int>, Larger> queue;
  for (const int n : {1, 3, 2}) ASSERT_TRUE(queue.put(std::make_unique<int>(n)));
  EXPECT_EQ(**queue.get(), 3);
  EXPECT_EQ(**queue.get(), 2);
  EXPECT_EQ(**queue.get(), 1);
}

}  // namespace
