// ThreadPoolExecutor, after CPython's ThreadPoolExecutorTest and InitializerMixin.
#include <passel/process.hpp>
#include <passel/process_pool_executor.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pthread.h>
#include <atomic>
#include <latch>
#include <memory>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::Future;
using passel::Result;
using passel::ThreadPoolExecutor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ThreadPoolExecutor make(int workers) {
  return ThreadPoolExecutor::start({.max_workers = workers}).unwrap();
}

std::string os_thread_name() {
  char name[16] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

// test_default_workers
TEST(ThreadPoolExecutor, DefaultsToAFewMoreThanTheProcessors) {
  const auto executor = ThreadPoolExecutor::start().unwrap();
  EXPECT_EQ(executor.max_workers(),
            static_cast<unsigned>(std::min(32, passel::usable_cpu_count() + 4)));
}

// test_saturation
TEST(ThreadPoolExecutor, HasNoMoreThreadsThanAsked) {
  auto executor = make(4);
  std::counting_semaphore<> may_end{0};
  std::vector<Future<void>> futures;
  for (int i = 0; i < 15 * 4; ++i) {
    futures.push_back(executor.submit([&may_end] { may_end.acquire(); }));
  }
  EXPECT_EQ(executor.stats().threads.size(), 4U);
  may_end.release(15 * 4);
  passel::wait(futures);
}

// test_idle_thread_reuse
TEST(ThreadPoolExecutor, ReusesAnIdleThreadBeforeItStartsAnother) {
  auto executor = make(8);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(executor.submit([i] { return i * i; }).get().unwrap(), i * i);
    while (executor.stats().idle == 0) std::this_thread::yield();
  }
  EXPECT_EQ(executor.stats().threads.size(), 1U);
}

// test_thread_names_assigned, test_thread_names_default
TEST(ThreadPoolExecutor, ThreadsAreNamedAndNumbered) {
  auto named =
      ThreadPoolExecutor::start({.max_workers = 2, .thread_name_prefix = "SPECIAL_POOL"}).unwrap();
  std::latch both{2};
  auto first = named.submit([&both] {
    both.arrive_and_wait();
    return os_thread_name();
  });
  auto second = named.submit([&both] {
    both.arrive_and_wait();
    return os_thread_name();
  });
  EXPECT_THAT(named.stats().threads, ElementsAre("SPECIAL_POOL_0", "SPECIAL_POOL_1"));
  // The kernel's names have 15 bytes; the number is what tells threads apart.
  EXPECT_EQ((std::set{first.get().unwrap(), second.get().unwrap()}),
            (std::set<std::string>{"SPECIAL_POOL_0", "SPECIAL_POOL_1"}));
  auto unnamed = make(1);
  EXPECT_THAT(unnamed.submit(os_thread_name).get().unwrap(), HasSubstr("_0"));
  EXPECT_THAT(unnamed.stats().threads.front(),
              ::testing::MatchesRegex("ThreadPoolExecutor-[0-9]+_0"));
}

TEST(ThreadPoolExecutor, TakesAnyCallableAndAnyMovableArgument) {
  auto executor = make(2);
  auto owned = std::make_unique<int>(20);
  int offset = 1;
  auto sum = executor.submit(
      [offset, kept = std::make_unique<int>(21)](std::unique_ptr<int> given) {
        return std::make_unique<int>(*kept + *given + offset);
      },
      std::move(owned));
  EXPECT_EQ(*sum.get().unwrap(), 42);
  struct Counter {
    int add(int n) { return total += n; }
    int total = 1;
  } counter;
  EXPECT_EQ(executor.submit(&Counter::add, &counter, 4).get().unwrap(), 5);
  EXPECT_EQ(counter.total, 5);
  int by_reference = 0;
  executor.submit([](int& n) { n = 7; }, std::ref(by_reference)).get().unwrap();
  EXPECT_EQ(by_reference, 7);
}

TEST(ThreadPoolExecutor, ReturnedResultsAndFuturesAreFlattened) {
  auto executor = make(2);
  auto refused = executor.submit([]() -> Result<int> { return Error{Errc::full, "no"}; });
  EXPECT_TRUE(refused.get().error() == Errc::full);
  auto nested = executor.submit([&executor] { return executor.submit([] { return 9; }); });
  static_assert(std::is_same_v<decltype(nested), Future<int>>);
  EXPECT_EQ(nested.get().unwrap(), 9);
}

