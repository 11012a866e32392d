// Pool where something is short: room in a pipe, descriptors, processes.
#include <passel/actor.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include "support/blocked_thread.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

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

/// Some channels of four workers find descriptors, others do not.
void start_with_few_descriptors() {
  static_cast<void>(Pool::start({.processes = 1}).unwrap());
  rlimit usual{};
  ::getrlimit(RLIMIT_NOFILE, &usual);
  const int next = ::dup(STDIN_FILENO);
  ::close(next);
  bool partly = false;
  for (int room = 1; room < 40; ++room) {
    rlimit few = usual;
    few.rlim_cur = static_cast<rlim_t>(next + room);
    ::setrlimit(RLIMIT_NOFILE, &few);
    auto pool = Pool::start({.processes = 4});
    ::setrlimit(RLIMIT_NOFILE, &usual);
    if (!pool) continue;
    for (const auto& worker : pool->stats().workers) partly |= worker.pid == 0;
    partly |= pool->stats().workers.size() < 4;
    if (!pool->apply<process_id>()) ::_exit(51);
  }
  ::_exit(partly ? 0 : 52);
}

TEST(PoolShortage, Fault14APoolWorksWithTheWorkersThatCouldBeStarted) {
  EXPECT_EQ(in_a_process<start_with_few_descriptors>(), 0);
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

std::string wait_for_word(const passel::Queue<std::string>& words) { return words.get().unwrap(); }

/// Root may have any number of descriptors on their way: goes on as a user of its own, for whom the
/// limit of open files counts.
bool become_ordinary(rlim_t most) {
  const auto user = static_cast<uid_t>(100'000 + ::getpid());
  if (::geteuid() == 0 && ::setresuid(user, user, user) != 0) return false;
  ::prctl(PR_SET_DUMPABLE, 1);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = most;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/// Puts `count` descriptors on their way to nobody.
bool fill_the_way(int socket, int count) {
  std::vector<char> control(CMSG_SPACE(sizeof(int) * static_cast<std::size_t>(count)));
  char byte = 0;
  iovec part{.iov_base = &byte, .iov_len = 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int) * static_cast<std::size_t>(count));
  const std::vector<int> zeros(static_cast<std::size_t>(count), STDIN_FILENO);
  std::memcpy(CMSG_DATA(head), zeros.data(), zeros.size() * sizeof(int));
  return ::sendmsg(socket, &message, 0) == 1;
}

void send_handles_when_too_many_are_on_their_way() {
  // First of all: threads keep the rights that they were started with.
  int way[2];
  if (!become_ordinary(64) || ::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, way) != 0)
    ::_exit(40);
  auto words = passel::Queue<std::string>::create().unwrap();
  auto pool = Pool::start({.processes = 1}).unwrap();
  if (!pool.apply<process_id>()) ::_exit(41);
  if (::fcntl(STDIN_FILENO, F_GETFD) < 0 && ::open("/dev/null", O_RDONLY) != 0) ::_exit(42);
  if (!fill_the_way(way[0], 100)) ::_exit(43);
  auto future = pool.submit<wait_for_word>(words);
  if (!words.put("late")) ::_exit(44);
  if (future.wait_for(std::chrono::milliseconds{20})) ::_exit(45);
  ::close(way[0]);
  ::close(way[1]);
  ::_exit(future.get().unwrap() == "late" ? 0 : 46);
}

TEST(PoolShortage, HandlesWaitWhileTooManyAreOnTheirWay) {
  EXPECT_EQ(in_a_process<send_handles_when_too_many_are_on_their_way>(), 0);
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
