// Layer transport: waiting for a moment without sleeping, only where it pays.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace passel::inline v0::detail {

/// Number of the CPU that runs the calling thread, counted from 1 so that 0 can stand for "nobody
/// yet".
[[nodiscard]] PASSEL_API std::uint32_t current_cpu() noexcept;

/// How many CPUs this process could run on when it first asked.
[[nodiscard]] PASSEL_API std::uint32_t usable_cpus() noexcept;

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

/// Where a side leaves word of the CPU it runs on. Lives beside what it posts, in shared memory or
/// not.
class CpuMark {
 public:
  void publish(std::uint32_t cpu) noexcept {
    if (cpu_.load(std::memory_order_relaxed) != cpu) cpu_.store(cpu, std::memory_order_relaxed);
  }
  void publish() noexcept { publish(current_cpu()); }
  [[nodiscard]] std::uint32_t load() const noexcept { return cpu_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint32_t> cpu_{0};
};

/// The longest spin that can pay: what waking a sleeper on another CPU was seen to cost in this
/// process, within 5 to 50 microseconds (50 before the first measurement); zero on a machine with
/// one CPU.
[[nodiscard]] PASSEL_API std::chrono::nanoseconds spin_budget() noexcept;
/// Tells how long a wake-up across CPUs took, from the waker's post to the sleeper's first step.
PASSEL_API void note_wake_latency(std::chrono::nanoseconds latency) noexcept;

/// The one place in a process that may spin at a time: two spinners of one process would only take
/// CPUs from each other and from whoever they wait for.
class PASSEL_API SpinTurn {
 public:
  SpinTurn() noexcept;
  SpinTurn(const SpinTurn&) = delete;
  SpinTurn& operator=(const SpinTurn&) = delete;
  ~SpinTurn();
  [[nodiscard]] explicit operator bool() const noexcept { return mine_; }

 private:
  bool mine_;
};

/// Decides whether a wait begins with a spin, and for how long. One object for each thing waited
/// for and each process; its state is a hint only, so several threads may use it at once.
///
/// A waiter spins only when the other side last ran on another CPU: on the same CPU the other side
/// cannot get on while we spin, and a futex switches to it directly. The budget is halved after
/// each spin that found nothing, and full again after a wait that a full spin would have covered.
class Spinner {
 public:
  /// True as soon as `ready()`; false when spinning does not pay, the budget is used up or the
  /// deadline has passed.
  template <class Ready>
  bool spin(const CpuMark& other, Deadline deadline, Ready&& ready) noexcept {
    if (deadline.is_try()) return false;
    const std::uint32_t there = other.load();
    const std::chrono::nanoseconds longest = spin_budget();
    if (there == 0 || longest.count() == 0 || there == current_cpu()) return false;
    const SpinTurn turn;
    if (!turn) return false;
    const auto begin = Deadline::Clock::now();
    const auto budget = longest / (1U << halved_.load(std::memory_order_relaxed));
    const auto end = budget < deadline.when() - begin ? begin + budget : deadline.when();
    do {
      for (int i = 0; i < checks_per_look; ++i) {
        if (ready()) {
          halved_.store(0, std::memory_order_relaxed);
          return true;
        }
        cpu_relax();
      }
    } while (Deadline::Clock::now() < end);
    const std::uint32_t halved = halved_.load(std::memory_order_relaxed);
    if (halved < most_halvings) halved_.store(halved + 1, std::memory_order_relaxed);
    return false;
  }

  /// Tells how long the whole wait was in the end, spin and sleep together.
  void waited(std::chrono::nanoseconds whole) noexcept {
    if (whole < 2 * spin_budget()) halved_.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr int checks_per_look = 8;
  static constexpr std::uint32_t most_halvings = 6;
  std::atomic<std::uint32_t> halved_{0};
};

}  // namespace passel::inline v0::detail
