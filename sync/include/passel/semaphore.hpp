// Layer sync: Python's Semaphore and BoundedSemaphore.
#pragma once

#include <passel/lock.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace passel::inline v0 {

class BoundedSemaphore;

/// What becomes of a permit when the process that took it dies.
enum class Ownership {
  owned,    ///< it comes back: permits are held
  counted,  ///< it is gone: permits are signals that one side gives and another takes
};

struct SemaphoreOptions {
  std::int64_t value = 1;  ///< permits in the beginning
  Reach reach = Reach::host;
  std::string name = {};  ///< for errors and reports, at most 27 bytes
  bool fair = false;      ///< as LockOptions::fair
  Ownership ownership = Ownership::counted;
  /// The most permits there may be, where permits are owned: a release beyond it is an error.
  std::int64_t limit = 1024;
};

struct BoundedSemaphoreOptions {
  std::int64_t value = 1;  ///< permits in the beginning, and the most there may be
  Reach reach = Reach::host;
  std::string name = {};
  bool fair = false;
  Ownership ownership = Ownership::owned;
};

/// A number of permits, taken by acquire and given by release, between threads and processes of one
/// host (Python's multiprocessing.Semaphore and threading.Semaphore).
///
///     passel::Semaphore filled{0};
///     auto producer = passel::Process::spawn<produce>(filled);   // ... filled.release();
///     filled.acquire().unwrap().detach();                         // taken for good
///
/// acquire() gives a Guard that returns the permit at the end of its scope; `detach()` keeps it
/// taken, and any thread or process may release() it. A Semaphore is a handle as Lock is.
///
/// By default permits are only counted, as in Python: release may take the number beyond its
/// first value, and a process that dies takes its permits with it. With Ownership::owned they come
/// back; then there may be at most `limit` of them. To limit how many work at a time take a
/// BoundedSemaphore, where that is the default.
///
/// Waits are first come, first served within the bound of LockOptions::fair.
class PASSEL_API Semaphore : public detail::Acquirable<Semaphore> {
 public:
  /// Throws passel::Exception where `create` has an error.
  explicit Semaphore(std::int64_t value = 1) : Semaphore{SemaphoreOptions{.value = value}} {}
  explicit Semaphore(const SemaphoreOptions& options) : Semaphore{create(options).unwrap()} {}
  /// Errors: invalid_argument when the value is negative or over the limit; no_space.
  [[nodiscard]] static Result<Semaphore> create(const SemaphoreOptions& options = {});

  /// `acquire()` waits for a permit and takes it. Errors: no_space when too many wait;
  /// invalid_state on a closed handle. (Python: acquire())
  using Acquirable::acquire;
  /// `acquire_for(timeout)` waits for `timeout` at most. Errors: as acquire; timeout;
  /// invalid_argument when `timeout` is negative. (Python: acquire(timeout=t))
  using Acquirable::acquire_for;
  /// `try_acquire()` never waits. Errors: timeout when there is no permit. (Python:
  /// acquire(blocking=False))
  using Acquirable::try_acquire;
  /// As Lock::acquire_async.
  using Acquirable::acquire_async;

  /// Adds `n` permits and wakes as many who wait. Owned permits: those of this process first, then
  /// anybody's. Errors, with the value unchanged: invalid_argument when `n` is less than 1 or the
  /// value would pass the limit. (Python: release(n))
  Result<void> release(std::int64_t n = 1) const;
  /// Permits that are free: exact while nobody else works on it. (Python: get_value())
  [[nodiscard]] std::int64_t value() const noexcept;

  /// As Lock::on_abandoned, for owned permits.
  using Acquirable::on_abandoned;
  /// As Lock::close, with closed, reach, name and `==`.
  using Acquirable::close;
  /// "<Semaphore value=2>", "<BoundedSemaphore value=2/3>".
  [[nodiscard]] std::string to_string() const;

 protected:
  explicit Semaphore(std::shared_ptr<detail::SyncObject> object) noexcept
      : Acquirable{std::move(object)} {}
  [[nodiscard]] static Result<std::shared_ptr<detail::SyncObject>> make(
      detail::SyncKind kind, const SemaphoreOptions& options);

 private:
  friend class detail::Acquirable<Semaphore>;
  friend struct detail::HandleCodec<Semaphore>;
  static constexpr std::string_view kind = "Semaphore";
  [[nodiscard]] const std::shared_ptr<detail::SyncObject>& held() const noexcept { return object_; }
  [[nodiscard]] Result<Guard> take(detail::Deadline deadline) const;
};

/// A Semaphore that never has more permits than in the beginning: one release too many is an error
/// "Semaphore released too many times". Limits how many may do something at a time (Python's
/// BoundedSemaphore). Permits are owned: those of a process that dies come back.
///
///     passel::BoundedSemaphore downloads{3};
///     auto permit = downloads.acquire().unwrap();
class PASSEL_API BoundedSemaphore : public Semaphore {
 public:
  /// Throws passel::Exception where `create` has an error.
  explicit BoundedSemaphore(std::int64_t value = 1)
      : BoundedSemaphore{BoundedSemaphoreOptions{.value = value}} {}
  explicit BoundedSemaphore(const BoundedSemaphoreOptions& options)
      : BoundedSemaphore{create(options).unwrap()} {}
  /// Errors: invalid_argument when the value is negative, or over 65536 and owned; no_space.
  [[nodiscard]] static Result<BoundedSemaphore> create(const BoundedSemaphoreOptions& options = {});

 private:
  friend struct detail::HandleCodec<BoundedSemaphore>;
  static constexpr std::string_view kind = "BoundedSemaphore";
  explicit BoundedSemaphore(std::shared_ptr<detail::SyncObject> object) noexcept
      : Semaphore{std::move(object)} {}
};

/// A Semaphore travels as a handle, to a process that is being started or called.
template <>
struct codec<Semaphore> : detail::HandleCodec<Semaphore> {};

template <>
struct codec<BoundedSemaphore> : detail::HandleCodec<BoundedSemaphore> {};

}  // namespace passel::inline v0