struct OwnError : std::runtime_error {
  using std::runtime_error::runtime_error;
  std::shared_ptr<int> token = std::make_shared<int>(5);
};

TEST(ThreadPoolExecutor, AnExceptionComesOutAsItself) {
  auto executor = make(1);
  std::weak_ptr<int> identity;
  auto failed = executor.submit([&identity]() -> int {
    OwnError error{"own"};
    identity = error.token;
    throw error;
  });
  const Error error = failed.get().error();
  EXPECT_TRUE(error == Errc::task_failed);
  const auto* remote = error.detail<passel::RemoteError>();
  ASSERT_NE(remote, nullptr);
  EXPECT_THAT(remote->type_name, HasSubstr("OwnError"));
  EXPECT_EQ(remote->what, "own");
  try {
    passel::rethrow(error);
  } catch (const OwnError& thrown) {
    EXPECT_EQ(thrown.token, identity.lock());
  }
  EXPECT_THROW(passel::rethrow(Error{Errc::full, "x"}), passel::Exception);
  // An error that a task unwraps is that error.
  auto unwrapped = executor.submit([] { Result<int>{Error{Errc::empty, "x"}}.unwrap(); });
  EXPECT_TRUE(unwrapped.get().error() == Errc::empty);
}

// test_free_reference, test_no_stale_references
TEST(ThreadPoolExecutor, ArgumentsAreGoneWhenTheFutureIsDone) {
  auto executor = make(1);
  auto object = std::make_shared<int>(1);
  auto used = executor.submit([object](const std::shared_ptr<int>&) {}, object);
  used.wait();
  EXPECT_EQ(object.use_count(), 1);
  auto thrown = executor.submit([object] { throw std::runtime_error{"x"}; });
  thrown.wait();
  EXPECT_EQ(object.use_count(), 1);
  // The result is gone with its future.
  auto result = executor.submit([] { return std::make_shared<int>(2); });
  const std::weak_ptr<int> seen = *result.result();
  EXPECT_FALSE(seen.expired());
  result = {};
  while (executor.stats().idle == 0) std::this_thread::yield();
  EXPECT_TRUE(seen.expired());
}

// InitializerMixin.test_initializer
TEST(ThreadPoolExecutor, TheInitializerRunsInEveryThread) {
  static thread_local int status = 0;
  std::atomic<int> runs{0};
  auto executor = ThreadPoolExecutor::start({.max_workers = 3,
                                             .initializer =
                                                 [&runs] {
                                                   status = 7;
                                                   ++runs;
                                                 }})
                      .unwrap();
  std::latch all{3};
  std::vector<Future<int>> seen;
  for (int i = 0; i < 3; ++i) {
    seen.push_back(executor.submit([&all] {
      all.arrive_and_wait();
      return status;
    }));
  }
  for (auto& each : seen) EXPECT_EQ(each.get().unwrap(), 7);
  EXPECT_EQ(runs, 3);
}

// FailingInitializerMixin.test_initializer
TEST(ThreadPoolExecutor, AFailingInitializerBreaksIt) {
  auto executor =
      ThreadPoolExecutor::start(
          {.max_workers = 2, .initializer = [] { throw std::runtime_error{"no licence"}; }})
          .unwrap();
  auto pending = executor.submit([] { return 1; });
  const Error error = pending.get().error();
  EXPECT_TRUE(error == Errc::broken);
  EXPECT_THAT(error.what(), HasSubstr("A thread initializer failed"));
  EXPECT_THAT(error.what(), HasSubstr("no licence"));
  auto object = std::make_shared<int>(1);
  EXPECT_TRUE(executor.submit([](std::shared_ptr<int>) {}, std::move(object)).get().error() ==
              Errc::broken);
  EXPECT_NE(object, nullptr);  // NOLINT: a refused call has not moved from its arguments
  executor.shutdown().unwrap();
}

