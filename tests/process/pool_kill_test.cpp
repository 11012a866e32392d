// Pool, when worker processes are killed, kill themselves, hang, or lose their parent.
#include <passel/pool.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::PoolInitializer;
using passel::Queue;
using passel::Result;
namespace detail = passel::detail;

/// What this process owns, once it has had a pool: the first one starts the threads that all actors
/// share.
passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

int square(int n) { return n * n; }
int work(int n, int microseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds{microseconds};
  while (std::chrono::steady_clock::now() < end) {
  }
  return n * n;
}
int die(const std::string& how) {
  // A crash is part of the test: no core file of it.
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  if (how == "exit") std::exit(3);
  if (how == "_exit") ::_exit(4);
  if (how == "abort") std::abort();
  if (how == "segfault") {
    std::signal(SIGSEGV, SIG_DFL);
    ::raise(SIGSEGV);
  }
  if (how == "terminate") ::raise(SIGTERM);
  if (how == "kill") ::raise(SIGKILL);
  return 0;
}
int die_of_seven(int n) { return n % 1'000 == 7 ? die("kill") : n; }
std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }
void sleep_for_ever(const Queue<int>& pids) {
  pids.put(::getpid()).unwrap();
  for (;;) ::pause();
}

/// Kills a worker of the pool, never a stranger who got its pid: it is named by a pidfd that was
/// opened while the pool still had it.
bool kill_worker(const Pool& pool, std::size_t which) {
  const auto workers = pool.stats().workers;
  if (workers.empty()) return false;
  const int pid = workers[which % workers.size()].pid;
  if (pid == 0) return false;
  const auto pidfd = detail::open_process(pid);
  if (!pidfd) return false;
  for (const auto& worker : pool.stats().workers) {
    if (worker.pid == pid) return detail::signal_process(*pidfd, SIGKILL).is_ok();
  }
  return false;
}

struct WayToDie {
  const char* how;
  int exit_code;
  int signal;
};

TEST(PoolKill, Fault01EveryWayOfDyingCostsOneTask) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    for (const WayToDie way : {WayToDie{"exit", 3, 0}, WayToDie{"_exit", 4, 0},
                               WayToDie{"abort", 0, SIGABRT}, WayToDie{"segfault", 0, SIGSEGV},
                               WayToDie{"terminate", 0, SIGTERM}, WayToDie{"kill", 0, SIGKILL}}) {
      auto doomed = pool.submit<die>(way.how);
      auto behind = pool.submit<square>(9);
      const auto lost = doomed.get();
      ASSERT_TRUE(lost.is_err()) << way.how;
      EXPECT_TRUE(lost.error() == Errc::worker_lost) << lost.error().to_string();
      const auto* facts = lost.error().detail<passel::WorkerLost>();
      ASSERT_NE(facts, nullptr);
      EXPECT_GT(facts->pid, 0);
      EXPECT_EQ(facts->exit_code, way.exit_code) << way.how;
      EXPECT_EQ(facts->signal, way.signal) << way.how;
      EXPECT_EQ(facts->attempt, 1U);
      EXPECT_THAT(facts->task, ::testing::HasSubstr("die"));
      EXPECT_EQ(behind.get().unwrap(), 81) << way.how;
    }
    EXPECT_EQ(pool.stats().restarts, 6U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolKill, OnlyTheItemThatKilledIsLost) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  std::vector<int> items;
  for (int i = 0; i < 3'000; ++i) items.push_back(i);
  int expected = 0;
  std::vector<int> lost;
  for (Result<int>& result : pool.imap<die_of_seven>(items).unwrap()) {
    if (result) {
      ASSERT_EQ(*result, expected);
    } else {
      ASSERT_TRUE(result.error() == Errc::worker_lost) << result.error().to_string();
      lost.push_back(expected);
    }
    ++expected;
  }
  EXPECT_EQ(expected, 3'000);
  EXPECT_THAT(lost, ::testing::ElementsAre(7, 1'007, 2'007));
}

TEST(PoolKill, Fault02AnIdleWorkerIsReplacedUnseen) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  for (int i = 0; i < 3; ++i) {
    const int pid = pool.apply([] { return ::getpid(); }).unwrap();
    ASSERT_TRUE(kill_worker(pool, 0));
    EXPECT_NE(pool.apply([] { return ::getpid(); }).unwrap(), pid);
  }
}

