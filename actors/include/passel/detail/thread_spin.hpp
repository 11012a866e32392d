// Layer actors: how long a thread looks again before it sleeps.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>

#include <cstdint>

#include <sched.h>

namespace passel::inline v0::detail {

/// The CPU that the calling thread runs on now, to be published with what it hands over.
[[nodiscard]] inline int current_cpu() noexcept { return ::sched_getcpu(); }

/// Nobody has published a CPU yet.
inline constexpr int unknown_cpu = -1;

/// Tells the core that this is a waiting loop.
inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// One attempt to see a peer's answer without sleeping. Waking a thread on another CPU costs tens
/// of microseconds, looking again costs nothing when the peer runs over there at this moment, and
/// is a pure loss when it waits for the CPU that the looking thread occupies. So a turn is granted
/// only when the peer last ran on another CPU, lasts 50 us at most, becomes shorter with every turn
/// of this thread that saw nothing, and one CPU of the process always stays free of such loops.
///
///     for (SpinTurn turn{peer_cpu, deadline}; turn.more();) {
///       if (ready()) return turn.hit();
///     }
class PASSEL_API SpinTurn {
 public:
  SpinTurn(int peer_cpu, Deadline deadline) noexcept;
  ~SpinTurn();
  SpinTurn(const SpinTurn&) = delete;
  SpinTurn& operator=(const SpinTurn&) = delete;

  [[nodiscard]] bool granted() const noexcept { return granted_; }
  /// Pauses for some tens of nanoseconds. False when it is time to sleep.
  [[nodiscard]] bool more() noexcept;
  /// The peer's answer is there: this thread may look for longer the next time.
  void hit() noexcept { hit_ = true; }

 private:
  Deadline::Clock::time_point until_{};
  bool granted_ = false;
  bool hit_ = false;
};

/// Waits for something that another thread finishes within a few instructions. Pauses at first;
/// when the other thread seems to have lost its CPU in between, gives this one away for a moment.
class PASSEL_API BriefWait {
 public:
  void pause() noexcept;

 private:
  std::uint32_t step_ = 0;
};

}  // namespace passel::inline v0::detail
