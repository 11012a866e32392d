// Queue and JoinableQueue, after CPython's queue tests, at every reach.
#include <passel/queue.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

namespace queue_test {

struct Job {
  int id = 0;
  std::string url;
  std::vector<double> weights;
  friend bool operator==(const Job&, const Job&) = default;
};

}  // namespace queue_test

namespace {

using namespace std::chrono_literals;
using passel::Delivered;
using passel::Errc;
using passel::JoinableQueue;
using passel::Queue;
using passel::QueueOptions;
using passel::Reach;
using passel::Result;
using queue_test::Job;

pid_t in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  return child;
}

int exit_code(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// The same cases between threads and between processes, as CPython runs its queue tests.
class QueueAtReach : public testing::TestWithParam<Reach> {
 protected:
  template <class T = int>
  Queue<T> make(std::ptrdiff_t maxsize = 0, bool joinable = false) const {
    return Queue<T>{{.maxsize = maxsize, .reach = GetParam(), .joinable = joinable}};
  }
};

INSTANTIATE_TEST_SUITE_P(Reaches, QueueAtReach, testing::Values(Reach::threads, Reach::host),
                         [](const auto& reach) {
                           return reach.param == Reach::threads ? "threads" : "host";
                         });

// CPython: BaseQueueTestMixin.simple_queue_test
TEST_P(QueueAtReach, BasicUse) {
  const auto queue = make<int>(3);
  EXPECT_EQ(queue.reach(), GetParam());
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.maxsize(), 3U);
  queue.put(111).unwrap();
  queue.put(333).unwrap();
  queue.put(222).unwrap();
  EXPECT_EQ(queue.qsize(), 3U);
  EXPECT_TRUE(queue.full());
  EXPECT_TRUE(queue.try_put(4).error() == Errc::full);
  EXPECT_TRUE(queue.put_nowait(4).error() == Errc::full);
  EXPECT_TRUE(queue.put_for(4, 10ms).error() == Errc::full);
  EXPECT_EQ(queue.get().unwrap(), 111);
  EXPECT_EQ(queue.get_for(1s).unwrap(), 333);
  EXPECT_EQ(queue.get_nowait().unwrap(), 222);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.try_get().error() == Errc::empty);
  EXPECT_TRUE(queue.get_for(10ms).error() == Errc::empty);
}

