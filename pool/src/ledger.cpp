// Layer pool: which worker has which task.
#include "ledger.hpp"

#include <algorithm>
#include <utility>

namespace passel::inline v0::detail {
namespace {

using Kind = Ledger::Action::Kind;

}  // namespace

std::string_view to_string(Settled settled) noexcept {
  switch (settled) {
    case Settled::done: return "done";
    case Settled::lost: return "lost";
    case Settled::cancelled: return "cancelled";
    case Settled::timed_out: return "timed_out";
    case Settled::terminated: return "terminated";
    case Settled::pool_failed: return "pool_failed";
    case Settled::refused: return "refused";
  }
  return "unknown";
}

Ledger::Ledger(const LedgerLimits& limits)
    : limits_{limits}, elastic_{limits.least != 0}, wanted_{limits.workers} {
  if (!elastic_) limits_.least = limits.workers;
  limits_.least = std::min(limits_.least, limits_.workers);
  wanted_ = limits_.least;
}

void Ledger::step(const Event& event, Time now, Actions& actions) {
  std::visit([&](const auto& what) { on(what, now, actions); }, event);
}

bool Ledger::is_stalled(WorkerSlot worker) const noexcept {
  return worker < workers_.size() && workers_[worker].stalled;
}

std::optional<std::pair<TaskSlot, Ledger::Time>> Ledger::first_of(
    WorkerSlot worker) const noexcept {
  if (sent_to(worker) == 0) return {};
  return std::pair{workers_[worker].tasks.head, workers_[worker].touched};
}

std::size_t Ledger::sent_to(WorkerSlot worker) const noexcept {
  return worker < workers_.size() ? workers_[worker].tasks.count : 0;
}

// --- lists: a task is in the queue, with one worker, or in none

void Ledger::append(List& list, TaskSlot task) {
  tasks_[task].previous = list.tail;
  tasks_[task].next = none;
  (list.tail == none ? list.head : tasks_[list.tail].next) = task;
  list.tail = task;
  ++list.count;
}

void Ledger::prepend(List& list, TaskSlot task) {
  tasks_[task].next = list.head;
  tasks_[task].previous = none;
  (list.head == none ? list.tail : tasks_[list.head].previous) = task;
  list.head = task;
  ++list.count;
}

void Ledger::remove(List& list, TaskSlot task) {
  const Task& gone = tasks_[task];
  (gone.previous == none ? list.head : tasks_[gone.previous].next) = gone.next;
  (gone.next == none ? list.tail : tasks_[gone.next].previous) = gone.previous;
  --list.count;
}

Ledger::List& Ledger::level(std::int64_t rank) {
  auto at = levels_.begin();
  while (at != levels_.end() && at->rank > rank) ++at;
  if (at == levels_.end() || at->rank != rank) at = levels_.insert(at, Level{.rank = rank});
  return at->list;
}

void Ledger::enqueue(TaskSlot number, bool in_front) {
  Task& task = tasks_[number];
  task.state = TaskState::queued;
  task.worker = none;
  task.wish = Wish::none;
  task.asked_back = false;
  task.started = false;
  List& list = level(task.rank);
  in_front ? prepend(list, number) : append(list, number);
  ++queued_;
}

void Ledger::dequeue(TaskSlot number) {
  const std::int64_t rank = tasks_[number].rank;
  List& list = level(rank);
  remove(list, number);
  --queued_;
  // The usual level stays, so that it needs no memory each time.
  if (list.count == 0 && rank != 0)
    std::erase_if(levels_, [rank](const Level& level) { return level.rank == rank; });
}

TaskSlot Ledger::first_queued() const noexcept {
  for (const Level& level : levels_) {
    if (level.list.count > 0) return level.list.head;
  }
  return none;
}

/// Takes a task off the list of its worker.
void Ledger::release(TaskSlot task) {
  Worker& worker = workers_[tasks_[task].worker];
  remove(worker.tasks, task);
  --sent_;
  if (worker.state != WorkerState::ready) --parked_;
}

bool Ledger::is_sent_to(WorkerSlot worker, TaskSlot task) const noexcept {
  return worker < workers_.size() && task < tasks_.size() &&
         tasks_[task].state == TaskState::sent && tasks_[task].worker == worker;
}

void Ledger::settle(TaskSlot number, Settled how, Actions& actions) {
  Task& task = tasks_[number];
  task.state = TaskState::free;
  if (task.deadline != Time::max()) deadlines_.erase({task.deadline, number});
  actions.push_back({.kind = Kind::settle, .settled = how, .task = number});
}

// --- dispatch

unsigned Ledger::window() const noexcept {
  // Without a measurement nothing is known to be short, and a task above a millisecond gains
  // nothing from a neighbour.
  if (mean_ns_ < 0.0 || mean_ns_ > 1e6) return 1;
  const double fitting = static_cast<double>(limits_.window_time.count()) / std::max(mean_ns_, 1.0);
  const double most = static_cast<double>(std::max(limits_.window_tasks, 1U));
  return static_cast<unsigned>(std::clamp(fitting, std::min(2.0, most), most));
}

unsigned Ledger::target() const noexcept {
  const std::size_t workers = std::max<std::size_t>(ready_, 1);
  const std::size_t share = (queued_ + sent_ - parked_ + workers - 1) / workers;
  return static_cast<unsigned>(std::clamp<std::size_t>(share, 1, window()));
}

std::size_t Ledger::room(std::int64_t rank) const noexcept {
  if (phase_ != Phase::open && phase_ != Phase::closing) return 0;
  // One window at the workers and one in the queue to refill from.
  const std::size_t wanted = std::size_t{2} * limits_.workers * window();
  std::size_t held = 0;
  bool lower = false;
  for (const Level& level : levels_) {
    lower |= level.rank < rank && level.list.count > 0;
    if (level.rank >= rank) held += level.list.count;
  }
  // What a worker is given next must not be one of lower rank because those above it are not here.
  if (!lower) held += sent_ - parked_;
  return wanted - std::min(wanted, held);
}

/// False while as many workers as the pool has are busy: those beyond were for lent slots.
bool Ledger::may_begin() const noexcept {
  if (workers_.size() <= wanted_ || live() <= wanted_) return true;
  const auto busy = std::count_if(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.state == WorkerState::ready && worker.tasks.count > 0;
  });
  return static_cast<std::size_t>(busy) < wanted_;
}

