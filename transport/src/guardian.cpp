// Layer transport: the guardian process itself: forks, watches and buries the children of one
// family.
#include "guardian_wire.hpp"
#include "strays.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <string>

namespace passel::inline v0::detail {
namespace {

/// One process of the family: the root, a child the guardian forked, or one that a member forked
/// and had adopted.
struct Member {
  ProcessId process{};
  std::int32_t parent = 0;  ///< pid of the logical parent, 0 for the root
  std::string name{};
  Descriptor control{};
  Descriptor pidfd{};  ///< watched for the root and adopted members, who are not the guardian's own
                       ///< children
  std::deque<std::pair<GuardianHeader, Descriptor>>
      unsent{};  ///< news a member that does not read has not taken yet
  bool own_child = false;
  bool disowned = false;              ///< its parent wants no news of it
  std::optional<ExitStatus> ended{};  ///< it is dead; kept until its descendants are, too
  bool has_strays = false;            ///< ended, and what it forked itself is not gone yet
};

class Guardian {
 public:
  Guardian(Descriptor control, const ProcessId& root, std::string root_name,
           std::vector<std::string> argv, bool fork_allowed)
      : root_{root}, argv_{std::move(argv)}, fork_allowed_{fork_allowed} {
    sigset_t child;
    ::sigemptyset(&child);
    ::sigaddset(&child, SIGCHLD);
    signals_ = Descriptor{::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK)};
    epoll_ = Descriptor{::epoll_create1(EPOLL_CLOEXEC)};
    watch(signals_.get(), 0, Source::signals);
    Member member{.process = root, .name = std::move(root_name), .control = std::move(control)};
    if (auto pidfd = open_process(root.pid)) member.pidfd = std::move(*pidfd);
    // The root may have died, and its pid have been taken by another, before we opened it.
    if (!member.pidfd || process_with_pid(root.pid) != root) end();
    watch(member.pidfd.get(), root.pid, Source::pidfd);
    watch(member.control.get(), root.pid, Source::control);
    members_.emplace(root.pid, std::move(member));
  }

  /// Serves until a child was forked: then returns in that child.
  ChildStart run() {
    for (;;) {
      epoll_event ready[32];
      const int count = ::epoll_wait(epoll_.get(), ready, 32, -1);
      for (int i = 0; i < count; ++i) {
        const auto source = static_cast<Source>(ready[i].data.u64 >> 32);
        const auto pid = static_cast<std::int32_t>(ready[i].data.u64);
        switch (source) {
          case Source::signals: reap(); break;
          case Source::pidfd: pidfd_ended(pid); break;
          case Source::control:
            if (auto start = control_ready(pid, ready[i].events)) return std::move(*start);
            break;
        }
      }
    }
  }

 private:
  enum class Source : std::uint32_t { signals, control, pidfd };

  void watch(int fd, std::int32_t pid, Source source) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = (static_cast<std::uint64_t>(source) << 32) | static_cast<std::uint32_t>(pid);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  /// Closes a watched descriptor. Taken out of the epoll set by hand: closing alone does not do it
  /// while another process holds the same open file.
  void unwatch(Descriptor& descriptor) {
    if (!descriptor) return;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor.get(), nullptr);
    descriptor.reset();
  }

