// Pool where something is short: room in a pipe, descriptors, processes.
#include <passel/pool.hpp>
#include <passel/process.hpp>

#include "support/blocked_thread.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>
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

}  // namespace
