// Layer sync: what the handles of locks, semaphores, conditions, events and barriers have in
// common.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/sync_object.hpp>
#include <passel/future.hpp>
#include <passel/guard.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace passel::inline v0::detail {

/// A handle of a small shared object: copies are the same object, a copy given to another process
/// as an argument too. It lives until its last handle is gone. `Self` derives from this, says how
/// it is called (`kind`), and has HandleCodec<Self> as a friend.
///
/// What a handle does beside this begins with a look at `object_`: null is a handle that was
/// closed. That is the branch, and the only one, behind which an object of another home would be
/// asked: see the README of this layer.
template <class Self>
class SyncHandle {
 public:
  /// Gives up this handle; the object and its other handles go on. Not while another thread uses
  /// this very handle, or a guard of it.
  void close() noexcept { object_.reset(); }
  [[nodiscard]] bool closed() const noexcept { return object_ == nullptr; }
  [[nodiscard]] Reach reach() const noexcept { return object_ ? object_->reach() : Reach::threads; }
  /// The name that it was made with.
  [[nodiscard]] std::string name() const { return object_ ? object_->name() : std::string{}; }
  /// Whether both are handles of one object.
  friend bool operator==(const Self& a, const Self& b) noexcept { return a.is_same(b); }

 protected:
  explicit SyncHandle(std::shared_ptr<SyncObject> object) noexcept : object_{std::move(object)} {}

  std::shared_ptr<SyncObject> object_;

 private:
  [[nodiscard]] bool is_same(const SyncHandle& other) const noexcept {
    return object_ == other.object_ ||
           (object_ && other.object_ && object_->same_as(*other.object_));
  }
};

/// How a handle travels, to a process that is being started or called.
template <class Self>
struct HandleCodec {
  static std::string name() { return std::string{Self::kind}; }
  static WireValue encode(const Self& handle) {
    return SyncObject::handle(Self::kind, {}, handle.object_);
  }
  static Result<Self> decode(const WireValue& value) {
    PASSEL_TRY(auto object, SyncObject::open(Self::kind, {}, value));
    return Self{std::move(object)};
  }
};

/// Whether a lock is held by anybody; null is not.
[[nodiscard]] PASSEL_API bool is_locked(const SyncObject* lock) noexcept;
/// A guard of whatever comes free; see Lock::acquire_async. `object` is null for a closed handle.
[[nodiscard]] PASSEL_API Future<Guard> acquire_guard_async(
    const std::shared_ptr<SyncObject>& object, std::string_view kind);

/// A handle of something that can be taken: a lock or a semaphore, or a condition, which stands for
/// its lock. `Self` has `take(Deadline)`, and names the object that is taken in `held()`.
template <class Self>
class Acquirable : public SyncHandle<Self> {
 public:
  /// Waits until it is free and takes it.
  [[nodiscard]] Result<Guard> acquire() const& { return self().take(Deadline::never()); }
  /// Waits for `timeout` at most. Errors: as acquire; timeout; invalid_argument when `timeout` is
  /// negative.
  template <class Rep, class Period>
  [[nodiscard]] Result<Guard> acquire_for(std::chrono::duration<Rep, Period> timeout) const& {
    PASSEL_TRY(const Deadline deadline, checked_deadline(timeout));
    return self().take(deadline);
  }
  /// Never waits. Errors: timeout when it is not free.
  [[nodiscard]] Result<Guard> try_acquire() const& { return self().take(Deadline::now_or_never()); }
  // The guard borrows the handle.
  Result<Guard> acquire() const&& = delete;
  Result<Guard> try_acquire() const&& = delete;

  /// A future of the guard. Dropping or cancelling it gives up the place in line; a grant that is
  /// on its way then goes back. Callbacks run on a thread of the library and must not wait there.
  [[nodiscard]] Future<Guard> acquire_async() const {
    return acquire_guard_async(self().held(), Self::kind);
  }

  /// Has `repair` called in this process by whoever gets it after a holder that died, before
  /// acquire returns: it is held meanwhile. An empty function ends that.
  void on_abandoned(std::function<void(const Abandonment&)> repair) const {
    if (const auto& object = self().held()) object->set_repair(std::move(repair));
  }

 protected:
  using SyncHandle<Self>::SyncHandle;

  [[nodiscard]] const Self& self() const noexcept { return static_cast<const Self&>(*this); }
};

/// A handle of a mutex: as std::timed_mutex, for std::scoped_lock, std::unique_lock and std::lock.
template <class Self>
class Lockable : public Acquirable<Self> {
 public:
  /// Throws passel::Exception where acquire has an error.
  void lock() const { this->self().acquire().unwrap().detach(); }
  [[nodiscard]] bool try_lock() const { return keep(this->self().take(Deadline::now_or_never())); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
    return keep(this->self().take(Deadline::after(timeout)));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> until) const {
    return try_lock_for(until - Clock::now());
  }
  /// Throws passel::Exception where release has an error.
  void unlock() const { this->self().release().unwrap(); }
  /// Whether anybody holds it now. (Python 3.14: locked())
  [[nodiscard]] bool locked() const noexcept { return is_locked(this->self().held().get()); }

 protected:
  using Acquirable<Self>::Acquirable;

 private:
  static bool keep(Result<Guard> guard) {
    if (!guard) return false;
    guard->detach();
    return true;
  }
};

}  // namespace passel::inline v0::detail
