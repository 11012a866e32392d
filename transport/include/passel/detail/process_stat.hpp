// Layer transport: what the kernel says about a process in /proc/PID/stat.
#pragma once

#include <array>
#include <cstdint>

namespace passel::inline v0::detail {

/// A process at one moment. Times are in clock ticks.
struct ProcessStat {
  char state = 0;  ///< R, S, D, T, Z, ...; 0: there is no such process
  std::int32_t parent = 0;
  std::uint64_t user_time = 0;
  std::uint64_t system_time = 0;
  unsigned threads = 0;
  std::uint64_t start = 0;  ///< after boot
  std::uint64_t pages = 0;  ///< of memory in use
  std::array<char, 64> name{};

  /// There, and not waiting to be reaped.
  [[nodiscard]] bool is_running() const noexcept {
    return state != 0 && state != 'Z' && state != 'X';
  }
};
/// Needs no memory, so that it can be asked for at any time.
[[nodiscard]] ProcessStat read_process_stat(std::int32_t pid) noexcept;

}  // namespace passel::inline v0::detail
