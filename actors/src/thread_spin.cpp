// Layer actors: how long a thread looks again before it sleeps.
#include <passel/detail/thread_spin.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>

namespace passel::inline v0::detail {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds first_budget{20'000};
constexpr nanoseconds largest_budget{50'000};
constexpr nanoseconds smallest_budget{2'000};
// After so many waits without a turn, one short turn finds out whether the peers have become
// quicker.
constexpr std::uint32_t waits_between_probes = 16;
constexpr int pauses_per_look = 8;
constexpr std::uint32_t pauses_before_sleep = 200;

struct ThreadBudget {
  nanoseconds length = first_budget;
  std::uint32_t waits = 0;
};

thread_local ThreadBudget budget;
std::atomic<int> spinning_threads{0};

int most_spinning_threads() noexcept {
  static const int most = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1);
  return most;
}

}  // namespace

SpinTurn::SpinTurn(int peer_cpu, Deadline deadline) noexcept {
  if (peer_cpu == unknown_cpu || deadline.is_try() || peer_cpu == current_cpu()) return;
  if (budget.length < smallest_budget) {
    if (++budget.waits < waits_between_probes) return;
    budget = {.length = smallest_budget, .waits = 0};
  }
  if (spinning_threads.fetch_add(1, std::memory_order_relaxed) >= most_spinning_threads()) {
    spinning_threads.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  granted_ = true;
  until_ = std::min(Deadline::Clock::now() + budget.length, deadline.when());
}

SpinTurn::~SpinTurn() {
  if (!granted_) return;
  spinning_threads.fetch_sub(1, std::memory_order_relaxed);
  budget.length = hit_ ? std::min(budget.length * 2, largest_budget) : budget.length / 2;
}

bool SpinTurn::more() noexcept {
  if (!granted_) return false;
  for (int i = 0; i < pauses_per_look; ++i) cpu_relax();
  return Deadline::Clock::now() < until_;
}

void BriefWait::pause() noexcept {
  if (++step_ < pauses_before_sleep) return cpu_relax();
  // A real sleep, not sched_yield: beside CPU-bound threads a yield gives a whole time slice away.
  const timespec moment{.tv_sec = 0, .tv_nsec = 1'000};
  ::nanosleep(&moment, nullptr);
}

}  // namespace passel::inline v0::detail
