// Layer transport: sleeping on a 32-bit word, in one process or between processes.
#include <passel/detail/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <ctime>

namespace passel::inline v0::detail {
namespace {

int operation(int base, FutexScope scope) noexcept {
  return scope == FutexScope::process ? base | FUTEX_PRIVATE_FLAG : base;
}

}  // namespace

bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, Deadline deadline,
                FutexScope scope) noexcept {
  if (deadline.is_try()) return false;
  timespec until{};
  const timespec* limit = nullptr;
  if (!deadline.is_never()) {
    // FUTEX_WAIT_BITSET takes an absolute time of the monotonic clock, which is what steady_clock
    // reads.
    until = to_timespec(deadline.when().time_since_epoch());
    limit = &until;
  }
  const long result = ::syscall(SYS_futex, &word, operation(FUTEX_WAIT_BITSET, scope), expected,
                                limit, nullptr, FUTEX_BITSET_MATCH_ANY);
  return !(result < 0 && errno == ETIMEDOUT);
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count, FutexScope scope) noexcept {
  const long woken =
      ::syscall(SYS_futex, &word, operation(FUTEX_WAKE, scope), count, nullptr, nullptr, 0);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace passel::inline v0::detail
