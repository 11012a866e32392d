// Test support: waits for a case to hang, then prints what every thread does and ends it.
#include "support/watchdog_process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

extern char** environ;

namespace passel_test {
namespace {

using Clock = std::chrono::steady_clock;

std::string first_line(const std::string& path) {
  std::ifstream file{path};
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.find_first_not_of("0123456789") == std::string::npos) names.push_back(name);
  }
  ::closedir(dir);
  return names;
}

// "State:\tS (sleeping)" -> "S (sleeping)"
std::string status_field(const std::string& dir, const std::string& key) {
  std::ifstream file{dir + "/status"};
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  }
  return "?";
}

void print_threads(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  for (const std::string& tid : entries(base + "/task")) {
    const std::string dir = base + "/task/" + tid;
    std::fprintf(stderr, "  thread %s (%s) state %s, wchan %s, syscall %s\n", tid.c_str(),
                 first_line(dir + "/comm").c_str(), status_field(dir, "State").c_str(),
                 first_line(dir + "/wchan").c_str(), first_line(dir + "/syscall").c_str());
  }
}

std::vector<pid_t> descendants_of(pid_t root) {
  std::vector<pid_t> found{root};
  const auto all = entries("/proc");
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const std::string& name : all) {
      if (status_field("/proc/" + name, "PPid") == std::to_string(found[i])) {
        found.push_back(static_cast<pid_t>(std::stol(name)));
      }
    }
  }
  found.erase(found.begin());
  return found;
}

bool signal_value(pid_t pid, const std::string& tid, int value) {
  siginfo_t info{};
  info.si_signo = watchdog_signal();
  info.si_code = SI_QUEUE;
  info.si_value.sival_int = value;
  info.si_pid = ::getpid();
  info.si_uid = ::getuid();
  return ::syscall(SYS_rt_tgsigqueueinfo, pid, std::stol(tid), watchdog_signal(), &info) == 0;
}

bool blocks_signal(pid_t pid, const std::string& tid) {
  const std::string dir = "/proc/" + std::to_string(pid) + "/task/" + tid;
  const auto mask = std::strtoull(status_field(dir, "SigBlk").c_str(), nullptr, 16);
  return ((mask >> static_cast<unsigned>(watchdog_signal() - 1)) & 1U) != 0;
}

// Each thread prints its own stack; one that blocks signals cannot, gdb can.
void ask_for_stacks(pid_t pid) {
  for (const std::string& tid : entries("/proc/" + std::to_string(pid) + "/task")) {
    std::fprintf(stderr, "stack of thread %s:%s\n", tid.c_str(),
                 blocks_signal(pid, tid) ? " blocks signals" : "");
    if (blocks_signal(pid, tid) || !signal_value(pid, tid, watchdog_print)) continue;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});  // keeps the stacks apart
  }
}

bool run_gdb(pid_t pid) {
  std::string script = "timeout 30 gdb -q -nx -batch -p " + std::to_string(pid) +
                       " -ex 'set pagination off' -ex 'thread apply all backtrace 40'"
                       " 2>/dev/null </dev/null | grep -E '^(Thread|#)' >&2";
  std::array<std::string, 3> words{"sh", "-c", std::move(script)};
  std::array<char*, 4> args{words[0].data(), words[1].data(), words[2].data(), nullptr};
  pid_t child = 0;
  if (::posix_spawnp(&child, "sh", nullptr, nullptr, args.data(), environ) != 0) return false;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;  // grep's: were there stacks?
}

void end_hanging(pid_t watched, int watched_pidfd, const std::string& test, long limit_ms) {
  std::fprintf(stderr, "\n[ WATCHDOG ] %s is not done after %ld ms; process %d:\n", test.c_str(),
               limit_ms, static_cast<int>(watched));
  print_threads(watched);
  const auto family = descendants_of(watched);
  for (const pid_t pid : family) {
    std::fprintf(stderr, "descendant %d of process %s:\n", static_cast<int>(pid),
                 status_field("/proc/" + std::to_string(pid), "PPid").c_str());
    print_threads(pid);
  }
  if (!run_gdb(watched)) ask_for_stacks(watched);
  for (const pid_t pid : family) ::kill(pid, SIGKILL);
  std::fprintf(stderr, "[ WATCHDOG ] %s: killed %zu descendant(s), exit code 3\n", test.c_str(),
               family.size());
  for (const std::string& tid : entries("/proc/" + std::to_string(watched) + "/task")) {
    if (!blocks_signal(watched, tid)) signal_value(watched, tid, watchdog_exit);
  }
  pollfd gone{watched_pidfd, POLLIN, 0};
  if (::poll(&gone, 1, 3000) == 0) ::kill(watched, SIGKILL);
}

// What the watched process last said.
struct Watch {
  std::string test;
  long limit_ms = 0;
  Clock::time_point deadline = Clock::time_point::max();

  void hear(const std::string& line) {
    std::istringstream words{line};
    std::string verb;
    words >> verb;
    if (verb == "end") {
      deadline = Clock::time_point::max();
      return;
    }
    words >> limit_ms;
    if (verb == "start") words >> test;
    deadline = Clock::now() + std::chrono::milliseconds{limit_ms};
  }

  [[nodiscard]] int wait_ms() const {
    if (deadline == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    return static_cast<int>(std::max<long>(0, left.count()));
  }
};

}  // namespace

int watch(pid_t watched) {
  if (::fork() != 0) return 0;  // the watched process waits for this one only
  ::setsid();
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, watched, 0));
  if (pidfd < 0) return 1;
  Watch state;
  std::string unread;
  for (;;) {
    std::array<pollfd, 2> waiting{{{watchdog_descriptor, POLLIN, 0}, {pidfd, POLLIN, 0}}};
    const int ready = ::poll(waiting.data(), waiting.size(), state.wait_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      end_hanging(watched, pidfd, state.test, state.limit_ms);
      return 0;
    }
    if (waiting[1].revents != 0) return 0;
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(watchdog_descriptor, buffer.data(), buffer.size());
    if (got <= 0) return 0;
    unread.append(buffer.data(), static_cast<std::size_t>(got));
    for (auto end = unread.find('\n'); end != std::string::npos; end = unread.find('\n')) {
      state.hear(unread.substr(0, end));
      unread.erase(0, end + 1);
    }
  }
}

}  // namespace passel_test
