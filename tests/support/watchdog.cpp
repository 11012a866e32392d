// Test support: the watched side of the watchdog, and how the watching process comes to be.
#include "support/watchdog.hpp"

#include "support/watchdog_process.hpp"

#include <gtest/gtest.h>

#include <execinfo.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

extern char** environ;

namespace passel_test {
namespace {

int to_watchdog = -1;  // write end of the pipe, -1 while nobody watches

std::chrono::milliseconds usual_limit() {
  const char* text = std::getenv("PASSEL_TEST_TIMEOUT");
  const long seconds = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return std::chrono::seconds{seconds > 0 ? seconds : 60};
}

void tell(const std::string& line) {
  if (to_watchdog < 0) return;
  const std::string whole = line + "\n";  // shorter than PIPE_BUF, hence written at once
  if (::write(to_watchdog, whole.data(), whole.size()) < 0) to_watchdog = -1;
}

// Runs in each thread of a process that hangs. Everything here is safe in a signal handler, because
// backtrace() has been called before and so has loaded what it needs.
void on_signal(int, siginfo_t* info, void*) {
  if (info->si_value.sival_int == watchdog_exit) ::_exit(3);
  const int saved = errno;
  std::array<void*, 64> frames{};
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  ::backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
  errno = saved;
}

void install_handler() {
  std::array<void*, 4> frames{};
  static_cast<void>(::backtrace(frames.data(), static_cast<int>(frames.size())));
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigaction(watchdog_signal(), &action, nullptr);
}

class Listener : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo& test) override {
    tell("start " + std::to_string(usual_limit().count()) + " " + test.test_suite_name() + "." +
         test.name());
  }
  void OnTestEnd(const ::testing::TestInfo&) override { tell("end"); }
};

// The watching process is this executable again: a fresh process, in which memory may be allocated,
// whatever threads this one has.
bool spawn_watchdog() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[0], watchdog_descriptor);
  std::string flag = watchdog_flag;
  std::string watched = std::to_string(::getpid());
  std::array<char*, 4> args{flag.data(), flag.data(), watched.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, args.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[0]);
  if (error == 0) {
    int status = 0;  // it forks once more and exits, so that the watcher itself is nobody's child
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    to_watchdog = ends[1];
    return true;
  }
  ::close(ends[1]);
  return false;
}

}  // namespace

std::optional<int> Watchdog::serve(int argc, char** argv) {
  if (argc != 3 || std::strcmp(argv[1], watchdog_flag) != 0) return std::nullopt;
  return watch(static_cast<pid_t>(std::strtol(argv[2], nullptr, 10)));
}

void Watchdog::start() {
  const bool inner_process = !GTEST_FLAG_GET(internal_run_death_test).empty();
  if (GTEST_FLAG_GET(list_tests) || inner_process) return;
  install_handler();
  if (!spawn_watchdog()) return;
  ::prctl(PR_SET_PTRACER,
          PR_SET_PTRACER_ANY);  // lets the watcher's gdb in where Yama restricts ptrace
  ::testing::UnitTest::GetInstance()->listeners().Append(new Listener);
}

void Watchdog::limit(std::chrono::seconds seconds) {
  tell("limit " + std::to_string(std::chrono::milliseconds{seconds}.count()));
}

}  // namespace passel_test
