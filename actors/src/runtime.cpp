// Layer actors: the Runtime, and what a started copy of the program does in its place.
#include <passel/runtime.hpp>

#include <passel/authkey.hpp>
#include <passel/detail/task.hpp>
#include <passel/log.hpp>

#include "family.hpp"
#include "manager_links.hpp"

#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace passel::inline v0 {
namespace detail {
namespace {

/// Ends the child's family when its task calls exit(3) itself.
void end_family_at_exit() {
  if (Family* family = Family::current()) family->shutdown(Deadline::never());
}

int run_task(ChildStart& start) {
  const auto task = find_task(start.task);
  auto key = inherit_manager_keys(start.args);
  if (key) key = inherit_authkey(start.args);
  std::string trouble;
  if (!task || !key) {
    trouble = (task ? key.error() : task.error()).to_string();
  } else {
    const auto outcome = (*task)(start.args, start.descriptors);
    if (outcome) return 0;
    const RemoteError* thrown = outcome.error().detail<RemoteError>();
    trouble =
        thrown != nullptr ? thrown->type_name + ": " + thrown->what : outcome.error().to_string();
  }
  // One write, so that reports of several processes do not mix.
  const std::string text = "Process " + Family::current()->name() + ":\n" + trouble + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
  return 1;
}

}  // namespace

void run_child(const RuntimeOptions& options, const std::vector<std::string>& argv,
               ChildStart start, ChildExit exit) {
  // Whole lines: a line is one write, whoever else writes to the same file or terminal.
  static char out_buffer[1 << 16];
  static char err_buffer[1 << 12];
  std::setvbuf(stdout, out_buffer, _IOLBF, sizeof out_buffer);
  std::setvbuf(stderr, err_buffer, _IOLBF, sizeof err_buffer);

  begin_logging_in_child(split_name(start.name).first, start.log_settings);
  // Neither this object nor `start` is ever destroyed: the process ends in here.
  auto* family = new Family{options, argv, start};
  if (exit == ChildExit::orderly) std::atexit(&end_family_at_exit);
  get_logger().info("child process calling its target");
  const int code = run_task(start);
  family->shutdown(Deadline::never());
  get_logger().log(LogLevel::info,
                   [code] { return "process exiting with exitcode " + std::to_string(code); });
  std::cout.flush();
  std::fflush(stdout);
  std::fflush(stderr);
  if (exit == ChildExit::immediate) ::_exit(code);
  std::exit(code);
}

}  // namespace detail

Runtime::Runtime(int argc, char** argv, RuntimeOptions options) {
  using namespace detail;
  if (Family::current() != nullptr)
    throw_error(Error{Errc::invalid_state, "there is a Runtime in this process already"});
  const std::vector<std::string> arguments{argv, argv + argc};
  InheritedRole role = inherited_role().unwrap();
  if (role.child) run_child(options, arguments, std::move(*role.child), ChildExit::orderly);
  if (role.guardian_control)
    run_child(options, arguments,
              run_guardian(std::move(*role.guardian_control), role.guardian_root, options.name,
                           arguments, count_threads() == 1),
              ChildExit::orderly);

  begin_logging(options.name);
  // What is still buffered would otherwise be written again by every copy.
  std::cout.flush();
  std::fflush(nullptr);
  GuardianProcess guardian;
  if (count_threads() == 1) {
    auto line = control_pair().unwrap();
    const ProcessId root = this_process();
    const pid_t pid = ::fork();
    if (pid < 0) throw_error(system_error("fork of the guardian", errno));
    if (pid == 0) {
      line.first.reset();
      run_child(options, arguments,
                run_guardian(std::move(line.second), root, options.name, arguments, true),
                ChildExit::orderly);
    }
    guardian = GuardianProcess{.process = process_with_pid(pid), .control = std::move(line.first)};
  } else {
    guardian = execute_guardian(arguments).unwrap();
  }
  family_ = new Family{std::move(options), arguments, std::move(guardian)};
  // Reachable for as long as the process lives, whoever comes after it.
  static auto* const all = new std::vector<Family*>;
  all->push_back(family_);
}

Runtime::~Runtime() { family_->end(); }

Result<std::vector<std::string>> Runtime::shutdown_for(std::chrono::nanoseconds limit) {
  return family_->shutdown(detail::Deadline::after(limit));
}

bool Runtime::exists() noexcept { return detail::Family::current() != nullptr; }

}  // namespace passel::inline v0
