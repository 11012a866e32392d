// Layer transport: the guardian, a process of one thread that starts, watches and buries all child
// processes.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/detail/shared_object.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// Names a task between copies of the same build: which module it is linked into and where in it.
struct TaskId {
  std::uint32_t module = 0;  ///< 0 the program itself, else a hash of the shared library's name
  std::uint64_t offset = 0;  ///< of the trampoline from the module's load address

  friend bool operator==(const TaskId&, const TaskId&) = default;
};

/// How a process ended.
struct ExitStatus {
  int code = 0;                ///< its exit code
  int signal = 0;              ///< the signal that killed it, 0 when it exited by itself
  std::uint64_t peak_rss = 0;  ///< most memory it ever had in use, bytes; 0 when that is not known

  /// Python's exitcode: the code, or minus the signal.
  [[nodiscard]] int exitcode() const noexcept { return signal != 0 ? -signal : code; }
};

/// Where the image of a new process comes from.
enum class ChildImage : std::uint32_t {
  guardian_copy,  ///< a fork of the guardian (start method forkserver)
  executed,       ///< the program executed anew (start method spawn)
};

/// What to start. Descriptors are borrowed for the call.
struct SpawnRequest {
  std::string name;
  TaskId task{};
  ChildImage image = ChildImage::guardian_copy;
  bool daemon = false;
  bool ignore_interrupt =
      false;  ///< SIGINT is ignored from the first instruction on (pool workers)
  std::uint32_t log_settings = 0;  ///< level and stderr switch of the starting process's logger
  std::span<const std::byte> args{};
  std::vector<int> descriptors{};
};

/// What a new child process finds when it begins.
struct ChildStart {
  std::string name;
  std::string parent_name;
  ProcessId parent;
  TaskId task{};
  bool daemon = false;
  bool ignore_interrupt = false;
  std::uint32_t log_settings = 0;
  std::vector<std::byte> args;
  std::vector<std::shared_ptr<Descriptor>> descriptors;
  Descriptor control;       ///< this process's own line to the guardian
  Descriptor parent_pidfd;  ///< readable when the parent is gone; empty when it was gone already
};

/// One process's line to the guardian. Every call is served in well under a millisecond by a
/// guardian that does nothing else; a guardian that was killed or stopped makes calls fail with
/// peer_lost or timeout, they never hang.
///
/// The caller that waits reads the line itself, so that starting or joining costs one wake-up; a
/// reader on the I/O thread (see `readable`) is only needed while nobody waits. Safe from any
/// thread.
class PASSEL_API GuardianLink {
 public:
  struct Started {
    ProcessId process;
    Descriptor pidfd;
  };
  using ExitHandler = std::function<void(const ProcessId&, ExitStatus)>;

  /// `on_exit` is called, without locks held, on whichever thread happens to read the news, once
  /// for each child started over this line; `on_lost` once, when the guardian itself is gone.
  GuardianLink(Descriptor control, ExitHandler on_exit, std::function<void()> on_lost);
  GuardianLink(const GuardianLink&) = delete;
  GuardianLink& operator=(const GuardianLink&) = delete;
  ~GuardianLink();

  /// Starts a process. Errors: no_space (fork refused), too_large (over 250 descriptors),
  /// unsupported, peer_lost, timeout.
  Result<Started> spawn(const SpawnRequest& request, Deadline deadline);
  /// Tells the guardian of a child that this process forked itself, so that it dies with its
  /// parent. `control_end` becomes the guardian's end of the child's own line.
  Result<void> adopt(const ProcessId& child, const std::string& name, const Descriptor& pidfd,
                     Descriptor control_end);
  /// Asks the guardian to kill what is left and to end. Only of use on the line of the process that
  /// made it.
  void goodbye() noexcept;

  /// Reads and handles news until `done()` is true. False when the deadline passed first.
  bool wait_until(const std::function<bool()>& done, Deadline deadline);
  /// Handles what has arrived, without waiting. For the I/O thread.
  void readable();
  [[nodiscard]] int descriptor() const noexcept { return control_.get(); }
  [[nodiscard]] bool lost() const noexcept;
  /// True on the thread that is reading the line, that is, inside of one of the handlers: nothing
  /// may wait there.
  [[nodiscard]] bool is_read_here() const noexcept;
  /// Called around a stretch in which a waiting caller reads the line itself: true when it begins,
  /// false when it ends.
  void set_read_hook(std::function<void(bool caller_reads)> hook);

 private:
  struct State;

  bool read_one(std::unique_lock<std::mutex>& lock);
  /// The guardian ends a child that was started and could not be taken over.
  void disown(const ProcessId& child) noexcept;

  Descriptor control_;
  std::unique_ptr<State> state_;
};

/// Turns the calling process, which must have one thread, into the guardian of `root`. Returns only
/// in a child process that the guardian forked; the guardian itself ends by _exit when root is gone
/// or says goodbye. `fork_allowed` is false when the guardian's own image came up with threads in
/// it: then every child is executed anew.
[[nodiscard]] PASSEL_API ChildStart run_guardian(Descriptor control, ProcessId root,
                                                 std::string root_name,
                                                 std::vector<std::string> argv, bool fork_allowed);

/// A guardian that was just started, as its root sees it.
struct GuardianProcess {
  ProcessId process;
  Descriptor control;
};

/// Starts a guardian by executing this program anew, for a process that has threads already. The
/// copy must reach `inherited_role` before anything else happens in it.
PASSEL_API Result<GuardianProcess> execute_guardian(const std::vector<std::string>& argv);

/// Which part an executed copy of the program has to play.
struct InheritedRole {
  std::optional<ChildStart> child;
  std::optional<Descriptor> guardian_control;  ///< set in a copy that is to be the guardian
  ProcessId guardian_root;
};
/// Reads, and removes from the environment, what `execute_guardian` or the guardian left there for
/// this process. Errors: malformed, version_mismatch when the copy was built from something else.
PASSEL_API Result<InheritedRole> inherited_role();

/// Number of threads of this process, not counting those a sanitizer's run time keeps for itself.
[[nodiscard]] PASSEL_API int count_threads() noexcept;
/// Identity of this build: the linker's build id, else size and time of the executable.
[[nodiscard]] PASSEL_API const std::string& build_id();

/// In a forked child: handlers of the parent's program go, ignored signals stay ignored. Signals
/// must have been blocked since before the fork, or one could reach a handler that is not the
/// child's.
PASSEL_API void reset_handlers() noexcept;
/// Then: no signal is blocked.
PASSEL_API void unblock_signals() noexcept;

/// Marks the calling process, and with it all that it will ever fork or execute, as one of the
/// member with its pid: by the soft limit RLIMIT_LOCKS, which Linux has not used since 2.4.25.
/// Nothing else is inherited by whoever forks twice, makes a session of his own, closes every
/// descriptor and executes another program, and can be read from outside. Without effect where the
/// hard limit is lower.
PASSEL_API void mark_as_member() noexcept;

/// pidfd_open and pidfd_send_signal.
PASSEL_API Result<Descriptor> open_process(std::int32_t pid);
PASSEL_API Result<void> signal_process(const Descriptor& pidfd, int signal);

/// A connected pair of sockets that keep message boundaries, close-on-exec.
PASSEL_API Result<std::pair<Descriptor, Descriptor>> control_pair();

}  // namespace passel::inline v0::detail
