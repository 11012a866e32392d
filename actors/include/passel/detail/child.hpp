// Layer actors: one child process as its parent knows it.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/guardian.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0 {

/// How a new process comes to be (Python's start methods).
enum class StartMethod {
  forkserver,  ///< a fork of the guardian, which has one thread and began with the Runtime; the
               ///< default
  spawn,       ///< the program executed anew; costs what its start-up costs
  fork,  ///< a fork of the caller with everything it has in memory; only where no other thread is
         ///< running
};

namespace detail {

/// What start_child is told.
struct ProcessSpec {
  std::string name{};  ///< empty: "Process-N", nested "Process-N:M"
  TaskId task{};
  StartMethod method = StartMethod::forkserver;
  bool daemon = false;
  bool ignore_interrupt = false;
  Encoded args{};  ///< with the descriptors of handles, and the objects behind them for the ledger
};

/// A started child process. Shared by everybody who has a handle of it; safe from any thread.
class PASSEL_API Child : public std::enable_shared_from_this<Child> {
 public:
  /// Who waits for it with waitid and so learns how it ended.
  enum class Reaper { guardian, parent };

  Child(const ProcessId& id, std::string name, bool daemon, Descriptor pidfd, Reaper reaper,
        std::vector<std::shared_ptr<SharedObject>> ledger);

  [[nodiscard]] const ProcessId& id() const noexcept { return id_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] bool daemon() const noexcept { return daemon_; }
  [[nodiscard]] Reaper reaper() const noexcept { return reaper_; }
  /// Readable, for poll and epoll, once the process has ended.
  [[nodiscard]] int sentinel() const noexcept { return pidfd_.get(); }
  /// How it ended; empty while it runs.
  [[nodiscard]] std::optional<ExitStatus> exit_status() const;
  /// Waits for its end, at most until `deadline`. Errors: timeout, peer_lost never: a lost guardian
  /// takes it along.
  Result<ExitStatus> wait(Deadline deadline);
  /// Sends a signal. A process that has ended is left alone; that is no error.
  Result<void> signal(int number);
  /// True when this process has sent it one: that it ended by one is no surprise then.
  [[nodiscard]] bool was_signalled() const noexcept {
    return signalled_.load(std::memory_order_relaxed);
  }
  /// Calls `handler` once when it ends, at once when it has ended: on whichever thread learns of
  /// it, so it must not block. What the process held of shared objects has been taken back by then.
  void on_exit(std::function<void(ExitStatus)> handler);

  /// For the Family only: the process has ended like this.
  void finish(ExitStatus status);

 private:
  const ProcessId id_;
  const std::string name_;
  const bool daemon_;
  const Descriptor pidfd_;
  const Reaper reaper_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<SharedObject>> ledger_;
  std::vector<std::function<void(ExitStatus)>> handlers_;
  std::optional<ExitStatus> status_;
  std::atomic<std::uint32_t> ended_{0};
  std::atomic<bool> signalled_{false};
};

/// Starts a child of this process. Errors: invalid_state (no Runtime, or a daemon may not have
/// children), no_space, unsupported (start method fork beside other threads), timeout, peer_lost.
PASSEL_API Result<std::shared_ptr<Child>> start_child(ProcessSpec spec);
/// What this process has printed comes out before what its children will print. For the thread of a
/// user who starts some: another one may hold the stream, with nobody reading.
PASSEL_API void flush_before_children() noexcept;

class IoLoop;
/// The I/O loop of this process's Runtime. Errors: invalid_state when there is no Runtime.
PASSEL_API Result<IoLoop*> runtime_io();
/// The calling thread is the one that learns of exits and messages: it must wait for neither.
[[nodiscard]] PASSEL_API bool on_io_thread() noexcept;

}  // namespace detail
}  // namespace passel::inline v0
