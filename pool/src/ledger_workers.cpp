// Layer pool: the life of workers in the ledger, from their start to the end of the pool.
#include "ledger.hpp"

#include <algorithm>
#include <utility>

namespace passel::inline v0::detail {
namespace {

using Kind = Ledger::Action::Kind;

void prune(std::deque<Ledger::Time>& times, Ledger::Time now, Ledger::Duration window) {
  while (!times.empty() && now - times.front() > window) times.pop_front();
}

}  // namespace

void Ledger::on(const Start&, Time now, Actions& actions) {
  if (!workers_.empty() || phase_ != Phase::open) return;
  for (unsigned count = 0; count < wanted_; ++count) spawn(now, Duration::zero(), actions);
}

/// Workers that take tasks, or will.
std::size_t Ledger::live() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(workers_.begin(), workers_.end(), [](const Worker& worker) {
        return worker.state == WorkerState::ready || worker.state == WorkerState::starting ||
               worker.state == WorkerState::waiting;
      }));
}

/// Another one in place of one that takes no more tasks, unless there are enough.
void Ledger::refill(Duration delay, Time now, Actions& actions) {
  if (live() < wanted_) spawn(now, delay, actions);
}

/// One more for work that waits; the next one when this one is there and still some waits.
void Ledger::grow(Time now, Actions& actions) {
  if ((phase_ != Phase::open && phase_ != Phase::closing) || is_anybody_idle()) return;
  const bool starting = std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.state == WorkerState::starting || worker.state == WorkerState::waiting;
  });
  if (starting) return;
  ++wanted_;
  refill(Duration::zero(), now, actions);
}

/// Workers that were needed for a time only.
void Ledger::retire_idle(Time now, Actions& actions) {
  if (phase_ != Phase::open) return;
  for (WorkerSlot slot = 0; slot < workers_.size() && wanted_ > limits_.least; ++slot) {
    const Worker& worker = workers_[slot];
    if (worker.state != WorkerState::ready || worker.tasks.count > 0) continue;
    if (now - worker.touched < limits_.idle_timeout) continue;
    --wanted_;
    if (live() > wanted_) retire(slot, now, actions);
  }
}

void Ledger::on(const Resize& event, Time now, Actions& actions) {
  if (phase_ != Phase::open) return;
  limits_.workers = std::max(event.workers, 1U);
  limits_.least = elastic_ ? std::min(limits_.least, limits_.workers) : limits_.workers;
  wanted_ = std::clamp(wanted_, limits_.least, limits_.workers);
  while (live() < wanted_) spawn(now, Duration::zero(), actions);
  surplus_due_ = now;
  retire_surplus(now, actions);
  dispatch(now, actions);
}

void Ledger::spawn(Time now, Duration delay, Actions& actions) {
  const auto free = std::find_if(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.state == WorkerState::absent;
  });
  const auto slot = static_cast<WorkerSlot>(free - workers_.begin());
  if (free == workers_.end()) workers_.emplace_back();
  if (delay > Duration::zero()) {
    workers_[slot].state = WorkerState::waiting;
    workers_[slot].due = now + delay;
  } else {
    begin(slot, now, actions);
  }
}

void Ledger::begin(WorkerSlot slot, Time now, Actions& actions) {
  workers_[slot] =
      Worker{.state = WorkerState::starting, .touched = now, .due = now + limits_.start_timeout};
  actions.push_back({.kind = Kind::spawn, .worker = slot});
}

void Ledger::on(const Ready& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state != WorkerState::starting) return;
  worker.state = WorkerState::ready;
  worker.touched = now;
  ++ready_;
  spawn_failures_ = 0;
  dispatch(now, actions);
}

/// Before a worker that may be ready gets another state.
void Ledger::leave(Worker& worker) noexcept {
  if (worker.state == WorkerState::ready) {
    --ready_;
    parked_ += worker.tasks.count;
  } else if (worker.state == WorkerState::lent) {
    --lent_;
  }
}

void Ledger::retire(WorkerSlot slot, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  leave(worker);
  // One that starts may finish that first: an initializer is not broken off half-way.
  const bool starting = worker.state == WorkerState::starting;
  worker.due = std::max(starting ? worker.due : now, now + limits_.stop_grace);
  worker.state = WorkerState::retiring;
  actions.push_back({.kind = Kind::retire, .worker = slot});
  if (phase_ == Phase::open || queued_ > 0 || !delayed_.empty())
    refill(Duration::zero(), now, actions);
}

void Ledger::on(const Gone& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state == WorkerState::absent || worker.state == WorkerState::waiting) return;
  const bool expected =
      (worker.state == WorkerState::retiring || worker.state == WorkerState::stopping) &&
      !worker.too_slow;
  const bool in_task = worker.tasks.count > 0 || worker.state == WorkerState::overdue;
  leave(worker);
  worker.state = WorkerState::stopping;
  reclaim(worker, event.running, now, actions);
  worker = Worker{};
  if (!expected && (phase_ == Phase::open || has_work())) replace(in_task, now, actions);
  dispatch(now, actions);
  finish_closing(now, actions);
}

void Ledger::replace(bool in_task, Time now, Actions& actions) {
  if (phase_ != Phase::open && phase_ != Phase::closing) return;
  if (limits_.fragile) return fail(now, actions);
  ++restarts_;
  if (in_task) {
    // Tasks may cost workers as often as they like, but not a storm of forks.
    const std::size_t burst = std::max<std::size_t>(8, std::size_t{4} * limits_.workers);
    crashes_.push_back(now);
    prune(crashes_, now, std::chrono::seconds{1});
    refill(crashes_.size() > burst ? backoff(crashes_.size() - burst) : Duration::zero(), now,
           actions);
    return;
  }
  strikes_.push_back(now);
  prune(strikes_, now, limits_.restart_window);
  if (strikes_.size() > limits_.max_restarts) {
    fail(now, actions);
  } else {
    refill(backoff(strikes_.size()), now, actions);
  }
}

