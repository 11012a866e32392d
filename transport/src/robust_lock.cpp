// Layer transport: a mutex in shared memory that the death of its holder does not keep.
#include <passel/detail/robust_lock.hpp>

#include <algorithm>
#include <cerrno>
#include <ctime>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace passel::inline v0::detail {
namespace {

// What is done under such a lock takes well under a microsecond, copies of large items some more.
constexpr int spins = 100;
constexpr std::chrono::milliseconds patience{100};

}  // namespace

bool RobustLock::init() noexcept {
  pthread_mutexattr_t attributes;
  if (::pthread_mutexattr_init(&attributes) != 0) return false;
  const bool good = ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                    ::pthread_mutex_init(&mutex_, &attributes) == 0;
  ::pthread_mutexattr_destroy(&attributes);
  return good;
}

Locked RobustLock::locked(int result) noexcept {
  if (result != 0 && result != EOWNERDEAD) return Locked::no;
  if (result == EOWNERDEAD) ::pthread_mutex_consistent(&mutex_);
  holder_.publish();
  return result == 0 ? Locked::yes : Locked::after_death;
}

Locked RobustLock::lock(Deadline deadline) noexcept {
  const int result = ::pthread_mutex_trylock(&mutex_);
  return result == EBUSY ? lock_slowly(deadline) : locked(result);
}

Locked RobustLock::lock_slowly(Deadline deadline) noexcept {
  if (spin_budget().count() != 0 && holder_.load() != current_cpu()) {
    for (int i = 0; i < spins; ++i) {
      cpu_relax();
      const int result = ::pthread_mutex_trylock(&mutex_);
      if (result != EBUSY) return locked(result);
    }
  }
  if (deadline.is_never()) return locked(::pthread_mutex_lock(&mutex_));
  const auto until = deadline.is_try()
                         ? Deadline::Clock::now() + patience
                         : std::max(deadline.when(), Deadline::Clock::now() + patience);
  const timespec limit = to_timespec(until.time_since_epoch());
  const int result = ::pthread_mutex_clocklock(&mutex_, CLOCK_MONOTONIC, &limit);
#ifdef __SANITIZE_THREAD__
  // The thread sanitizer of GCC 12 does not know this function.
  if (result != ETIMEDOUT) __tsan_mutex_post_lock(&mutex_, __tsan_mutex_try_lock, 0);
#endif
  return locked(result);
}

void RobustLock::unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }

}  // namespace passel::inline v0::detail
