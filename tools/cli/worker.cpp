// Tool passel: `passel worker`.
#include "worker.hpp"

#include "service_manager.hpp"
#include "signals.hpp"
#include "words.hpp"

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <optional>

namespace passel_cli {

using passel::Errc;
using passel::Error;
using passel::Result;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto window = 1min;
constexpr std::chrono::milliseconds longest_pause = 10s;

/// What serve_tasks() and RemoteWorkerOptions::from_environment() look for.
void set_environment(const WorkerOptions& options) {
  const auto set = [](const char* name, const std::string& value) {
    if (!value.empty()) ::setenv(name, value.c_str(), 1);
  };
  // Also when it is empty: a key beside certificates would be an error of the program.
  const auto replace = [](const char* name, const std::string& value) {
    value.empty() ? ::unsetenv(name) : ::setenv(name, value.c_str(), 1);
  };
  set("PASSEL_CONNECT", options.connect);
  replace("PASSEL_AUTHKEY_FILE", options.proof.key_file);
  replace("PASSEL_CA_FILE", options.proof.certificates.ca_file);
  replace("PASSEL_CERT_FILE", options.proof.certificates.certificate_file);
  replace("PASSEL_CERT_KEY_FILE", options.proof.certificates.key_file);
  replace("PASSEL_PEER_NAME", options.proof.certificates.peer_name);
  set("PASSEL_POOL", options.pool);
  set("PASSEL_WORKER_NAME", options.name);
  set("PASSEL_LOG", options.log);
  if (options.processes != 0) set("PASSEL_PROCESSES", std::to_string(options.processes));
}

/// Starts the program, with no signal blocked; it is told to end when this process does. Who
/// signals the process group of this one (a terminal, timeout) leaves it its time to finish its
/// tasks.
Result<pid_t> start(const std::vector<std::string>& program) {
  std::vector<char*> arguments;
  for (const std::string& one : program) arguments.push_back(const_cast<char*>(one.c_str()));
  arguments.push_back(nullptr);
  int failed[2] = {-1, -1};  // carries why exec failed
  if (::pipe2(failed, O_CLOEXEC) != 0) return Error{Errc::system, std::strerror(errno)};
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::execvp(arguments[0], arguments.data());
    const int why = errno;
    static_cast<void>(::write(failed[1], &why, sizeof why));
    ::_exit(127);
  }
  const int fork_error = errno;
  ::close(failed[1]);
  int why = pid < 0 ? fork_error : 0;
  if (pid > 0 && ::read(failed[0], &why, sizeof why) == sizeof why) ::waitpid(pid, nullptr, 0);
  ::close(failed[0]);
  if (why != 0)
    return Error{Errc::not_found, "cannot run " + program[0] + ": " + std::strerror(why)};
  return pid;
}

/// As a shell has it: 128 and more for a signal.
int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Whether it has ended. As the first process of a container this one is the parent of whatever its
/// program leaves behind, too.
bool has_ended(pid_t pid, int& status) {
  int code = 0;
  for (pid_t ended = 0; (ended = ::waitpid(-1, &code, WNOHANG)) > 0;) {
    if (ended != pid) continue;
    status = code;
    return true;
  }
  return false;
}

/// Waits for its end. True when this process was told to end, and has passed that on.
bool wait_for(pid_t pid, const AwaitedSignals& signals, int& status) {
  std::optional<Clock::time_point> told;
  while (!has_ended(pid, status)) {
    const auto signal = signals.wait();
    if (!signal || *signal == SIGCHLD) continue;
    if (told && Clock::now() < *told + same_signal) continue;
    if (!told) notify_service_manager("STOPPING=1");
    // The second time it is meant.
    ::kill(pid, told ? SIGKILL : SIGTERM);
    told = Clock::now();
  }
  return told.has_value();
}

/// Failures within the window, and how long to wait after them.
class Restarts {
 public:
  explicit Restarts(unsigned most) : most_{most} {}
  /// The pause before the next start; empty when it has failed too often.
  [[nodiscard]] std::optional<std::chrono::milliseconds> after_failure() {
    const auto now = Clock::now();
    failures_.push_back(now);
    while (failures_.front() + window < now) failures_.pop_front();
    if (failures_.size() > most_) return std::nullopt;
    const auto pause = 100ms * (1U << std::min<std::size_t>(failures_.size() - 1, 10));
    return std::min<std::chrono::milliseconds>(pause, longest_pause);
  }

 private:
  unsigned most_;
  std::deque<Clock::time_point> failures_;
};

}  // namespace

CLI::App* add_worker(CLI::App& app, WorkerOptions& options) {
  CLI::App* const command = app.add_subcommand(
      "worker", "Runs a program that works for a pool, and starts it again when it dies");
  command->add_option("--connect", options.connect, "HOST:PORT of the server (passel serve)")
      ->envname("PASSEL_CONNECT")
      ->required();
  add_proof_options(*command, options.proof);
  command->add_option("--pool", options.pool, "Which of the server's pools");
  command->add_option("--processes", options.processes, "How many tasks run at a time")
      ->check(CLI::Range(1U, 10'000U));
  command->add_option("--name", options.name, "How the worker is called in reports");
  command
      ->add_option("--log", options.log,
                   "What the program writes to stderr of it: debug, info, warning, error")
      ->envname("PASSEL_LOG")
      ->capture_default_str();
  command
      ->add_option("--restarts", options.restarts,
                   "How often the program is started again within a minute")
      ->capture_default_str();
  add_words(*command, "PROGRAM", options.program,
            "A program that calls passel::serve_tasks(), and its arguments, behind --")
      ->required();
  return command;
}

void settle_worker(const CLI::App& command, WorkerOptions& options) {
  prefer_command_line(command, options.proof);
  throw_misuse(check_proof(options.proof));
  check_address(options.connect);
  check_log_level(options.log);
}

Result<int> supervise_worker(const WorkerOptions& options) {
  // Whoever started this may have told it to ignore the ends of children: they would be told to
  // nobody, and their numbers would be others' by the time a signal is sent.
  std::signal(SIGCHLD, SIG_DFL);
  const AwaitedSignals signals{SIGTERM, SIGINT, SIGCHLD};
  set_environment(options);
  Restarts restarts{options.restarts};
  while (true) {
    PASSEL_TRY(const pid_t pid, start(options.program));
    notify_service_manager("READY=1\nSTATUS=process " + std::to_string(pid));
    int status = 0;
    const bool was_told = wait_for(pid, signals, status);
    const int code = exit_code(status);
    if (was_told || code == 0) return code;
    const auto pause = restarts.after_failure();
    if (!pause)
      return Error{Errc::pool_failed,
                   options.program[0] + " has failed " + std::to_string(options.restarts + 1) +
                       " times within a minute, at last with exit code " + std::to_string(code)};
    std::cerr << "passel: " << options.program[0] << " ended with exit code " << code
              << " and is started again\n";
    const auto until = Clock::now() + *pause;
    for (auto left = until - Clock::now(); left > 0ns; left = until - Clock::now()) {
      const auto signal = signals.wait(left);
      if (signal && *signal != SIGCHLD) return 0;
    }
  }
}

}  // namespace passel_cli
