// Pool: the rest of the surface of Python's Pool.
#include <passel/finalize.hpp>
#include <passel/log.hpp>
#include <passel/pool.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Finalizer;
using passel::Pool;
using passel::PoolInitializer;
using passel::Queue;

int add(int a, int b) { return a + b; }
int negative(int n) { return -n; }

/// A type that refuses to travel when it is negative.
struct Shy {
  int value = 0;
};

}  // namespace

template <>
struct passel::codec<Shy> {
  static passel::WireValue encode(const Shy& shy) {
    if (shy.value < 0) throw std::invalid_argument{"shy"};
    return passel::to_value(shy.value);
  }
  static passel::Result<Shy> decode(const passel::WireValue& value) {
    PASSEL_TRY(const int number, passel::from_value<int>(value));
    return Shy{number};
  }
};

namespace {

Shy turn(const Shy& shy) { return {-shy.value}; }

TEST(PoolSurface, StarmapAsyncAnswersLater) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  auto future = pool.starmap_async<add>(std::vector{std::pair{1, 2}, std::pair{3, 4}});
  EXPECT_THAT(future.get().unwrap(), ::testing::ElementsAre(3, 7));
  std::size_t size = 0;
  auto told = pool.starmap_async<add>(
      std::vector{std::pair{1, 2}},
      passel::Callbacks{[&](const std::vector<int>& sums) { size = sums.size(); }});
  EXPECT_TRUE(told.get().is_ok());
  EXPECT_EQ(size, 1U);
}

TEST(PoolSurface, CancelledTasksDoNotHoldUpTheLine) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  std::vector<passel::Future<int>> futures;
  for (int i = 0; i < 200; ++i) futures.push_back(pool.submit<add>(i, 1));
  // The last is behind more cancelled ones than the pool looks at in one go.
  for (std::size_t i = 0; i + 1 < futures.size(); ++i) futures[i].cancel();
  EXPECT_EQ(futures.back().get().unwrap(), 200);
  pool.close();
  pool.join().unwrap();
  for (const auto& future : futures) EXPECT_TRUE(future.done());
}

TEST(PoolSurface, WhatCannotBeEncodedIsAnErrorAndTheWorkerLives) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const int pid = pool.apply([] { return ::getpid(); }).unwrap();
  for (int i = 0; i < 20; ++i) {
    const auto back = pool.apply<turn>(Shy{1});
    ASSERT_TRUE(back.is_err());
    EXPECT_THAT(back.error().what(), ::testing::HasSubstr("shy"));
  }
  const auto unsent = pool.submit<turn>(Shy{-1}).get();
  ASSERT_TRUE(unsent.is_err());
  EXPECT_THAT(unsent.error().what(), ::testing::HasSubstr("shy"));
  EXPECT_EQ(pool.apply<turn>(Shy{0})->value, 0);
  EXPECT_EQ(pool.apply([] { return ::getpid(); }).unwrap(), pid);
}

// Sending one is refused by the compiler, where Python raises NotImplementedError.
static_assert(!passel::Encodable<Pool>);
static_assert(!std::is_copy_constructible_v<Pool>);

std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }

// test_release_task_refs
TEST(PoolSurface, NothingIsKeptOfWhatIsDone) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  pool.map([](int n) { return n; }, std::vector<int>(100)).unwrap();
  const auto before = passel_test::ProcessCensus::take();
  const auto witness = std::make_shared<int>(0);
  for (int i = 0; i < 20; ++i) {
    // Each with shared memory of its own.
    Queue<std::string> words;
    words.put("word").unwrap();
    const passel::Callbacks callback{[witness](const auto&) {}};
    EXPECT_EQ(pool.apply_async<wait_for_word>(callback, words).get().unwrap(), "word");
    EXPECT_TRUE(pool.map_async<negative>(std::vector{1, 2}, callback).get().is_ok());
  }
  // Behind the end of the last one.
  static_cast<void>(pool.stats());
  EXPECT_EQ(witness.use_count(), 1);
  pool.apply<add>(1, 2).unwrap();
  pool.apply<add>(1, 2).unwrap();
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "") << "and the pool lives on";
}

