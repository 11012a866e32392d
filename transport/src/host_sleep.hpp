// Layer transport: whether this host was suspended.
#pragma once

#include <chrono>

namespace passel::inline v0::detail {

/// The clock that leases and deadlines are counted by stands still in a host that sleeps; those of
/// others do not. One thread at a time.
class HostSleep {
 public:
  /// The host has slept since this was made, or noticed the last time.
  [[nodiscard]] bool has_slept() const;
  /// The same, and from now on that sleep does not count any more.
  bool notice();

 private:
  static std::chrono::nanoseconds time_asleep();

  std::chrono::nanoseconds known_ = time_asleep();
};

}  // namespace passel::inline v0::detail