TEST(PoolKill, Fault01WorkersKilledAtRandomInstants) {
  const auto before = census();
  std::mt19937_64 random{passel_test::seed()};
  {
    // Kills outside of tasks are part of the test and must not fail the pool.
    Pool pool =
        Pool::start({.processes = 4, .max_restarts = 1'000'000, .restart_window = 1ms}).unwrap();
    std::size_t killed = 0;
    std::size_t lost = 0;
    const unsigned rounds = passel_test::rounds(200);
    for (unsigned round = 0; round < rounds; ++round) {
      std::vector<Future<int>> futures;
      const int tasks = 1 + static_cast<int>(random() % 40);
      for (int i = 0; i < tasks; ++i) {
        futures.push_back(pool.submit<work>(i, static_cast<int>(random() % 500)));
      }
      std::vector<int> all(100);
      for (int i = 0; i < 100; ++i) all[static_cast<std::size_t>(i)] = i;
      auto map = pool.map_async<square>(all, {.chunksize = 1});
      // The instant is random by the work that is waited for first.
      const auto instant = random() % futures.size();
      if (random() % 4 != 0) futures[instant].wait();
      if (kill_worker(pool, random() % 4)) ++killed;
      for (int i = 0; i < tasks; ++i) {
        const Result<int> result = futures[static_cast<std::size_t>(i)].get();
        if (result) {
          ASSERT_EQ(*result, i * i);
        } else {
          ASSERT_TRUE(result.error() == Errc::worker_lost) << result.error().to_string();
          ++lost;
        }
      }
      const auto squares = map.get();
      if (squares) {
        ASSERT_EQ(squares->at(99), 99 * 99);
      } else {
        ASSERT_TRUE(squares.error() == Errc::worker_lost) << squares.error().to_string();
        ++lost;
      }
    }
    EXPECT_LE(lost, killed);
    EXPECT_GT(killed, rounds / 2);
    std::printf("killed %zu workers, lost %zu tasks\n", killed, lost);
    EXPECT_EQ(pool.apply<square>(12).unwrap(), 144);
    pool.close();
    pool.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// A worker that is stopped cannot have begun: whenever it is killed, up to the last byte of its
// argument, the task must run on another one, without using its only attempt.
TEST(PoolKill, Fault03KilledWhileALargeArgumentIsOnItsWay) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1,
                             .max_restarts = 1'000'000,
                             .restart_window = 1ms,
                             .max_message = std::size_t{65} << 20})
                    .unwrap();
    const std::string large(std::size_t{64} << 20, 'x');
    const auto size_of = [](const std::string& text) { return text.size(); };
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(pool.apply(size_of, large).unwrap(), large.size());
    const auto whole = std::chrono::steady_clock::now() - begin;
    const unsigned steps = passel_test::rounds(4);
    for (unsigned step = 0; step < steps; ++step) {
      while (!pool.stats().workers.at(0).ready) std::this_thread::sleep_for(1ms);
      const pid_t worker = pool.stats().workers.at(0).pid;
      ASSERT_EQ(::kill(worker, SIGSTOP), 0);
      std::thread killer{[&] {
        std::this_thread::sleep_for(whole * step / steps);
        ::kill(worker, SIGKILL);
      }};
      // Nor does the sender wait for the worker.
      auto future = pool.submit(size_of, large);
      killer.join();
      EXPECT_EQ(future.get().unwrap(), large.size()) << "step " << step;
    }
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolKill, PoisonIsTriedAsOftenAsAllowedAndHarmsNoOther) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  std::vector<Future<int>> poison;
  std::vector<Future<int>> good;
  for (int i = 0; i < 200; ++i) {
    if (i % 20 == 0) poison.push_back(pool.submit<die>({.attempts = 2}, "kill"));
    good.push_back(pool.submit<square>(i));
  }
  for (int i = 0; i < 200; ++i) ASSERT_EQ(good[static_cast<std::size_t>(i)].get().unwrap(), i * i);
  for (auto& future : poison) {
    const auto lost = future.get();
    ASSERT_TRUE(lost.is_err());
    EXPECT_EQ(lost.error().detail<passel::WorkerLost>()->attempt, 2U);
  }
}

