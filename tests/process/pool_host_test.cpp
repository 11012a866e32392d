// Pool on a machine that is short of processes, in a program with many threads, beside pids that
// come back, and under an owner that is killed at any moment.
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include "executed_copy.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::Queue;
namespace detail = passel::detail;

/// What this process owns, once it has had a pool: the first one starts the threads that all actors
/// share.
passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

int square(int n) { return n * n; }
int process_id() { return ::getpid(); }

std::size_t ready_workers(const Pool& pool) {
  const auto workers = pool.stats().workers;
  return static_cast<std::size_t>(
      std::count_if(workers.begin(), workers.end(), [](const auto& each) { return each.ready; }));
}

void wait_for_workers(const Pool& pool, std::size_t count) {
  while (ready_workers(pool) != count) std::this_thread::sleep_for(1ms);
}

/// Says how many processes the group may have; false: it cannot be told.
bool limit_processes(const std::string& group, const std::string& most) {
  std::ofstream out{group + "/pids.max"};
  return out && (out << most << std::flush);
}

/// A new group under one in which this process may make them; empty: there is none.
std::string make_process_group() {
  for (const std::string root : {"/sys/fs/cgroup/pids", "/sys/fs/cgroup"}) {
    const std::string path = root + "/passel-test-" + std::to_string(::getpid());
    if (::mkdir(path.c_str(), 0755) != 0) continue;
    if (limit_processes(path, "max")) return path;
    ::rmdir(path.c_str());
  }
  return {};
}

/// Kills as many ready workers, and waits until the pool knows.
void kill_workers(const Pool& pool, std::size_t count) {
  const std::size_t left = ready_workers(pool) - count;
  for (const auto& worker : pool.stats().workers) {
    if (!worker.ready || count == 0) continue;
    const auto handle = detail::open_process(worker.pid).unwrap();
    ASSERT_TRUE(detail::signal_process(handle, SIGKILL).is_ok());
    --count;
  }
  wait_for_workers(pool, left);
}

/// Not a test of its own: what Fault14 executes in a group of its own.
TEST(DISABLED_ExecutedCopy, StartsFail) {
  const std::string group = std::getenv("TEST_PROCESS_GROUP");
  ASSERT_TRUE(std::ofstream{group + "/cgroup.procs"} << ::getpid() << std::flush);
  Pool pool = Pool::start({.processes = 3}).unwrap();
  Pool unlucky = Pool::start({.processes = 1, .restart_window = 50ms}).unwrap();
  wait_for_workers(pool, 3);
  wait_for_workers(unlucky, 1);
  // Workers are forked by their guardian, which was there before.
  const int guardian = pool.apply([] { return ::getppid(); }).unwrap();
  ASSERT_TRUE(std::ofstream{group + "/cgroup.procs"} << guardian << std::flush);
  // Those that are there stay; nobody comes.
  ASSERT_TRUE(limit_processes(group, "1"));
  kill_workers(pool, 2);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(pool.apply<square>(i).unwrap(), i * i);
  EXPECT_EQ(ready_workers(pool), 1U);
  EXPECT_TRUE(Pool::start({.processes = 2}).is_err());
  // With nobody left it gives up, and says why.
  kill_workers(unlucky, 1);
  const auto given_up = unlucky.submit<square>(2).get();
  ASSERT_TRUE(given_up.is_err());
  EXPECT_TRUE(given_up.error() == Errc::pool_failed) << given_up.error().to_string();
  EXPECT_THAT(given_up.error().what(), ::testing::HasSubstr("could not be started"));

  ASSERT_TRUE(limit_processes(group, "max"));
  wait_for_workers(pool, 3);
  const std::vector<int> items(300, 7);
  EXPECT_EQ(pool.map<square>(items, {.chunksize = 1}).unwrap(), std::vector<int>(300, 49));
}

