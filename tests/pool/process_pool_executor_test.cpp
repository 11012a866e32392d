// ProcessPoolExecutor, after CPython's ProcessPoolExecutorTest, ProcessPoolShutdownTest and
// ExecutorDeadlockTest.
#include <passel/process_pool_executor.hpp>
#include <passel/queue.hpp>
#include <passel/wait.hpp>

#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::Future;
using passel::PoolInitializer;
using passel::ProcessPoolExecutor;
using ::testing::HasSubstr;

int square(int n) { return n * n; }
int process_id() { return ::getpid(); }
int die(const std::string& how) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  if (how == "exit") std::exit(3);
  if (how == "abort") std::abort();
  ::raise(SIGKILL);
  return 0;
}
int die_of_seven(int n) { return n == 7 ? die("kill") : n; }
std::size_t size_of(const std::string& text) { return text.size(); }
std::size_t die_of(const std::string& text) {
  return static_cast<std::size_t>(die("kill")) + text.size();
}
int announce_and_wait(const passel::Queue<int>& here, const passel::Queue<std::string>& words) {
  here.put(::getpid()).unwrap();
  static_cast<void>(words.get());
  return 0;
}

ProcessPoolExecutor make(int workers) {
  return ProcessPoolExecutor::start({.max_workers = workers}).unwrap();
}
/// What this process owns, once it has had an executor.
passel_test::ProcessCensus census() {
  static const bool warm = ProcessPoolExecutor::start({.max_workers = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

/// What a task cannot be sent, what cannot be read at the other end, and the same for results.
struct Stubborn {
  std::string when;
};

}  // namespace

template <>
struct passel::codec<Stubborn> {
  static passel::WireValue encode(const Stubborn& value) {
    if (value.when == "encode") throw std::runtime_error{"cannot be encoded"};
    if (value.when == "die when encoded") ::raise(SIGKILL);
    return passel::to_value(value.when);
  }
  static passel::Result<Stubborn> decode(const passel::WireValue& value) {
    PASSEL_TRY(auto when, passel::from_value<std::string>(value));
    if (when == "decode") throw std::runtime_error{"cannot be decoded"};
    if (when == "refuse") return passel::Error{passel::Errc::malformed, "refused"};
    if (when == "exit when decoded") ::_exit(5);
    if (when == "die when decoded") ::raise(SIGKILL);
    return Stubborn{std::move(when)};
  }
};

namespace {

int take_stubborn(const Stubborn&) { return 1; }
Stubborn give_stubborn(const std::string& when) { return {when}; }

// test_saturation, test_idle_process_reuse_one, test_processes_terminate
TEST(ProcessPoolExecutor, HasAsManyWorkersAsAskedAndUsesThemAgain) {
  const auto before = census();
  {
    auto executor = make(2);
    std::set<int> pids;
    for (int i = 0; i < 50; ++i) pids.insert(executor.submit<process_id>().get().unwrap());
    EXPECT_LE(pids.size(), 2U);
    EXPECT_EQ(executor.max_workers(), 2U);
    EXPECT_EQ(executor.stats().workers.size(), 2U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(ProcessPoolExecutor, DefaultsToTheUsableProcessors) {
  const auto executor = ProcessPoolExecutor::start().unwrap();
  EXPECT_EQ(executor.max_workers(), static_cast<unsigned>(passel::usable_cpu_count()));
}

// test_max_tasks_per_child, test_max_tasks_early_shutdown, gh115634
TEST(ProcessPoolExecutor, WorkersAreReplacedAfterTheirTasksAndNoneIsLost) {
  auto executor = ProcessPoolExecutor::start({.max_workers = 1, .max_tasks_per_child = 3}).unwrap();
  std::vector<int> pids;
  for (int i = 0; i < 6; ++i) pids.push_back(executor.submit<process_id>().get().unwrap());
  EXPECT_EQ(pids[0], pids[2]);
  EXPECT_NE(pids[2], pids[3]);
  EXPECT_EQ(pids[3], pids[5]);
  std::vector<Future<int>> pending;
  for (int i = 0; i < 20; ++i) pending.push_back(executor.submit<square>(i));
  executor.shutdown().unwrap();
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(pending[static_cast<std::size_t>(i)].try_get().unwrap(), i * i);
}

TEST(ProcessPoolExecutor, MaxTasksPerChildHasLimits) {
  EXPECT_EQ(ProcessPoolExecutor::start({.max_tasks_per_child = 0}).error().to_string(),
            "invalid_argument: max_tasks_per_child must be >= 1, not 0");
  EXPECT_THAT(
      ProcessPoolExecutor::start({.method = passel::StartMethod::fork, .max_tasks_per_child = 1})
          .error()
          .what(),
      HasSubstr("incompatible with the 'fork'"));
}

// InitializerMixin, FailingInitializerMixin
TEST(ProcessPoolExecutor, TheInitializerRunsFirstAndItsFailureBreaksTheExecutor) {
  static int prepared = 0;
  auto executor =
      ProcessPoolExecutor::start({.max_workers = 1, .initializer = [] { prepared = 8; }}).unwrap();
  EXPECT_EQ(executor.submit([] { return prepared; }).get().unwrap(), 8);
  auto broken =
      ProcessPoolExecutor::start(
          {.max_workers = 1, .initializer = [] { throw std::runtime_error{"no licence"}; }})
          .unwrap();
  const auto failed = broken.submit<square>(1).get();
  ASSERT_TRUE(failed.is_err());
  EXPECT_TRUE(failed.error() == Errc::pool_failed) << failed.error().to_string();
  EXPECT_THAT(failed.error().what(), HasSubstr("no licence"));
  EXPECT_TRUE(broken.submit<square>(1).get().is_err());
}

// test_killed_child, test_traceback_when_child_process_terminates_abruptly
TEST(ProcessPoolExecutor, AWorkersDeathCostsTheTaskItWasRunning) {
  const auto before = census();
  {
    auto executor = make(1);
    for (const std::string how : {"exit", "abort", "kill"}) {
      auto doomed = executor.submit<die>(how);
      auto behind = executor.submit<square>(9);
      const Error lost = doomed.get().error();
      EXPECT_TRUE(lost == Errc::worker_lost) << lost.to_string();
      ASSERT_NE(lost.detail<passel::WorkerLost>(), nullptr);
      EXPECT_GT(lost.detail<passel::WorkerLost>()->pid, 0);
      EXPECT_EQ(behind.get().unwrap(), 81);
    }
    int lost = 0;
    int good = 0;
    std::vector<int> items(20);
    for (int i = 0; i < 20; ++i) items[static_cast<std::size_t>(i)] = i;
    for (auto& each : executor.map<die_of_seven>(items).unwrap()) ++(each ? good : lost);
    EXPECT_EQ(lost, 1);
    EXPECT_EQ(good, 19);
    // In chunks, the chunk is the task.
    lost = good = 0;
    for (auto& each : executor.map<die_of_seven>(items, {.chunksize = 5}).unwrap())
      ++(each ? good : lost);
    EXPECT_EQ(lost, 5);
    EXPECT_EQ(good, 15);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// ExecutorDeadlockTest: crash, exit or error while {a task, a result} is {written, read}
TEST(ProcessPoolExecutor, WhateverGoesWrongOnTheWayTheFutureResolves) {
  const auto before = census();
  {
    auto executor = make(2);
    // test_error_at_task_pickle
    EXPECT_TRUE(executor.submit<take_stubborn>(Stubborn{"encode"}).get().is_err());
    // test_error_at_task_unpickle, test_exit_at_task_unpickle, test_crash_at_task_unpickle
    for (const char* when : {"decode", "refuse", "exit when decoded", "die when decoded"}) {
      auto future = executor.submit<take_stubborn>(Stubborn{when});
      ASSERT_TRUE(future.wait_for(60s)) << when;
      EXPECT_TRUE(future.get().is_err()) << when;
    }
    // test_error_during_result_pickle_on_worker, test_crash_during_result_pickle_on_worker,
    // test_error_during_result_unpickle_in_result_handler
    for (const char* when : {"encode", "die when encoded", "decode", "refuse"}) {
      auto future = executor.submit<give_stubborn>(when);
      ASSERT_TRUE(future.wait_for(60s)) << when;
      EXPECT_TRUE(future.get().is_err()) << when;
    }
    EXPECT_EQ(executor.submit<give_stubborn>("fine").get().unwrap().when, "fine");
    EXPECT_EQ(executor.submit<take_stubborn>(Stubborn{"fine"}).get().unwrap(), 1);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// test_crash_big_data, test_gh105829_should_not_deadlock_if_wakeup_pipe_full
TEST(ProcessPoolExecutor, ADeathWithBigArgumentsInTransitHoldsUpNobody) {
  auto executor = make(2);
  const std::string big(std::size_t{5} << 20, 'x');
  std::vector<Future<std::size_t>> futures;
  for (int i = 0; i < 6; ++i) {
    futures.push_back(i % 3 == 0 ? executor.submit<die_of>(big) : executor.submit<size_of>(big));
  }
  for (std::size_t i = 0; i < futures.size(); ++i) {
    EXPECT_EQ(futures[i].get().is_err(), i % 3 == 0) << i;
  }
  std::vector<Future<int>> storm;
  for (int i = 0; i < 5'000; ++i) storm.push_back(executor.submit<square>(i));
  executor.shutdown().unwrap();
  for (auto& each : storm) EXPECT_TRUE(each.try_get().is_ok());
}

// test_force_shutdown_workers, _dead_workers, _not_started_yet, _stops_pool
TEST(ProcessPoolExecutor, WorkersCanBeTerminatedOrKilled) {
  const auto before = census();
  for (const bool kill : {false, true}) {
    auto executor = make(2);
    passel::Queue<int> here;
    passel::Queue<std::string> words;
    auto running = executor.submit<announce_and_wait>(here, words);
    here.get().unwrap();
    std::vector<Future<int>> waiting;
    for (int i = 0; i < 20; ++i) waiting.push_back(executor.submit<announce_and_wait>(here, words));
    kill ? executor.kill_workers() : executor.terminate_workers();
    EXPECT_TRUE(running.get().error() == Errc::cancelled);
    for (auto& each : waiting) EXPECT_TRUE(each.get().is_err());
    EXPECT_TRUE(executor.submit<square>(1).get().error() == Errc::invalid_state);
    kill ? executor.kill_workers() : executor.terminate_workers();  // nobody left: nothing happens
    executor.shutdown().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// test_killed_child
TEST(ProcessPoolExecutor, OneDeathBreaksEverythingForThoseWhoAskForThat) {
  const auto before = census();
  {
    auto executor = ProcessPoolExecutor::start(
                        {.max_workers = 2, .on_worker_death = passel::WorkerDeath::breaks_the_pool})
                        .unwrap();
    passel::Queue<int> here;
    passel::Queue<std::string> words;
    std::vector<Future<int>> futures;
    for (int i = 0; i < 20; ++i) futures.push_back(executor.submit<announce_and_wait>(here, words));
    // Both workers are in a task.
    here.get().unwrap();
    here.get().unwrap();
    ASSERT_EQ(::kill(executor.stats().workers.at(0).pid, SIGKILL), 0);
    int lost = 0;
    for (auto& future : futures) {
      const auto outcome = future.get();
      ASSERT_TRUE(outcome.is_err());
      if (outcome.error() == Errc::worker_lost) {
        ++lost;
        continue;
      }
      EXPECT_EQ(outcome.error(), Errc::pool_failed) << outcome.error().to_string();
      EXPECT_THAT(outcome.error().what(), ::testing::HasSubstr("signal 9"));
    }
    EXPECT_EQ(lost, 1);
    EXPECT_EQ(executor.submit<square>(1).get().error(), Errc::pool_failed);
    executor.shutdown().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// test_interpreter_shutdown: an executor that goes with the end of its scope, workers busy
TEST(ProcessPoolExecutor, LambdasAndFunctionsOfSeveralArgumentsTravel) {
  auto executor = make(1);
  EXPECT_EQ(executor
                .submit([](const std::vector<int>& all, int by) { return all.back() * by; },
                        std::vector{1, 2, 3}, 5)
                .get()
                .unwrap(),
            15);
}

}  // namespace
