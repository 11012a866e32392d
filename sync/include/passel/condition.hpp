// Layer sync: Python's Condition: waiting, with a lock, until somebody says that things changed.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/rlock.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

namespace passel::inline v0 {

struct ConditionOptions {
  Reach reach = Reach::host;  ///< of its own lock; a condition for a given lock has that lock's
  std::string name = {};      ///< for reports, at most 27 bytes
};

/// Lets threads and processes wait, holding a lock, until another one that holds it notifies them
/// (Python's threading.Condition and multiprocessing.Condition).
///
///     passel::Condition ready;                         // with an RLock of its own
///     auto worker = passel::Process::spawn<work>(ready, jobs);
///
///     auto guard = ready.acquire().unwrap();           // one side
///     ready.wait([&] { return jobs.value() > 0; }).unwrap();
///
///     auto guard = ready.acquire().unwrap();           // the other
///     jobs.set(5);
///     ready.notify_all().unwrap();
///
/// A Condition is a handle as Lock is. `wait` gives the lock back, however often it was acquired,
/// sleeps, and has the lock again, as often, when it returns, also with an error. Whoever is
/// notified is woken by the release of the lock, not before: a notify costs no wake-up that would
/// only find the lock taken.
///
/// **Exact**: notify(n) wakes n of those who wait at that moment, or all if they are fewer, in the
/// order of their coming, and nobody else; nothing is remembered when nobody waits; nobody wakes
/// without reason. One that dies while it waits counts for nothing: when it had been notified and
/// had not gone on yet, the next one who waits is notified in its place.
///
/// A guard taken before wait() is good after it, with the token of the new grant. When the holder
/// before died, the repair function of the lock is called (Lock::on_abandoned) as by an acquire.
///
/// Source of the semantics: Python's threading.Condition.
class PASSEL_API Condition : public detail::Lockable<Condition> {
 public:
  /// With a new RLock. Throws passel::Exception where `create` has an error.
  Condition() : Condition{ConditionOptions{}} {}
  explicit Condition(const ConditionOptions& options) : Condition{create(options).unwrap()} {}
  /// For a lock that is there: holding the condition is holding the lock. Throws passel::Exception
  /// where `create` has an error.
  explicit Condition(const Lock& lock) : Condition{create(lock).unwrap()} {}
  explicit Condition(const RLock& lock) : Condition{create(lock).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long; invalid_state when the lock's
  /// handle is closed.
  [[nodiscard]] static Result<Condition> create(const ConditionOptions& options = {});
  [[nodiscard]] static Result<Condition> create(const Lock& lock, const std::string& name = {});
  [[nodiscard]] static Result<Condition> create(const RLock& lock, const std::string& name = {});

  // The lock: see Lock and RLock. Beside these acquire_async, try_lock_for, try_lock_until and
  // on_abandoned.
  using Lockable::acquire;
  using Lockable::acquire_for;
  using Lockable::try_acquire;
  Result<void> release() const;
  /// Whether anybody holds the lock now. (Python 3.14: locked())
  using Lockable::lock;
  using Lockable::locked;
  using Lockable::try_lock;
  using Lockable::unlock;

  /// Waits until notified. Errors: invalid_state "cannot wait on un-acquired lock"; no_space when
  /// too many wait. (Python: wait())
  Result<void> wait() const { return wait_until(detail::Deadline::never()); }
  /// Waits for `timeout` at most, then for the lock; zero or less: looks whether a notify comes in
  /// between. Errors: as wait; timeout when it was not notified. (Python: wait(timeout))
  template <class Rep, class Period>
  Result<void> wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_until(detail::Deadline::after(timeout));
  }
  /// Waits until `ready()` is true, which is called with the lock held: at once, and after each
  /// notify. Errors: as wait. (Python: wait_for(predicate))
  template <std::predicate F>
  Result<void> wait(F ready) const {
    return wait_until(detail::Deadline::never(), ready);
  }
  /// The same for `timeout` at most, over all waits together. Errors: as wait; timeout when it is
  /// still false then. (Python: wait_for(predicate, timeout))
  template <class Rep, class Period, std::predicate F>
  Result<void> wait_for(std::chrono::duration<Rep, Period> timeout, F ready) const {
    return wait_until(detail::Deadline::after(timeout), ready);
  }
  /// Waits without a thread: gives `guard` up and promises a new one, of the lock taken again after
  /// a notify. Dropping or cancelling the future gives up the place; a notify that had reached it
  /// goes to the next one. Errors: invalid_state when `guard` is not of this condition's lock, or
  /// an RLock is held more than once.
  [[nodiscard]] Future<Guard> wait_async(Guard guard) const;

  /// Wakes `n` of those who wait, or all if they are fewer: each goes on when it has the lock. Does
  /// not release the lock. Errors: invalid_state "cannot notify on un-acquired lock". (Python:
  /// notify(n))
  Result<void> notify(std::size_t n = 1) const;
  /// Wakes all who wait. (Python: notify_all())
  Result<void> notify_all() const { return notify(std::numeric_limits<std::size_t>::max()); }
  /// notify_all under its old Python name.
  Result<void> notifyAll() const { return notify_all(); }
  /// How many wait and were not notified: exact while the caller holds the lock.
  [[nodiscard]] std::size_t waiting() const;

  /// As Lock::close, with closed, reach, name and `==`.
  void close() noexcept {
    Lockable::close();
    lock_.reset();
  }
  /// "<Condition(<unlocked RLock>, 0)>": the lock, and how many wait.
  [[nodiscard]] std::string to_string() const;

 private:
  friend class detail::Acquirable<Condition>;
  friend class detail::Lockable<Condition>;
  friend struct codec<Condition>;
  static constexpr std::string_view kind = "Condition";
  Condition(std::shared_ptr<detail::SyncObject> object,
            std::shared_ptr<detail::SyncObject> lock) noexcept
      : Lockable{std::move(object)}, lock_{std::move(lock)} {}
  [[nodiscard]] const std::shared_ptr<detail::SyncObject>& held() const noexcept { return lock_; }
  static Result<Condition> create(std::shared_ptr<detail::SyncObject> lock,
                                  const std::string& name);
  [[nodiscard]] Result<Guard> take(detail::Deadline deadline) const;
  Result<void> wait_until(detail::Deadline deadline) const;
  template <class F>
  Result<void> wait_until(detail::Deadline deadline, F& ready) const {
    while (!ready()) {
      auto notified = wait_until(deadline);
      if (notified) continue;
      if (notified.error() == Errc::timeout && ready()) break;
      return notified;
    }
    return {};
  }

  std::shared_ptr<detail::SyncObject> lock_;
};

/// A Condition travels with its lock, to a process that is being started or called.
template <>
struct PASSEL_API codec<Condition> {
  static std::string name() { return "Condition"; }
  static WireValue encode(const Condition& condition);
  static Result<Condition> decode(const WireValue& value);
};

}  // namespace passel::inline v0
