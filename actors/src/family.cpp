// Layer actors: this process's place in its family of processes, and what it has started.
#include "family.hpp"

#include <passel/authkey.hpp>
#include <passel/detail/wipe.hpp>
#include <passel/finalize.hpp>
#include <passel/log.hpp>

#include "engine.hpp"
#include "manager_links.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <span>

namespace passel::inline v0::detail {
namespace {

std::atomic<Family*> current_family{nullptr};

/// How long a daemon has to act on SIGTERM when its parent ends.
constexpr std::chrono::seconds daemon_grace{2};

void flush_standard_streams() {
  std::cout.flush();
  std::fflush(stdout);
  std::fflush(stderr);
}

std::string title(const Child& child) {
  return "process " + child.name() + " (" + std::to_string(child.id().pid) + ")";
}

void finish(Child& child, ExitStatus status) {
  const auto text = [&] {
    return title(child) + " ended with exitcode " + std::to_string(status.exitcode());
  };
  const bool surprising = status.signal != 0 && !child.was_signalled();
  get_logger().log(surprising ? LogLevel::warning : LogLevel::debug, text);
  child.finish(status);
}

}  // namespace

std::string join_name(const std::string& name, const std::string& identity) {
  return name + '\0' + identity;
}

std::pair<std::string, std::string> split_name(const std::string& text) {
  const std::size_t end = text.find('\0');
  if (end == std::string::npos) return {text, ""};
  return {text.substr(0, end), text.substr(end + 1)};
}

Family* Family::current() noexcept { return current_family.load(std::memory_order_acquire); }

Family::Family(RuntimeOptions options, std::vector<std::string> argv, GuardianProcess guardian)
    : options_{std::move(options)},
      argv_{std::move(argv)},
      name_{options_.name},
      is_root_{true},
      guardian_{guardian.process},
      io_{std::make_unique<IoLoop>()} {
  connect(std::move(guardian.control));
  current_family.store(this, std::memory_order_release);
}

Family::Family(RuntimeOptions options, std::vector<std::string> argv, ChildStart& start)
    : options_{std::move(options)},
      argv_{std::move(argv)},
      daemon_{start.daemon},
      io_{std::make_unique<IoLoop>()} {
  std::tie(name_, identity_) = split_name(start.name);
  parent_.emplace(split_name(start.parent_name).first, start.parent,
                  std::make_shared<Descriptor>(std::move(start.parent_pidfd)));
  connect(std::move(start.control));
  current_family.store(this, std::memory_order_release);
}

void Family::end() {
  shutdown(Deadline::never());
  current_family.store(nullptr, std::memory_order_release);
}

void Family::connect(Descriptor control) {
  auto link = std::make_shared<GuardianLink>(
      std::move(control),
      [this](const ProcessId& process, ExitStatus status) { exited(process, status); },
      [this] { guardian_lost(); });
  // Others may be about to wait at the one before.
  const std::lock_guard lock{mutex_};
  link_.swap(link);
}

Result<void> Family::ensure_link() {
  // Called with start_mutex_ held.
  if (link_->lost()) {
    if (!is_root_) return Error{Errc::peer_lost, "the guardian process is gone"};
    link_->set_read_hook(nullptr);
    link_watch_.reset();
    ::waitpid(guardian_.pid, nullptr, WNOHANG);
    PASSEL_TRY(GuardianProcess guardian, execute_guardian(argv_));
    guardian_ = guardian.process;
    connect(std::move(guardian.control));
  }
  if (link_watch_) return {};
  PASSEL_TRY(link_watch_, io_->watch(link_->descriptor(), EPOLLIN,
                                     [link = link_](std::uint32_t) { link->readable(); }));
  // While a caller reads the line itself the I/O thread need not wake for it.
  link_->set_read_hook(
      [this](bool caller_reads) { link_watch_.set_events(caller_reads ? 0U : EPOLLIN); });
  return {};
}

Result<std::shared_ptr<Child>> Family::start(ProcessSpec spec) {
  if (daemon_)
    return Error{Errc::invalid_state, "daemonic processes are not allowed to have children"};
  {
    const std::lock_guard lock{mutex_};
    // It would wait for news that only this thread could read.
    if (link_->is_read_here())
      return Error{
          Errc::invalid_state,
          "a process cannot be started by a handler that is told of another's end: post it"};
  }
  const std::lock_guard starting{start_mutex_};
  std::string identity;
  {
    const std::lock_guard lock{mutex_};
    if (ended_) return Error{Errc::invalid_state, "the Runtime has been shut down"};
    identity = (identity_.empty() ? "" : identity_ + ":") + std::to_string(next_child_++);
  }
  if (spec.name.empty()) spec.name = "Process-" + identity;
  const std::string label = join_name(spec.name, identity);
  PASSEL_CHECK(ensure_link());
  const std::size_t in_public = spec.args.bytes.size();
  add_authkey(spec.args.bytes);
  add_manager_keys(spec.args.bytes);
  auto started = spec.method == StartMethod::fork ? start_by_fork(spec, label)
                                                  : start_by_guardian(spec, label);
  if (spec.args.bytes.size() > in_public) wipe(std::span{spec.args.bytes}.subspan(in_public));
  return started;
}

Result<std::shared_ptr<Child>> Family::start_by_guardian(ProcessSpec& spec,
                                                         const std::string& label) {
  SpawnRequest request{
      .name = label,
      .task = spec.task,
      .image = spec.method == StartMethod::spawn ? ChildImage::executed : ChildImage::guardian_copy,
      .daemon = spec.daemon,
      .ignore_interrupt = spec.ignore_interrupt,
      .log_settings = log_settings(),
      .args = spec.args.bytes};
  for (const auto& descriptor : spec.args.descriptors)
    request.descriptors.push_back(descriptor->get());
  PASSEL_TRY(auto started, link_->spawn(request, Deadline::after(options_.start_timeout)));
  return enter(started.process, spec, Child::Reaper::guardian, std::move(started.pidfd));
}

std::shared_ptr<Child> Family::enter(const ProcessId& id, ProcessSpec& spec, Child::Reaper reaper,
                                     Descriptor pidfd) {
  auto child = std::make_shared<Child>(id, spec.name, spec.daemon, std::move(pidfd), reaper,
                                       std::move(spec.args.objects));
  std::optional<ExitStatus> ended;
  {
    const std::lock_guard lock{mutex_};
    for (auto it = early_exits_.begin(); it != early_exits_.end(); ++it) {
      if (it->first != id) continue;
      ended = it->second;
      early_exits_.erase(it);
      break;
    }
    if (!ended) children_.insert_or_assign(id.pid, child);
  }
  get_logger().log(LogLevel::debug, [&] { return "started " + title(*child); });
  if (ended) finish(*child, *ended);
  return child;
}

Result<std::shared_ptr<Child>> Family::start_by_fork(ProcessSpec& spec, const std::string& label) {
  const int threads = count_threads() - (io_->started() ? 1 : 0);
  if (threads != 1)
    return Error{Errc::unsupported,
                 "start method fork with " + std::to_string(threads) +
                     " threads running: a fork would copy their locks in whatever state "
                     "they are; use forkserver or spawn"};
  PASSEL_TRY(auto line, control_pair());
  const ProcessId parent = this_process();
  // What is in the buffers now would come out of both. Safe because nobody else is here to write.
  flush_standard_streams();
  pid_t pid = -1;
  int failed = 0;
  io_->while_parked([&] {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    pid = ::fork();
    failed = errno;
    if (pid != 0) ::sigprocmask(SIG_SETMASK, &before, nullptr);
    // The parked thread does not exist in the child: nothing of the loop may be used there again.
    if (pid == 0) become_forked_child(spec, label, std::move(line.second), parent);
  });
  if (pid < 0) return system_error("fork", failed);
  auto child = watch_forked(spec, label, pid, std::move(line.first));
  if (!child) {
    // Nobody would ever learn of its end: it must not stay.
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  return child;
}

Result<std::shared_ptr<Child>> Family::watch_forked(ProcessSpec& spec, const std::string& label,
                                                    std::int32_t pid, Descriptor control_end) {
  const ProcessId id = process_with_pid(pid);
  PASSEL_TRY(Descriptor pidfd, open_process(pid));
  // One shot: the level stays up for ever once the process has ended.
  PASSEL_TRY(auto watch, io_->watch(pidfd.get(), EPOLLIN | EPOLLONESHOT, [this, id](std::uint32_t) {
    siginfo_t info{};
    // When the program reaped it itself, nobody can say how it ended.
    ExitStatus status{.code = 255};
    if (::waitid(P_PID, static_cast<id_t>(id.pid), &info, WEXITED | WNOHANG) == 0)
      status = info.si_code == CLD_EXITED ? ExitStatus{.code = info.si_status}
                                          : ExitStatus{.signal = info.si_status};
    exited(id, status);
  }));
  PASSEL_CHECK(link_->adopt(id, label, pidfd, std::move(control_end)));
  auto child = enter(id, spec, Child::Reaper::parent, std::move(pidfd));
  // When it has ended by now nobody would ever take the watch out again: then it goes with this
  // scope. Watches are destroyed without the lock, because that waits for their handler.
  const std::lock_guard lock{mutex_};
  if (children_.contains(id.pid)) forked_.emplace(id.pid, std::move(watch));
  return child;
}

void Family::become_forked_child(ProcessSpec& spec, const std::string& label, Descriptor control,
                                 const ProcessId& parent) {
  mark_as_member();
  reset_handlers();
  if (spec.ignore_interrupt) ::signal(SIGINT, SIG_IGN);
  unblock_signals();
  ::close(link_->descriptor());
  ChildStart start{.name = label,
                   .parent_name = name_,
                   .parent = parent,
                   .task = spec.task,
                   .daemon = spec.daemon,
                   .ignore_interrupt = spec.ignore_interrupt,
                   .log_settings = log_settings(),
                   .args = std::move(spec.args.bytes),
                   .descriptors = std::move(spec.args.descriptors),
                   .control = std::move(control),
                   .parent_pidfd = {}};
  if (auto pidfd = open_process(parent.pid)) start.parent_pidfd = std::move(*pidfd);
  run_child(options_, argv_, std::move(start), ChildExit::immediate);
}

void Family::exited(const ProcessId& process, ExitStatus status) {
  std::shared_ptr<Child> child;
  IoLoop::Watch sentinel;
  {
    const std::lock_guard lock{mutex_};
    const auto found = children_.find(process.pid);
    if (found == children_.end() || found->second->id() != process) {
      early_exits_.emplace_back(process, status);
      return;
    }
    child = std::move(found->second);
    children_.erase(found);
    if (const auto forked = forked_.find(process.pid); forked != forked_.end()) {
      sentinel = std::move(forked->second);
      forked_.erase(forked);
    }
  }
  finish(*child, status);
}

void Family::guardian_lost() {
  std::vector<std::shared_ptr<Child>> orphans;
  {
    const std::lock_guard lock{mutex_};
    for (auto it = children_.begin(); it != children_.end();) {
      if (it->second->reaper() == Child::Reaper::guardian) {
        orphans.push_back(std::move(it->second));
        it = children_.erase(it);
      } else {
        ++it;
      }
    }
  }
  if (is_root_)
    get_logger().error("the guardian process is gone and takes " + std::to_string(orphans.size()) +
                       " child processes along");
  // They die with the guardian; only when they are gone may what they held be taken back.
  for (const auto& child : orphans) {
    pollfd gone{.fd = child->sentinel(), .events = POLLIN, .revents = 0};
    if (::poll(&gone, 1, 100) == 0) {
      static_cast<void>(child->signal(SIGKILL).is_ok());
      ::poll(&gone, 1, -1);
    }
    child->finish(ExitStatus{.code = 0, .signal = SIGKILL});
  }
}

bool Family::wait_for(const std::function<bool()>& done, Deadline deadline) {
  std::shared_ptr<GuardianLink> link;
  {
    const std::lock_guard lock{mutex_};
    link = link_;
  }
  return link->wait_until(done, deadline);
}

std::vector<std::shared_ptr<Child>> Family::active() const {
  std::vector<std::shared_ptr<Child>> children;
  const std::lock_guard lock{mutex_};
  for (const auto& [pid, child] : children_) children.push_back(child);
  return children;
}

std::vector<std::string> Family::shutdown(Deadline deadline) {
  {
    const std::lock_guard lock{mutex_};
    if (std::exchange(ending_, true)) return {};
  }
  const Logger logger = get_logger();
  logger.info("process shutting down");
  std::vector<std::string> late = run_exit_step(deadline);
  logger.debug("running the finalizers with priority >= 0");
  run_finalizers(0, deadline);
  {
    const std::lock_guard starting{start_mutex_};
    const std::lock_guard lock{mutex_};
    ended_ = true;
  }
  flush_standard_streams();
  const auto children = active();
  for (const auto& child : children) {
    if (!child->daemon()) continue;
    logger.log(LogLevel::info, [&] { return "terminating daemon " + title(*child); });
    static_cast<void>(child->signal(SIGTERM).is_ok());
  }
  const Deadline grace = Deadline::after(daemon_grace);
  for (const auto& child : children) {
    logger.log(LogLevel::info, [&] { return "joining " + title(*child); });
    const Deadline limit = child->daemon() && grace.when() < deadline.when() ? grace : deadline;
    if (child->wait(limit)) continue;
    logger.log(LogLevel::warning,
               [&] { return "killing " + title(*child) + ": it did not end in time"; });
    late.push_back(child->name());
    static_cast<void>(child->signal(SIGKILL).is_ok());
    static_cast<void>(child->wait(Deadline::never()).is_ok());
  }
  logger.debug("running the remaining finalizers");
  run_finalizers(std::nullopt, deadline);
  for (std::string& actor : stop_engine(deadline)) late.push_back(std::move(actor));
  link_->set_read_hook(nullptr);
  link_watch_.reset();
  std::map<std::int32_t, IoLoop::Watch> sentinels;
  {
    const std::lock_guard lock{mutex_};
    sentinels.swap(forked_);
  }
  sentinels.clear();
  io_->stop();
  if (is_root_) {
    link_->goodbye();
    while (::waitpid(guardian_.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  return late;
}

}  // namespace passel::inline v0::detail
