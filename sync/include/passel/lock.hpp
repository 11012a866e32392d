// Layer sync: Python's threading.Lock and multiprocessing.Lock, proof against the death of its
// holder.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/checked_deadline.hpp>
#include <passel/future.hpp>
#include <passel/guard.hpp>
#include <passel/lock_report.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace passel::inline v0 {

/// What a lock does about a thread whose wait would close a circle of waiters.
enum class OnDeadlock {
  report,  ///< say so (see on_deadlock) and wait
  refuse,  ///< say so, and the wait fails with Errc::deadlock
};

struct LockOptions {
  Reach reach = Reach::host;  ///< threads: cheaper to make, but cannot go to another process
  std::string name = {};      ///< for errors and reports, at most 27 bytes
  /// Always hand over to the first in line. Otherwise a newcomer may be quicker, but not more than
  /// 16 times or for longer than half a millisecond: a lock that is always handed over needs a
  /// wake-up for each acquisition.
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
/// `Guard::abandoned()`. One that dies while it waits is forgotten. A lock that is held by a living
/// process is never taken away, whatever that does. Taking and giving back a lock that nobody else
/// wants is one atomic operation each.
///
/// **Waits**: first come, first served within the bound of `LockOptions::fair`; deadlines by the
/// monotonic clock. Circles of waiting threads are found, see on_deadlock.
///
/// Source of the semantics: Python's multiprocessing.Lock; release of a free lock is one error for
/// both kinds (Python: RuntimeError and ValueError).
class PASSEL_API Lock {
 public:
  /// Unlocked. Throws passel::Exception when there is no memory or descriptor left; `create` gives
  /// that as an error instead.
  Lock() : Lock{LockOptions{}} {}
  explicit Lock(const LockOptions& options) : Lock{create(options).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long.
  [[nodiscard]] static Result<Lock> create(const LockOptions& options = {});

  /// Waits until the lock is free and takes it. Errors: no_space when too many wait; deadlock when
  /// it was made with OnDeadlock::refuse; invalid_state on a closed handle. (Python: acquire())
  [[nodiscard]] Result<Guard> acquire() const& { return take(detail::Deadline::never()); }
  /// Waits for `timeout` at most. Errors: as acquire; timeout; invalid_argument when `timeout` is
  /// negative. (Python: acquire(timeout=t))
  template <class Rep, class Period>
  [[nodiscard]] Result<Guard> acquire_for(std::chrono::duration<Rep, Period> timeout) const& {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return take(deadline);
  }
  /// Never waits. Errors: timeout when it is not free. (Python: acquire(block=False))
  [[nodiscard]] Result<Guard> try_acquire() const& {
    return take(detail::Deadline::now_or_never());
  }
  /// A future of the guard. Dropping or cancelling it gives up the place in line; a grant that is
  /// on its way then goes back. Callbacks run on a thread of the library and must not wait there.
  [[nodiscard]] Future<Guard> acquire_async() const;
  Result<Guard> acquire() const&& = delete;
  Result<Guard> try_acquire() const&& = delete;

  /// Releases the lock, whoever took it; for use without guards. Errors: invalid_state "release
  /// unlocked lock". (Python: release())
  Result<void> release() const;
  /// Whether anybody holds it now. (Python 3.14: locked())
  [[nodiscard]] bool locked() const noexcept;

  /// Has `repair` called in this process by whoever gets the lock after a holder that died, before
  /// acquire returns: the lock is held meanwhile. An empty function ends that.
  void on_abandoned(std::function<void(const Abandonment&)> repair) const;

  // As std::timed_mutex, for std::scoped_lock, std::unique_lock and std::lock. `lock` throws
  // passel::Exception where acquire has an error, `unlock` when the lock is free.
  void lock() const { acquire().unwrap().detach(); }
  [[nodiscard]] bool try_lock() const;
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
    return keep(take(detail::Deadline::after(timeout)));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> until) const {
    return try_lock_for(until - Clock::now());
  }
  void unlock() const { release().unwrap(); }

  /// Gives up this handle; the lock and other handles go on. Not while another thread uses this
  /// very handle, or a guard of it.
  void close() noexcept { object_.reset(); }
  [[nodiscard]] bool closed() const noexcept { return object_ == nullptr; }
  [[nodiscard]] Reach reach() const noexcept { return object_ ? object_->reach() : Reach::threads; }
  /// The name that it was made with.
  [[nodiscard]] std::string name() const { return object_ ? object_->name() : std::string{}; }
  /// "<locked Lock 'name' owner=1234>", "<unlocked Lock>", "<closed Lock>".
  [[nodiscard]] std::string to_string() const;
  /// Whether both are handles of one lock.
  friend bool operator==(const Lock& a, const Lock& b) noexcept {
    return a.object_ == b.object_ || (a.object_ && b.object_ && a.object_->same_as(*b.object_));
  }

 private:
  friend class Condition;
  friend struct codec<Lock>;
  explicit Lock(std::shared_ptr<detail::SyncObject> object) noexcept : object_{std::move(object)} {}
  [[nodiscard]] Result<Guard> take(detail::Deadline deadline) const;
  static bool keep(Result<Guard> guard);

  std::shared_ptr<detail::SyncObject> object_;
};

/// A Lock travels as a handle, to a process that is being started or called.
template <>
struct PASSEL_API codec<Lock> {
  static std::string name() { return "Lock"; }
  static WireValue encode(const Lock& lock);
  static Result<Lock> decode(const WireValue& value);
};

}  // namespace passel::inline v0