void Ledger::fill(WorkerSlot slot, unsigned target, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  if (worker.state != WorkerState::ready || worker.stalled || worker.recycle) return;
  if (queued_ > 0 && worker.tasks.count == 0 && !may_begin()) return;
  while (queued_ > 0 && worker.tasks.count < target) {
    // Nothing goes behind a task that runs long. Only a Tick calls it stuck: that also takes back
    // what is there already.
    if (worker.tasks.count > 0 && (worker.stuck || now - worker.touched >= limits_.patience))
      return;
    if (limits_.max_tasks_per_child != 0 && worker.sent >= limits_.max_tasks_per_child) return;
    const TaskSlot number = first_queued();
    Task& task = tasks_[number];
    if (task.rank < outside_) return;
    dequeue(number);
    append(worker.tasks, number);
    task.state = TaskState::sent;
    task.worker = slot;
    if (worker.tasks.count == 1) {
      worker.touched = now;
      worker.probe = now + limits_.stall_patience;
      worker.stuck = false;
    }
    ++worker.sent;
    ++sent_;
    actions.push_back(
        {.kind = Kind::send, .worker = slot, .task = number, .attempt = task.used + 1});
  }
}

void Ledger::dispatch(Time now, Actions& actions) {
  give_out(now, actions);
  if (queued_ > 0 && wanted_ < limits_.workers) grow(now, actions);
}

void Ledger::give_out(Time now, Actions& actions) {
  const std::size_t with_ready = sent_ - parked_;
  if (queued_ == 0 || with_ready >= ready_ * window()) return;
  // Idle workers first: nobody waits behind another task while somebody is free.
  if (with_ready < ready_ * target()) {
    for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) fill(slot, 1, now, actions);
  }
  const unsigned share = target();
  if (share == 1) return;
  for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) fill(slot, share, now, actions);
}

