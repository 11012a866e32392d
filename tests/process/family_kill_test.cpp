// What becomes of a family of processes when one of them is killed.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include <gtest/gtest.h>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Process;
using passel::Queue;
namespace detail = passel::detail;

void sleep_for_ever() {
  for (;;) ::pause();
}

/// Waits until `pid` is gone, however long it takes: the watchdog ends a test in which it never is.
void wait_until_gone(int pid) {
  auto pidfd = detail::open_process(pid);
  if (!pidfd) return;
  pollfd gone{.fd = pidfd->get(), .events = POLLIN, .revents = 0};
  ::poll(&gone, 1, -1);
}

/// A child that starts a grandchild, tells its pid and then waits; the grandchild forks a process
/// of its own.
void start_grandchild(const Queue<int>& pids) {
  auto grandchild = Process::spawn(
                        [](const Queue<int>& out) {
                          const int orphan = ::fork();
                          if (orphan == 0) sleep_for_ever();
                          out.put(orphan).unwrap();
                          out.put(::getpid()).unwrap();
                          sleep_for_ever();
                        },
                        pids)
                        .unwrap();
  sleep_for_ever();
}

TEST(FamilyKill, DescendantsDieWithAKilledChild) {
  Queue<int> pids;
  auto child = Process::spawn<start_grandchild>(pids).unwrap();
  const int orphan = pids.get().unwrap();
  const int grandchild = pids.get().unwrap();
  child.kill().unwrap();
  EXPECT_EQ(child.join().unwrap(), -SIGKILL);
  // The guardian reports a death only when the whole branch is gone.
  EXPECT_FALSE(detail::is_running(detail::process_with_pid(grandchild)));
  EXPECT_FALSE(detail::is_running(detail::process_with_pid(orphan))) << "forked behind our back";
}

TEST(FamilyKill, WhatAGrandchildHeldComesBackWhenItsBranchIsKilled) {
  passel::JoinableQueue<int> jobs;
  Queue<int> taken;
  jobs.put(7).unwrap();
  auto child = Process::spawn(
                   [](const passel::JoinableQueue<int>& from, const Queue<int>& to) {
                     auto grandchild =
                         Process::spawn(
                             [](const passel::JoinableQueue<int>& mine, const Queue<int>& out) {
                               out.put(mine.get().unwrap()).unwrap();
                               sleep_for_ever();
                             },
                             from, to)
                             .unwrap();
                     sleep_for_ever();
                   },
                   jobs, taken)
                   .unwrap();
  EXPECT_EQ(taken.get().unwrap(), 7);
  child.kill().unwrap();
  EXPECT_EQ(child.join().unwrap(), -SIGKILL);
  const auto again = jobs.try_get();
  ASSERT_TRUE(again.is_ok()) << again.error().to_string();
  EXPECT_EQ(*again, 7);
  jobs.task_done().unwrap();
  jobs.join().unwrap();
}

/// A root of its own in a forked process, so that it can be killed.
struct OtherRoot {
  int pid = -1;
  std::vector<int> family;
};

