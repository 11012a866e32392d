// Layer actors: processes, with the surface of Python's multiprocessing.Process.
#include <passel/process.hpp>

#include "family.hpp"

#include <poll.h>
#include <sched.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>

namespace passel::inline v0 {
namespace {

std::atomic<StartMethod> default_method{StartMethod::forkserver};
std::atomic<bool> method_is_set{false};

}  // namespace

Result<std::shared_ptr<detail::Child>> ProcessHandle::started(const char* what) const {
  if (closed_) return Error{Errc::invalid_state, "process object is closed"};
  if (!child_) return Error{Errc::invalid_state, what};
  return child_;
}

std::optional<int> ProcessHandle::pid() const {
  if (!child_) return std::nullopt;
  return child_->id().pid;
}

bool ProcessHandle::is_alive() const { return child_ && !child_->exit_status(); }

std::optional<int> ProcessHandle::exitcode() const {
  if (!child_) return std::nullopt;
  if (const auto status = child_->exit_status()) return status->exitcode();
  return std::nullopt;
}

Result<int> ProcessHandle::join() const { return join_until(detail::Deadline::never()); }

Result<int> ProcessHandle::join_until(detail::Deadline deadline) const {
  PASSEL_TRY(const auto child, started("can only join a started process"));
  return child->wait(deadline).map([](detail::ExitStatus status) { return status.exitcode(); });
}

Result<void> ProcessHandle::terminate() const {
  PASSEL_TRY(const auto child, started("process not started"));
  return child->signal(SIGTERM);
}

Result<void> ProcessHandle::interrupt() const {
  PASSEL_TRY(const auto child, started("process not started"));
  return child->signal(SIGINT);
}

Result<void> ProcessHandle::kill() const {
  PASSEL_TRY(const auto child, started("process not started"));
  return child->signal(SIGKILL);
}

Result<int> ProcessHandle::sentinel() const {
  PASSEL_TRY(const auto child, started("process not started"));
  return child->sentinel();
}

Process::Process(ProcessOptions options, detail::TaskId task, Encoder encode)
    : options_{std::move(options)}, task_{task}, encode_{std::move(encode)} {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    Process old{std::move(*this)};  // joins what this handle owned
    ProcessHandle::operator=(std::move(other));
    options_ = std::move(other.options_);
    task_ = other.task_;
    encode_ = std::move(other.encode_);
  }
  return *this;
}

Process::~Process() {
  if (child_ && !closed_ && !child_->daemon())
    static_cast<void>(child_->wait(detail::Deadline::never()).is_ok());
}

Result<Process> Process::started_process(Process process) {
  PASSEL_CHECK(process.start());
  return process;
}

Result<void> Process::start() {
  if (closed_) return Error{Errc::invalid_state, "process object is closed"};
  if (child_) return Error{Errc::invalid_state, "cannot start a process twice"};
  PASSEL_TRY(detail::Encoded args, encode_());
  detail::flush_before_children();
  PASSEL_TRY(child_, detail::start_child(detail::ProcessSpec{
                         .name = options_.name,
                         .task = task_,
                         .method = options_.method.value_or(start_method()),
                         .daemon = daemon(),
                         .args = std::move(args),
                     }));
  options_.name = child_->name();
  encode_ = nullptr;  // the parent keeps no copy of the arguments
  return {};
}

bool Process::daemon() const noexcept {
  if (child_) return child_->daemon();
  const detail::Family* family = detail::Family::current();
  return options_.daemon.value_or(family != nullptr && family->daemon());
}

Result<void> Process::set_daemon(bool daemon) {
  if (child_ || closed_) return Error{Errc::invalid_state, "process has already started"};
  options_.daemon = daemon;
  return {};
}

Result<void> Process::close() {
  if (child_ && !child_->exit_status())
    return Error{Errc::invalid_state, "cannot close a process while it is still running, pid " +
                                          std::to_string(child_->id().pid) + ": join() it first"};
  child_.reset();
  encode_ = nullptr;
  closed_ = true;
  return {};
}

std::string Process::to_string() const {
  std::string text = "<Process name='" + options_.name + "'";
  if (child_) text += " pid=" + std::to_string(child_->id().pid);
  text += " parent=" + std::to_string(::getpid());
  if (closed_) {
    text += " closed";
  } else if (!child_) {
    text += " initial";
  } else if (const auto code = exitcode()) {
    text += " stopped exitcode=";
    if (*code < 0)
      text += std::string{"-SIG"} + ::sigabbrev_np(-*code);
    else
      text += std::to_string(*code);
  } else {
    text += " started";
  }
  if (daemon()) text += " daemon";
  return text + ">";
}

CurrentProcess current_process() {
  const detail::Family* family = detail::Family::current();
  return CurrentProcess{.name = family != nullptr ? family->name() : "MainProcess",
                        .pid = ::getpid(),
                        .daemon = family != nullptr && family->daemon()};
}

std::optional<ParentProcess> parent_process() {
  const detail::Family* family = detail::Family::current();
  if (family == nullptr) return std::nullopt;
  return family->parent();
}

bool ParentProcess::is_alive() const {
  return join_until(detail::Deadline::now_or_never()).is_err();
}

Result<void> ParentProcess::join_until(detail::Deadline deadline) const {
  if (!*pidfd_) return {};
  for (;;) {
    pollfd gone{.fd = pidfd_->get(), .events = POLLIN, .revents = 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left()).count();
    const int wait =
        deadline.is_never() ? -1 : static_cast<int>(std::min<std::int64_t>(left, 1 << 30));
    if (::poll(&gone, 1, wait) > 0) return {};
    if (deadline.passed())
      return Error{Errc::timeout, "the parent process " + std::to_string(id_.pid) + " is alive"};
  }
}

std::vector<ProcessHandle> active_children() {
  std::vector<ProcessHandle> handles;
  if (const detail::Family* family = detail::Family::current())
    for (auto& child : family->active()) handles.emplace_back(std::move(child));
  return handles;
}

StartMethod start_method() { return default_method.load(); }

Result<void> set_start_method(StartMethod method, bool force) {
  if (method_is_set.exchange(true) && !force)
    return Error{Errc::invalid_state,
                 "context has already been set, to " + to_string(start_method())};
  default_method.store(method);
  return {};
}

std::vector<StartMethod> all_start_methods() {
  return {StartMethod::forkserver, StartMethod::spawn, StartMethod::fork};
}

std::string to_string(StartMethod method) {
  switch (method) {
    case StartMethod::forkserver: return "forkserver";
    case StartMethod::spawn: return "spawn";
    case StartMethod::fork: return "fork";
  }
  return "unknown";
}

Result<StartMethod> parse_start_method(const std::string& name) {
  for (const StartMethod method : all_start_methods())
    if (to_string(method) == name) return method;
  return Error{Errc::invalid_argument,
               "cannot find start method '" + name + "': forkserver, spawn and fork are known"};
}

}  // namespace passel::inline v0