void expect_copy_in_group(const std::string& name) {
  const std::string group = make_process_group();
  if (group.empty()) GTEST_SKIP() << "needs a writable pids cgroup: run it as root";
  const auto run = passel_test::run_copy(name, {"TEST_PROCESS_GROUP=" + group});
  EXPECT_EQ(run.exitcode, 0) << run.errors;
  // Its last process may be about to go.
  while (::rmdir(group.c_str()) != 0 && errno == EBUSY) std::this_thread::sleep_for(1ms);
}

TEST(PoolHost, Fault14APoolGoesOnWithFewerWorkersWhileNoneCanBeStartedAndHeals) {
  expect_copy_in_group("StartsFail");
}

/// Not a test of its own: what the next one executes in a group of its own.
TEST(DISABLED_ExecutedCopy, StartsFailAtFirst) {
  const std::string group = std::getenv("TEST_PROCESS_GROUP");
  ASSERT_TRUE(std::ofstream{group + "/cgroup.procs"} << ::getpid() << std::flush);
  const int guardian =
      Pool::start({.processes = 1}).unwrap().apply([] { return ::getppid(); }).unwrap();
  ASSERT_TRUE(std::ofstream{group + "/cgroup.procs"} << guardian << std::flush);
  const auto before = census();
  int present = 0;
  ASSERT_TRUE(std::ifstream{group + "/pids.current"} >> present);
  ASSERT_TRUE(limit_processes(group, std::to_string(present)));
  EXPECT_TRUE(Pool::start({.processes = 5}).is_err());
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "") << "nothing is left of it";
  {
    ASSERT_TRUE(limit_processes(group, std::to_string(present + 2)));
    auto small = Pool::start({.processes = 5}).unwrap();
    EXPECT_EQ(small.apply<square>(6).unwrap(), 36);
    ASSERT_TRUE(limit_processes(group, "max"));
    wait_for_workers(small, 5);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "") << "nothing is left of this one either";
}

// TestPoolNotLeakOnFailure
TEST(PoolHost, WhenNoWorkerCanBeStartedNothingIsLeftAndWithSomeItWorks) {
  expect_copy_in_group("StartsFailAtFirst");
}

/// Not a test of its own: a program that ends with a pool that it never closed.
TEST(DISABLED_ExecutedCopy, EndsWithAPool) {
  Queue<int> begun;
  auto* const forgotten = new Pool{Pool::start({.processes = 2}).unwrap()};
  for (int i = 0; i < 10; ++i) {
    static_cast<void>(forgotten->submit(
        [](const Queue<int>& out) {
          out.put(1).unwrap();
          for (;;) ::pause();
        },
        begun));
  }
  begun.get().unwrap();
  begun.get().unwrap();
  std::exit(7);
}

// test_worker_finalization_via_atexit_handler_of_multiprocessing
TEST(PoolHost, TheEndOfTheProgramEndsAPoolThatWasNeverClosed) {
  // The pipe of its stderr ends when the last worker has gone.
  EXPECT_EQ(passel_test::run_copy("EndsWithAPool").exitcode, 7);
}