int state_of_worker = 0;
void set_up(const Queue<int>& begun, const Queue<int>& ended) {
  begun.put(::getpid()).unwrap();
  state_of_worker = ::getpid();
  Finalizer::add([ended] { ended.put(::getpid()).unwrap(); });
}

TEST(PoolSurface, WorkersStayWarmWithTheirStateAndRunTheirExitHooks) {
  Queue<int> begun;
  Queue<int> ended;
  std::set<int> pids;
  Pool pool =
      Pool::start({.processes = 2, .initializer = PoolInitializer::with<set_up>(begun, ended)})
          .unwrap();
  for (int i = 0; i < 50; ++i) {
    for (const int pid :
         pool.map([](int) { return state_of_worker == ::getpid() ? state_of_worker : -1; },
                  std::vector<int>(20), {.chunksize = 1})
             .unwrap())
      pids.insert(pid);
  }
  EXPECT_LE(pids.size(), 2U) << "the same ones for all maps";
  EXPECT_FALSE(pids.contains(-1));
  // One worker may have done it all while the other was still being started.
  const std::set<int> started{begun.get().unwrap(), begun.get().unwrap()};
  EXPECT_TRUE(std::ranges::includes(started, pids));
  pool.close();
  pool.join().unwrap();
  EXPECT_TRUE(begun.empty());
  std::set<int> finished;
  while (!ended.empty()) finished.insert(ended.get().unwrap());
  EXPECT_EQ(finished, started);
}

void set_up_slowly(const Queue<std::string>& words, const Queue<int>& ended) {
  Finalizer::add([ended] { ended.put(::getpid()).unwrap(); });
  if (words.get().unwrap() == "late") std::this_thread::sleep_for(50ms);
}

TEST(PoolSurface, CloseBreaksOffNoInitializer) {
  Queue<std::string> words;
  Queue<int> ended;
  Pool pool = Pool::start({.processes = 2,
                           .initializer = PoolInitializer::with<set_up_slowly>(words, ended)})
                  .unwrap();
  words.put("early").unwrap();
  EXPECT_EQ(pool.apply<add>(1, 2).unwrap(), 3);
  pool.close();
  words.put("late").unwrap();
  pool.join().unwrap();
  EXPECT_EQ(ended.qsize(), 2U);
}

TEST(PoolSurface, StatisticsShowWhatRunsWhatWaitsAndHowBusyWorkersWere) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  pool.apply([] { std::this_thread::sleep_for(20ms); }).unwrap();
  Queue<std::string> words;
  auto running = pool.submit<wait_for_word>({.name = "listener"}, words);
  auto waiting = pool.map_async([](int n) { return n; }, std::vector<int>(30), {.chunksize = 1});
  while (!pool.stats().workers.at(0).running) std::this_thread::yield();
  const passel::PoolStats stats = pool.stats();
  const auto& worker = stats.workers.at(0);
  EXPECT_EQ(worker.task, "listener");
  EXPECT_GT(worker.running_for, 0ns);
  EXPECT_EQ(worker.done, 1U);
  EXPECT_GE(worker.busy, 20ms);
  EXPECT_GE(worker.up, worker.busy);
  EXPECT_EQ(worker.waiting + stats.queued, 31U);
  EXPECT_EQ(stats.done, 1U);
  EXPECT_EQ(stats.restarts, 0U);
  words.put("enough").unwrap();
  EXPECT_EQ(running.get().unwrap(), "enough");
  EXPECT_TRUE(waiting.get().is_ok());
}

TEST(PoolSurface, LettingGoOfUnfinishedWorkIsLogged) {
  std::vector<std::string> warnings;
  passel::set_log_sink([&](const passel::LogRecord& record) { warnings.push_back(record.text); });
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    auto done = pool.submit<add>(1, 2);
    pool.close();
    pool.join().unwrap();
  }
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    auto given_up = pool.submit<add>(1, 2);
    pool.terminate();
  }
  EXPECT_TRUE(warnings.empty()) << warnings.front();
  Queue<std::string> never;
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    for (int i = 0; i < 3; ++i) static_cast<void>(pool.submit<wait_for_word>(never));
  }
  passel::set_log_sink(nullptr);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], ::testing::HasSubstr("with 3 unfinished tasks"));
}

}  // namespace
