// What becomes of processes and threads that children, and tasks of a pool, leave behind.
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Pool;
using passel::Process;
using passel::Queue;
namespace detail = passel::detail;

/// Ways of getting away from one's parent, each with those before it.
enum class Way : int { forked, orphaned, session, executed };
constexpr int ways = 4;

[[noreturn]] void get_away(Way way, int report) {
  if (way >= Way::session) ::setsid();
  if (way >= Way::orphaned && ::fork() != 0) ::_exit(0);
  std::signal(SIGTERM, SIG_IGN);
  const pid_t pid = ::getpid();
  if (::write(report, &pid, sizeof pid) != sizeof pid) ::_exit(1);
  if (way == Way::executed) ::execlp("sleep", "sleep", "1000000", nullptr);
  for (int fd = 0; fd < 256; ++fd) ::close(fd);
  for (;;) ::pause();
}

/// Leaves a process behind and tells its pid.
int leave_behind(Way way) {
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return 0;
  const pid_t first = ::fork();
  if (first == 0) get_away(way, report[1]);
  pid_t pid = 0;
  if (::read(report[0], &pid, sizeof pid) != sizeof pid) pid = 0;
  if (way >= Way::orphaned) ::waitpid(first, nullptr, 0);
  ::close(report[0]);
  ::close(report[1]);
  return pid;
}

std::vector<int> leave_all_behind() {
  std::vector<int> pids;
  for (int way = 0; way < ways; ++way) pids.push_back(leave_behind(static_cast<Way>(way)));
  return pids;
}

/// Who they are, so that nobody who gets such a pid later is taken for one of them.
std::vector<detail::ProcessId> named(const std::vector<int>& pids) {
  std::vector<detail::ProcessId> all;
  for (const int pid : pids) {
    all.push_back(detail::process_with_pid(pid));
    EXPECT_TRUE(detail::is_running(all.back())) << pid;
  }
  return all;
}
void expect_gone(const std::vector<detail::ProcessId>& all) {
  for (const auto& one : all) EXPECT_FALSE(detail::is_running(one)) << one.pid;
}

void leave_all_and(const Queue<std::vector<int>>& out, const Queue<int>& go_on) {
  out.put(leave_all_behind()).unwrap();
  static_cast<void>(go_on.get());
}

TEST(Stray, Fault17NothingOfAKilledChildIsLeftWhenItsEndIsTold) {
  Queue<std::vector<int>> out;
  Queue<int> never;
  auto child = Process::spawn<leave_all_and>(out, never).unwrap();
  const auto strays = named(out.get().unwrap());
  child.kill().unwrap();
  EXPECT_EQ(child.join().unwrap(), -SIGKILL);
  expect_gone(strays);
}

TEST(Stray, Fault17NorOfOneThatEndsByItself) {
  Queue<std::vector<int>> out;
  Queue<int> go_on;
  auto child = Process::spawn<leave_all_and>(out, go_on).unwrap();
  const auto strays = named(out.get().unwrap());
  go_on.put(1).unwrap();
  EXPECT_EQ(child.join().unwrap(), 0);
  expect_gone(strays);
}

TEST(Stray, ThoseOfOthersStay) {
  Queue<std::vector<int>> out;
  Queue<int> go_on;
  auto one = Process::spawn<leave_all_and>(out, go_on).unwrap();
  auto other = Process::spawn<leave_all_and>(out, go_on).unwrap();
  const auto first = named(out.get().unwrap());
  const auto second = named(out.get().unwrap());
  one.kill().unwrap();
  EXPECT_EQ(one.join().unwrap(), -SIGKILL);
  // Which of the two was first is not known.
  const bool first_lives = detail::is_running(first[0]);
  for (const auto& stray : first_lives ? first : second) EXPECT_TRUE(detail::is_running(stray));
  expect_gone(first_lives ? second : first);
  go_on.put(1).unwrap();
  EXPECT_EQ(other.join().unwrap(), 0);
  expect_gone(first_lives ? first : second);
}

/// Kills the only worker and waits for its successor.
void kill_worker(const Pool& pool) {
  const int pid = pool.stats().workers.at(0).pid;
  const auto handle = detail::open_process(pid).unwrap();
  EXPECT_TRUE(detail::signal_process(handle, SIGKILL).is_ok());
  for (;; std::this_thread::sleep_for(1ms)) {
    const auto workers = pool.stats().workers;
    if (!workers.empty() && workers[0].ready && workers[0].pid != pid) return;
  }
}

TEST(Stray, Fault17TasksMayLeaveProcessesBehindAsLongAsTheirWorkerLives) {
  ASSERT_TRUE(Pool::start({.processes = 1}).is_ok()) << "the threads that all actors share";
  const auto before = passel_test::ProcessCensus::take();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    const auto of_killed = named(pool.apply<leave_all_behind>().unwrap());
    kill_worker(pool);
    expect_gone(of_killed);

    const auto of_crashed = named(pool.apply<leave_all_behind>().unwrap());
    const auto lost = pool.apply([] {
      ::raise(SIGKILL);
      return 0;
    });
    EXPECT_TRUE(lost.error() == Errc::worker_lost);
    expect_gone(of_crashed);

    const auto of_closed = named(pool.apply<leave_all_behind>().unwrap());
    pool.close();
    pool.join().unwrap();
    expect_gone(of_closed);
  }
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    const auto of_terminated = named(pool.apply<leave_all_behind>().unwrap());
    pool.terminate();
    pool.join().unwrap();
    expect_gone(of_terminated);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Stray, ThreadsThatATaskLeavesBehindEndWithItsWorker) {
  ASSERT_TRUE(Pool::start({.processes = 1}).is_ok()) << "the threads that all actors share";
  const auto before = passel_test::ProcessCensus::take();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    pool.map(
            [](int) {
              std::thread{[] {
                for (;;) ::pause();
              }}.detach();
            },
            std::vector<int>(8), {.chunksize = 1})
        .unwrap();
    pool.close();
    pool.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

void own_a_pool_that_leaves(const Queue<int>& begun, unsigned seed) {
  std::mt19937 random{seed};
  Pool pool = Pool::start({.processes = 2}).unwrap();
  for (;;) {
    std::vector<passel::Future<int>> left;
    for (unsigned i = 0; i < 3; ++i) {
      left.push_back(pool.submit(
          [](int way, bool stay) {
            const int pid = leave_behind(static_cast<Way>(way));
            if (stay) ::usleep(2'000);
            return pid;
          },
          static_cast<int>(random() % ways), random() % 2 == 0));
    }
    static_cast<void>(begun.put(1));
    for (auto& each : left) each.wait();
  }
}

TEST(Stray, Fault17AnOwnerThatIsKilledWhileTasksForkLeavesNothing) {
  ASSERT_TRUE(Pool::start({.processes = 1}).is_ok()) << "the threads that all actors share";
  const auto before = passel_test::ProcessCensus::take();
  std::mt19937_64 random{passel_test::seed()};
  for (unsigned round = 0; round < passel_test::rounds(20); ++round) {
    Queue<int> begun;
    auto owner =
        Process::spawn<own_a_pool_that_leaves>(begun, static_cast<unsigned>(random())).unwrap();
    for (auto rounds = random() % 4; rounds > 0; --rounds) begun.get().unwrap();
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 5'000});
    owner.kill().unwrap();
    EXPECT_EQ(owner.join().unwrap(), -SIGKILL);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