TEST(PoolKill, ARetryGetsAnotherWorker) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<int> tries;
  auto future = pool.submit(
      {.attempts = 3},
      [](const Queue<int>& seen) {
        seen.put(1).unwrap();
        if (seen.qsize() < 3) ::raise(SIGKILL);
        return 42;
      },
      tries);
  EXPECT_EQ(future.get().unwrap(), 42);
  EXPECT_EQ(tries.qsize(), 3U);
}

void throw_in_initializer(const std::string& text) { throw std::runtime_error{text}; }
void die_in_initializer() { ::raise(SIGKILL); }
void hang_in_initializer() {
  for (;;) ::pause();
}

void expect_pool_failed(Pool pool, const std::string& cause) {
  auto future = pool.submit<square>(3);
  const auto failed = future.get();
  ASSERT_TRUE(failed.is_err());
  EXPECT_TRUE(failed.error() == Errc::pool_failed) << failed.error().to_string();
  EXPECT_THAT(failed.error().what(), ::testing::HasSubstr(cause));
  const auto late = pool.submit<square>(3).get();
  EXPECT_TRUE(late.error() == Errc::pool_failed);
  pool.join().unwrap();
}

TEST(PoolKill, AFailingInitializerFailsThePoolAndIsNamed) {
  const auto before = census();
  expect_pool_failed(
      Pool::start({.processes = 2,
                   .initializer = PoolInitializer::with<throw_in_initializer>("no database")})
          .unwrap(),
      "no database");
  expect_pool_failed(
      Pool::start({.processes = 2, .initializer = PoolInitializer::with<die_in_initializer>()})
          .unwrap(),
      "was killed by signal 9");
  expect_pool_failed(Pool::start({.processes = 2,
                                  .initializer = PoolInitializer::with<hang_in_initializer>(),
                                  .max_restarts = 0,
                                  .start_timeout = 50ms})
                         .unwrap(),
                     "was killed by signal 15");
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolKill, AStoppedWorkerHoldsUpNobodyElse) {
  Queue<int> pids;
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    auto stopped = pool.submit(
        [](const Queue<int>& out) {
          out.put(::getpid()).unwrap();
          ::raise(SIGSTOP);
        },
        pids);
    pids.get().unwrap();
    std::vector<int> items(500, 3);
    for (Result<int>& result : pool.imap_unordered<square>(items).unwrap()) ASSERT_EQ(*result, 9);
    EXPECT_FALSE(stopped.done());
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolKill, AKilledConsumerLeavesTheQueueUsable) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  auto doomed = pool.submit<wait_for_word>(words);
  // Killed before it had begun the task, another one would be given it.
  while (!pool.stats().workers.at(0).running) std::this_thread::yield();
  ASSERT_TRUE(kill_worker(pool, 0));
  EXPECT_EQ(doomed.get().error(), Errc::worker_lost);
  auto next = pool.submit<wait_for_word>(words);
  words.put("for the living").unwrap();
  EXPECT_EQ(next.get().unwrap(), "for the living");
}

TEST(PoolKill, TerminateEndsWorkersThatIgnoreIt) {
  Queue<int> ready;
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    for (int i = 0; i < 2; ++i) {
      static_cast<void>(pool.submit(
          [](const Queue<int>& out) {
            std::signal(SIGTERM, SIG_IGN);
            out.put(1).unwrap();
            for (;;) ::pause();
          },
          ready));
    }
    ready.get().unwrap();
    ready.get().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

void own_a_pool(const Queue<int>& pids) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  auto one = pool.submit<sleep_for_ever>(pids);
  auto two = pool.submit<sleep_for_ever>(pids);
  one.wait();
}

TEST(PoolKill, Fault17NoWorkerOutlivesItsKilledOwner) {
  const auto before = census();
  {
    Queue<int> pids;
    auto owner = passel::Process::spawn<own_a_pool>(pids).unwrap();
    pids.get().unwrap();
    pids.get().unwrap();
    owner.kill().unwrap();
    EXPECT_EQ(owner.join().unwrap(), -SIGKILL);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
