// Pools that live in a manager's server. CPython's counterparts stand beside the cases.
#include <passel/manager.hpp>
#include <passel/process.hpp>
#include <passel/this_task.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::ExposedTasks;
using passel::Future;
using passel::Manager;
using passel::PoolProxy;
using passel::Process;
using passel::QueueProxy;
using passel_test::ProcessCensus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

int square(int n) { return n * n; }
std::string join_words(std::string a, std::string b) { return a + b; }
int fail(int n) {
  if (n == 2) throw std::out_of_range{"two is too much"};
  return n;
}
int parent() { return ::getppid(); }
int die(int code) { std::exit(code); }
void until_stopped(QueueProxy<int> events) {
  events.put(1).unwrap();
  while (!passel::this_task::stop_requested()) std::this_thread::sleep_for(1ms);
  events.put(2).unwrap();
}
int not_exposed(int n) { return n; }

ExposedTasks all_tasks() {
  return ExposedTasks::of<&square, &fail, &parent, &die, &until_stopped,
                          passel::exposed<"join", &join_words>>();
}

class ManagedPool : public ::testing::Test {
 protected:
  ManagedPool() {
    manager.expose(all_tasks()).unwrap();
    manager.start().unwrap();
  }
  Manager manager;
};

// CPython: TestSyncManagerTypes.test_pool
TEST_F(ManagedPool, AppliesAndMaps) {
  const PoolProxy pool = manager.pool({.processes = 2}).unwrap();
  EXPECT_EQ(pool.processes().unwrap(), 2U);
  EXPECT_EQ(pool.apply<&square>(7).unwrap(), 49);
  EXPECT_EQ((pool.apply<passel::exposed<"join", &join_words>>("a", "b").unwrap()), "ab");
  Future<int> later = pool.apply_async<&square>(5);
  EXPECT_EQ(later.get().unwrap(), 25);
  EXPECT_NE(pool.apply<&parent>().unwrap(), ::getpid()) << "its processes are not ours";
  std::vector<int> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  const std::vector<int> squares = pool.map<&square>(numbers).unwrap();
  ASSERT_EQ(squares.size(), 100U);
  EXPECT_EQ(squares[99], 9801);
  EXPECT_EQ(pool.map_async<&square>(numbers, {.chunksize = 7}).get().unwrap(), squares);
  EXPECT_TRUE(pool.map<&square>(std::vector<int>{}).unwrap().empty());
  pool.close().unwrap();
  pool.join().unwrap();
}

// CPython: TestSyncManagerTypes.test_pool, with the iterators of imap
TEST_F(ManagedPool, IteratesOverResultsAsTheyCome) {
  const PoolProxy pool = manager.pool({.processes = 2}).unwrap();
  const std::vector<int> numbers{1, 2, 3};
  auto ordered = pool.imap<&square>(numbers).unwrap();
  EXPECT_EQ((*ordered.next()).unwrap(), 1);
  EXPECT_EQ((*ordered.next_for(60s)).unwrap(), 4);
  EXPECT_EQ((*ordered.next()).unwrap(), 9);
  EXPECT_FALSE(ordered.next().has_value()) << "Python's StopIteration";
  std::vector<int> found;
  for (auto& n : pool.imap_unordered<&square>(numbers).unwrap()) found.push_back(*n);
  EXPECT_THAT(found, UnorderedElementsAre(1, 4, 9));
  auto failing = pool.imap<&fail>(numbers).unwrap();
  EXPECT_EQ((*failing.next()).unwrap(), 1);
  EXPECT_EQ(failing.next()->error(), Errc::task_failed);
  EXPECT_EQ((*failing.next()).unwrap(), 3) << "an error does not end the others";
}

TEST_F(ManagedPool, ErrorsAreThoseOfAPool) {
  const PoolProxy pool = manager.pool({.processes = 1}).unwrap();
  const auto failed = pool.map<&fail>(std::vector{1, 2, 3});
  EXPECT_EQ(failed.error(), Errc::task_failed);
  EXPECT_THAT(failed.error().what(), HasSubstr("two is too much"));
  const auto lost = pool.apply<&die>(3);
  EXPECT_EQ(lost.error(), Errc::worker_lost);
  ASSERT_NE(lost.error().detail<passel::WorkerLost>(), nullptr);
  EXPECT_EQ(lost.error().detail<passel::WorkerLost>()->exit_code, 3);
  const auto unknown = pool.apply<&not_exposed>(1);
  EXPECT_EQ(unknown.error(), Errc::not_found);
  EXPECT_THAT(unknown.error().what(), HasSubstr("'not_exposed'"));
  EXPECT_THAT(unknown.error().what(), HasSubstr("square(int) -> int"));
  const auto none = manager.pool({.processes = 0});
  EXPECT_EQ(none.error(), Errc::invalid_argument);
  EXPECT_THAT(none.error().what(), HasSubstr("at least 1, not 0"));
}

TEST_F(ManagedPool, IsClosedTerminatedAndJoinedAsAPool) {
  const PoolProxy pool = manager.pool({.processes = 1}).unwrap();
  EXPECT_EQ(pool.join().error(), Errc::invalid_state) << "Pool is still running";
  Future<int> last = pool.apply_async<&square>(3);
  pool.close().unwrap();
  EXPECT_EQ(pool.apply<&square>(1).error(), Errc::invalid_state);
  EXPECT_EQ(last.get().unwrap(), 9);
  pool.join().unwrap();
  const PoolProxy other = manager.pool({.processes = 1}).unwrap();
  const auto events = manager.queue<int>().unwrap();
  Future<void> endless = other.apply_async<&until_stopped>(events);
  EXPECT_EQ(events.get().unwrap(), 1);
  other.terminate().unwrap();
  EXPECT_EQ(endless.get().error(), Errc::cancelled);
  other.join().unwrap();
}

