// Layer pool: how many tasks a worker at another host takes ahead.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace passel::inline v0::detail {

/// As many tasks lie ahead as are done while the server is asked for more: none when they take
/// long, so that they go to whoever is free, and the loss of a host costs what runs there alone.
/// A machine.
class TaskPace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr double most = 4096;

  /// So many tasks have ended by now.
  void ended(std::uint64_t tasks, Time now) noexcept {
    count_ += tasks;
    const double seconds = std::chrono::duration<double>(now - since_).count();
    if (seconds < shortest) return;
    const double rate = static_cast<double>(count_) / seconds;
    // Growing at once; an idle second does not make the tasks slow.
    rate_ = rate > rate_ || seconds < 1.0 ? (rate_ + rate) / 2 : rate_;
    count_ = 0;
    since_ = now;
  }
  /// The server has taken so long to answer.
  void answered(std::chrono::nanoseconds took) noexcept {
    const double seconds = std::chrono::duration<double>(took).count();
    way_ = way_ <= 0 ? seconds : way_ + (seconds - way_) / 8;
  }
  /// No task has ended for long.
  void stalled() noexcept { rate_ = 0; }
  [[nodiscard]] std::uint32_t ahead() const noexcept {
    return static_cast<std::uint32_t>(std::min(rate_ * (2 * way_ + spare), most));
  }

 private:
  static constexpr double shortest = 0.001;  // seconds that are measured at once
  static constexpr double spare = 0.001;

  std::uint64_t count_ = 0;
  Time since_{};
  double rate_ = 0;  // tasks in a second
  double way_ = 0;   // seconds
};

}  // namespace passel::inline v0::detail
