// Layer transport: a mutex in shared memory that the death of its holder does not keep.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/spin.hpp>
#include <passel/export.hpp>

#include <pthread.h>

namespace passel::inline v0::detail {

/// How an attempt to lock ended.
enum class Locked {
  no,           ///< the deadline passed
  yes,          ///< the lock is ours
  after_death,  ///< the lock is ours; its last holder died with it, at any instruction
};

/// A process-shared, robust pthread mutex with a spin before the sleep when the holder runs on
/// another CPU.
class PASSEL_API RobustLock {
 public:
  /// Must be called once, on zeroed memory, before any other process can see it. False when the
  /// system refuses.
  [[nodiscard]] bool init() noexcept;
  /// A deadline of "do not wait" still waits for a holder that is in its few instructions, 100 ms
  /// at most: a process that was stopped while it held the lock is the only way to get `no`.
  [[nodiscard]] Locked lock(Deadline deadline) noexcept;
  void unlock() noexcept;

 private:
  [[nodiscard]] Locked lock_slowly(Deadline deadline) noexcept;
  [[nodiscard]] Locked locked(int result) noexcept;

  pthread_mutex_t mutex_;
  CpuMark holder_;
};

}  // namespace passel::inline v0::detail
