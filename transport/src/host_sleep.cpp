// Layer transport: whether this host was suspended.
#include "host_sleep.hpp"

#include <ctime>

namespace passel::inline v0::detail {
namespace {

// What lies between the readings of two clocks is no sleep.
constexpr std::chrono::seconds least_sleep{1};

std::chrono::nanoseconds read(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

}  // namespace

std::chrono::nanoseconds HostSleep::time_asleep() {
  const auto waking = read(CLOCK_MONOTONIC);
  return read(CLOCK_BOOTTIME) - waking;
}

bool HostSleep::has_slept() const { return time_asleep() - known_ >= least_sleep; }

bool HostSleep::notice() {
  const auto asleep = time_asleep();
  if (asleep - known_ < least_sleep) return false;
  known_ = asleep;
  return true;
}

}  // namespace passel::inline v0::detail
