// Layer transport: where threads and processes sleep until somebody has something for them.
#pragma once

#include <passel/detail/futex.hpp>
#include <passel/detail/spin.hpp>

#include <atomic>
#include <cstdint>

namespace passel::inline v0::detail {

/// A place to sleep, in memory of one process or shared between processes; all zero is its first
/// state.
///
/// Who makes something available first does so, then calls `wake_one` or `wake_all`, which make a
/// system call only when somebody sleeps, one for each sleeper at most. A process that is killed
/// while it sleeps leaves a count behind; that costs one needless system call later and nothing
/// else. A process killed after it was woken takes that wake-up with it: whoever learns of the
/// death calls `wake_all`.
class PASSEL_API WaitPoint {
 public:
  void wake_one(FutexScope scope) noexcept {
    // Pairs with the increment in sleep(): either we see the sleeper, or the sleeper sees what was
    // made available.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_relaxed) != 0) wake_slow(scope);
  }
  void wake_all(FutexScope scope) noexcept;

  /// Waits until `ready()`, which must be true for good enough reason to try again: another may be
  /// quicker. Spins first where that pays; `other` is the CPU of the side that makes it ready.
  /// False when the deadline passed.
  template <class Ready>
  bool wait(FutexScope scope, Deadline deadline, Spinner& spinner, const CpuMark& other,
            Ready&& ready) noexcept {
    if (deadline.is_try()) return ready();
    if (spinner.spin(other, deadline, ready)) return true;
    const auto begin = Deadline::Clock::now();
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    if (ready()) {
      leave();
      return true;
    }
    if (!sleep(scope, deadline)) return ready();
    spinner.waited(Deadline::Clock::now() - begin);
    return true;
  }

  /// How many sleep here; those that were killed in their sleep may be counted.
  [[nodiscard]] std::uint32_t sleepers() const noexcept {
    return sleepers_.load(std::memory_order_relaxed);
  }

 private:
  void wake_slow(FutexScope scope) noexcept;
  bool sleep(FutexScope scope, Deadline deadline) noexcept;
  void leave() noexcept;

  // Each waker turns one count of sleepers into one token; each sleeper goes on with a token.
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<std::uint32_t> tokens_{0};
  std::atomic<std::int64_t> woken_at_ns_{0};
  CpuMark waker_;
};

}  // namespace passel::inline v0::detail