TEST(PoolHost, Fault15FiftyThreadsInMallocHoldUpNoStart) {
  const auto before = census();
  {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 50; ++i) {
      threads.emplace_back([&stop, i] {
        std::mt19937 random{static_cast<unsigned>(i)};
        std::vector<std::string> held(32);
        while (!stop) {
          for (auto& text : held) text.assign(64 + random() % 4'000, 'x');
          for (auto& text : held) std::string{}.swap(text);
          // Some are in the middle of it at any time; none takes the machine for itself.
          std::this_thread::sleep_for(200us);
        }
      });
    }
    const unsigned rounds = passel_test::rounds(25);
    for (unsigned round = 0; round < rounds; ++round) {
      Pool pool = Pool::start({.processes = 8}).unwrap();
      // Each worker uses malloc too: it must not find a lock that somebody held at its birth.
      std::vector<Future<std::size_t>> sizes;
      for (int i = 0; i < 8; ++i)
        sizes.push_back(
            pool.submit([](int n) { return std::to_string(n).append(5'000, '.').size(); }, i));
      for (auto& size : sizes) EXPECT_EQ(size.get().unwrap(), 5'001U);
      pool.close();
      pool.join().unwrap();
    }
    stop = true;
    for (auto& thread : threads) thread.join();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolHost, Fault18ALateEndOfATaskHitsNobodyElse) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    std::vector<Future<int>> old;
    for (int i = 0; i < 100; ++i) old.push_back(pool.submit<process_id>({.grace = 0ms}));
    for (auto& future : old) future.wait();
    // Those tasks ended long ago; the workers that ran them run others now.
    Queue<std::string> words;
    std::vector<Future<std::string>> now;
    for (int i = 0; i < 2; ++i)
      now.push_back(
          pool.submit([](const Queue<std::string>& from) { return from.get().unwrap(); }, words));
    while (pool.stats().workers[0].task.empty() || pool.stats().workers[1].task.empty())
      std::this_thread::sleep_for(1ms);
    const auto before_wishes = pool.stats().workers;
    for (auto& future : old) future.request_stop();
    // Behind the wishes on the way to the pool.
    EXPECT_EQ(pool.stats().restarts, 0U);
    for (int i = 0; i < 2; ++i) words.put("unharmed").unwrap();
    for (auto& future : now) EXPECT_EQ(future.get().unwrap(), "unharmed");
    EXPECT_EQ(pool.stats().restarts, 0U);
    const auto after_wishes = pool.stats().workers;
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(after_wishes[i].pid, before_wishes[i].pid);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

void end_child(int pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST(PoolHost, Fault18AHandleOfAnEndedProcessSignalsNobodyWhoGotItsPid) {
  auto ended = passel::Process::spawn([] {}).unwrap();
  const int pid = *ended.pid();
  EXPECT_EQ(ended.join().unwrap(), 0);
  const detail::Descriptor last{::open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC)};
  if (!last) GTEST_SKIP() << "needs to choose the next pid: run it as root";
  const std::string before = std::to_string(pid - 1);
  int heir = 0;
  for (int tries = 0; tries < 100 && heir != pid; ++tries) {
    ASSERT_GT(::pwrite(last.get(), before.data(), before.size(), 0), 0);
    heir = ::fork();
    if (heir == 0) {
      for (;;) ::pause();
    }
    if (heir != pid) end_child(heir);  // somebody else was quicker
  }
  if (heir != pid) GTEST_SKIP() << "a stranger has the pid " << pid;
  static_cast<void>(ended.terminate());
  static_cast<void>(ended.kill());
  EXPECT_EQ(::waitpid(heir, nullptr, WNOHANG), 0) << "the heir of the pid was hit";
  end_child(heir);
}

/// Has pools in every state, until it is killed.
void live_with_pools(const Queue<int>& begun, unsigned seed) {
  std::mt19937 random{seed};
  const std::string large(std::size_t{1} << 20, 'x');
  for (;;) {
    Pool pool = Pool::start({.processes = 1 + static_cast<int>(random() % 3),
                             .maxtasksperchild = 1 + static_cast<int>(random() % 50)})
                    .unwrap();
    auto sizes = pool.submit([](const std::string& text) { return text.size(); }, large);
    auto squares = pool.map_async<square>(std::vector<int>(100, 5), {.chunksize = 1});
    static_cast<void>(begun.put(1));
    if (random() % 2 == 0) sizes.wait();
    if (random() % 2 == 0) squares.wait();
    if (random() % 2 == 0) continue;
    pool.close();
    static_cast<void>(pool.join());
  }
}

TEST(PoolHost, Fault17AnOwnerThatIsKilledInAnyStateLeavesNothing) {
  const auto before = census();
  std::mt19937_64 random{passel_test::seed()};
  for (unsigned round = 0; round < passel_test::rounds(50); ++round) {
    Queue<int> begun;
    auto owner =
        passel::Process::spawn<live_with_pools>(begun, static_cast<unsigned>(random())).unwrap();
    // In one of four it has hardly begun.
    if (round % 4 != 0) begun.get().unwrap();
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 10'000});
    owner.kill().unwrap();
    EXPECT_EQ(owner.join().unwrap(), -SIGKILL);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
