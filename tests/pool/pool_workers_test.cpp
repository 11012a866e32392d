// Pool: how many workers there are, where they run, and what is told of one that takes long.
#include <passel/log.hpp>
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/this_task.hpp>

#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::PoolOptions;
using passel::Queue;

std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }
int index_of_worker(int) { return static_cast<int>(passel::this_task::worker_index().value()); }
std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> all;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return all;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) all.push_back(cpu);
  }
  return all;
}

passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

std::size_t workers_of(const Pool& pool) { return pool.stats().workers.size(); }
template <class F>
void wait_until(F is_so) {
  while (!is_so()) std::this_thread::sleep_for(1ms);
}

// --- N-32: elastic pools

TEST(PoolWorkers, MoreComeWhileTasksWaitAndLeaveWhenIdle) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 3, .min_processes = 1, .idle_timeout = 50ms}).unwrap();
    EXPECT_EQ(workers_of(pool), 1U);
    EXPECT_EQ(pool.processes(), 3U);
    Queue<std::string> words;
    std::vector<Future<std::string>> waiting;
    for (int i = 0; i < 5; ++i) waiting.push_back(pool.submit<wait_for_word>(words));
    wait_until([&] {
      const auto workers = pool.stats().workers;
      return workers.size() == 3 && std::all_of(workers.begin(), workers.end(),
                                                [](const auto& worker) { return worker.running; });
    });
    for (int i = 0; i < 5; ++i) words.put("go").unwrap();
    for (auto& future : waiting) EXPECT_EQ(future.get().unwrap(), "go");
    wait_until([&] { return workers_of(pool) == 1; });
    EXPECT_EQ(pool.apply<index_of_worker>(0).unwrap(), pool.apply<index_of_worker>(0).unwrap());
    EXPECT_EQ(pool.stats().restarts, 0U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolWorkers, APoolIsResizedWithoutLosingATask) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    std::vector<Future<int>> tasks;
    for (int i = 0; i < 2'000; ++i) {
      if (i % 100 == 0) pool.resize(1 + i / 100 % 4).unwrap();
      tasks.push_back(pool.submit([](int n) { return n; }, i));
    }
    for (int i = 0; i < 2'000; ++i) ASSERT_EQ(tasks[static_cast<std::size_t>(i)].get().unwrap(), i);
    pool.resize(4).unwrap();
    EXPECT_EQ(pool.processes(), 4U);
    wait_until([&] { return workers_of(pool) == 4; });
    pool.resize(2).unwrap();
    wait_until([&] { return workers_of(pool) == 2; });
    EXPECT_EQ(pool.resize(0).error(), Errc::invalid_argument);
    pool.close();
    EXPECT_EQ(pool.resize(2).error(), Errc::invalid_state);
    pool.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolWorkers, NumbersThatCannotBeAreRefused) {
  EXPECT_EQ(Pool::start({.processes = 2, .min_processes = 3}).error(), Errc::invalid_argument);
  EXPECT_EQ(Pool::start({.processes = 2, .min_processes = 0}).error(), Errc::invalid_argument);
  EXPECT_EQ(Pool::start({.cpus = {{}}}).error(), Errc::invalid_argument);
  EXPECT_EQ(Pool::start({.cpus = {{-1}}}).error(), Errc::invalid_argument);
  EXPECT_EQ(Pool::start({.nice = 99}).error(), Errc::invalid_argument);
  EXPECT_EQ(Pool::start({.stack_signal = SIGKILL}).error(), Errc::invalid_argument);
}

// --- N-35: numbers, CPUs, nice levels

TEST(PoolWorkers, TheNumberOfAWorkerSurvivesItsReplacement) {
  const auto before = census();
  {
    EXPECT_FALSE(passel::this_task::worker_index());
    Pool pool = Pool::start({.processes = 3, .maxtasksperchild = 2}).unwrap();
    std::vector<int> items(60);
    for (const int index : pool.map<index_of_worker>(items, {.chunksize = 1}).unwrap()) {
      EXPECT_GE(index, 0);
      EXPECT_LT(index, 3);
    }
    const auto killed = pool.submit([](int) { return ::raise(SIGKILL); }, 0);
    EXPECT_TRUE(killed.result().is_err());
    for (const int index : pool.map<index_of_worker>(items, {.chunksize = 1}).unwrap())
      EXPECT_LT(index, 3);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolWorkers, WorkersRunOnTheirCpusAndGiveWay) {
  const int last = usable_cpus().back();
  Pool pool = Pool::start({.processes = 1, .cpus = {{last}}, .nice = 3}).unwrap();
  EXPECT_EQ(pool.apply([] { return usable_cpus(); }).unwrap(), std::vector{last});
  const int mine = ::getpriority(PRIO_PROCESS, 0);
  EXPECT_EQ(pool.apply([] { return ::getpriority(PRIO_PROCESS, 0); }).unwrap(),
            std::min(mine + 3, 19));
}

TEST(PoolWorkers, AWorkerThatCannotRunWhereItShouldSaysWhy) {
  Pool pool =
      Pool::start({.processes = 1, .max_restarts = 0, .cpus = {{CPU_SETSIZE - 1}}}).unwrap();
  const auto refused = pool.apply<index_of_worker>(1);
  ASSERT_TRUE(refused.is_err());
  EXPECT_EQ(refused.error(), Errc::pool_failed);
  EXPECT_THAT(refused.error().what(), testing::HasSubstr("sched_setaffinity"));
}

// --- N-41: what is it stuck on?

TEST(PoolWorkers, ATaskThatTakesLongIsToldOfOnceWithItsStack) {
  std::mutex mutex;
  std::vector<std::string> warnings;
  passel::set_log_sink([&](const passel::LogRecord& record) {
    const std::lock_guard lock{mutex};
    // On a busy machine any other task may take as long.
    if (record.text.find("the slow one has been with ") != std::string::npos)
      warnings.push_back(record.text);
  });
  Queue<std::string> words;
  Pool pool =
      Pool::start({.processes = 1, .stderr_lines = 50, .warn_after = 20ms, .stack_signal = SIGUSR2})
          .unwrap();
  auto slow = pool.submit<wait_for_word>({.name = "the slow one"}, words);
  wait_until([&] {
    const std::lock_guard lock{mutex};
    return !warnings.empty();
  });
  words.put("woken").unwrap();
  EXPECT_EQ(slow.get().unwrap(), "woken");
  // Its stack is among the last words of the worker.
  const auto dead = pool.submit([](int) { return ::raise(SIGKILL); }, 0).get();
  ASSERT_TRUE(dead.is_err());
  const auto* lost = dead.error().detail<passel::WorkerLost>();
  ASSERT_NE(lost, nullptr);
  EXPECT_THAT(lost->last_lines, testing::Contains("stack of a pool worker:"));
  passel::set_log_sink(nullptr);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], testing::HasSubstr(" ms; it "));
}

}  // namespace
