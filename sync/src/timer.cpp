// Layer sync: a thread that waits before it calls its function, and can be told not to.
#include <passel/timer.hpp>

#include <passel/detail/futex.hpp>

#include "timer_race.hpp"

#include <sys/prctl.h>
#include <atomic>
#include <climits>

namespace passel::inline v0 {
namespace detail {

struct TimerCore {
  std::atomic<std::uint32_t> word{0};  // a TimerState; the thread sleeps on it

  bool apply(TimerEvent event) noexcept {
    std::uint32_t seen = word.load(std::memory_order_acquire);
    for (;;) {
      const TimerMove move = timer_move(static_cast<TimerState>(seen), event);
      const auto next = static_cast<std::uint32_t>(move.next);
      if (next == seen || word.compare_exchange_weak(seen, next, std::memory_order_acq_rel))
        return move.yes;
    }
  }
};

std::shared_ptr<TimerCore> make_timer() { return std::make_shared<TimerCore>(); }

bool wait_for_timer(TimerCore& core, Deadline deadline) noexcept {
  constexpr auto waiting = static_cast<std::uint32_t>(TimerState::waiting);
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  while (core.word.load(std::memory_order_acquire) == waiting &&
         futex_wait(core.word, waiting, deadline, FutexScope::process)) {
  }
  ::prctl(PR_SET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);  // the function has what threads usually have
  return core.apply(TimerEvent::due);
}

}  // namespace detail

Result<Timer> Timer::started_timer() const {
  PASSEL_CHECK(start());
  return *this;
}

bool Timer::cancel() const noexcept {
  const bool cancelled = core_->apply(detail::TimerEvent::cancel);
  if (cancelled) detail::futex_wake(core_->word, INT_MAX, detail::FutexScope::process);
  return cancelled;
}

}  // namespace passel::inline v0
