// Processes in a supervision tree.
#include <passel/queue.hpp>
#include <passel/supervised_process.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"

#include <unistd.h>
#include <csignal>
#include <set>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::ExitReason;
using passel::Process;
using passel::Queue;
using passel::Supervisor;

void report_and_wait(const Queue<int>& pids) {
  pids.put(::getpid()).unwrap();
  for (;;) ::pause();
}
void report_and_exit(const Queue<int>& pids, int code) {
  pids.put(::getpid()).unwrap();
  std::_Exit(code);
}
void report_and_ignore(const Queue<int>& pids) {
  ::signal(SIGTERM, SIG_IGN);
  report_and_wait(pids);
}

/// The I/O thread and the engine's threads are there from now on.
void start_all_threads() {
  Process::spawn([] {}).unwrap().join().unwrap();
  Supervisor::start().unwrap().stop_for(1h).unwrap();
}

TEST(SupervisedProcess, IsStartedAgainWhenItIsKilled) {
  start_all_threads();
  const auto before = passel_test::ProcessCensus::take();
  {
    const Queue<int> pids;
    auto sup = Supervisor::start({.max_restarts = 100, .within = 1h}).unwrap();
    sup.add(passel::supervised<report_and_wait>({.name = "worker"}, pids)).unwrap();
    std::set<int> seen;
    for (int life = 0; life < 20; ++life) {
      const int pid = pids.get().unwrap();
      EXPECT_TRUE(seen.insert(pid).second);
      ::kill(pid, SIGKILL);
    }
    pids.get().unwrap();
    EXPECT_EQ(sup.children().front().restarts, 20U);
    sup.stop_for(1h).unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(SupervisedProcess, TooManyFailuresEndTheSupervisor) {
  const Queue<int> pids;
  auto sup = Supervisor::start({.max_restarts = 3, .within = 1h}).unwrap();
  sup.add(passel::supervised<report_and_exit>({.name = "doomed"}, pids, 3)).unwrap();
  const ExitReason reason = sup.join();
  EXPECT_TRUE(reason == ExitReason::Kind::failed) << reason.to_string();
  EXPECT_EQ(pids.qsize(), 4U);  // the first life and three restarts
}

TEST(SupervisedProcess, ANormalEndOfATransientChildIsItsLast) {
  const Queue<int> pids;
  auto sup = Supervisor::start().unwrap();
  sup.add(passel::supervised<report_and_exit>(
              {.name = "once", .child = {.restart = passel::RestartPolicy::transient}}, pids, 0))
      .unwrap();
  pids.get().unwrap();
  // A child without a further life is down, or forgotten already: one look at the list at a time.
  for (auto children = sup.children(); !children.empty() && children.front().state != "down";
       children = sup.children())
    std::this_thread::yield();
  EXPECT_TRUE(pids.empty());
  sup.stop_for(1h).unwrap();
}

TEST(SupervisedProcess, StopAsksAndThenKills) {
  const Queue<int> pids;
  auto sup = Supervisor::start().unwrap();
  sup.add(
         passel::supervised<report_and_ignore>({.name = "deaf", .child = {.shutdown = 20ms}}, pids))
      .unwrap();
  const int pid = pids.get().unwrap();
  sup.stop_for(1h).unwrap();
  EXPECT_FALSE(passel::detail::is_running(passel::detail::process_with_pid(pid)));
}

TEST(SupervisedProcess, StoppingWhileItStartsLeavesNothing) {
  start_all_threads();
  const auto before = passel_test::ProcessCensus::take();
  for (int round = 0; round < 30; ++round) {
    const Queue<int> pids;
    auto sup = Supervisor::start().unwrap();
    sup.add(passel::supervised<report_and_wait>({.name = "short"}, pids)).unwrap();
    sup.stop_for(1h).unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
