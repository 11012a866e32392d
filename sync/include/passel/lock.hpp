// Layer sync: Python's threading.Lock and multiprocessing.Lock, proof against the death of its
// holder.
#pragma once

#include <passel/detail/sync_handle.hpp>
#include <passel/lock_report.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace passel::inline v0 {

/// What a lock does about a thread whose wait would close a circle of waiters.
enum class OnDeadlock {
  report,  ///< say so (see on_deadlock) and wait
  refuse,  ///< say so, and the wait fails with Errc::deadlock
};

struct LockOptions {
  Reach reach = Reach::host;  ///< threads: cheaper to make, but cannot go to another process
  std::string name = {};      ///< for errors and reports, at most 27 bytes
  /// Always hand over to the first in line. Otherwise a newcomer may be quicker, but not for longer
  /// than half a millisecond: a lock that is always handed over needs a wake-up for each
  /// acquisition.
  bool fair = false;
  OnDeadlock deadlock = OnDeadlock::report;
};

/// A mutex between threads and processes of one host: Python's multiprocessing.Lock and
/// threading.Lock, Rust's Mutex without its value (see Guarded and Value for locks with one).
///
///     passel::Lock lock;
///     auto worker = passel::Process::spawn<work>(lock);   // the handle works over there
///     {
///       auto guard = lock.acquire().unwrap();
///       ...
///     }                                                   // released, also by an exception
///     std::scoped_lock both{lock, other};                 // a standard Lockable, too
///
/// A Lock is a handle: copies are the same lock, a copy given to another process as an argument
/// too. It lives until its last handle is gone. All functions but close() and assignment may be
/// called by any thread at any time. Not re-entrant: a second acquire by its holder waits, see
/// RLock.
///
/// **When a process dies** while it holds the lock, the next in line gets it, with
/// `Guard::abandoned()`. One that dies while it waits is forgotten, also when it was granted the
/// lock and had not woken yet. A lock that is held by a living process is never taken away,
/// whatever that does. Taking and giving back a lock that nobody else wants is one atomic operation
/// each.
///
/// **Waits**: first come, first served within the bound of `LockOptions::fair`; deadlines by the
/// monotonic clock. Circles of waiting threads are found, see on_deadlock.
///
/// Source of the semantics: Python's multiprocessing.Lock; release of a free lock is one error for
/// both kinds (Python: RuntimeError and ValueError).
class PASSEL_API Lock : public detail::Lockable<Lock> {
 public:
  /// Unlocked. Throws passel::Exception when there is no memory or descriptor left; `create` gives
  /// that as an error instead.
  Lock() : Lock{LockOptions{}} {}
  explicit Lock(const LockOptions& options) : Lock{create(options).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long.
  [[nodiscard]] static Result<Lock> create(const LockOptions& options = {});

  /// `acquire()` waits until the lock is free and takes it. Errors: no_space when too many wait;
  /// deadlock when it was made with OnDeadlock::refuse; invalid_state on a closed handle. (Python:
  /// acquire())
  using Lockable::acquire;
  /// `acquire_for(timeout)` waits for `timeout` at most. Errors: as acquire; timeout;
  /// invalid_argument when `timeout` is negative. (Python: acquire(timeout=t))
  using Lockable::acquire_for;
  /// `try_acquire()` never waits. Errors: timeout when it is not free. (Python:
  /// acquire(block=False))
  using Lockable::try_acquire;
  /// `acquire_async()`: a future of the guard. Dropping or cancelling it gives up the place in
  /// line; a grant that is on its way then goes back. Callbacks run on a thread of the library and
  /// must not wait there.
  using Lockable::acquire_async;
  /// Releases the lock, whoever took it; for use without guards. Errors: invalid_state "release
  /// unlocked lock". (Python: release())
  Result<void> release() const;
  /// `locked()`: whether anybody holds it now. (Python 3.14: locked())
  using Lockable::locked;

  /// `on_abandoned(repair)` has `repair` called in this process by whoever gets the lock after a
  /// holder that died, before acquire returns: the lock is held meanwhile. An empty function ends
  /// that.
  using Lockable::on_abandoned;

  /// `lock()`, `try_lock()`, `try_lock_for(timeout)`, `try_lock_until(time)`, `unlock()`: as
  /// std::timed_mutex, for std::scoped_lock, std::unique_lock and std::lock. `lock` throws
  /// passel::Exception where acquire has an error, `unlock` when the lock is free.
  using Lockable::lock;

  /// `close()` gives up this handle; the lock and other handles go on. Not while another thread
  /// uses this very handle, or a guard of it. See also `closed()`, `reach()`, `name()` and `==`,
  /// which says whether both are handles of one lock.
  using Lockable::close;
  /// "<locked Lock 'name' owner=1234>", "<unlocked Lock>", "<closed Lock>".
  [[nodiscard]] std::string to_string() const;

 private:
  friend class Condition;
  friend class detail::Acquirable<Lock>;
  friend class detail::Lockable<Lock>;
  friend struct detail::HandleCodec<Lock>;
  static constexpr std::string_view kind = "Lock";
  explicit Lock(std::shared_ptr<detail::SyncObject> object) noexcept
      : Lockable{std::move(object)} {}
  [[nodiscard]] const std::shared_ptr<detail::SyncObject>& held() const noexcept { return object_; }
  [[nodiscard]] Result<Guard> take(detail::Deadline deadline) const;
};

/// A Lock travels as a handle, to a process that is being started or called.
template <>
struct codec<Lock> : detail::HandleCodec<Lock> {};

}  // namespace passel::inline v0