  void listen_for(const Member& member, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = (static_cast<std::uint64_t>(Source::control) << 32) |
                     static_cast<std::uint32_t>(member.process.pid);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, member.control.get(), &event);
  }

  std::optional<ChildStart> control_ready(std::int32_t pid, std::uint32_t events) {
    const auto found = members_.find(pid);
    if (found == members_.end()) return std::nullopt;
    if ((events & EPOLLOUT) != 0) flush(found->second);
    // Closed by now when its end, or an answer that found nobody, was dealt with first.
    while (found->second.control) {
      auto message = receive_message(found->second.control.get(), buffer_);
      if (!message) {
        if (message.error() == Errc::empty) return std::nullopt;
        if (message.error() == Errc::closed) {
          // A member may close its line and live on; that it died is learnt elsewhere.
          unwatch(found->second.control);
          return std::nullopt;
        }
        continue;  // one unreadable message costs that message only
      }
      switch (message->header.op) {
        case GuardianOp::spawn:
          if (auto start = spawn(found->second, *message)) return start;
          break;
        case GuardianOp::adopt: adopt(pid, *message); break;
        case GuardianOp::disown: disown(pid, message->header.process); break;
        case GuardianOp::goodbye:
          if (pid == root_.pid) end();
          break;
        default: break;
      }
    }
    return std::nullopt;
  }

  std::nullopt_t refuse(Member& parent, const GuardianMessage& request, int reason) {
    tell(
        parent,
        GuardianHeader{.op = GuardianOp::failed, .request = request.header.request, .code = reason},
        {});
    return std::nullopt;
  }

  std::optional<ChildStart> spawn(Member& parent, GuardianMessage& message) {
    if (message.incomplete) return refuse(parent, message, EMFILE);
    auto line = control_pair();
    if (!line) return refuse(parent, message, EMFILE);
    ChildStart start{
        .name = message.text,
        .parent_name = parent.name,
        .parent = parent.process,
        .task = message.header.task,
        .daemon = (message.header.flags & GuardianHeader::daemon) != 0,
        .ignore_interrupt = (message.header.flags & GuardianHeader::ignore_interrupt) != 0,
        .log_settings = message.header.log_settings,
        .args = std::move(message.args),
        .descriptors = {},
        .control = std::move(line->second),
        .parent_pidfd = {},
    };
    for (Descriptor& descriptor : message.descriptors)
      start.descriptors.push_back(std::make_shared<Descriptor>(std::move(descriptor)));
    if (auto pidfd = open_process(parent.process.pid)) {
      start.parent_pidfd = std::move(*pidfd);
    } else if (pidfd.error() == Errc::no_space) {
      return refuse(parent, message, EMFILE);
    }

    const bool execute = message.header.image == ChildImage::executed || !fork_allowed_;
    int exec_errno = 0;
    const pid_t guardian = ::getpid();
    const pid_t pid = execute ? execute_child(start, argv_, exec_errno) : ::fork();
    if (pid == 0) {
      become_child(start, guardian);
      return start;
    }
    if (pid < 0) return refuse(parent, message, exec_errno != 0 ? exec_errno : errno);
    const ProcessId process = process_with_pid(pid);
    auto pidfd = open_process(pid);
    if (!pidfd || process.start == 0) {
      // A child that its parent could neither signal nor watch is worse than none.
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      return refuse(parent, message, EMFILE);
    }
    Member member{.process = process,
                  .parent = parent.process.pid,
                  .name = std::move(start.name),
                  .control = std::move(line->first),
                  .own_child = true};
    tell(parent,
         GuardianHeader{
             .op = GuardianOp::started, .request = message.header.request, .process = process},
         std::move(*pidfd));
    watch(member.control.get(), pid, Source::control);
    members_.emplace(pid, std::move(member));
    return std::nullopt;
  }

  /// What every child does first. `guardian` is its parent: when that is gone, the child goes, too.
  static void become_child(const ChildStart& start, pid_t guardian) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != guardian) ::_exit(255);
    mark_as_member();
    if (start.ignore_interrupt) ::signal(SIGINT, SIG_IGN);
    unblock_signals();  // the guardian has no handlers that would have to go
    ::prctl(PR_SET_NAME, start.name.substr(0, 15).c_str());
  }

  static pid_t execute_child(const ChildStart& start, const std::vector<std::string>& argv,
                             int& exec_errno);

  void adopt(std::int32_t parent, GuardianMessage& message) {
    if (message.descriptors.size() != 2) return;
    Member member{.process = message.header.process,
                  .parent = parent,
                  .name = std::move(message.text),
                  .control = std::move(message.descriptors[1]),
                  .pidfd = std::move(message.descriptors[0])};
    const std::int32_t pid = member.process.pid;
    watch(member.pidfd.get(), pid, Source::pidfd);
    watch(member.control.get(), pid, Source::control);
    members_.insert_or_assign(pid, std::move(member));
  }

  /// A child that its parent could not take over goes, and nobody is told of its end.
  void disown(std::int32_t parent, const ProcessId& child) {
    const auto found = members_.find(child.pid);
    if (found == members_.end() || found->second.process != child || found->second.parent != parent)
      return;
    found->second.disowned = true;
    if (!found->second.ended) kill(found->second);
  }

  void pidfd_ended(std::int32_t pid) {
    if (pid == root_.pid) end();
    if (const auto found = members_.find(pid); found != members_.end()) {
      unwatch(found->second.pidfd);
      ended(found->second, ExitStatus{});
      bury();
    }
  }

  void reap() {
    signalfd_siginfo ignored[16];
    while (::read(signals_.get(), ignored, sizeof ignored) > 0) {
    }
    for (;;) {
      siginfo_t info{};
      rusage used{};
      // The C library's waitid leaves out what the kernel's says about the memory that was used.
      if (::syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG, &used) != 0 || info.si_pid == 0)
        return bury();
      const auto found = members_.find(info.si_pid);
      if (found == members_.end())
        continue;  // a stray: one that lost its parent and was left to us
      ExitStatus status;
      (info.si_code == CLD_EXITED ? status.code : status.signal) = info.si_status;
      status.peak_rss = static_cast<std::uint64_t>(used.ru_maxrss) * 1024;
      ended(found->second, status);
    }
  }

  /// A member is dead. Its descendants die with it, and only when they are gone its parent is told:
  /// whoever repairs what the dead one shared may then rely on all of its family being gone.
  void ended(Member& member, ExitStatus status) {
    member.ended = status;
    unwatch(member.control);
    for (auto& [pid, other] : members_)
      if (!other.ended && descends_from(other, member.process.pid)) kill(other);
  }

  /// Ends what the dead ones forked themselves, and tells of those of whom nothing is left. The
  /// kernel left such strays to us, or will, because the guardian is a subreaper: those of a parent
  /// that lives on when that one goes, of which SIGCHLD tells, too.
  void bury() {
    bool any = false;
    for (auto& [pid, member] : members_) {
      member.has_strays = false;
      any |= member.ended.has_value();
    }
    if (!any) return;
    for (const pid_t child : children_.read()) {
      if (members_.contains(child)) continue;
      const auto mark = member_of(child);
      if (!mark) continue;
      const auto owner = members_.find(*mark);
      if (owner != members_.end() && !owner->second.ended) continue;
      ::kill(child, SIGKILL);
      if (owner != members_.end()) owner->second.has_strays = true;
    }
    settle();
  }

  bool descends_from(const Member& member, std::int32_t ancestor) const {
    for (std::int32_t at = member.parent; at != 0;) {
      if (at == ancestor) return true;
      const auto found = members_.find(at);
      at = found == members_.end() ? 0 : found->second.parent;
    }
    return false;
  }

  static void kill(const Member& member) {
    if (member.own_child)
      ::kill(member.process.pid, SIGKILL);  // ours and not reaped yet: the pid cannot be another's
    else if (member.pidfd)
      static_cast<void>(signal_process(member.pidfd, SIGKILL).is_ok());
  }

  /// Tells about, and forgets, every dead member of whom no living process descends.
  void settle() {
    for (bool again = true; again;) {
      again = false;
      for (auto it = members_.begin(); it != members_.end(); ++it) {
        Member& member = it->second;
        if (!member.ended || member.has_strays) continue;
        bool has_child = false;
        for (const auto& [pid, other] : members_) has_child |= other.parent == member.process.pid;
        if (has_child) continue;
        if (const auto parent = members_.find(member.parent);
            member.own_child && !member.disowned && parent != members_.end() &&
            !parent->second.ended)
          tell(parent->second,
               GuardianHeader{.op = GuardianOp::exited,
                              .process = member.process,
                              .code = member.ended->code,
                              .signal = member.ended->signal,
                              .peak_rss = member.ended->peak_rss},
               {});
        members_.erase(it);
        again = true;
        break;
      }
    }
  }

  /// Sends, or keeps for later when the member does not read at the moment: the guardian itself
  /// never waits for anybody.
  void tell(Member& member, const GuardianHeader& header, Descriptor descriptor) {
    member.unsent.emplace_back(header, std::move(descriptor));
    if (member.unsent.size() == 1) flush(member);
  }

  void flush(Member& member) {
    while (!member.unsent.empty()) {
      const auto& [header, descriptor] = member.unsent.front();
      const int fd = descriptor.get();
      const std::span<const int> descriptors{&fd, fd >= 0 ? std::size_t{1} : std::size_t{0}};
      const auto sent =
          send_message(member.control.get(), header, {}, {}, descriptors, MSG_DONTWAIT);
      if (!sent && sent.error() == Errc::full) {
        listen_for(member, EPOLLIN | EPOLLOUT);
        return;
      }
      if (!sent && sent.error() == Errc::no_space) {
        // It passes. The line can be written to, so that epoll comes back here at once: with a
        // pause, or this thread would take the CPU from whoever is to free memory.
        constexpr timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
        ::nanosleep(&pause, nullptr);
        listen_for(member, EPOLLIN | EPOLLOUT);
        return;
      }
      member.unsent.pop_front();
    }
    listen_for(member, EPOLLIN);
  }

  /// Kills everybody that is left, buries them and ends. Orphans of dead members are children of
  /// ours, because the guardian is a subreaper, so a walk over our own children finds everything
  /// that ever came from this family.
  [[noreturn]] void end() {
    for (auto& [pid, member] : members_)
      if (pid != root_.pid && !member.ended) kill(member);
    for (;;) {
      for (const pid_t child : children_.read()) ::kill(child, SIGKILL);
      int status = 0;
      if (::waitpid(-1, &status, 0) < 0 && errno == ECHILD) ::_exit(0);
    }
  }

  ProcessId root_;
  std::vector<std::string> argv_;
  bool fork_allowed_;
  Descriptor signals_;
  Descriptor epoll_;
  ChildList children_;
  std::map<std::int32_t, Member> members_;
  std::vector<std::byte> buffer_;  ///< for messages that come in
};

