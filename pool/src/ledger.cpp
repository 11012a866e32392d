// Layer pool: which worker has which task.
#include "ledger.hpp"

#include <algorithm>
#include <cmath>

namespace passel::inline v0::detail {
namespace {

using Kind = Ledger::Action::Kind;

void prune(std::deque<Ledger::Time>& times, Ledger::Time now, Ledger::Duration window) {
  while (!times.empty() && now - times.front() > window) times.pop_front();
}

}  // namespace

std::string_view to_string(Settled settled) noexcept {
  switch (settled) {
    case Settled::done: return "done";
    case Settled::lost: return "lost";
    case Settled::cancelled: return "cancelled";
    case Settled::terminated: return "terminated";
    case Settled::pool_failed: return "pool_failed";
    case Settled::refused: return "refused";
  }
  return "unknown";
}

Ledger::Ledger(const LedgerLimits& limits) : limits_{limits} {}

void Ledger::step(const Event& event, Time now, Actions& actions) {
  std::visit([&](const auto& what) { on(what, now, actions); }, event);
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

bool Ledger::is_sent_to(WorkerSlot worker, TaskSlot task) const noexcept {
  return worker < workers_.size() && task < tasks_.size() &&
         tasks_[task].state == TaskState::sent && tasks_[task].worker == worker;
}

void Ledger::settle(TaskSlot task, Settled how, Actions& actions) {
  tasks_[task].state = TaskState::free;
  actions.push_back({.kind = Kind::settle, .settled = how, .task = task});
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
  const std::size_t share = (queue_.count + sent_ + workers - 1) / workers;
  return static_cast<unsigned>(std::clamp<std::size_t>(share, 1, window()));
}

std::size_t Ledger::room() const noexcept {
  // One window at the workers and one in the queue to refill from.
  const std::size_t wanted = std::size_t{2} * limits_.workers * window();
  const std::size_t held = queue_.count + sent_;
  return phase_ == Phase::open || phase_ == Phase::closing ? wanted - std::min(wanted, held) : 0;
}

void Ledger::fill(WorkerSlot slot, unsigned target, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  if (worker.state != WorkerState::ready) return;
  while (queue_.count > 0 && worker.tasks.count < target) {
    // Nothing goes behind a task that runs long. Only a Tick calls it stuck: that also takes back
    // what is there already.
    if (worker.tasks.count > 0 && (worker.stuck || now - worker.touched >= limits_.patience))
      return;
    if (limits_.max_tasks_per_child != 0 && worker.sent >= limits_.max_tasks_per_child) return;
    const TaskSlot number = queue_.head;
    Task& task = tasks_[number];
    remove(queue_, number);
    append(worker.tasks, number);
    task.state = TaskState::sent;
    task.worker = slot;
    if (worker.tasks.count == 1) {
      worker.touched = now;
      worker.stuck = false;
    }
    ++worker.sent;
    ++sent_;
    actions.push_back(
        {.kind = Kind::send, .worker = slot, .task = number, .attempt = task.used + 1});
  }
}

void Ledger::dispatch(Time now, Actions& actions) {
  if (queue_.count == 0 || sent_ >= ready_ * window()) return;
  // Idle workers first: nobody waits behind another task while somebody is free.
  if (sent_ < ready_ * target()) {
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
  if (tasks_[event.task].state != TaskState::free) return;
  tasks_[event.task] = Task{};
  tasks_[event.task].attempts = std::max(event.attempts, 1U);
  if (phase_ != Phase::open) {
    settle(event.task, phase_ == Phase::failed ? Settled::pool_failed : Settled::refused, actions);
    return;
  }
  tasks_[event.task].state = TaskState::queued;
  append(queue_, event.task);
  dispatch(now, actions);
}

void Ledger::on(const Cancel& event, Time now, Actions& actions) {
  if (event.task >= tasks_.size()) return;
  Task& task = tasks_[event.task];
  if (task.state == TaskState::queued) {
    remove(queue_, event.task);
    settle(event.task, Settled::cancelled, actions);
    finish_closing(now, actions);
  } else if (task.state == TaskState::sent && !task.cancel_wanted) {
    task.cancel_wanted = true;
    if (!task.asked_back) {
      task.asked_back = true;
      actions.push_back({.kind = Kind::take_back, .worker = task.worker, .task = event.task});
    }
  }
}

void Ledger::on(const Done& event, Time now, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  Worker& worker = workers_[event.worker];
  remove(worker.tasks, event.task);
  --sent_;
  ++worker.finished;
  worker.touched = now;
  worker.stuck = false;
  learn(event.took);
  settle(event.task, Settled::done, actions);
  if (limits_.max_tasks_per_child != 0 && worker.finished >= limits_.max_tasks_per_child) {
    worker.state = WorkerState::retiring;
    worker.due = now + limits_.stop_grace;
    --ready_;
    actions.push_back({.kind = Kind::retire, .worker = event.worker});
    if (phase_ == Phase::open || queue_.count > 0) spawn(now, Duration::zero(), actions);
  } else if (queue_.count > 0) {
    fill(event.worker, target(), now, actions);
  }
  finish_closing(now, actions);
}

void Ledger::on(const TakenBack& event, Time now, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  Worker& worker = workers_[event.worker];
  Task& task = tasks_[event.task];
  remove(worker.tasks, event.task);
  --sent_;
  --worker.sent;
  if (task.cancel_wanted) {
    settle(event.task, Settled::cancelled, actions);
    finish_closing(now, actions);
  } else {
    task.state = TaskState::queued;
    task.worker = none;
    task.asked_back = false;
    prepend(queue_, event.task);
  }
  dispatch(now, actions);
}

void Ledger::on(const Kept& event, Time, Actions& actions) {
  if (!is_sent_to(event.worker, event.task)) return;
  Task& task = tasks_[event.task];
  task.asked_back = false;
  if (!task.cancel_wanted) return;
  task.cancel_wanted = false;
  actions.push_back({.kind = Kind::cancel_refused, .worker = event.worker, .task = event.task});
}

void Ledger::reclaim(Worker& worker, const std::optional<TaskSlot>& running, Actions& actions) {
  while (worker.tasks.count > 0) {
    // From the last to the first, so that putting each in front keeps their order.
    const TaskSlot number = worker.tasks.tail;
    Task& task = tasks_[number];
    remove(worker.tasks, number);
    --sent_;
    const bool ran = running == number;
    if (ran) ++task.used;
    task.worker = none;
    task.asked_back = false;
    if (task.cancel_wanted) {
      settle(number, Settled::cancelled, actions);
    } else if (ran && task.used >= task.attempts) {
      settle(number, Settled::lost, actions);
    } else {
      task.state = TaskState::queued;
      // A task that killed a worker goes behind the others, or it would keep killing workers in
      // front of them.
      ran ? append(queue_, number) : prepend(queue_, number);
    }
  }
}

// --- workers

void Ledger::on(const Start&, Time now, Actions& actions) {
  if (!workers_.empty() || phase_ != Phase::open) return;
  for (unsigned count = 0; count < limits_.workers; ++count) spawn(now, Duration::zero(), actions);
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

void Ledger::on(const Gone& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state == WorkerState::absent || worker.state == WorkerState::waiting) return;
  if (worker.state == WorkerState::ready) --ready_;
  const bool expected =
      (worker.state == WorkerState::retiring || worker.state == WorkerState::stopping) &&
      !worker.too_slow;
  const bool in_task = worker.tasks.count > 0;
  reclaim(worker, event.running, actions);
  worker = Worker{};
  if (!expected && (phase_ == Phase::open || queue_.count > 0 || sent_ > 0)) {
    replace(in_task, now, actions);
  }
  dispatch(now, actions);
  finish_closing(now, actions);
}

void Ledger::replace(bool in_task, Time now, Actions& actions) {
  if (phase_ != Phase::open && phase_ != Phase::closing) return;
  ++restarts_;
  if (in_task) {
    // Tasks may cost workers as often as they like, but not a storm of forks.
    const std::size_t burst = std::max<std::size_t>(8, std::size_t{4} * limits_.workers);
    crashes_.push_back(now);
    prune(crashes_, now, std::chrono::seconds{1});
    spawn(now, crashes_.size() > burst ? backoff(crashes_.size() - burst) : Duration::zero(),
          actions);
    return;
  }
  strikes_.push_back(now);
  prune(strikes_, now, limits_.restart_window);
  if (strikes_.size() > limits_.max_restarts) {
    fail(now, actions);
  } else {
    spawn(now, backoff(strikes_.size()), actions);
  }
}

Ledger::Duration Ledger::backoff(std::size_t deaths) const noexcept {
  const auto doublings = std::min<std::size_t>(deaths > 0 ? deaths - 1 : 0, 20);
  return std::min(limits_.backoff_min * (std::int64_t{1} << doublings), limits_.backoff_max);
}

void Ledger::on(const SpawnFailed& event, Time now, Actions& actions) {
  if (event.worker >= workers_.size()) return;
  Worker& worker = workers_[event.worker];
  if (worker.state != WorkerState::starting && worker.state != WorkerState::stopping) return;
  const bool given_up = worker.state == WorkerState::stopping;
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

// --- the end

void Ledger::stop(WorkerSlot slot, Time now, Actions& actions) {
  Worker& worker = workers_[slot];
  if (worker.state == WorkerState::absent) return;
  if (worker.state == WorkerState::waiting) {
    worker = Worker{};
    return;
  }
  if (worker.state == WorkerState::stopping) return;
  if (worker.state == WorkerState::ready) --ready_;
  worker.state = WorkerState::stopping;
  worker.due = now + limits_.kill_grace;
  actions.push_back({.kind = Kind::terminate, .worker = slot});
}

void Ledger::stop_all(Settled why, Time now, Actions& actions) {
  while (queue_.count > 0) {
    const TaskSlot task = queue_.head;
    remove(queue_, task);
    settle(task, why, actions);
  }
  for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) {
    List& list = workers_[slot].tasks;
    while (list.count > 0) {
      const TaskSlot task = list.head;
      remove(list, task);
      --sent_;
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
    if (queue_.count > 0 || sent_ > 0) return;
    for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) {
      Worker& worker = workers_[slot];
      if (worker.state == WorkerState::ready) {
        worker.state = WorkerState::retiring;
        worker.due = now + limits_.stop_grace;
        --ready_;
        actions.push_back({.kind = Kind::retire, .worker = slot});
      } else if (worker.state != WorkerState::retiring) {
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

// --- time

std::optional<Ledger::Time> Ledger::next_deadline() const {
  std::optional<Time> next;
  const auto consider = [&next](Time when) {
    if (!next || when < *next) next = when;
  };
  for (const Worker& worker : workers_) {
    switch (worker.state) {
      case WorkerState::absent: break;
      case WorkerState::ready:
        if (worker.tasks.count > 1 && !worker.stuck) consider(worker.touched + limits_.patience);
        break;
      default: consider(worker.due);
    }
  }
  return next;
}

void Ledger::on(const Tick&, Time now, Actions& actions) {
  for (WorkerSlot slot = 0; slot < workers_.size(); ++slot) {
    Worker& worker = workers_[slot];
    const bool due = now >= worker.due;
    switch (worker.state) {
      case WorkerState::absent: break;
      case WorkerState::ready:
        if (worker.tasks.count < 2 || worker.stuck || now - worker.touched < limits_.patience)
          break;
        worker.stuck = true;
        for (TaskSlot task = worker.tasks.tail; task != worker.tasks.head;
             task = tasks_[task].previous) {
          if (tasks_[task].asked_back) continue;
          tasks_[task].asked_back = true;
          actions.push_back({.kind = Kind::take_back, .worker = slot, .task = task});
        }
        break;
      case WorkerState::waiting:
        if (due) begin(slot, now, actions);
        break;
      case WorkerState::starting:
        if (!due) break;
        worker.too_slow = true;
        stop(slot, now, actions);
        break;
      case WorkerState::retiring:
        if (due) stop(slot, now, actions);
        break;
      case WorkerState::stopping:
        if (!due) break;
        worker.due = now + limits_.kill_grace;
        actions.push_back({.kind = Kind::kill, .worker = slot});
        break;
    }
  }
}

}  // namespace passel::inline v0::detail
