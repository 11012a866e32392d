// ThreadPoolExecutor: maps, and how it ends; after CPython's ThreadPoolShutdownTest and
// ExecutorTest.
#include <passel/thread_pool_executor.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::ThreadPoolExecutor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ThreadPoolExecutor make(int workers) {
  return ThreadPoolExecutor::start({.max_workers = workers}).unwrap();
}

// test_cancel_futures, test_cancel_futures_wait_false
TEST(ThreadPoolExecutor, ShutdownMayCancelWhatHasNotStarted) {
  auto executor = make(5);
  std::counting_semaphore<> may_end{0};
  std::vector<Future<void>> futures;
  for (int i = 0; i < 50; ++i) {
    futures.push_back(executor.submit([&may_end] { may_end.acquire(); }));
  }
  executor.shutdown({.wait = false, .cancel_futures = true}).unwrap();
  // At once, not when a thread comes to them.
  int cancelled = 0;
  for (const auto& future : futures) cancelled += future.cancelled() ? 1 : 0;
  EXPECT_GE(cancelled, 45);
  may_end.release(50);
  executor.shutdown().unwrap();
  int finished = 0;
  for (auto& future : futures) finished += future.get().is_ok() ? 1 : 0;
  EXPECT_EQ(finished + cancelled, 50);
}

// python/cpython#130975: an exception ends the scope
TEST(ThreadPoolExecutor, AnExceptionMayCancelWhatHasNotStarted) {
  for (const bool cancel : {false, true}) {
    std::atomic<int> ran{0};
    std::binary_semaphore started{0};
    std::binary_semaphore may_end{0};
    std::vector<Future<void>> futures;
    std::thread releaser;
    try {
      auto executor =
          ThreadPoolExecutor::start({.max_workers = 1, .cancel_on_exception = cancel}).unwrap();
      futures.push_back(executor.submit([&] {
        started.release();
        may_end.acquire();
        ++ran;
      }));
      started.acquire();
      for (int i = 0; i < 10; ++i) futures.push_back(executor.submit([&ran] { ++ran; }));
      releaser = std::thread{[&] {
        if (cancel) futures.back().wait();
        may_end.release();
      }};
      throw std::runtime_error{"the body failed"};
    } catch (const std::runtime_error&) {
    }
    releaser.join();
    EXPECT_EQ(ran, cancel ? 1 : 11);
    for (std::size_t i = 1; i < futures.size(); ++i) EXPECT_EQ(futures[i].cancelled(), cancel);
  }
}

