// Layer pool: who has which task of a pool that spans hosts.
#include "broker_ledger.hpp"

#include <algorithm>
#include <limits>

namespace passel::inline v0::detail {
namespace {

constexpr std::chrono::nanoseconds longest_pause = std::chrono::minutes{1};

std::chrono::nanoseconds pause_after(std::chrono::nanoseconds backoff, unsigned attempts) {
  if (backoff <= std::chrono::nanoseconds::zero()) return std::chrono::nanoseconds::zero();
  std::chrono::nanoseconds pause = std::min(backoff, longest_pause);
  for (unsigned i = 1; i < attempts && pause < longest_pause; ++i) pause *= 2;
  return std::min(pause, longest_pause);
}

}  // namespace

void BrokerLedger::step(const Event& event, Time now, Actions& actions) {
  std::visit([&](const auto& one) { on(one, now, actions); }, event);
}

std::optional<BrokerLedger::Time> BrokerLedger::next_deadline() const {
  if (alarms_.empty()) return std::nullopt;
  return alarms_.begin()->first;
}

std::size_t BrokerLedger::given_to(BrokerWorker worker) const {
  const auto found = workers_.find(worker);
  return found == workers_.end() ? 0 : found->second.given.size();
}

unsigned BrokerLedger::attempts_used(BrokerTask task) const {
  const auto found = tasks_.find(task);
  return found == tasks_.end() ? 0 : found->second.used;
}

// --- workers ---

void BrokerLedger::on(const Join& event, Time, Actions&) {
  const auto [worker, fresh] = workers_.try_emplace(event.worker);
  if (!fresh) return;
  worker->second.names = event.names;
  for (const BrokerName name : event.names) offers_[name].insert(event.worker);
}

void BrokerLedger::on(const Room& event, Time, Actions& actions) {
  const auto worker = workers_.find(event.worker);
  if (worker == workers_.end()) return;
  worker->second.window = event.window;
  fill(event.worker, actions);
}

void BrokerLedger::on(const Leave& event, Time, Actions&) {
  const auto worker = workers_.find(event.worker);
  if (worker == workers_.end()) return;
  worker->second.leaving = true;
  withdraw_offers(event.worker, worker->second);
}

void BrokerLedger::withdraw_offers(BrokerWorker number, const Worker& worker) {
  for (const BrokerName name : worker.names) {
    const auto offering = offers_.find(name);
    if (offering == offers_.end()) continue;
    offering->second.erase(number);
    if (offering->second.empty()) offers_.erase(offering);
  }
}

void BrokerLedger::on(const Gone& event, Time now, Actions& actions) {
  const auto found = workers_.find(event.worker);
  if (found == workers_.end()) return;
  withdraw_offers(event.worker, found->second);
  const std::set<BrokerTask> given = std::move(found->second.given);
  workers_.erase(found);
  for (const BrokerTask number : given) {
    const auto task = tasks_.find(number);
    if (task->second.state == State::unwanted) {
      tasks_.erase(task);
    } else if (task->second.used < task->second.attempts) {
      retry(number, task->second, now, actions);
    } else {
      actions.push_back({Action::Kind::lost, event.worker, number, task->second.used});
      forget(task);
    }
  }
}

std::map<BrokerWorker, BrokerLedger::Worker>::iterator BrokerLedger::least_busy(BrokerName name) {
  auto best = workers_.end();
  const auto offering = offers_.find(name);
  if (offering == offers_.end()) return best;
  for (const BrokerWorker number : offering->second) {
    const auto worker = workers_.find(number);
    if (!worker->second.has_room()) continue;
    // Share of what it wants, compared without a division.
    const auto is_less_busy = [&] {
      return worker->second.given.size() * best->second.window <
             best->second.given.size() * worker->second.window;
    };
    if (best == workers_.end() || is_less_busy()) best = worker;
  }
  return best;
}

// --- tasks ---

void BrokerLedger::on(const Submit& event, Time, Actions& actions) {
  const auto [place, fresh] = tasks_.try_emplace(event.task);
  if (!fresh) return;
  Task& task = place->second;
  task.name = event.name;
  task.place = {-std::max(event.rank, std::numeric_limits<std::int64_t>::min() + 1), ++sequence_};
  task.attempts = std::max(event.attempts, 1U);
  task.retry_failures = event.retry_failures;
  task.backoff = event.backoff;
  task.deadline = event.deadline;
  ++unsettled_;
  if (task.deadline != Time::max()) alarms_.emplace(task.deadline, event.task);
  enqueue(event.task, task, actions);
}

void BrokerLedger::on(const Drop& event, Time, Actions& actions) {
  const auto task = tasks_.find(event.task);
  if (task == tasks_.end() || task->second.state == State::unwanted) return;
  withdraw(task, actions);
}

void BrokerLedger::on(const Ended& event, Time now, Actions& actions) {
  const auto worker = workers_.find(event.worker);
  if (worker == workers_.end() || worker->second.given.erase(event.task) == 0) return;
  const auto found = tasks_.find(event.task);
  Task& task = found->second;
  const bool again =
      task.used < task.attempts &&
      (event.how == Ending::lost || (event.how == Ending::failed && task.retry_failures));
  if (task.state == State::unwanted) {
    tasks_.erase(found);
  } else if (event.how == Ending::returned) {
    --task.used;
    enqueue(event.task, task, actions);
  } else if (again) {
    retry(event.task, task, now, actions);
  } else {
    actions.push_back({Action::Kind::answer, event.worker, event.task, task.used});
    forget(found);
  }
  fill(event.worker, actions);
}

void BrokerLedger::on(const Tick&, Time now, Actions& actions) {
  while (!alarms_.empty() && alarms_.begin()->first <= now) {
    const auto task = tasks_.find(alarms_.begin()->second);
    alarms_.erase(alarms_.begin());
    if (task == tasks_.end() || task->second.state == State::unwanted) continue;
    if (task->second.deadline <= now) {
      const Task& late = task->second;
      actions.push_back({Action::Kind::timed_out, late.worker, task->first, late.used});
      withdraw(task, actions);
    } else if (task->second.state == State::delayed) {
      --waiting_;
      enqueue(task->first, task->second, actions);
    }
  }
}

void BrokerLedger::enqueue(BrokerTask number, Task& task, Actions& actions) {
  task.state = State::queued;
  ++waiting_;
  queues_[task.name].emplace(task.place, number);
  // Nobody who has room for it has left one waiting: it is the only one that can go now.
  if (const auto worker = least_busy(task.name); worker != workers_.end())
    give(worker->first, worker->second, number, actions);
}

void BrokerLedger::unqueue(BrokerTask number, Task& task) {
  --waiting_;
  if (task.state == State::delayed) {
    alarms_.erase({task.due, number});
    return;
  }
  const auto queue = queues_.find(task.name);
  if (queue == queues_.end()) return;
  const auto place = queue->second.find(task.place);
  if (place != queue->second.end() && place->second == number) queue->second.erase(place);
  if (queue->second.empty()) queues_.erase(queue);
}

void BrokerLedger::retry(BrokerTask number, Task& task, Time now, Actions& actions) {
  const Duration pause = pause_after(task.backoff, task.used);
  if (pause == Duration::zero()) return enqueue(number, task, actions);
  task.state = State::delayed;
  task.due = now + pause;
  ++waiting_;
  alarms_.emplace(task.due, number);
}

void BrokerLedger::forget(Tasks::iterator task) {
  if (task->second.deadline != Time::max()) alarms_.erase({task->second.deadline, task->first});
  --unsettled_;
  tasks_.erase(task);
}

void BrokerLedger::withdraw(Tasks::iterator place, Actions& actions) {
  const auto& [number, task] = *place;
  if (task.state != State::given) {
    unqueue(number, place->second);
    forget(place);
    return;
  }
  actions.push_back({Action::Kind::stop, task.worker, number, task.used});
  if (task.deadline != Time::max()) alarms_.erase({task.deadline, number});
  --unsettled_;
  place->second.state = State::unwanted;
}

void BrokerLedger::give(BrokerWorker number, Worker& worker, BrokerTask which, Actions& actions) {
  Task& task = tasks_.find(which)->second;
  unqueue(which, task);
  task.state = State::given;
  task.worker = number;
  ++task.used;
  worker.given.insert(which);
  actions.push_back({Action::Kind::give, number, which, task.used});
}

void BrokerLedger::fill(BrokerWorker number, Actions& actions) {
  const auto found = workers_.find(number);
  if (found == workers_.end()) return;
  Worker& worker = found->second;
  while (worker.has_room()) {
    const std::map<Place, BrokerTask>* best = nullptr;
    for (const BrokerName name : worker.names) {
      const auto queue = queues_.find(name);
      if (queue == queues_.end()) continue;
      if (best == nullptr || queue->second.begin()->first < best->begin()->first)
        best = &queue->second;
    }
    if (best == nullptr) return;
    give(number, worker, best->begin()->second, actions);
  }
}

}  // namespace passel::inline v0::detail
