// Layer transport: waiting for a moment without sleeping, only where it pays.
#include <passel/detail/spin.hpp>

#include <passel/detail/shared_object.hpp>

#include <sched.h>
#include <algorithm>

namespace passel::inline v0::detail {
namespace {

constexpr std::int64_t least_ns = 5'000;
constexpr std::int64_t most_ns = 50'000;

// Generation of the process (see fork_generation) plus one while somebody spins: a fork while a
// thread of the parent spins must not leave the child without a turn.
std::atomic<std::uint32_t> spinning{0};
std::atomic<std::int64_t> budget_ns{-1};

std::uint32_t count_usable_cpus() noexcept {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // It fails where there are more CPUs than such a set has room for.
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return CPU_SETSIZE;
  return static_cast<std::uint32_t>(CPU_COUNT(&allowed));
}

}  // namespace

std::uint32_t current_cpu() noexcept {
  const int cpu = ::sched_getcpu();
  return cpu < 0 ? 0 : static_cast<std::uint32_t>(cpu) + 1;
}

std::uint32_t usable_cpus() noexcept {
  static const std::uint32_t count = count_usable_cpus();
  return count;
}

std::chrono::nanoseconds spin_budget() noexcept {
  std::int64_t budget = budget_ns.load(std::memory_order_relaxed);
  if (budget < 0) {
    budget = usable_cpus() > 1 ? most_ns : 0;
    budget_ns.store(budget, std::memory_order_relaxed);
  }
  return std::chrono::nanoseconds{budget};
}

void note_wake_latency(std::chrono::nanoseconds latency) noexcept {
  const std::int64_t known = spin_budget().count();
  if (known == 0) return;
  // A wake-up that took far longer waited for a CPU, which says nothing about the price of the
  // wake-up.
  if (latency.count() <= 0 || latency.count() > 4 * most_ns) return;
  const std::int64_t seen = std::clamp(latency.count(), least_ns, most_ns);
  budget_ns.store(known + (seen - known) / 8, std::memory_order_relaxed);
}

SpinTurn::SpinTurn() noexcept : mine_{false} {
  const std::uint32_t mark = fork_generation() + 1;
  std::uint32_t seen = spinning.load(std::memory_order_relaxed);
  if (seen == mark) return;
  mine_ = spinning.compare_exchange_strong(seen, mark, std::memory_order_relaxed);
}

SpinTurn::~SpinTurn() {
  if (mine_) spinning.store(0, std::memory_order_relaxed);
}

}  // namespace passel::inline v0::detail