// test_hang_global_shutdown_lock, in the form in which it hangs elsewhere: one thread, nested use.
TEST(ThreadPoolExecutor, ATaskMayWaitForTasksOfItsOwnExecutor) {
  auto executor = make(1);
  auto outer = executor.submit([&executor] {
    auto inner = executor.submit(
        [&executor] { return executor.submit([] { return 3; }).get().unwrap() + 1; });
    return inner.get().unwrap() + 1;
  });
  EXPECT_EQ(outer.get().unwrap(), 5);
  // The spare threads leave again.
  for (int i = 0; i < 50; ++i) executor.submit([] {}).get().unwrap();
  while (executor.stats().threads.size() > 1) std::this_thread::yield();
}

TEST(ThreadPoolExecutor, LentPlacesComeBack) {
  auto executor = make(2);
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::vector<Future<int>> outer;
  for (int i = 0; i < 20; ++i) {
    outer.push_back(executor.submit(
        [&executor, i] { return executor.submit([i] { return i; }).get().unwrap(); }));
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(outer[static_cast<std::size_t>(i)].get().unwrap(), i);
  while (executor.stats().threads.size() > 2) std::this_thread::yield();
  std::vector<Future<void>> after;
  for (int i = 0; i < 200; ++i) {
    after.push_back(executor.submit([&] {
      const int now = ++running;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
      std::this_thread::yield();
      --running;
    }));
  }
  passel::wait(after);
  EXPECT_LE(most, 2);
}

// A running task is asked to end
TEST(ThreadPoolExecutor, ATaskThatTakesAStopTokenCanBeStopped) {
  auto executor = make(1);
  std::binary_semaphore started{0};
  const auto work = [&started](const std::stop_token& stop, int n) {
    started.release();
    while (!stop.stop_requested()) std::this_thread::yield();
    return n + 1;
  };
  auto running = executor.submit(work, 4);
  auto waiting = executor.submit(work, 5);
  started.acquire();
  EXPECT_FALSE(running.cancel());
  waiting.request_stop();  // it has not started: that is a cancel
  EXPECT_TRUE(waiting.cancelled());
  running.request_stop();
  EXPECT_EQ(running.get().unwrap(), 5);
}

// A thread that the system refuses (CPython: test_python_finalization_error, for processes)
TEST(ThreadPoolExecutor, AThreadThatCannotBeStartedIsAnError) {
  auto executor = make(2);
  // No address space has room for such a stack.
  pthread_attr_t usual;
  pthread_attr_t huge;
  ASSERT_EQ(::pthread_getattr_default_np(&usual), 0);
  ASSERT_EQ(::pthread_attr_init(&huge), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&huge, std::size_t{1} << 46U), 0);
  ASSERT_EQ(::pthread_setattr_default_np(&huge), 0);
  const auto refused = executor.submit([] { return 1; }).get();
  ASSERT_EQ(::pthread_setattr_default_np(&usual), 0);
  ::pthread_attr_destroy(&huge);
  ::pthread_attr_destroy(&usual);
  EXPECT_TRUE(refused.error() == Errc::no_space) << refused.error().to_string();
  EXPECT_EQ(executor.submit([] { return 2; }).get().unwrap(), 2);
}

// test_hang_global_shutdown_lock
TEST(ThreadPoolExecutor, ItsTasksMayHaveProcessPoolsOfTheirOwn) {
  auto executor = make(3);
  const auto in_a_process = [](int n) {
    auto inner = passel::ProcessPoolExecutor::start({.max_workers = 1}).unwrap();
    return inner.submit([](int m) { return m * m; }, n).get().unwrap();
  };
  int expected = 0;
  for (auto& each : executor.map(in_a_process, std::vector{0, 1, 2, 3, 4, 5}).unwrap()) {
    EXPECT_EQ(*each, expected * expected);
    ++expected;
  }
  EXPECT_EQ(expected, 6);
}

TEST(ThreadPoolExecutor, ManyThreadsMaySubmit) {
  auto executor = make(4);
  std::atomic<long> sum{0};
  std::vector<std::thread> submitters;
  for (int t = 0; t < 4; ++t) {
    submitters.emplace_back([&] {
      std::vector<Future<void>> mine;
      for (int i = 0; i < 5'000; ++i) mine.push_back(executor.submit([&sum, i] { sum += i; }));
      passel::wait(mine);
    });
  }
  for (auto& each : submitters) each.join();
  EXPECT_EQ(sum, 4L * 5'000 * 4'999 / 2);
}

}  // namespace
