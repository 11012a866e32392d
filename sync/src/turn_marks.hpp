// Layer sync: which threads take turns at an object, and on which CPUs.
#pragma once

#include <passel/detail/guardian.hpp>
#include <passel/detail/spin.hpp>

#include <atomic>
#include <cstdint>

namespace passel::inline v0::detail {

/// The last two threads that came, in shared memory: who takes turns with another wants to know
/// where that one ran, and a single mark would say where he ran himself.
class TurnMarks {
 public:
  /// Marks that this thread has come; the CPU of the one who came last before it. By one at a time.
  std::uint32_t come(std::uint32_t thread) noexcept {
    const std::uint64_t me = std::uint64_t{thread} << 32;
    const std::uint64_t last = last_.load(std::memory_order_relaxed);
    if (last >> 32 != me >> 32) before_.store(last, std::memory_order_relaxed);
    last_.store(me | current_cpu(), std::memory_order_relaxed);
    return static_cast<std::uint32_t>(before_.load(std::memory_order_relaxed));
  }

 private:
  std::atomic<std::uint64_t> last_;    // thread and, in the lower half, CPU
  std::atomic<std::uint64_t> before_;  // of another thread
};

}  // namespace passel::inline v0::detail
