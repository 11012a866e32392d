// Layer pool: sleeping on a condition variable in a thread that may be running a task.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/future_core.hpp>

#include <condition_variable>
#include <mutex>

namespace passel::inline v0::detail {

/// Sleeps until `ready()`, and tells whoever runs this thread's task that it does, so that its slot
/// can be lent. The lock is let go of for that, too. False when the time was up.
template <class Ready>
[[nodiscard]] bool observed_wait(std::unique_lock<std::mutex>& lock,
                                 std::condition_variable& changed, Deadline deadline, Ready ready) {
  if (ready()) return true;
  if (deadline.is_try()) return false;
  WaitObserver* const observer = WaitObserver::current();
  const auto without_lock = [&](void (WaitObserver::*tell)() noexcept) {
    if (observer == nullptr) return;
    lock.unlock();
    (observer->*tell)();
    lock.lock();
  };
  without_lock(&WaitObserver::before_wait);
  if (deadline.is_never()) {
    changed.wait(lock, ready);
  } else {
    changed.wait_until(lock, deadline.when(), ready);
  }
  without_lock(&WaitObserver::after_wait);
  return ready();
}

}  // namespace passel::inline v0::detail