TEST_P(QueueAtReach, MaxsizeOfZeroOrLessIsNoLimit) {
  for (const std::ptrdiff_t maxsize : {0, -1}) {
    const auto queue = make<int>(maxsize);
    EXPECT_EQ(queue.maxsize(), 0U);
    for (int i = 0; i < 10'000; ++i) queue.try_put(i).unwrap();
    EXPECT_FALSE(queue.full());
    EXPECT_EQ(queue.qsize(), 10'000U);
  }
}

// CPython: test_negative_timeout_raises_exception
TEST_P(QueueAtReach, NegativeTimeoutsAreRefused) {
  const auto queue = make<int>(1);
  EXPECT_TRUE(queue.put_for(1, -1s).error() == Errc::invalid_argument);
  EXPECT_TRUE(queue.get_for(-1s).error() == Errc::invalid_argument);
  EXPECT_TRUE(queue.empty());
}

TEST_P(QueueAtReach, BlockedPutAndGetGoOnWhenTheyCan) {
  const auto queue = make<int>(1);
  {
    passel_test::BlockedThread getter{[&] { EXPECT_EQ(queue.get().unwrap(), 7); }};
    getter.wait_until_blocked();
    queue.put(7).unwrap();
  }
  queue.put(1).unwrap();
  passel_test::BlockedThread putter{[&] { queue.put(2).unwrap(); }};
  putter.wait_until_blocked();
  EXPECT_EQ(queue.get().unwrap(), 1);
  EXPECT_EQ(queue.get().unwrap(), 2);
}

TEST_P(QueueAtReach, AFailedPutHasNotMovedFromItsArgument) {
  const auto queue = make<std::string>(1);
  queue.put("full").unwrap();
  std::string item(100, 'x');
  EXPECT_TRUE(queue.try_put(std::move(item)).is_err());
  EXPECT_EQ(item, std::string(100, 'x'));  // NOLINT(bugprone-use-after-move): that is the point
}

TEST_P(QueueAtReach, StructsTextAndNumbersArriveEqual) {
  const auto jobs = make<Job>();
  const Job job{.id = 7, .url = "http://localhost/", .weights = {0.5, -1.0}};
  jobs.put(job).unwrap();
  EXPECT_EQ(jobs.get().unwrap(), job);
  const auto texts = make<std::string>();
  for (const std::size_t size : {0U, 1U, 100U, 16384U, 16385U, 1U << 20}) {
    texts.put(std::string(size, 'x')).unwrap();
    EXPECT_EQ(texts.get().unwrap(), std::string(size, 'x'));
  }
  const auto arrays = make<std::vector<double>>();
  const std::vector<double> numbers(100'000, 1.5);
  arrays.put(numbers).unwrap();
  EXPECT_EQ(arrays.get().unwrap(), numbers);
  const auto flags = make<bool>();
  flags.put(true).unwrap();
  EXPECT_TRUE(flags.get().unwrap());
  const auto maybe = make<std::optional<std::map<std::string, int>>>();
  maybe.put({{{"a", 1}}}).unwrap();
  maybe.put(std::nullopt).unwrap();
  EXPECT_EQ(maybe.get().unwrap()->at("a"), 1);
  EXPECT_EQ(maybe.get().unwrap(), std::nullopt);
}

// CPython: test_queue_task_done, test_queue_join
TEST_P(QueueAtReach, JoinWaitsForTaskDone) {
  const auto queue = make<int>(0, true);
  EXPECT_TRUE(queue.task_done().error() == Errc::invalid_argument);
  std::atomic<int> sum{0};
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < 2; ++i) {
      workers.emplace_back([&] {
        for (const int n : queue) {
          sum += n;
          queue.task_done().unwrap();
        }
      });
    }
    for (int round = 0; round < 2; ++round) {
      for (int i = 1; i <= 100; ++i) queue.put(i).unwrap();
      queue.join().unwrap();
      EXPECT_EQ(sum.exchange(0), 5050);
    }
    queue.shutdown();
  }
  const auto late = queue.task_done();
  EXPECT_TRUE(late.error() == Errc::invalid_argument);
  EXPECT_EQ(late.error().what(), "task_done() called too many times");
}

TEST_P(QueueAtReach, JoinForGivesUp) {
  const auto queue = make<int>(0, true);
  queue.put(1).unwrap();
  EXPECT_TRUE(queue.join_for(5ms).error() == Errc::timeout);
  EXPECT_TRUE(queue.join_for(-1s).error() == Errc::timeout);
  queue.get().unwrap();
  queue.task_done().unwrap();
  queue.join_for(1h).unwrap();
}

// CPython: test_shutdown_nonempty, test_shutdown_allowed_transitions
TEST_P(QueueAtReach, ShutdownDrainsThenCloses) {
  const auto queue = make<int>(2);
  queue.put(1).unwrap();
  queue.shutdown();
  EXPECT_TRUE(queue.is_shutdown());
  EXPECT_TRUE(queue.put(2).error() == Errc::closed);
  EXPECT_TRUE(queue.try_put(2).error() == Errc::closed);
  EXPECT_EQ(queue.get().unwrap(), 1);
  EXPECT_TRUE(queue.get().error() == Errc::closed);
  EXPECT_TRUE(queue.try_get().error() == Errc::closed);
  queue.shutdown();
  queue.shutdown({.immediate = true});
}

// CPython: test_shutdown_immediate, test_shutdown_immediate_put_join
TEST_P(QueueAtReach, ImmediateShutdownThrowsItemsAwayAndReleasesJoin) {
  const auto queue = make<int>(0, true);
  for (int i = 0; i < 10; ++i) queue.put(i).unwrap();
  passel_test::BlockedThread joiner{[&] { queue.join().unwrap(); }};
  joiner.wait_until_blocked();
  queue.shutdown({.immediate = true});
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.get().error() == Errc::closed);
}

