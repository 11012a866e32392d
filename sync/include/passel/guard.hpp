// Layer sync: what somebody holds of a lock or semaphore.
#pragma once

#include <passel/detail/sync_object.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace passel::inline v0 {

namespace detail {
struct GuardAccess;
}

/// What somebody holds of a Lock, RLock or semaphore. Gives it back when it is destroyed (Python's
/// `with lock:`, Rust's MutexGuard).
///
///     auto guard = lock.acquire().unwrap();
///     if (guard.abandoned()) repair(data);
///     storage.write(data, guard.token());      // who comes late with an older token is refused
///
/// Move-only; by one thread at a time, any thread. It borrows the handle that it came from, which
/// must live longer; a guard that came from acquire_async keeps what it needs itself. When its
/// process dies, what it holds goes back.
class PASSEL_API Guard {
 public:
  /// Holds nothing.
  Guard() noexcept = default;
  Guard(Guard&& other) noexcept
      : object_{std::exchange(other.object_, nullptr)},
        word_{other.word_},
        permit_{other.permit_},
        abandoned_{other.abandoned_},
        keep_{std::move(other.keep_)} {}
  Guard& operator=(Guard&& other) noexcept {
    Guard taken{std::move(other)};
    swap(taken);
    return *this;
  }
  ~Guard() {
    if (object_ != nullptr) static_cast<void>(release().is_ok());
  }

  [[nodiscard]] bool owns_lock() const noexcept { return object_ != nullptr; }
  [[nodiscard]] explicit operator bool() const noexcept { return owns_lock(); }

  /// The fencing token of this grant: larger than that of every earlier grant of the same lock (of
  /// the same permit, for a semaphore). 0 for a semaphore that only counts.
  [[nodiscard]] std::uint64_t token() const noexcept;
  /// The holder before died while it held it: what the lock protects may be half changed.
  [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }

  /// Gives it back before the end of the scope. Errors: invalid_state when nothing is held, or
  /// somebody else has released it.
  Result<void> release();
  /// Leaves it taken: it is given back by release() of the Lock, RLock or semaphore, or when this
  /// process ends.
  void detach() noexcept {
    object_ = nullptr;
    keep_.reset();
  }
  void swap(Guard& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(word_, other.word_);
    std::swap(permit_, other.permit_);
    std::swap(abandoned_, other.abandoned_);
    std::swap(keep_, other.keep_);
  }

 private:
  friend struct detail::GuardAccess;

  detail::SyncObject* object_ = nullptr;
  std::uint64_t word_ = 0;
  std::uint32_t permit_ = 0;
  bool abandoned_ = false;
  std::shared_ptr<detail::SyncObject> keep_;
};

}  // namespace passel::inline v0
