// Layer sync: Python's RLock: a lock that its holder may take again.
#pragma once

#include <passel/lock.hpp>

#include <cstdint>
#include <optional>

namespace passel::inline v0 {

/// A re-entrant Lock: the thread that holds it may acquire it again, and it is free when it was
/// released as often (Python's threading.RLock and multiprocessing.RLock).
///
///     passel::RLock lock;
///     auto outer = lock.acquire().unwrap();
///     auto inner = lock.acquire().unwrap();      // the same thread: at once
///
/// All that is said of Lock holds, except that only the thread which holds it may release it. After
/// a death of its holder the next one has it once, whatever the depth was. A guard must be given
/// back by the thread that took it, apart from one of acquire_async, which belongs to no thread and
/// cannot be taken again meanwhile.
///
/// Source of the semantics: Python's threading.RLock.
class PASSEL_API RLock {
 public:
  /// Throws as Lock's constructor does.
  RLock() : RLock{LockOptions{}} {}
  explicit RLock(const LockOptions& options) : RLock{create(options).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long.
  [[nodiscard]] static Result<RLock> create(const LockOptions& options = {});

  /// As Lock::acquire, at once for the thread that holds it.
  [[nodiscard]] Result<Guard> acquire() const& { return take(detail::Deadline::never()); }
  /// As Lock::acquire_for.
  template <class Rep, class Period>
  [[nodiscard]] Result<Guard> acquire_for(std::chrono::duration<Rep, Period> timeout) const& {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return take(deadline);
  }
  /// As Lock::try_acquire.
  [[nodiscard]] Result<Guard> try_acquire() const& {
    return take(detail::Deadline::now_or_never());
  }
  /// As Lock::acquire_async; the guard belongs to no thread.
  [[nodiscard]] Future<Guard> acquire_async() const;
  Result<Guard> acquire() const&& = delete;
  Result<Guard> try_acquire() const&& = delete;

  /// Releases it once. Errors: invalid_state "cannot release un-acquired lock" when the calling
  /// thread does not hold it.
  Result<void> release() const;
  [[nodiscard]] bool locked() const noexcept;
  /// Whether the calling thread holds it. (Python: _is_owned)
  [[nodiscard]] bool is_owned() const noexcept;
  /// How often the calling thread has acquired it without releasing; 0 when it does not hold it.
  /// (Python: _recursion_count)
  [[nodiscard]] std::uint32_t recursion_count() const noexcept;

  /// As Lock::on_abandoned.
  void on_abandoned(std::function<void(const Abandonment&)> repair) const;

  // As std::recursive_timed_mutex; see Lock.
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

  void close() noexcept { object_.reset(); }
  [[nodiscard]] bool closed() const noexcept { return object_ == nullptr; }
  [[nodiscard]] Reach reach() const noexcept { return object_ ? object_->reach() : Reach::threads; }
  [[nodiscard]] std::string name() const { return object_ ? object_->name() : std::string{}; }
  /// "<locked RLock owner=1234 count=2>", "<unlocked RLock>", "<closed RLock>".
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const RLock& a, const RLock& b) noexcept {
    return a.object_ == b.object_ || (a.object_ && b.object_ && a.object_->same_as(*b.object_));
  }

 private:
  friend class Condition;
  friend struct codec<RLock>;
  explicit RLock(std::shared_ptr<detail::SyncObject> object) noexcept
      : object_{std::move(object)} {}
  [[nodiscard]] Result<Guard> take(detail::Deadline deadline) const;
  static bool keep(Result<Guard> guard);

  std::shared_ptr<detail::SyncObject> object_;
};

/// An RLock travels as a handle, to a process that is being started or called.
template <>
struct PASSEL_API codec<RLock> {
  static std::string name() { return "RLock"; }
  static WireValue encode(const RLock& lock);
  static Result<RLock> decode(const WireValue& value);
};

}  // namespace passel::inline v0