// CPython: test_shutdown_pending_get, test_shutdown_put
TEST_P(QueueAtReach, ShutdownWakesBlockedGettersAndPutters) {
  const auto empty = make<int>();
  const auto full = make<int>(1);
  full.put(1).unwrap();
  passel_test::BlockedThread getter{[&] { EXPECT_TRUE(empty.get().error() == Errc::closed); }};
  passel_test::BlockedThread putter{[&] { EXPECT_TRUE(full.put(2).error() == Errc::closed); }};
  getter.wait_until_blocked();
  putter.wait_until_blocked();
  empty.shutdown();
  full.shutdown();
}

TEST_P(QueueAtReach, IterationEndsWhenShutDownAndDrained) {
  const auto queue = make<int>();
  for (int i = 0; i < 5; ++i) queue.put(i).unwrap();
  queue.shutdown();
  std::vector<int> seen;
  for (const int n : queue) seen.push_back(n);
  EXPECT_EQ(seen, (std::vector{0, 1, 2, 3, 4}));
}

// CPython: test_many_threads
TEST_P(QueueAtReach, FiftyThreadsLoseAndDuplicateNothing) {
  constexpr int threads = 50;
  constexpr int each = 100;
  const auto queue = make<int>(10);
  std::array<std::atomic<int>, threads * each> seen{};
  {
    std::vector<std::jthread> running;
    for (int t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) queue.put(t * each + i).unwrap();
      });
      running.emplace_back([&] {
        for (int i = 0; i < each; ++i) ++seen[static_cast<std::size_t>(queue.get().unwrap())];
      });
    }
  }
  for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
  EXPECT_TRUE(queue.empty());
}

// CPython: mp _TestQueue.test_closed_queue_put_get_exceptions, test_closed_queue_empty_exceptions
TEST_P(QueueAtReach, AClosedHandleSaysSoAndTheOthersGoOn) {
  auto queue = make<int>(0, true);
  const auto other = queue;
  EXPECT_TRUE(queue.join_thread().error() == Errc::invalid_state);
  queue.put(1).unwrap();
  queue.close();
  queue.close();
  EXPECT_TRUE(queue.closed());
  queue.join_thread().unwrap();
  queue.cancel_join_thread();
  for (const auto& refused : {queue.put(2), queue.try_put(2), queue.task_done(), queue.join()}) {
    ASSERT_TRUE(refused.is_err());
    EXPECT_TRUE(refused.error() == Errc::invalid_state);
    EXPECT_EQ(refused.error().what(), "Queue is closed");
  }
  EXPECT_EQ(queue.get().error().what(), "Queue is closed");
  EXPECT_EQ(other.get().unwrap(), 1);
  EXPECT_TRUE(other == other);
  EXPECT_FALSE(other == queue);
}

