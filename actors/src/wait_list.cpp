// Layer actors: threads that wait at the ends of channels.
#include <passel/detail/wait_list.hpp>

#include <passel/detail/brief_wait.hpp>
#include <passel/detail/futex.hpp>

namespace passel::inline v0::detail {

Parker::Claim Parker::settle(std::uint32_t outcome) noexcept {
  std::uint32_t seen = state_.load(std::memory_order_relaxed);
  while (seen <= asleep) {
    if (state_.compare_exchange_weak(seen, outcome, std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
      return seen == asleep ? Claim::got_asleep : Claim::got;
    }
  }
  return Claim::lost;
}

void Parker::wake(const std::atomic<std::uint32_t>& state) noexcept {
  futex_wake(state, 1, FutexScope::process);
}

std::uint32_t Parker::wait(Deadline deadline) noexcept {
  std::uint32_t seen = waiting;
  if (state_.compare_exchange_strong(seen, asleep, std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
    seen = asleep;
    while (seen == asleep) {
      const bool in_time = futex_wait(state_, asleep, deadline, FutexScope::process);
      if (!in_time && cancel()) return cancelled;
      seen = state_.load(std::memory_order_acquire);
    }
  }
  for (BriefWait moment; seen == claimed; seen = state_.load(std::memory_order_acquire)) {
    moment.pause();
  }
  return seen;
}

void WaiterChain::append(Waiter& waiter) noexcept {
  waiter.next = nullptr;
  waiter.previous = last_;
  waiter.listed = true;
  (last_ == nullptr ? first_ : last_->next) = &waiter;
  last_ = &waiter;
}

void WaiterChain::unlink(Waiter& waiter) noexcept {
  if (!waiter.listed) return;
  (waiter.previous == nullptr ? first_ : waiter.previous->next) = waiter.next;
  (waiter.next == nullptr ? last_ : waiter.next->previous) = waiter.previous;
  waiter.listed = false;
}

void WaitList::add(Waiter& waiter) {
  const std::lock_guard lock{mutex_};
  chain_.append(waiter);
  occupied_.store(true, std::memory_order_seq_cst);
}

void WaitList::remove(Waiter& waiter) {
  const std::lock_guard lock{mutex_};
  chain_.unlink(waiter);
  occupied_.store(chain_.front() != nullptr, std::memory_order_seq_cst);
}

// A waiter leaves the chain before its call is settled, because its memory may go right after that.
// One whose call was settled elsewhere leaves too: it comes back if it still wants something here.
void WaitList::notify_waiting() {
  const std::atomic<std::uint32_t>* sleeper = nullptr;
  {
    const std::lock_guard lock{mutex_};
    Parker::Claim claim = Parker::Claim::lost;
    while (claim == Parker::Claim::lost && chain_.front() != nullptr) {
      Waiter& waiter = *chain_.front();
      chain_.unlink(waiter);
      const std::atomic<std::uint32_t>& state = waiter.parker->state();
      claim = waiter.parker->settle(waiter.outcome);
      if (claim == Parker::Claim::got_asleep) sleeper = &state;
    }
    occupied_.store(chain_.front() != nullptr, std::memory_order_seq_cst);
  }
  if (sleeper != nullptr) Parker::wake(*sleeper);
}

void WaitList::notify_closed() {
  const std::lock_guard lock{mutex_};
  while (Waiter* waiter = chain_.front()) {
    chain_.unlink(*waiter);
    const std::atomic<std::uint32_t>& state = waiter->parker->state();
    if (waiter->parker->settle(Parker::closed) == Parker::Claim::got_asleep) Parker::wake(state);
  }
  occupied_.store(false, std::memory_order_seq_cst);
}

}  // namespace passel::inline v0::detail