// test_interpreter_shutdown, test_submit_after_interpreter_shutdown: the program ends without a
// shutdown
TEST(ThreadPoolExecutorDeathTest, AtTheEndOfTheProgramTheWorkIsFinished) {
  EXPECT_EXIT(
      {
        static auto executor = make(1);
        for (int i = 0; i < 3; ++i) {
          static_cast<void>(executor.submit([i] {
            std::this_thread::sleep_for(10ms);
            std::fprintf(stderr, "task %d\n", i);
          }));
        }
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "task 0\ntask 1\ntask 2");
}

// test_shutdown_race_issue12456, test_hang_gh94440 and friends
TEST(ThreadPoolExecutor, SubmitAndShutdownMayRace) {
  for (unsigned round = 0; round < passel_test::rounds(200); ++round) {
    auto executor = make(3);
    std::atomic<int> ran{0};
    std::vector<Future<void>> futures;
    std::thread submitter{[&] {
      for (int i = 0; i < 50; ++i) futures.push_back(executor.submit([&ran] { ++ran; }));
    }};
    executor.shutdown({.wait = round % 2 == 0, .cancel_futures = round % 3 == 0}).unwrap();
    submitter.join();
    executor.shutdown().unwrap();
    int done = 0;
    for (auto& future : futures) {
      const auto result = future.get();
      if (result.is_ok()) {
        ++done;
      } else {
        EXPECT_TRUE(result.error() == Errc::invalid_state || result.error() == Errc::cancelled);
      }
    }
    EXPECT_EQ(ran, done);
  }
}

TEST(ThreadPoolExecutor, CancelAndRunMayRace) {
  auto executor = make(2);
  for (unsigned round = 0; round < passel_test::rounds(2000); ++round) {
    auto ran = std::make_shared<std::atomic<bool>>(false);
    auto future = executor.submit([ran] { *ran = true; });
    if (future.cancel()) {
      executor.submit([] {}).get().unwrap();
      executor.submit([] {}).get().unwrap();
      EXPECT_FALSE(*ran);
    } else {
      future.get().unwrap();
      EXPECT_TRUE(*ran);
    }
  }
}

TEST(ThreadPoolExecutor, ShutdownFromItsOwnTaskDoesNotHang) {
  auto executor = make(1);
  auto refused = executor.submit([&executor] { return executor.shutdown(); });
  EXPECT_TRUE(refused.get().error() == Errc::deadlock);
  EXPECT_TRUE(executor.submit([] {}).get().error() == Errc::invalid_state);
}

TEST(ThreadPoolExecutor, MayBeDroppedByItsOwnTask) {
  auto shared = std::make_shared<ThreadPoolExecutor>(make(2));
  std::binary_semaphore dropped{0};
  std::atomic<int> ran{0};
  std::vector<Future<void>> behind;
  auto last = shared->submit([&, held = shared]() mutable {
    dropped.acquire();
    held.reset();  // the destructor of the executor, in a thread of its own
  });
  for (int i = 0; i < 10; ++i) behind.push_back(shared->submit([&ran] { ++ran; }));
  shared.reset();
  dropped.release();
  last.get().unwrap();
  for (auto& each : behind) each.get().unwrap();
  EXPECT_EQ(ran, 10);
}

TEST(ThreadPoolExecutor, ShutdownForGivesUpInTime) {
  auto executor = make(1);
  std::binary_semaphore may_end{0};
  auto running = executor.submit([&may_end] { may_end.acquire(); });
  EXPECT_TRUE(executor.shutdown_for(1ms).error() == Errc::timeout);
  may_end.release();
  executor.shutdown_for(60s).unwrap();
  EXPECT_TRUE(running.done());
}

TEST(ThreadPoolExecutor, LeavesNoThreadBehind) {
  const auto before = passel_test::ProcessCensus::take();
  {
    auto executor = make(6);
    std::latch all{6};
    std::vector<Future<void>> futures;
    for (int i = 0; i < 6; ++i)
      futures.push_back(executor.submit([&all] { all.arrive_and_wait(); }));
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(ThreadPoolExecutor, MapMovesTheItemsOfAContainerItIsGiven) {
  auto executor = make(2);
  std::vector<std::unique_ptr<int>> items;
  for (int i = 0; i < 5; ++i) items.push_back(std::make_unique<int>(i));
  int expected = 0;
  for (auto& n : executor.map([](std::unique_ptr<int> n) { return *n; }, std::move(items)).unwrap())
    EXPECT_EQ(*n, expected++);
  EXPECT_EQ(expected, 5);
}

// test_executor_map_current_future_cancel
TEST(ThreadPoolExecutor, AMapThatIsLateCancelsTheRest) {
  auto executor = make(1);
  std::binary_semaphore may_end{0};
  std::atomic<int> ran{0};
  auto results = executor
                     .map(
                         [&](int n) {
                           ++ran;
                           if (n == 1) may_end.acquire();
                           return n;
                         },
                         passel::ExecutorMapOptions{.timeout = 20ms}, std::vector{0, 1, 2, 3})
                     .unwrap();
  std::vector<Errc> errors;
  int good = 0;
  while (auto next = results.next()) {
    if (*next) {
      ++good;
    } else {
      errors.push_back(next->error().code());
    }
  }
  EXPECT_LE(good, 1);
  EXPECT_THAT(errors, ElementsAre(Errc::timeout));
  may_end.release();
  executor.shutdown().unwrap();
  EXPECT_LE(ran, 2);
}

// python/cpython#136578: a half-used iterator is dropped
TEST(ThreadPoolExecutor, DroppingTheResultsOfAMapCancelsWhatHasNotStarted) {
  auto executor = make(1);
  std::binary_semaphore may_end{0};
  std::atomic<int> ran{0};
  {
    auto results = executor
                       .map(
                           [&](int n) {
                             ++ran;
                             if (n == 1) may_end.acquire();
                           },
                           std::vector<int>{0, 1, 2, 3, 4, 5})
                       .unwrap();
    EXPECT_TRUE(results.next()->is_ok());
  }
  may_end.release();
  executor.shutdown().unwrap();
  EXPECT_LE(ran, 2);
}

// test_map_buffersize_when_error, an input that ends in an exception
TEST(ThreadPoolExecutor, WhatAWindowedInputThrowsIsTheLastResult) {
  struct Numbers {
    struct Iterator {
      int n;
      int operator*() const {
        if (n == 3) throw std::out_of_range{"no more"};
        return n;
      }
      Iterator& operator++() { return ++n, *this; }
      bool operator==(std::default_sentinel_t) const { return false; }
    };
    static Iterator begin() { return {0}; }
    static std::default_sentinel_t end() { return {}; }
  };
  auto executor = make(2);
  std::vector<std::string> seen;
  for (auto& n : executor.map([](int n) { return n; }, Numbers{}, {.buffersize = 2}).unwrap())
    seen.push_back(n ? std::to_string(*n) : n.error().detail<passel::RemoteError>()->what);
  EXPECT_THAT(seen, ElementsAre("0", "1", "2", "no more"));
  EXPECT_THROW(static_cast<void>(executor.map([](int n) { return n; }, Numbers{})),
               std::out_of_range);
}

}  // namespace
