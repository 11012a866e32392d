// Layer actors: what a process still has to do before it ends, in order.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0 {

/// Settings of one finalizer.
struct FinalizerOptions {
  /// Higher ones run first, of equal ones the newest. Negative ones run when the children of this
  /// process have ended, the others before these are terminated or joined.
  int priority = 0;
};

/// A callback that runs when this process ends in order: when its Runtime is shut down or
/// destroyed, in a child when its task is done or calls std::exit (Python's
/// multiprocessing.util.Finalize with an exitpriority). The order of an end is: threads that are no
/// daemons joined; finalizers with priority 0 and above; daemon children terminated, the others
/// joined; the remaining finalizers.
///
///     auto cleanup = passel::Finalizer::add([path] { std::filesystem::remove(path); },
///                                           {.priority = 10});
///     ...
///     cleanup.run_now();     // done early: it does not run again at the end
///
/// A callback runs at most once: at the end or by run_now, whichever comes first. One that was
/// registered while the finalizers of priority 0 and above run has its turn after the children, one
/// registered after that has none. Nothing runs when the process is killed. Registered in a
/// process, it belongs to that process alone: in children it is not active, neither run nor
/// destroyed. An exception that leaves a callback at the end is logged as an error and the others
/// still run. A callback that never returns holds up the end; when the limit given to shutdown_for
/// has passed, the callbacks left are not run and a warning says how many.
///
/// The handle is a name for the registration: dropping it changes nothing, copies are equal. Safe
/// from any thread, and from callbacks.
class PASSEL_API Finalizer {
 public:
  /// A handle of nothing; never active.
  Finalizer() = default;
  /// Registers `callback`.
  static Finalizer add(std::function<void()> callback, FinalizerOptions options = {});

  /// Runs the callback on this thread unless it has run, is running or was cancelled: then false,
  /// without waiting. What the callback throws comes through; it counts as run.
  bool run_now() const;
  bool operator()() const { return run_now(); }
  /// Takes it out and destroys the callback. False when it was not active any more.
  bool cancel() const;
  /// True until it has begun to run or was cancelled; false in any other process.
  [[nodiscard]] bool still_active() const noexcept;

 private:
  struct Entry;
  friend struct FinalizerRegistry;
  explicit Finalizer(std::shared_ptr<Entry> entry) : entry_{std::move(entry)} {}

  std::shared_ptr<Entry> entry_;
};

namespace detail {
/// Runs what is registered in this process at or above `least`, all without it, apart from what is
/// added meanwhile.
PASSEL_API void run_finalizers(std::optional<int> least, Deadline deadline) noexcept;

/// What a layer above does first when a Runtime ends, in children, too: it waits for something of
/// its own, not beyond the deadline, and returns the names of what had not ended by then.
using ExitStep = std::vector<std::string> (*)(Deadline);
/// There is one step in a process; the last one that is set counts.
PASSEL_API void set_exit_step(ExitStep step) noexcept;
[[nodiscard]] PASSEL_API std::vector<std::string> run_exit_step(Deadline deadline);
}  // namespace detail

}  // namespace passel::inline v0
