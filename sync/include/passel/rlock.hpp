// Layer sync: Python's RLock: a lock that its holder may take again.
#pragma once

#include <passel/lock.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

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
class PASSEL_API RLock : public detail::Lockable<RLock> {
 public:
  /// Throws as Lock's constructor does.
  RLock() : RLock{LockOptions{}} {}
  explicit RLock(const LockOptions& options) : RLock{create(options).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long.
  [[nodiscard]] static Result<RLock> create(const LockOptions& options = {});

  /// As Lock::acquire, at once for the thread that holds it.
  using Lockable::acquire;
  /// As Lock::acquire_for.
  using Lockable::acquire_for;
  /// As Lock::try_acquire.
  using Lockable::try_acquire;
  /// As Lock::acquire_async; the guard belongs to no thread.
  using Lockable::acquire_async;
  /// Releases it once. Errors: invalid_state "cannot release un-acquired lock" when the calling
  /// thread does not hold it.
  Result<void> release() const;
  /// As Lock::locked.
  using Lockable::locked;
  /// Whether the calling thread holds it. (Python: _is_owned)
  [[nodiscard]] bool is_owned() const noexcept;
  /// How often the calling thread has acquired it without releasing; 0 when it does not hold it.
  /// (Python: _recursion_count)
  [[nodiscard]] std::uint32_t recursion_count() const noexcept;

  /// As Lock::on_abandoned.
  using Lockable::on_abandoned;
  /// As std::recursive_timed_mutex, with try_lock, try_lock_for, try_lock_until and unlock; see
  /// Lock::lock.
  using Lockable::lock;

  /// As Lock::close, with closed, reach, name and `==`.
  using Lockable::close;
  /// "<locked RLock owner=1234 count=2>", "<unlocked RLock>", "<closed RLock>".
  [[nodiscard]] std::string to_string() const;

 private:
  friend class Condition;
  friend class detail::Acquirable<RLock>;
  friend class detail::Lockable<RLock>;
  friend struct detail::HandleCodec<RLock>;
  static constexpr std::string_view kind = "RLock";
  explicit RLock(std::shared_ptr<detail::SyncObject> object) noexcept
      : Lockable{std::move(object)} {}
  [[nodiscard]] const std::shared_ptr<detail::SyncObject>& held() const noexcept { return object_; }
  [[nodiscard]] Result<Guard> take(detail::Deadline deadline) const;
};

/// An RLock travels as a handle, to a process that is being started or called.
template <>
struct codec<RLock> : detail::HandleCodec<RLock> {};

}  // namespace passel::inline v0
