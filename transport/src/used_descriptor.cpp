// Layer transport: a descriptor that threads use while another one closes it, and waiting for it.
#include "used_descriptor.hpp"

#include <passel/detail/futex.hpp>

#include <poll.h>

#include <cerrno>
#include <chrono>

namespace passel::inline v0::detail {

Result<bool> wait_for_events(int fd, short events, Deadline deadline) {
  while (true) {
    pollfd watched{fd, events, 0};
    const timespec left = to_timespec(deadline.left());
    const int ready = ::ppoll(&watched, 1, deadline.is_never() ? nullptr : &left, nullptr);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return system_error("ppoll", errno);
    if (ready == 0 && deadline.passed()) return false;
  }
}

bool ConnectionTurn::take(Deadline deadline) noexcept {
  std::uint32_t seen = 0;
  if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire)) return true;
  if (deadline.is_try()) return false;
  while (word_.exchange(2, std::memory_order_acquire) != 0) {
    if (!futex_wait(word_, 2, deadline, FutexScope::process)) return false;
  }
  return true;
}

void ConnectionTurn::give() noexcept {
  if (word_.exchange(0, std::memory_order_release) == 2) futex_wake(word_, 1, FutexScope::process);
}

UsedDescriptor::Closing UsedDescriptor::close() noexcept {
  // The caller's own use keeps the number from being the last.
  const Use use{*this};
  const std::uint32_t before = uses_.fetch_or(closed_bit, std::memory_order_seq_cst);
  if ((before & closed_bit) != 0) return Closing::done_before;
  return before > 2 ? Closing::somebody_inside : Closing::nobody_inside;
}

void UsedDescriptor::leave() noexcept {
  // The last one out after the closing shuts the door.
  if (uses_.fetch_sub(1, std::memory_order_seq_cst) == (closed_bit | 1U) &&
      !released_.exchange(true))
    descriptor_.reset();
}

}  // namespace passel::inline v0::detail