Ledger::Duration Ledger::backoff(std::size_t deaths) const noexcept {
  const auto doublings = std::min<std::size_t>(deaths > 0 ? deaths - 1 : 0, 20);
  return std::min(limits_.backoff_min * (std::int64_t{1} << doublings), limits_.backoff_max);
}

void Ledger::on(const SpawnFailed& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state != WorkerState::starting && worker.state != WorkerState::retiring &&
      worker.state != WorkerState::stopping)
    return;
  const bool given_up = worker.state != WorkerState::starting;
  worker = Worker{};
  if (!given_up && (phase_ == Phase::open || phase_ == Phase::closing)) {
    if (spawn_failures_++ == 0) spawn_failing_since_ = now;
    const bool alone = std::none_of(workers_.begin(), workers_.end(), [](const Worker& other) {
      return other.state == WorkerState::ready || other.state == WorkerState::starting;
    });
    if (alone && now - spawn_failing_since_ >= limits_.restart_window) {
      fail(now, actions);
    } else {
      worker.state = WorkerState::waiting;
      worker.due = now + backoff(spawn_failures_);
    }
  }
  finish_closing(now, actions);
}

// --- slots that are lent while a task waits for others

void Ledger::on(const Lend& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state != WorkerState::ready || worker.tasks.count == 0) return;
  leave(worker);
  worker.state = WorkerState::lent;
  ++lent_;
  withdraw_behind(event.worker, worker.tasks.head, actions);
  refill(Duration::zero(), now, actions);
  dispatch(now, actions);
}

void Ledger::on(const Regain& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  regain(event.worker, now);
  dispatch(now, actions);
}

void Ledger::regain(WorkerSlot slot, Time now) {
  Worker& worker = workers_[slot];
  if (worker.state != WorkerState::lent) return;
  leave(worker);
  worker.state = WorkerState::ready;
  ++ready_;
  parked_ -= worker.tasks.count;
  if (live() > wanted_) surplus_due_ = now + limits_.linger;
}

/// Workers beyond the number leave when they have been idle, not as soon as they are: the next task
/// that waits needs them again.
void Ledger::retire_surplus(Time now, Actions& actions) {
  if (workers_.size() <= wanted_ || now < surplus_due_) return;
  for (WorkerSlot slot = 0; slot < workers_.size() && live() > wanted_; ++slot) {
    const Worker& worker = workers_[slot];
    if (worker.state == WorkerState::ready && worker.tasks.count == 0) retire(slot, now, actions);
  }
  surplus_due_ = now + limits_.linger;
}

void Ledger::on(const Recycle& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  const bool there = worker.state == WorkerState::ready || worker.state == WorkerState::lent ||
                     worker.state == WorkerState::overdue;
  if (!there || worker.recycle) return;
  worker.recycle = true;
  if (worker.state != WorkerState::ready) return;
  if (worker.tasks.count == 0) {
    retire(event.worker, now, actions);
  } else {
    withdraw_behind(event.worker, worker.tasks.head, actions);
  }
}

// --- the end

void Ledger::stop(WorkerSlot slot, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  if (worker.state == WorkerState::absent) return;
  if (worker.state == WorkerState::waiting) {
    worker = Worker{};
    return;
  }
  if (worker.state == WorkerState::stopping) return;
  leave(worker);
  worker.state = WorkerState::stopping;
  worker.due = now + limits_.kill_grace;
  actions.push_back({.kind = Kind::terminate, .worker = slot});
}

void Ledger::stop_all(Settled why, Time now, Actions& actions) {
  for (TaskSlot task = first_queued(); task != none; task = first_queued()) {
    dequeue(task);
    settle(task, why, actions);
  }
  for (const TaskSlot task : std::exchange(delayed_, {})) settle(task, why, actions);
  for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) {
    const List& list = workers_[slot].tasks;
    while (list.count > 0) {
      const TaskSlot task = list.head;
      release(task);
      settle(task, why, actions);
    }
    workers_[slot].too_slow = false;
    stop(slot, now, actions);
  }
}

void Ledger::fail(Time now, Actions& actions) {
  phase_ = Phase::failed;
  actions.push_back({.kind = Kind::failed});
  stop_all(Settled::pool_failed, now, actions);
}

void Ledger::on(const Close&, Time now, Actions& actions) {
  if (phase_ != Phase::open) return;
  phase_ = Phase::closing;
  finish_closing(now, actions);
}

void Ledger::on(const Terminate&, Time now, Actions& actions) {
  if (phase_ == Phase::terminated || phase_ == Phase::failed) return;
  phase_ = Phase::terminated;
  stop_all(Settled::terminated, now, actions);
  finish_closing(now, actions);
}

void Ledger::finish_closing(Time now, Actions& actions) {
  if (phase_ == Phase::open || closed_told_) return;
  if (phase_ == Phase::closing) {
    if (has_work()) return;
    for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) {
      Worker& worker = workers_[slot];
      if (worker.state == WorkerState::ready || worker.state == WorkerState::starting) {
        retire(slot, now, actions);
      } else if (worker.state != WorkerState::retiring && worker.state != WorkerState::overdue) {
        stop(slot, now, actions);
      }
    }
  }
  const bool empty = std::all_of(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.state == WorkerState::absent;
  });
  if (!empty) return;
  closed_told_ = true;
  actions.push_back({.kind = Kind::closed});
}

}  // namespace passel::inline v0::detail
