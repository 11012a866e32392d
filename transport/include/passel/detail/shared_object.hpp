// Layer transport: what every object in shared memory promises to the processes that hold it.
#pragma once

#include <passel/export.hpp>

#include <cstdint>

namespace passel::inline v0::detail {

/// A process, named so that a reused pid is not taken for it: the pid and the time it started.
struct ProcessId {
  std::int32_t pid = 0;
  std::uint64_t start = 0;  ///< clock ticks after boot, field 22 of /proc/PID/stat

  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

/// The calling process. Cached; right again in a forked child.
[[nodiscard]] PASSEL_API ProcessId this_process() noexcept;
/// The process with that pid as it is now; start 0 when there is none.
[[nodiscard]] PASSEL_API ProcessId process_with_pid(std::int32_t pid) noexcept;
/// False when the process is gone, is a zombie, or the pid now belongs to another one.
[[nodiscard]] PASSEL_API bool is_running(const ProcessId& process) noexcept;
/// Goes up by one in every forked child: objects that cached "me" compare it to notice that they
/// are somebody else now.
[[nodiscard]] PASSEL_API std::uint32_t fork_generation() noexcept;

/// The caller's kernel thread id. Cached; right again in a forked child.
[[nodiscard]] PASSEL_API std::uint32_t this_thread() noexcept;

/// An object that several processes of this host hold at once. Whoever hands it to a child keeps it
/// in that child's ledger, and when the child is gone calls `process_lost`, which takes back
/// whatever the dead one held.
class PASSEL_API SharedObject {
 public:
  SharedObject() = default;
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;
  virtual ~SharedObject();

  /// Repairs what `process` left half done and wakes whoever may have waited for it. Idempotent,
  /// never waits for a living process that does not itself make progress, safe from any thread.
  virtual void process_lost(const ProcessId& process) noexcept = 0;
  /// The same for a process that was handed the object with work which it did not begin, and which
  /// somebody else does now, or nobody wants: no one waits for what it would have done.
  virtual void bystander_lost(const ProcessId& process) noexcept { process_lost(process); }
  /// True while a process other than the caller's is attached: a ledger may forget the object
  /// otherwise.
  [[nodiscard]] virtual bool used_by_others() const noexcept = 0;
};

/// Has `hook` called for every child of this process that has ended, once what it was given as
/// arguments is taken back: for objects that reach a child in other ways, such as a fork. A hook
/// stays for good; the same one counts once.
PASSEL_API void add_loss_hook(void (*hook)(const ProcessId& process) noexcept) noexcept;
/// Calls the hooks.
PASSEL_API void tell_process_lost(const ProcessId& process) noexcept;

}  // namespace passel::inline v0::detail
