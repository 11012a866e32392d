// Layer actors: this process's place in its family of processes, and what it has started.
#pragma once

#include <passel/detail/child.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// Everything a Runtime keeps: who this process is, its line to the guardian, its children, its I/O
/// loop. There is at most one in a process; children have one of their own. Safe from any thread.
/// It is never destroyed: a daemon thread may be in the middle of any call when its Runtime ends,
/// and has an error from the next one.
class Family {
 public:
  /// The root of a new family. `guardian_pid` is 0 when the guardian was not started by this
  /// process.
  Family(RuntimeOptions options, std::vector<std::string> argv, GuardianProcess guardian);
  /// A child's.
  Family(RuntimeOptions options, std::vector<std::string> argv, ChildStart& start);
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  /// The family of this process, or nullptr.
  [[nodiscard]] static Family* current() noexcept;

  Result<std::shared_ptr<Child>> start(ProcessSpec spec);
  [[nodiscard]] std::vector<std::shared_ptr<Child>> active() const;
  [[nodiscard]] IoLoop& io() noexcept { return *io_; }
  /// Waits for a child's end, reading the guardian's line itself when nobody else does.
  bool wait_for(const std::function<bool()>& done, Deadline deadline);

  /// Shuts down for good; another Runtime may come after it.
  void end();
  /// Terminates daemons, joins the others until the deadline, then kills. Returns who had to be
  /// killed.
  std::vector<std::string> shutdown(Deadline deadline);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] bool daemon() const noexcept { return daemon_; }
  [[nodiscard]] const std::optional<ParentProcess>& parent() const noexcept { return parent_; }

 private:
  Result<std::shared_ptr<Child>> start_by_guardian(ProcessSpec& spec, const std::string& label);
  Result<std::shared_ptr<Child>> start_by_fork(ProcessSpec& spec, const std::string& label);
  /// Learns of the end of a child that this process forked, and tells the guardian of it.
  Result<std::shared_ptr<Child>> watch_forked(ProcessSpec& spec, const std::string& label,
                                              std::int32_t pid, Descriptor control_end);
  [[noreturn]] void become_forked_child(ProcessSpec& spec, const std::string& label,
                                        Descriptor control, const ProcessId& parent);
  Result<void> ensure_link();
  void connect(Descriptor control);
  void exited(const ProcessId& process, ExitStatus status);
  void guardian_lost();
  std::shared_ptr<Child> enter(const ProcessId& id, ProcessSpec& spec, Child::Reaper reaper,
                               Descriptor pidfd);

  RuntimeOptions options_;
  std::vector<std::string> argv_;
  std::string name_;
  std::string identity_;  ///< "" in the root, "2:1" in the first child of the root's second child
  bool daemon_ = false;
  bool is_root_ = false;
  std::optional<ParentProcess> parent_;
  ProcessId guardian_;

  std::unique_ptr<IoLoop> io_;
  mutable std::mutex mutex_;
  std::mutex start_mutex_;  ///< one start at a time, so that a fork finds the other locks free
  std::shared_ptr<GuardianLink> link_;
  IoLoop::Watch link_watch_;
  unsigned next_child_ = 1;
  std::map<std::int32_t, std::shared_ptr<Child>> children_;
  std::map<std::int32_t, IoLoop::Watch>
      forked_;  ///< sentinels of children that this process reaps itself
  std::vector<std::pair<ProcessId, ExitStatus>> early_exits_;  ///< ended before they were entered
  /// Shutdown has begun; it has come to the point from which on no more children may be started.
  bool ending_ = false;
  bool ended_ = false;
};

/// How a child ends when its task is done.
enum class ChildExit {
  orderly,    ///< exit(3): static destructors and handlers registered in the child run
  immediate,  ///< _exit(2), for a direct fork: what the parent registered is not the child's to run
};

/// Runs what a new child process was started for, then ends it: its own children joined or
/// terminated, streams flushed, exit code 1 when an exception left the task.
[[noreturn]] void run_child(const RuntimeOptions& options, const std::vector<std::string>& argv,
                            ChildStart start, ChildExit exit);

/// A child's name and identity travel as one text.
[[nodiscard]] std::string join_name(const std::string& name, const std::string& identity);
[[nodiscard]] std::pair<std::string, std::string> split_name(const std::string& text);

}  // namespace passel::inline v0::detail
