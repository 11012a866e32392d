// Pool where something is short: room in a pipe, descriptors, processes.
#include <passel/actor.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>

#include "support/blocked_thread.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using passel::Errc;
using passel::Pool;
using passel::Process;

int process_id() { return ::getpid(); }
int leave() { ::_exit(3); }

/// Runs a task in a process of its own and returns its exit code.
template <auto task>
int in_a_process() {
  auto process = Process::spawn<task>().unwrap();
  EXPECT_TRUE(process.join());
  return process.exitcode().value_or(-1);
}

/// One thread holds the lock of stdout, as in `program | less` when nobody scrolls.
void pool_while_stdout_is_full() {
  auto pool = Pool::start({.processes = 1}).unwrap();
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0 || ::dup2(pipe[1], STDOUT_FILENO) < 0) ::_exit(10);
  passel_test::BlockedThread writer{[] {
    const std::string much(std::size_t{1} << 20, 'x');
    std::fwrite(much.data(), 1, much.size(), stdout);
  }};
  writer.wait_until_blocked();
  if (!pool.submit<process_id>().get()) ::_exit(11);
  // Its worker is replaced.
  if (pool.submit<leave>().get().error() != Errc::worker_lost) ::_exit(12);
  if (!pool.submit<process_id>().get()) ::_exit(13);
  ::_exit(0);
}

TEST(PoolShortage, WorkersAreReplacedWhileNobodyReadsStdout) {
  EXPECT_EQ(in_a_process<pool_while_stdout_is_full>(), 0);
}

int shout() {
  const std::string much(std::size_t{8} << 20, 'x');
  return ::write(STDERR_FILENO, much.data(), much.size()) == static_cast<ssize_t>(much.size());
}

void read_long_writes() {
  const int sink = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (::dup2(sink, STDERR_FILENO) < 0) ::_exit(30);
  auto pool = Pool::start({.processes = 2, .stderr_lines = 3}).unwrap();
  for (int i = 0; i < 6; ++i) {
    auto one = pool.submit<shout>();
    auto other = pool.submit<shout>();
    if (one.get().unwrap() != 1 || other.get().unwrap() != 1) ::_exit(31);
  }
  pool.close();
  pool.join().unwrap();
  ::_exit(0);
}

TEST(PoolShortage, OneLongWriteToStderrComesToItsEnd) {
  EXPECT_EQ(in_a_process<read_long_writes>(), 0);
}

struct Counter {
  int on(int n) { return n + 1; }
};

/// The system has no thread left for this user.
void use_without_threads() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NPROC, &limit);
  const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
  constexpr uid_t nobody_else = 54'321;  // root may start any number
  if (::setrlimit(RLIMIT_NPROC, &none) != 0) ::_exit(20);
  if (::geteuid() == 0 && ::setresuid(nobody_else, nobody_else, nobody_else) != 0) ::_exit(21);
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  if (passel::spawn<Counter>().error() != Errc::no_space) ::_exit(22);
  if (Pool::start({.processes = 1}).error() != Errc::no_space) ::_exit(23);
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < SIGRTMAX; ++signal) {
    if (::sigismember(&before, signal) != ::sigismember(&after, signal)) ::_exit(24);
  }
  if (::setrlimit(RLIMIT_NPROC, &limit) != 0) ::_exit(25);
  auto counter = passel::spawn<Counter>();
  if (!counter || counter->ask(1).get().unwrap() != 2) ::_exit(26);
  ::_exit(0);
}

TEST(PoolShortage, Fault14NoThreadLeftIsAnErrorThatPasses) {
  EXPECT_EQ(in_a_process<use_without_threads>(), 0);
}

}  // namespace
