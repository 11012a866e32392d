// Layer sync: how the end of a thread is waited for.
#include "thread_registry.hpp"

#include <passel/detail/futex.hpp>

#include <algorithm>
#include <chrono>
#include <climits>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint32_t native_awaited = UINT32_MAX;

/// For the end of a thread whose target has returned: who waited for that in time has joined it,
/// unless one of its thread_local objects takes for ever.
constexpr std::chrono::seconds patience{2};

/// Waits for the very end of a thread, which comes after its thread_local objects. False when the
/// time was up: it can be joined still.
bool join_thread(pthread_t thread, Deadline deadline) noexcept {
#ifndef __SANITIZE_THREAD__  // that of GCC 12 does not know pthread_clockjoin_np
  if (!deadline.is_never()) {
    const auto until = std::max(deadline.when(), Deadline::Clock::now() + patience);
    const timespec limit = to_timespec(until.time_since_epoch());
    return ::pthread_clockjoin_np(thread, nullptr, CLOCK_MONOTONIC, &limit) != ETIMEDOUT;
  }
#endif
  static_cast<void>(deadline);
  ::pthread_join(thread, nullptr);
  return true;
}

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
  for (bool in_time = true;;) {
    std::uint32_t seen = unclaimed;
    if (rest.compare_exchange_strong(seen, claimed, std::memory_order_acq_rel)) {
      const bool joined = join_thread(ident.load(), deadline);
      rest.store(joined ? gone : unclaimed, std::memory_order_release);
      futex_wake(rest, INT_MAX, FutexScope::process);
      return joined;
    }
    if (seen == gone) return true;
    if (!in_time) return false;
    in_time = futex_wait(rest, claimed, deadline, FutexScope::process);
  }
}

void ThreadState::set_native(int id) noexcept {
  if (native.exchange(static_cast<std::uint32_t>(id)) == native_awaited)
    futex_wake(native, INT_MAX, FutexScope::process);
}

std::optional<int> ThreadState::wait_native() noexcept {
  std::uint32_t seen = native.load(std::memory_order_acquire);
  while (seen == 0 || seen == native_awaited) {
    if (phase() == ThreadPhase::initial) return std::nullopt;
    if (seen == 0 && !native.compare_exchange_strong(seen, native_awaited)) continue;
    // A start that failed said so before it could see that somebody waits.
    if (phase() == ThreadPhase::initial) return std::nullopt;
    futex_wait(native, native_awaited, Deadline::never(), FutexScope::process);
    seen = native.load(std::memory_order_acquire);
  }
  return static_cast<int>(seen);
}

}  // namespace passel::inline v0::detail
