// Layer actors: waiting for another thread that is in the middle of a step.
#include <passel/detail/brief_wait.hpp>
#include <passel/detail/spin.hpp>

#include <ctime>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint32_t pauses_before_sleep = 200;

}  // namespace

void BriefWait::pause() noexcept {
  if (++step_ < pauses_before_sleep) return cpu_relax();
  // A real sleep, not sched_yield: beside CPU-bound threads a yield gives a whole time slice away.
  const timespec moment{.tv_sec = 0, .tv_nsec = 1'000};
  ::nanosleep(&moment, nullptr);
}

}  // namespace passel::inline v0::detail
