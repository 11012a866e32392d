// Layer transport: where threads and processes sleep until somebody has something for them.
#include <passel/detail/wait_point.hpp>

#include <climits>

namespace passel::inline v0::detail {
namespace {

std::int64_t now_ns() noexcept {
  return std::chrono::nanoseconds{Deadline::Clock::now().time_since_epoch()}.count();
}

/// One less, unless it is zero.
bool take(std::atomic<std::uint32_t>& count) noexcept {
  std::uint32_t seen = count.load(std::memory_order_relaxed);
  while (seen != 0) {
    if (count.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

}  // namespace

void WaitPoint::wake_slow(FutexScope scope) noexcept {
  if (!take(sleepers_)) return;
  waker_.publish();
  woken_at_ns_.store(now_ns(), std::memory_order_relaxed);
  tokens_.fetch_add(1, std::memory_order_release);
  futex_wake(tokens_, 1, scope);
}

void WaitPoint::wake_all(FutexScope scope) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const std::uint32_t count = sleepers_.exchange(0, std::memory_order_acq_rel);
  if (count == 0) return;
  tokens_.fetch_add(count, std::memory_order_release);
  futex_wake(tokens_, INT_MAX, scope);
}

bool WaitPoint::sleep(FutexScope scope, Deadline deadline) noexcept {
  bool slept = false;
  while (!take(tokens_)) {
    if (!futex_wait(tokens_, 0, deadline, scope)) {
      leave();
      return false;
    }
    slept = true;
  }
  // A look at the price of a wake-up across CPUs, for nothing: both sides are in the slow path
  // anyway.
  const std::int64_t woken_at = woken_at_ns_.exchange(0, std::memory_order_relaxed);
  if (slept && woken_at != 0 && waker_.load() != current_cpu()) {
    note_wake_latency(std::chrono::nanoseconds{now_ns() - woken_at});
  }
  return true;
}

void WaitPoint::leave() noexcept {
  // When the count is gone, a waker has counted on us: its token must not wait for the next
  // sleeper. If it is not there yet, the next sleeper looks once in vain.
  if (!take(sleepers_)) static_cast<void>(take(tokens_));
}

}  // namespace passel::inline v0::detail