int square_by(PoolProxy pool, int n) { return pool.apply<&square>(n).unwrap(); }

TEST_F(ManagedPool, IsUsedByWhoeverHasTheProxy) {
  const PoolProxy pool = manager.pool({.processes = 1}).unwrap();
  const auto results = manager.queue<int>().unwrap();
  const Process user =
      Process::spawn([](PoolProxy there,
                        QueueProxy<int> out) { out.put(square_by(std::move(there), 6)).unwrap(); },
                     pool, results)
          .unwrap();
  EXPECT_EQ(results.get().unwrap(), 36);
  static_cast<void>(user.join());
}

TEST_F(ManagedPool, TheTaskOfAUserWhoDiesOrGivesUpIsStopped) {
  const PoolProxy pool = manager.pool({.processes = 1}).unwrap();
  const auto events = manager.queue<int>().unwrap();
  const Process user = Process::spawn(
                           [](PoolProxy there, QueueProxy<int> out) {
                             static_cast<void>(there.apply<&until_stopped>(out));
                           },
                           pool, events)
                           .unwrap();
  EXPECT_EQ(events.get().unwrap(), 1);
  user.kill().unwrap();
  EXPECT_EQ(pool.apply<&square>(2).unwrap(), 4) << "the only process is free again";
  static_cast<void>(user.join());
}

std::size_t threads_of(::pid_t process) {
  const std::filesystem::directory_iterator tasks{"/proc/" + std::to_string(process) + "/task"};
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

// Fault 56.
TEST_F(ManagedPool, OneThreadWaitsForItsEndForAllWhoDo) {
  const PoolProxy pool = manager.pool({.processes = 1}).unwrap();
  const auto events = manager.queue<int>().unwrap();
  auto task = pool.apply_async<&until_stopped>(events);
  EXPECT_EQ(events.get().unwrap(), 1);
  pool.close().unwrap();
  const std::size_t before = threads_of(*manager.pid());
  std::vector<Future<void>> joins;
  for (int n = 0; n < 50; ++n) joins.push_back(pool.call_async<void>("join"));
  EXPECT_EQ(pool.processes().unwrap(), 1U);  // they wait there by now
  EXPECT_LT(threads_of(*manager.pid()), before + 10);
  EXPECT_EQ(pool.join_for(1ms).error(), Errc::timeout);
  task.cancel();
  for (auto& join : joins) EXPECT_TRUE(join.get().is_ok());
  pool.join().unwrap();
}

// Fault 56.
TEST(ManagedPools, TheProcessesOfAManagerHaveALimit) {
  Manager manager{{.limits = {.processes = 3}}};
  manager.expose(all_tasks()).unwrap();
  manager.start().unwrap();
  std::optional<PoolProxy> two = manager.pool({.processes = 2}).unwrap();
  const auto over = manager.pool({.processes = 100'000});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().to_string(),
            "full: 100000 processes for a pool, beside 2 of other pools of the manager: limit 3");
  const PoolProxy third = manager.pool({.processes = 1}).unwrap();
  EXPECT_EQ(manager.pool({.processes = 1}).error(), Errc::full);
  two.reset();
  EXPECT_EQ(manager.pool({.processes = 2}).unwrap().apply<&square>(3).unwrap(), 9);
  third.close().unwrap();
  third.join().unwrap();
}

TEST(ManagedPoolEnd, GoesWithItsLastProxyAndWithItsServer) {
  const auto before = ProcessCensus::take();
  {
    Manager manager;
    manager.expose(all_tasks()).unwrap();
    manager.start().unwrap();
    std::optional<PoolProxy> pool = manager.pool({.processes = 2}).unwrap();
    EXPECT_EQ(pool->apply<&square>(2).unwrap(), 4);
    const auto with_pool = ProcessCensus::take();
    pool.reset();
    while (ProcessCensus::take().descendants.size() + 2 > with_pool.descendants.size())
      std::this_thread::sleep_for(1ms);
    pool = manager.pool({.processes = 2}).unwrap();
    EXPECT_EQ(pool->apply<&square>(3).unwrap(), 9);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

int doubled = 1;
void set_up(int factor) { doubled = factor; }

TEST(ManagedPoolEnd, TheServersInitializerRunsAsWell) {
  Manager manager;
  manager.expose(all_tasks()).unwrap();
  EXPECT_EQ(manager.expose(all_tasks()).error(), Errc::invalid_argument);
  manager.start_with<&set_up>(3).unwrap();
  EXPECT_EQ(manager.pool({.processes = 1}).unwrap().apply<&square>(5).unwrap(), 25);
}

TEST(ManagedPoolEnd, AServerInThisProcessHasPoolsToo) {
  Manager manager;
  manager.expose(all_tasks()).unwrap();
  const auto server = manager.get_server().unwrap();
  const PoolProxy pool = manager.pool({.processes = 1}).unwrap();
  EXPECT_EQ(pool.apply<&square>(8).unwrap(), 64);
}

}  // namespace
