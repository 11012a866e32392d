// Layer transport: a point in time until which somebody is willing to wait.
#pragma once

#include <chrono>
#include <ctime>

namespace passel::inline v0::detail {

/// A moment of the monotonic clock, "never", or "do not wait at all". Made from any duration
/// without overflow: negative counts as zero, more than the clock can hold counts as never
/// (Python's TIMEOUT_MAX has no twin here).
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] static constexpr Deadline never() noexcept {
    return Deadline{Clock::time_point::max()};
  }
  /// Already passed: the operation is tried once.
  [[nodiscard]] static constexpr Deadline now_or_never() noexcept {
    return Deadline{Clock::time_point::min()};
  }
  template <class Rep, class Period>
  [[nodiscard]] static Deadline after(std::chrono::duration<Rep, Period> wait) {
    using Seconds = std::chrono::duration<long double>;
    const Clock::time_point now = Clock::now();
    if (!(wait > wait.zero())) return Deadline{now};
    if (Seconds{wait} >= Seconds{Clock::time_point::max() - now}) return never();
    return Deadline{now + std::chrono::ceil<Clock::duration>(wait)};
  }
  [[nodiscard]] static constexpr Deadline at(Clock::time_point when) noexcept {
    return Deadline{when};
  }

  [[nodiscard]] constexpr bool is_never() const noexcept {
    return when_ == Clock::time_point::max();
  }
  /// True when waiting is not wanted at all, so that no clock need be read.
  [[nodiscard]] constexpr bool is_try() const noexcept { return when_ == Clock::time_point::min(); }
  [[nodiscard]] bool passed() const { return is_try() || (!is_never() && Clock::now() >= when_); }
  [[nodiscard]] constexpr Clock::time_point when() const noexcept { return when_; }
  /// What is left of it, at least zero; the largest duration for never.
  [[nodiscard]] Clock::duration left() const {
    if (is_never()) return Clock::duration::max();
    if (is_try()) return Clock::duration::zero();
    const auto rest = when_ - Clock::now();
    return rest > Clock::duration::zero() ? rest : Clock::duration::zero();
  }

 private:
  explicit constexpr Deadline(Clock::time_point when) noexcept : when_{when} {}
  Clock::time_point when_;
};

/// As system calls take a time that is left, or one since the clock's beginning.
[[nodiscard]] inline timespec to_timespec(Deadline::Clock::duration time) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = seconds.count(), .tv_nsec = std::chrono::nanoseconds{time - seconds}.count()};
}

}  // namespace passel::inline v0::detail
