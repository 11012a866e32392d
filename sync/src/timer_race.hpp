// Layer sync: who wins when a timer is due and cancelled at the same time. Pure: no clock, no
// thread.
#pragma once

#include <cstdint>

namespace passel::inline v0::detail {

/// All that a timer and those who cancel it share.
enum class TimerState : std::uint32_t { waiting = 0, cancelled = 1, fired = 2 };

enum class TimerEvent {
  due,     ///< its thread, when the time has come: may I call the function?
  cancel,  ///< anybody: is it sure that the function will not be called?
};

struct TimerMove {
  TimerState next;
  bool yes;  ///< the answer, provided that the state is still what it was when `next` is written
};

/// Whoever leaves `waiting` first has decided it, for ever.
[[nodiscard]] constexpr TimerMove timer_move(TimerState seen, TimerEvent event) noexcept {
  if (seen == TimerState::waiting)
    return {event == TimerEvent::due ? TimerState::fired : TimerState::cancelled, true};
  return {seen, event == TimerEvent::cancel && seen == TimerState::cancelled};
}

}  // namespace passel::inline v0::detail
