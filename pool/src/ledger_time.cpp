// Layer pool: time in the ledger: deadlines, tasks that are over their time, workers that stand
// still.
#include "ledger.hpp"

#include <algorithm>

namespace passel::inline v0::detail {
namespace {

using Kind = Ledger::Action::Kind;

}  // namespace

// --- tasks over their time

void Ledger::expire(TaskSlot number, Actions& actions) {
  const Task& task = tasks_[number];
  if (task.state == TaskState::sent && workers_[task.worker].overrun == number) {
    // Asked to stop already; now nobody waits for it any more.
    workers_[task.worker].overrun = none;
    release(number);
    settle(number, Settled::timed_out, actions);
    return;
  }
  give_up(number, Wish::expire, Settled::timed_out, actions);
}

/// The task is running and should not be: first it is asked to stop.
void Ledger::overrun(WorkerSlot slot, TaskSlot number, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  const Task& task = tasks_[number];
  if (worker.state == WorkerState::ready || worker.state == WorkerState::lent) {
    leave(worker);
    worker.state = WorkerState::overdue;
    worker.overrun = number;
    worker.grace = std::max(task.grace, Duration::zero());
    worker.due = now + worker.grace;
    actions.push_back({.kind = Kind::ask_stop, .worker = slot, .task = number});
    withdraw_behind(slot, number, actions);
  }
  if (task.wish == Wish::stop) return;
  if (worker.overrun == number) worker.overrun = none;
  release(number);
  settle(number, Settled::timed_out, actions);
  finish_closing(now, actions);
}

/// What was to stop has stopped by itself.
void Ledger::revive(WorkerSlot slot, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  worker.state = WorkerState::ready;
  worker.overrun = none;
  worker.touched = now;
  worker.probe = now + limits_.stall_patience;
  worker.stuck = false;
  worker.stalled = false;
  ++ready_;
  parked_ -= worker.tasks.count;
  go_on(slot, none, now, actions);
}

void Ledger::on(const Returned& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state != WorkerState::overdue || worker.overrun != none) return;
  ++worker.finished;
  revive(event.worker, now, actions);
}

void Ledger::on(const Condemned& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state != WorkerState::overdue) return;
  worker.state = WorkerState::stopping;
  worker.due = now + worker.grace;
  actions.push_back({.kind = Kind::terminate, .worker = event.worker});
  if (phase_ == Phase::open || has_work()) refill(Duration::zero(), now, actions);
}

void Ledger::on(const Alive& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  workers_[event.worker].stalled = false;
  dispatch(now, actions);
}

// --- the clock

std::optional<Ledger::Time> Ledger::next_deadline() const {
  std::optional<Time> next;
  const auto consider = [&next](Time when) {
    if (!next || when < *next) next = when;
  };
  if (!deadlines_.empty()) consider(deadlines_.begin()->first);
  for (const TaskSlot task : delayed_) consider(tasks_[task].due);
  const bool idle = is_anybody_idle();
  for (const Worker& worker : workers_) {
    const Task* const first = worker.tasks.count > 0 ? &tasks_[worker.tasks.head] : nullptr;
    switch (worker.state) {
      case WorkerState::absent: break;
      case WorkerState::ready:
        if (phase_ == Phase::open && wanted_ > limits_.least && worker.tasks.count == 0)
          consider(worker.touched + limits_.idle_timeout);
        if (worker.stalled || (idle && first != nullptr && !first->started)) consider(worker.probe);
        if (worker.tasks.count > 1 && !worker.stuck) consider(worker.touched + limits_.patience);
        [[fallthrough]];
      case WorkerState::lent:
        if (first != nullptr && first->limit > Duration::zero() && first->wish < Wish::overrun)
          consider(worker.touched + first->limit);
        break;
      default: consider(worker.due);
    }
  }
  if (workers_.size() > wanted_ && live() > wanted_) consider(surplus_due_);
  return next;
}

void Ledger::on(const Tick&, Time now, Actions& actions) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const TaskSlot task = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    tasks_[task].deadline = Time::max();
    expire(task, actions);
  }
  for (std::size_t i = 0; i < delayed_.size();) {
    const TaskSlot task = delayed_[i];
    if (tasks_[task].due > now) {
      ++i;
    } else {
      delayed_.erase(delayed_.begin() + static_cast<std::ptrdiff_t>(i));
      enqueue(task, false);
    }
  }
  for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) tick(slot, now, actions);
  retire_surplus(now, actions);
  retire_idle(now, actions);
  dispatch(now, actions);
  finish_closing(now, actions);
}

void Ledger::tick(WorkerSlot slot, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  if (worker.state == WorkerState::ready || worker.state == WorkerState::lent)
    return tick_task(slot, now, actions);
  if (worker.state == WorkerState::absent || now < worker.due) return;
  switch (worker.state) {
    case WorkerState::waiting: return begin(slot, now, actions);
    case WorkerState::starting: worker.too_slow = true; return stop(slot, now, actions);
    case WorkerState::overdue:
      worker.due = now + std::max(worker.grace, limits_.patience);
      actions.push_back({.kind = Kind::condemn, .worker = slot});
      return;
    case WorkerState::retiring: return stop(slot, now, actions);
    case WorkerState::stopping:
      worker.due = now + limits_.kill_grace;
      actions.push_back({.kind = Kind::kill, .worker = slot});
      return;
    default: return;
  }
}

bool Ledger::is_anybody_idle() const noexcept {
  return std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.state == WorkerState::ready && worker.tasks.count == 0 && !worker.stalled;
  });
}

/// How far a worker has come with its first task, and what waits behind that.
void Ledger::tick_task(WorkerSlot slot, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  const bool probing = now >= worker.probe;
  if (probing) worker.probe = now + limits_.stall_patience;
  if (worker.tasks.count == 0) return;
  const TaskSlot first = worker.tasks.head;
  if (tasks_[first].limit > Duration::zero() && now - worker.touched >= tasks_[first].limit)
    withdraw(first, Wish::overrun, actions);
  if (worker.state != WorkerState::ready) return;
  if (probing && !tasks_[first].started && is_anybody_idle()) withdraw(first, Wish::probe, actions);
  if (worker.tasks.count < 2 || worker.stuck || now - worker.touched < limits_.patience) return;
  worker.stuck = true;
  withdraw_behind(slot, first, actions);
}

}  // namespace passel::inline v0::detail