pid_t Guardian::execute_child(const ChildStart& start, const std::vector<std::string>& argv,
                              int& exec_errno) {
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) {
    exec_errno = errno;
    return -1;
  }
  const Descriptor report_read{report[0]};
  Descriptor report_write{report[1]};
  const pid_t guardian = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) {
    report_write.reset();
    // End of file: the exec closed the pipe. Otherwise the child says why it could not.
    if (pid > 0 && ::read(report_read.get(), &exec_errno, sizeof exec_errno) > 0) {
      ::waitpid(pid, nullptr, 0);
      return -1;
    }
    return pid;
  }
  become_child(start, guardian);
  auto handover = write_handover(start);
  int reason = !handover && handover.error() == Errc::no_space ? EMFILE : EIO;
  if (handover) {
    std::vector<int> keep{report_write.get(), handover->get(), start.control.get(),
                          start.parent_pidfd.get()};
    for (const auto& descriptor : start.descriptors) keep.push_back(descriptor->get());
    close_all_but(keep);
    for (const int fd : keep)
      if (fd >= 0 && fd != report_write.get()) ::fcntl(fd, F_SETFD, 0);
    ::setenv(handover_variable, std::to_string(handover->get()).c_str(), 1);
    std::vector<char*> args;
    for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    ::execv("/proc/self/exe", args.data());
    reason = errno;
  }
  static_cast<void>(!::write(report_write.get(), &reason, sizeof reason));
  ::_exit(127);
}

}  // namespace

ChildStart run_guardian(Descriptor control, ProcessId root, std::string root_name,
                        std::vector<std::string> argv, bool fork_allowed) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  reset_handlers();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::prctl(PR_SET_NAME, "passel.guardian");
  close_all_but({control.get()});
  // The terminal's input belongs to the root alone: children read end of file.
  if (const Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)}) ::dup2(null.get(), 0);
  ChildStart start = [&] {
    Guardian guardian{std::move(control), root, std::move(root_name), std::move(argv),
                      fork_allowed};
    return guardian.run();
  }();
  std::vector<int> keep{start.control.get(), start.parent_pidfd.get()};
  for (const auto& descriptor : start.descriptors) keep.push_back(descriptor->get());
  close_all_but(std::move(keep));
  return start;
}

}  // namespace passel::inline v0::detail