TEST_P(QueueAtReach, NothingIsLeftBehind) {
  const auto before = passel_test::ProcessCensus::take();
  {
    const auto queue = make<std::string>();
    const auto copy = queue;
    queue.put(std::string(1 << 20, 'x')).unwrap();
    copy.put("y").unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// CPython: test_references
TEST(Queue, KeepsNoReferenceAfterGet) {
  const Queue<std::shared_ptr<int>> queue{{.reach = Reach::threads}};
  auto item = std::make_shared<int>(5);
  const std::weak_ptr<int> watch = item;
  queue.put(std::move(item)).unwrap();
  EXPECT_FALSE(watch.expired());
  queue.get().unwrap().reset();
  EXPECT_TRUE(watch.expired());
}

TEST(Queue, ReachIsTheHostForWhatCanBeEncodedAndThreadsOtherwise) {
  struct Opaque {
    std::unique_ptr<int> pointer;
    std::function<void()> work;
    explicit Opaque(int n) : pointer{std::make_unique<int>(n)} {}
  };
  EXPECT_EQ(Queue<int>{}.reach(), Reach::host);
  EXPECT_EQ(Queue<Job>{}.reach(), Reach::host);
  const Queue<Opaque> local;
  EXPECT_EQ(local.reach(), Reach::threads);
  local.put(Opaque{3}).unwrap();
  EXPECT_EQ(*local.get().unwrap().pointer, 3);
  const auto refused = Queue<Opaque>::create({.reach = Reach::host});
  EXPECT_TRUE(refused.error() == Errc::invalid_argument);
}

// CPython: mp _TestQueue.test_put, test_get
TEST(Queue, WorksBetweenProcesses) {
  const Queue<Job> jobs{2};
  const Queue<std::string> answers;
  const pid_t child = in_child([&] {
    for (const Job& job : jobs) answers.put(job.url + "#" + std::to_string(job.id)).unwrap();
    return 0;
  });
  for (int i = 0; i < 100; ++i) jobs.put({.id = i, .url = "u", .weights = {}}).unwrap();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(answers.get().unwrap(), "u#" + std::to_string(i));
  jobs.shutdown();
  EXPECT_EQ(exit_code(child), 0);
}

// CPython: mp _TestQueue.test_fork
TEST(Queue, AChildMayEndAtOnceAndItsItemsAreThere) {
  const Queue<int> queue;
  for (int i = 0; i < 10; ++i) queue.put(i).unwrap();
  ASSERT_EQ(exit_code(in_child([&] {
              for (int i = 10; i < 20; ++i) queue.put(i).unwrap();
              return 0;
            })),
            0);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(queue.get().unwrap(), i);
  EXPECT_TRUE(queue.empty());
}

// python/cpython#73983: there, this join never returns.
TEST(Queue, AChildThatPutTenMegabytesCanBeJoinedBeforeTheyAreRead) {
  const Queue<std::string> queue;
  ASSERT_EQ(exit_code(in_child([&] {
              for (int i = 0; i < 10; ++i) queue.put(std::string(1 << 20, 'x')).unwrap();
              return 0;
            })),
            0);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(queue.get().unwrap().size(), 1U << 20);
}

// CPython: mp _TestQueue.test_task_done
TEST(Queue, JoinableBetweenProcesses) {
  const JoinableQueue<std::optional<int>> queue;
  std::vector<pid_t> workers;
  for (int i = 0; i < 4; ++i) {
    workers.push_back(in_child([&] {
      while (queue.get().unwrap()) queue.task_done().unwrap();
      return queue.task_done().is_ok() ? 0 : 1;
    }));
  }
  for (int i = 0; i < 10; ++i) queue.put(i).unwrap();
  queue.join().unwrap();
  for (int i = 0; i < 4; ++i) queue.put(std::nullopt).unwrap();
  for (const pid_t worker : workers) EXPECT_EQ(exit_code(worker), 0);
  queue.join().unwrap();
}

// CPython: mp _TestQueue.test_closed_queue_empty_exceptions
TEST(Queue, JoinThreadReturnsAtOnceBecausePutLeavesNothingBehind) {
  Queue<std::string> queue;
  EXPECT_EQ(exit_code(in_child([&] {
              queue.put(std::string(1 << 20, 'x')).unwrap();
              if (queue.join_thread().is_ok()) return 1;
              queue.close();
              return queue.join_thread().is_ok() ? 0 : 2;
            })),
            0);
  EXPECT_EQ(queue.get().unwrap().size(), 1U << 20);
}

// In Python this says that what is buffered may be lost. Here nothing is.
TEST(Queue, CancelJoinThreadLosesNothing) {
  const Queue<int> queue;
  EXPECT_EQ(exit_code(in_child([queue] {
              for (int i = 0; i < 1000; ++i) queue.put(i).unwrap();
              queue.cancel_join_thread();
              return 0;
            })),
            0);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(queue.try_get().unwrap(), i);
}

// CPython: mp _TestQueue.test_no_import_lock_contention
const std::string put_before_main = [] {
  const Queue<std::string> queue;
  queue.put("early").unwrap();
  return queue.get().unwrap();
}();

TEST(Queue, WorksInAStaticInitialiser) { EXPECT_EQ(put_before_main, "early"); }

TEST(Queue, TaskDoneBetweenProcessesNeedsAJoinableQueue) {
  const Queue<int> queue;
  EXPECT_TRUE(queue.task_done().error() == Errc::invalid_state);
  EXPECT_TRUE(queue.join().error() == Errc::invalid_state);
}

TEST(Queue, DeliveriesAreCounted) {
  JoinableQueue<int> queue;
  queue.put(5).unwrap();
  {
    // A second attachment, as another process has it.
    const auto encoded = passel::detail::encode(queue).unwrap();
    const auto other =
        passel::detail::decode<JoinableQueue<int>>(encoded.bytes, encoded.descriptors).unwrap();
    EXPECT_EQ(other.get_delivered().unwrap().count, 1U);
  }
  const Delivered<int> again = queue.get_delivered_for(1s).unwrap();
  EXPECT_EQ(again.item, 5);
  EXPECT_EQ(again.count, 2U);
}

// CPython: mp _TestQueue.test_queue_feeder_donot_stop_onexc
TEST(Queue, AnItemOverALimitIsAnErrorAndTheQueueGoesOn) {
  const Queue<std::string> queue{{.maxsize = 1, .message_limit = 10}};
  EXPECT_TRUE(queue.put(std::string(11, 'x')).error() == Errc::too_large);
  EXPECT_EQ(queue.qsize(), 0U);
  queue.try_put("ok").unwrap();
  EXPECT_EQ(queue.get().unwrap(), "ok");
}

TEST(Queue, AHandleTravelsAsAnArgument) {
  const auto before = passel_test::ProcessCensus::take();
  {
    const Queue<std::string> queue{3};
    queue.put("hello").unwrap();
    const auto pack = passel::detail::encode_pack(queue, 5).unwrap();
    ASSERT_EQ(pack.descriptors.size(), 1U);
    ASSERT_EQ(pack.objects.size(), 1U);
    auto [there, number] =
        passel::detail::decode_pack<Queue<std::string>, int>(pack.bytes, pack.descriptors).unwrap();
    EXPECT_EQ(number, 5);
    EXPECT_TRUE(there == queue);
    EXPECT_EQ(there.maxsize(), 3U);
    EXPECT_EQ(there.get().unwrap(), "hello");
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Queue, AHandleOfAnotherTypeIsRefusedByBothNames) {
  const Queue<int> queue;
  const auto encoded = passel::detail::encode(queue).unwrap();
  const auto wrong = passel::detail::decode<Queue<std::string>>(encoded.bytes, encoded.descriptors);
  ASSERT_TRUE(wrong.is_err());
  EXPECT_TRUE(wrong.error() == Errc::type_mismatch);
  EXPECT_NE(wrong.error().what().find("Queue of int"), std::string::npos) << wrong.error().what();
  EXPECT_NE(wrong.error().what().find("Queue of std::string"), std::string::npos)
      << wrong.error().what();
  const auto number = passel::detail::encode(7).unwrap();
  EXPECT_TRUE(passel::detail::decode<Queue<int>>(number.bytes).error() == Errc::type_mismatch);
}

TEST(Queue, HandlesThatCannotTravelSayWhy) {
  const Queue<int> local{{.reach = Reach::threads}};
  const auto encoded = passel::detail::encode(local).unwrap();
  EXPECT_NE(passel::detail::decode<Queue<int>>(encoded.bytes).error().what().find("threads"),
            std::string::npos);
  Queue<int> closed;
  closed.close();
  const auto nothing = passel::detail::encode(closed).unwrap();
  EXPECT_EQ(passel::detail::decode<Queue<int>>(nothing.bytes).error().what(), "Queue is closed");
}

// CPython: RuntimeError of the same text
TEST(Queue, ItemsOfAHostQueueMayHoldNoHandles) {
  const Queue<std::vector<Queue<int>>> queue;
  const auto refused = queue.put({Queue<int>{}});
  EXPECT_TRUE(refused.error() == Errc::invalid_state);
  EXPECT_EQ(refused.error().what(),
            "Queue objects should only be shared between processes through inheritance");
  EXPECT_TRUE(queue.empty());
  const Queue<Queue<int>> local{{.reach = Reach::threads}};
  local.put(Queue<int>{}).unwrap();
  local.get().unwrap().put(1).unwrap();
}

}  // namespace
