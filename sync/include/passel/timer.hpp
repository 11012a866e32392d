// Layer sync: a thread that waits before it calls its function, and can be told not to.
#pragma once

#include <passel/thread.hpp>

#include <chrono>
#include <memory>
#include <utility>

namespace passel::inline v0 {

namespace detail {

/// What the handles and the thread of one timer share.
struct TimerCore;
[[nodiscard]] PASSEL_API std::shared_ptr<TimerCore> make_timer();
/// Waits until `deadline` or until it is cancelled. True when the function is to be called.
[[nodiscard]] PASSEL_API bool wait_for_timer(TimerCore& core, Deadline deadline) noexcept;

template <class Interval>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

}  // namespace detail

/// A thread that calls its function once, when `interval` has passed since it came up (Python's
/// threading.Timer). A Thread in everything else: it has a name, may be a daemon, can be joined,
/// and the end of the process waits for it, so cancel what is not needed any more.
///
///     passel::Timer t{30s, [] { std::puts("hello"); }};
///     t.start().unwrap();
///     if (!t.cancel()) std::puts("too late");
///
/// The clock is the monotonic one: setting the time of day moves nothing, time in which the machine
/// is suspended does not count. Its thread asks the kernel for exact wake-ups (a timer slack of
/// 1 ns instead of 50 us). A zero or negative interval calls at once. Each timer has copies of its
/// arguments.
class PASSEL_API Timer : public Thread {
 public:
  template <class Rep, class Period, class F, class... A>
  requires detail::ThreadTarget<F, A...>
  explicit Timer(std::chrono::duration<Rep, Period> interval, F&& function, A&&... args)
      : Timer{ThreadOptions{}, interval, std::forward<F>(function), std::forward<A>(args)...} {}
  template <class Rep, class Period, class F, class... A>
  requires detail::ThreadTarget<F, A...>
  explicit Timer(ThreadOptions options, std::chrono::duration<Rep, Period> interval, F&& function,
                 A&&... args)
      : Timer{std::move(options), detail::make_timer(), interval,
              detail::make_body(std::forward<F>(function), std::forward<A>(args)...)} {}

  /// Makes and starts one. Errors: those of start.
  template <class Rep, class Period, class F, class... A>
  requires detail::ThreadTarget<F, A...>
  static Result<Timer> spawn(std::chrono::duration<Rep, Period> interval, F&& function,
                             A&&... args) {
    return Timer{interval, std::forward<F>(function), std::forward<A>(args)...}.started_timer();
  }
  template <class Rep, class Period, class F, class... A>
  requires detail::ThreadTarget<F, A...>
  static Result<Timer> spawn(ThreadOptions options, std::chrono::duration<Rep, Period> interval,
                             F&& function, A&&... args) {
    return Timer{std::move(options), interval, std::forward<F>(function), std::forward<A>(args)...}
        .started_timer();
  }

  /// Stops it: true means that the function has not been called and never will be; the thread, if
  /// it waits, ends at once. False means that the call has begun, or is over. Never waits; may be
  /// repeated, before the start and from several threads at once, also in the function itself.
  bool cancel() const noexcept;

 private:
  template <class Interval>
  Timer(ThreadOptions options, std::shared_ptr<detail::TimerCore> core, Interval interval,
        std::unique_ptr<detail::ThreadBody> function)
      : Thread{std::move(options),
               detail::make_body(
                   [](const std::shared_ptr<detail::TimerCore>& shared, Interval wait,
                      std::unique_ptr<detail::ThreadBody> call) {
                     if (detail::wait_for_timer(*shared, detail::Deadline::after(wait)))
                       call->run();
                   },
                   core, interval, std::move(function)),
               "", "Timer"},
        core_{std::move(core)} {}
  [[nodiscard]] Result<Timer> started_timer() const;

  std::shared_ptr<detail::TimerCore> core_;
};

}  // namespace passel::inline v0