void Ledger::learn(Duration took) noexcept {
  const double sample = static_cast<double>(std::max<Duration::rep>(took.count(), 1));
  if (mean_ns_ < 0.0) {
    mean_ns_ = sample;
    return;
  }
  // A single outlier (the worker was preempted) must not close the window of a thousand short
  // tasks.
  mean_ns_ += (std::min(sample, 16.0 * mean_ns_ + 100.0) - mean_ns_) / 8.0;
}

// --- tasks

void Ledger::on(const Submit& event, Time now, Actions& actions) {
  if (event.task >= tasks_.size()) tasks_.resize(event.task + std::size_t{1});
  Task& task = tasks_[event.task];
  if (task.state != TaskState::free) return;
  task = Task{.attempts = std::max(event.attempts, 1U),
              .rank = event.rank,
              .backoff = event.backoff,
              .limit = event.limit,
              .grace = event.grace,
              .deadline = event.deadline};
  if (phase_ != Phase::open && !(event.inner && phase_ == Phase::closing && has_work())) {
    settle(event.task, phase_ == Phase::failed ? Settled::pool_failed : Settled::refused, actions);
    return;
  }
  if (task.deadline != Time::max()) deadlines_.emplace(task.deadline, event.task);
  enqueue(event.task, false);
  dispatch(now, actions);
}

void Ledger::on(const Cancel& event, Time now, Actions& actions) {
  give_up(event.task, Wish::cancel, Settled::cancelled, actions);
  finish_closing(now, actions);
}

void Ledger::on(const Stop& event, Time now, Actions& actions) {
  give_up(event.task, Wish::stop, Settled::cancelled, actions);
  finish_closing(now, actions);
}

/// Settles a task that waits; of one that was sent it must first be known whether it has started.
void Ledger::give_up(TaskSlot number, Wish wish, Settled how, Actions& actions) {
  if (number >= tasks_.size()) return;
  switch (tasks_[number].state) {
    case TaskState::free: return;
    case TaskState::queued: dequeue(number); break;
    case TaskState::delayed: std::erase(delayed_, number); break;
    case TaskState::sent: return withdraw(number, wish, actions);
  }
  settle(number, how, actions);
}

/// Asks for a task back. A stronger wish takes the place of a weaker one.
void Ledger::withdraw(TaskSlot number, Wish wish, Actions& actions) {
  Task& task = tasks_[number];
  if (wish <= task.wish && wish != Wish::none) return;
  if (wish != Wish::none) task.wish = wish;
  if (std::exchange(task.asked_back, true)) return;
  actions.push_back({.kind = Kind::take_back, .worker = task.worker, .task = number});
}

/// Gives others the tasks that wait behind `first`, or as many as have not started.
void Ledger::withdraw_behind(WorkerSlot slot, TaskSlot first, Actions& actions) {
  for (TaskSlot task = workers_[slot].tasks.tail; task != none; task = tasks_[task].previous) {
    if (task != first) withdraw(task, Wish::none, actions);
  }
}

/// The worker has answered the task: it is off its list.
void Ledger::answered(WorkerSlot slot, TaskSlot task, Duration took, Time now) {
  Worker& worker = workers_[slot];
  release(task);
  ++worker.finished;
  worker.touched = now;
  worker.probe = now + limits_.stall_patience;
  worker.stuck = false;
  learn(took);
  // That it goes on is told behind its answer.
  if (worker.tasks.count == 0) regain(slot, now);
}

/// What the worker does next.
void Ledger::go_on(WorkerSlot slot, TaskSlot task, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  if (worker.state == WorkerState::overdue && worker.overrun == task)
    return revive(slot, now, actions);
  if (worker.state == WorkerState::ready) {
    const bool worn =
        limits_.max_tasks_per_child != 0 && worker.finished >= limits_.max_tasks_per_child;
    if (worn || (worker.recycle && worker.tasks.count == 0)) {
      retire(slot, now, actions);
    } else if (queued_ > 0) {
      fill(slot, target(), now, actions);
    }
  }
  finish_closing(now, actions);
}

