// Tool passel: signals that a command waits for instead of being interrupted by them.
#pragma once

#include <chrono>
#include <csignal>
#include <initializer_list>
#include <optional>

namespace passel_cli {

/// Whoever signals a process and its group (timeout, some shells) says the same thing twice: what
/// comes so soon after the first is no second signal.
inline constexpr std::chrono::seconds same_signal{1};

/// Signals that are blocked from now on in this thread and those it starts, to be waited for.
class AwaitedSignals {
 public:
  AwaitedSignals(std::initializer_list<int> signals);

  /// The next of them; empty when none comes in that time. Without a limit it waits for ever.
  [[nodiscard]] std::optional<int> wait(std::optional<std::chrono::nanoseconds> limit = {}) const;

 private:
  sigset_t set_{};
};

}  // namespace passel_cli
