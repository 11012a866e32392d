// Layer sync: how the end of a thread is waited for.
#include "thread_registry.hpp"

#include <passel/detail/futex.hpp>

#include <climits>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint32_t native_awaited = UINT32_MAX;

}  // namespace

ThreadBody::~ThreadBody() = default;

ThreadState::~ThreadState() {
  // Nobody joined it and nobody can any more. The thread itself may be the one that lets go last.
  if (kind == ThreadKind::regular && rest.load() == unclaimed && phase() == ThreadPhase::stopped)
    ::pthread_detach(ident.load());
}

void ThreadState::tell() noexcept {
  // Pairs with wait_stopped: either the sleeper is counted here, or it sees the new phase.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (watchers.load(std::memory_order_relaxed) != 0)
    futex_wake(phase_word, INT_MAX, FutexScope::process);
}

bool ThreadState::wait_stopped(Deadline deadline) noexcept {
  const auto is_running = [](std::uint32_t seen) {
    return seen == static_cast<std::uint32_t>(ThreadPhase::starting) ||
           seen == static_cast<std::uint32_t>(ThreadPhase::started);
  };
  std::uint32_t seen = phase_word.load(std::memory_order_acquire);
  if (!is_running(seen)) return true;
  watchers.fetch_add(1, std::memory_order_seq_cst);
  seen = phase_word.load(std::memory_order_seq_cst);
  bool in_time = true;
  while (is_running(seen) && in_time) {
    in_time = futex_wait(phase_word, seen, deadline, FutexScope::process);
    seen = phase_word.load(std::memory_order_acquire);
  }
  watchers.fetch_sub(1, std::memory_order_relaxed);
  return !is_running(seen);
}

bool ThreadState::wait_gone(Deadline deadline) noexcept {
  // Who may wait for ever sleeps in pthread_join at once, which saves a wake-up. The others must
  // not claim it before they know that it is as good as over.
  const bool patient = deadline.is_never() && phase() != ThreadPhase::starting;
  if (!patient && !wait_stopped(deadline)) return false;
  if (phase() == ThreadPhase::initial) return true;  // the system refused to start it
  std::uint32_t seen = unclaimed;
  if (rest.compare_exchange_strong(seen, claimed, std::memory_order_acq_rel)) {
    ::pthread_join(ident.load(), nullptr);
    rest.store(gone, std::memory_order_release);
    futex_wake(rest, INT_MAX, FutexScope::process);
    return true;
  }
  for (bool in_time = true; rest.load(std::memory_order_acquire) != gone;) {
    if (!in_time) return false;
    in_time = futex_wait(rest, claimed, deadline, FutexScope::process);
  }
  return true;
}

void ThreadState::set_native(int id) noexcept {
  if (native.exchange(static_cast<std::uint32_t>(id)) == native_awaited)
    futex_wake(native, INT_MAX, FutexScope::process);
}

int ThreadState::wait_native() noexcept {
  std::uint32_t seen = native.load(std::memory_order_acquire);
  while (seen == 0 || seen == native_awaited) {
    if (seen == native_awaited || native.compare_exchange_strong(seen, native_awaited))
      futex_wait(native, native_awaited, Deadline::never(), FutexScope::process);
    seen = native.load(std::memory_order_acquire);
  }
  return static_cast<int>(seen);
}

}  // namespace passel::inline v0::detail