OtherRoot start_other_root() {
  int report[2];
  EXPECT_EQ(::pipe(report), 0);
  OtherRoot root;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  root.pid = ::fork();
  if (root.pid == 0) {
    ::setenv("PASSEL_TEST_OTHER_ROOT", std::to_string(report[1]).c_str(), 1);
    std::signal(SIGINT, SIG_DFL);  // ignored when the suite runs in the background of a script
    ::execl(self.c_str(), self.c_str(), "--gtest_filter=OtherRoot.DISABLED_Runs",
            "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
    ::_exit(127);
  }
  ::close(report[1]);
  int pid = 0;
  constexpr std::size_t expected = 4;  // grandchild's orphan, grandchild, child, daemon
  while (root.family.size() < expected && ::read(report[0], &pid, sizeof pid) == sizeof pid)
    root.family.push_back(pid);
  ::close(report[0]);
  EXPECT_EQ(root.family.size(), expected);
  return root;
}

/// Not a test of its own: the program that FamilyKill.NothingOutlivesAKilledRoot executes and
/// kills.
TEST(OtherRoot, DISABLED_Runs) {
  const char* out = std::getenv("PASSEL_TEST_OTHER_ROOT");
  ASSERT_NE(out, nullptr) << "only runs for FamilyKill.NothingOutlivesAKilledRoot";
  const int fd = std::atoi(out);
  Queue<int> pids;
  auto child = Process::spawn<start_grandchild>(pids).unwrap();
  auto daemon = Process::spawn<sleep_for_ever>({.daemon = true}).unwrap();
  const int family[] = {pids.get().unwrap(), pids.get().unwrap(), *child.pid(), *daemon.pid()};
  ASSERT_EQ(::write(fd, family, sizeof family), static_cast<ssize_t>(sizeof family));
  ::close(fd);
  sleep_for_ever();
}

TEST(FamilyKill, NothingOutlivesAKilledRoot) {
  for (int round = 0; round < 5; ++round) {
    const OtherRoot root = start_other_root();
    ::kill(root.pid, SIGKILL);
    EXPECT_EQ(::waitpid(root.pid, nullptr, 0), root.pid);
    for (const int pid : root.family) wait_until_gone(pid);
  }
}

TEST(FamilyKill, ATerminalInterruptEndsTheRootsFamilyOnce) {
  const OtherRoot root = start_other_root();
  ::kill(root.pid, SIGINT);
  int status = 0;
  EXPECT_EQ(::waitpid(root.pid, &status, 0), root.pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  for (const int pid : root.family) wait_until_gone(pid);
}

int guardian_pid() {
  // The guardian is the parent of every child.
  Queue<int> out;
  auto p = Process::spawn([](const Queue<int>& to) { to.put(::getppid()).unwrap(); }, out).unwrap();
  p.join().unwrap();
  return out.get().unwrap();
}

TEST(FamilyKill, ChildrenOfAKilledGuardianEndAndANewOneTakesOver) {
  auto child = Process::spawn<sleep_for_ever>().unwrap();
  const int guardian = guardian_pid();
  ::kill(guardian, SIGKILL);
  EXPECT_EQ(child.join().unwrap(), -SIGKILL);
  EXPECT_TRUE(child.exitcode().has_value());
  // The next start needs a guardian: it executes a new one.
  auto next = Process::spawn([] {}).unwrap();
  EXPECT_EQ(next.join().unwrap(), 0);
  EXPECT_NE(guardian_pid(), guardian);
}

TEST(FamilyKill, AStoppedChildIsNoneOfAnybodyElsesBusiness) {
  auto stopped = Process::spawn<sleep_for_ever>().unwrap();
  ::kill(*stopped.pid(), SIGSTOP);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Process::spawn([] {}).unwrap().join().unwrap(), 0);
  EXPECT_TRUE(stopped.is_alive());
  stopped.kill().unwrap();
  EXPECT_EQ(stopped.join().unwrap(), -SIGKILL);
}

TEST(FamilyKill, RandomKillsLeaveNothingBehind) {
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = passel_test::ProcessCensus::take();
  const std::uint64_t seed = passel_test::seed();
  std::mt19937_64 random{seed};
  for (int round = 0; round < 50; ++round) {
    Queue<int> out{4};
    std::vector<Process> processes;
    for (int i = 0; i < 4; ++i)
      processes.push_back(Process::spawn(
                              [](const Queue<int>& to) {
                                for (int n = 0;; ++n)
                                  if (!to.put(n)) return;
                              },
                              out)
                              .unwrap());
    for (auto left = random() % 50; left > 0; --left) out.get().unwrap();
    for (const Process& p : processes) {
      p.kill().unwrap();
      EXPECT_EQ(p.join().unwrap(), -SIGKILL);
    }
    while (out.try_get()) {
    }
    EXPECT_TRUE(out.put_for(1, 1h).is_ok()) << "round " << round << ", seed " << seed;
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