void Ledger::on(const Done& event, Time now, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  answered(event.worker, event.task, event.took, now);
  settle(event.task, Settled::done, actions);
  go_on(event.worker, event.task, now, actions);
}

void Ledger::on(const Failed& event, Time now, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  Task& task = tasks_[event.task];
  const bool last = ++task.used >= task.attempts || is_final(task.wish);
  answered(event.worker, event.task, event.took, now);
  last ? settle(event.task, Settled::done, actions) : retry(event.task, now);
  go_on(event.worker, event.task, now, actions);
  if (!last) dispatch(now, actions);
}

void Ledger::on(const Pin& event, Time, Actions&) {
  if (event.task >= tasks_.size() || tasks_[event.task].state != TaskState::sent) return;
  Task& task = tasks_[event.task];
  task.attempts = task.used + 1;
  task.started = true;
}

/// Once more, behind the others: a task that killed a worker would keep killing workers in front of
/// them.
void Ledger::retry(TaskSlot number, Time now) {
  Task& task = tasks_[number];
  if (task.backoff <= Duration::zero()) return enqueue(number, false);
  const unsigned doublings = std::min(task.used - 1, 20U);
  const Duration longest = limits_.retry_backoff_max;
  const bool capped = task.backoff > longest / (std::int64_t{1} << doublings);
  task.state = TaskState::delayed;
  task.worker = none;
  task.asked_back = false;
  task.started = false;
  task.due = now + (capped ? longest : task.backoff * (std::int64_t{1} << doublings));
  delayed_.push_back(number);
}

void Ledger::on(const TakenBack& event, Time now, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  Worker& worker = workers_[event.worker];
  const Wish wish = tasks_[event.task].wish;
  if (wish == Wish::probe || wish == Wish::overrun)
    worker.stalled = now - worker.touched >= limits_.stall_patience;
  if (worker.stalled) worker.probe = now + limits_.stall_patience;
  release(event.task);
  --worker.sent;
  if (wish == Wish::cancel || wish == Wish::stop) {
    settle(event.task, Settled::cancelled, actions);
  } else if (wish == Wish::expire) {
    settle(event.task, Settled::timed_out, actions);
  } else {
    enqueue(event.task, true);
  }
  if (worker.state == WorkerState::ready && worker.recycle && worker.tasks.count == 0)
    retire(event.worker, now, actions);
  finish_closing(now, actions);
  dispatch(now, actions);
}

void Ledger::on(const Kept& event, Time now, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  Task& task = tasks_[event.task];
  task.asked_back = false;
  task.started = true;
  switch (task.wish) {
    case Wish::none: return;
    case Wish::probe: task.wish = Wish::none; return;
    case Wish::cancel:
      task.wish = Wish::none;
      actions.push_back({.kind = Kind::cancel_refused, .worker = event.worker, .task = event.task});
      return;
    case Wish::stop:
    case Wish::overrun:
    case Wish::expire: return overrun(event.worker, event.task, now, actions);
  }
}

void Ledger::reclaim(Worker& worker, const std::optional<TaskSlot>& running, Time now,
                     Actions& actions) {
  while (worker.tasks.count > 0) {
    // From the last to the first, so that putting each in front keeps their order.
    const TaskSlot number = worker.tasks.tail;
    Task& task = tasks_[number];
    release(number);
    const bool ran = running == number;
    if (ran) ++task.used;
    if (task.wish == Wish::cancel || task.wish == Wish::stop) {
      settle(number, Settled::cancelled, actions);
    } else if (task.wish == Wish::expire) {
      settle(number, Settled::timed_out, actions);
    } else if (ran && task.used >= task.attempts) {
      settle(number, Settled::lost, actions);
    } else if (ran) {
      retry(number, now);
    } else {
      enqueue(number, true);
    }
  }
}

}  // namespace passel::inline v0::detail
