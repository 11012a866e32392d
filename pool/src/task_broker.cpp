// Layer pool: the broker of a pool that spans hosts: sessions, calls and answers.
#include "task_broker.hpp"

#include <passel/log.hpp>

#include <algorithm>
#include <chrono>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t grant_bytes = std::size_t{8} << 20;  // in one message; a larger task alone
constexpr std::size_t most_takes = 16;
constexpr std::size_t most_names = 100'000;

std::chrono::steady_clock::time_point deadline_of(const TaskOrder& order) {
  if (!order.deadline_ns) return std::chrono::steady_clock::time_point::max();
  return Deadline::after(std::chrono::nanoseconds{*order.deadline_ns}).when();
}

std::size_t size_of(const TaskOrder& order) {
  return order.args.size() + order.label.size() + order.task.size();
}

Error host_lost(const TaskOrder& order, const std::string& worker, unsigned attempt) {
  return {Errc::worker_lost, "the host of worker '" + worker + "' was lost with task '" +
                                 order.label + "' (attempt " + std::to_string(attempt) + " of " +
                                 std::to_string(order.attempts) + ")"};
}

}  // namespace

TaskBroker::TaskBroker(std::weak_ptr<HostedSite> site, std::string name)
    : site_{std::move(site)}, name_{std::move(name)} {}

TaskBroker::~TaskBroker() {
  const auto site = site_.lock();
  if (site && timer_) site->loop().cancel(*timer_);
  for (const auto& told : drained_) told();
}

std::span<const HostedMethod<TaskBroker>> TaskBroker::table() {
  static constexpr HostedMethod<TaskBroker> methods[] = {
      hosted_method<&TaskBroker::submit>{"submit"}, hosted_method<&TaskBroker::done>{"done"},
      hosted_method<&TaskBroker::take>{"take"},     hosted_method<&TaskBroker::join>{"join"},
      hosted_method<&TaskBroker::leave>{"leave"},   hosted_method<&TaskBroker::meet>{"meet"},
      hosted_method<&TaskBroker::stay>{"stay"},     hosted_method<&TaskBroker::quit>{"quit"},
      hosted_method<&TaskBroker::report>{"report"}};
  return methods;
}

std::string TaskBroker::text() const {
  return "<pool '" + name_ + "': " + std::to_string(workers_.size()) + " workers, " +
         std::to_string(ledger_.unsettled()) + " tasks>";
}

BrokerName TaskBroker::name_of(const std::string& task) {
  return names_.try_emplace(task, static_cast<BrokerName>(names_.size())).first->second;
}

// --- what is offered ---

Error TaskBroker::unknown_task(const std::string& task) const {
  std::string known;
  for (const auto& [name, offer] : offers_)
    known += (known.empty() ? "" : ", ") + offer.sign.to_string();
  return {Errc::not_found, "no worker offers task '" + task + "'; there are: " + known};
}

std::optional<Error> TaskBroker::refusal(const TaskSign& asked, const std::string& build,
                                         bool may_wait) const {
  const auto name = names_.find(asked.name);
  const auto offer = name == names_.end() ? offers_.end() : offers_.find(name->second);
  if (offer == offers_.end()) {
    if (may_wait || workers_.empty()) return std::nullopt;
    return unknown_task(asked.name);
  }
  if (is_compatible(asked, offer->second.sign)) return std::nullopt;
  return Error{Errc::type_mismatch, "task " + asked.to_string() + " of build " + build +
                                        " is offered as " + offer->second.sign.to_string() +
                                        " by worker '" + offer->second.worker + "' of build " +
                                        offer->second.build};
}

void TaskBroker::meet(HostedCall&& call) {
  const auto hello = call.arguments<SubmitterHello>();
  if (!hello) return call.reply.set(hello.error());
  const auto& [asked] = *hello;
  for (const TaskSign& sign : asked.tasks)
    if (auto why = refusal(sign, asked.build, asked.may_wait))
      return call.reply.set(*std::move(why));
  call.reply.value();
}

void TaskBroker::join(HostedCall&& call) {
  auto read = call.arguments<WorkerHello>();
  if (!read) return call.reply.set(read.error());
  WorkerHello& hello = std::get<0>(*read);
  for (const TaskSign& sign : hello.tasks)
    if (auto why = refusal(sign, hello.build, true)) return call.reply.set(*std::move(why));
  const BrokerWorker number = ++last_worker_;
  Worker& worker = workers_[number];
  BrokerLedger::Join joined{number, {}};
  for (const TaskSign& sign : hello.tasks) {
    const BrokerName name = name_of(sign.name);
    worker.which.emplace(name, static_cast<std::uint32_t>(joined.names.size()));
    joined.names.push_back(name);
    offers_.insert_or_assign(name, Offer{sign, hello.build, hello.name});
  }
  worker.session = call.caller.session;
  worker.hello = std::move(hello);
  get_logger().log(LogLevel::info, [&] {
    return "worker '" + worker.hello.name + "' at " + worker.hello.host + " joins pool '" + name_ +
           "' with " + std::to_string(worker.hello.processes) + " processes";
  });
  feed(joined);
  call.reply.value(number);
}

TaskBroker::Worker* TaskBroker::worker_of(const HostedCall& call, BrokerWorker number) {
  const auto found = workers_.find(number);
  const bool is_theirs = found != workers_.end() && found->second.session == call.caller.session;
  return is_theirs ? &found->second : nullptr;
}

namespace {
Error no_worker(BrokerWorker number) {
  return {Errc::stale_object, "worker " + std::to_string(number) + " has not joined, or is gone"};
}
}  // namespace

void TaskBroker::stay(HostedCall&& call) {
  const auto read = call.arguments<BrokerWorker>();
  if (!read) return call.reply.set(read.error());
  const BrokerWorker number = std::get<0>(*read);
  Worker* const worker = worker_of(call, number);
  if (worker == nullptr) return call.reply.set(no_worker(number));
  worker->stays = {call.id, std::move(call.reply)};
}

void TaskBroker::take(HostedCall&& call) {
  const auto read = call.arguments<BrokerWorker>();
  if (!read) return call.reply.set(read.error());
  const BrokerWorker number = std::get<0>(*read);
  Worker* const worker = worker_of(call, number);
  if (worker == nullptr) return call.reply.set(no_worker(number));
  if (worker->takes.size() >= most_takes)
    return call.reply.set(Error{Errc::full, "a worker may wait for tasks " +
                                                std::to_string(most_takes) + " times at once"});
  worker->takes.emplace_back(call.id, std::move(call.reply));
  if (!worker->given.empty() || !worker->stops.empty()) flush_later(number, *worker);
}

void TaskBroker::done(HostedCall&& call) {
  const auto read = call.arguments<BrokerWorker, std::uint32_t, std::vector<TaskOutcome>>();
  if (!read) return call.reply.set(read.error());
  const auto& [number, window, outcomes] = *read;
  Worker* const worker = worker_of(call, number);
  if (worker == nullptr) return call.reply.set(no_worker(number));
  feed(BrokerLedger::Room{number, window});
  for (const TaskOutcome& outcome : outcomes) {
    constexpr auto last = static_cast<std::uint8_t>(BrokerLedger::Ending::returned);
    const auto how = static_cast<BrokerLedger::Ending>(std::min(outcome.how, last));
    if (how != BrokerLedger::Ending::returned) ++worker->done;
    feed(BrokerLedger::Ended{number, outcome.task, how}, &outcome);
  }
  call.reply.value();
  finish_leaving(number, *worker);
}

void TaskBroker::leave(HostedCall&& call) {
  const auto read = call.arguments<BrokerWorker>();
  if (!read) return call.reply.set(read.error());
  const BrokerWorker number = std::get<0>(*read);
  Worker* const worker = worker_of(call, number);
  if (worker == nullptr) return call.reply.set(no_worker(number));
  worker->leaving = std::move(call.reply);
  feed(BrokerLedger::Leave{number});
  // What it has not been told of yet can go to others at once.
  for (const BrokerTask task : std::exchange(worker->given, {}))
    feed(BrokerLedger::Ended{number, task, BrokerLedger::Ending::returned});
  finish_leaving(number, *worker);
}

void TaskBroker::quit(HostedCall&& call) {
  const auto read = call.arguments<BrokerWorker>();
  if (!read) return call.reply.set(read.error());
  const BrokerWorker number = std::get<0>(*read);
  if (worker_of(call, number) != nullptr) forget_worker(number);
  call.reply.value();
}

void TaskBroker::finish_leaving(BrokerWorker number, Worker& worker) {
  if (!worker.leaving || ledger_.given_to(number) != 0) return;
  worker.leaving->value();
  get_logger().log(LogLevel::info, [&] { return "worker '" + worker.hello.name + "' has left"; });
  feed(BrokerLedger::Gone{number});
  workers_.erase(number);
}

void TaskBroker::forget_worker(BrokerWorker number) {
  Worker& worker = workers_.at(number);
  const std::size_t had = ledger_.given_to(number);
  get_logger().log(had == 0 ? LogLevel::info : LogLevel::warning, [&] {
    return "worker '" + worker.hello.name + "' at " + worker.hello.host + " is lost with " +
           std::to_string(had) + " tasks";
  });
  // It never learnt of these. They must not come back to it, which would cost them an attempt.
  feed(BrokerLedger::Leave{number});
  for (const BrokerTask task : std::exchange(worker.given, {}))
    feed(BrokerLedger::Ended{number, task, BrokerLedger::Ending::returned});
  feed(BrokerLedger::Gone{number});
  workers_.erase(number);
}

// --- tasks ---

void TaskBroker::submit(HostedCall&& call) {
  auto read = call.arguments<TaskOrder>();
  if (!read) return call.reply.set(read.error());
  TaskOrder& order = std::get<0>(*read);
  if (draining_)
    return call.reply.set(Error{Errc::invalid_state, "the server is ending: no new tasks"});
  if (size_of(order) > most_payload)
    return call.reply.set(over_payload("arguments and names", size_of(order)));
  if (tasks_.size() >= max_tasks || bytes_ + size_of(order) > max_bytes)
    return call.reply.set(Error{Errc::full, "the server has room for " + std::to_string(max_tasks) +
                                                " tasks of " + std::to_string(max_bytes >> 20) +
                                                " MiB together"});
  if (names_.size() >= most_names && !names_.contains(order.task))
    return call.reply.set(Error{Errc::full, "the server knows as many names of tasks as it may"});
  const BrokerName name = name_of(order.task);
  if (!offers_.contains(name) && !order.may_wait && !workers_.empty())
    return call.reply.set(unknown_task(order.task));
  const BrokerTask number = ++last_task_;
  BrokerLedger::Submit submitted{.task = number,
                                 .name = name,
                                 .attempts = order.attempts,
                                 .retry_failures = order.retry_failures,
                                 .rank = order.priority,
                                 .backoff = std::chrono::nanoseconds{order.backoff_ns},
                                 .deadline = deadline_of(order)};
  bytes_ += size_of(order);
  const CallKey key{call.caller.session, call.id};
  calls_.emplace(key, number);
  tasks_.emplace(number, Waiting{std::move(order), std::move(call.reply), key});
  feed(submitted);
}

void TaskBroker::settle(BrokerTask task, Result<Encoded> answer) {
  auto found = tasks_.extract(task);
  if (!found) return;
  Waiting& waiting = found.mapped();
  calls_.erase(waiting.key);
  bytes_ -= size_of(waiting.order);
  ++done_;
  if (!answer && answer.error() == Errc::worker_lost) ++lost_;
  waiting.reply.set(std::move(answer));
  if (draining_ && tasks_.empty())
    for (const auto& told : std::exchange(drained_, {})) told();
}

void TaskBroker::abandoned(std::uint64_t session, std::uint64_t call) {
  const auto found = calls_.find({session, call});
  if (found == calls_.end()) return abandoned_by_worker(session, call);
  const BrokerTask task = found->second;
  feed(BrokerLedger::Drop{task});
  settle(task, Error{Errc::cancelled, "nobody waits for it"});
}

/// Over networks a session ends seconds after its connection broke, because of those who hold
/// locks; open calls end at once.
void TaskBroker::abandoned_by_worker(std::uint64_t session, std::uint64_t call) {
  const auto found = std::find_if(workers_.begin(), workers_.end(), [&](const auto& one) {
    return one.second.session == session && one.second.stays.first == call;
  });
  if (found != workers_.end()) return forget_worker(found->first);
  for (auto& [number, worker] : workers_)
    if (worker.session == session)
      std::erase_if(worker.takes, [call](const auto& take) { return take.first == call; });
}

void TaskBroker::session_ended(std::uint64_t session) {
  std::vector<BrokerWorker> gone;
  for (const auto& [number, worker] : workers_)
    if (worker.session == session) gone.push_back(number);
  for (const BrokerWorker number : gone) forget_worker(number);
  std::vector<std::uint64_t> open;
  for (auto it = calls_.lower_bound({session, 0}); it != calls_.end() && it->first.first == session;
       ++it)
    open.push_back(it->first.second);
  for (const std::uint64_t call : open) abandoned(session, call);
}

// --- the ledger ---

void TaskBroker::feed(const BrokerLedger::Event& event, const TaskOutcome* outcome) {
  BrokerLedger::Actions actions;
  ledger_.step(event, std::chrono::steady_clock::now(), actions);
  for (const auto& action : actions) act(action, outcome);
  arm();
}

void TaskBroker::act(const BrokerLedger::Action& action, const TaskOutcome* outcome) {
  using Kind = BrokerLedger::Action::Kind;
  const auto worker = workers_.find(action.worker);
  switch (action.kind) {
    case Kind::give:
      worker->second.given.push_back(action.task);
      return flush_later(action.worker, worker->second);
    case Kind::stop:
      if (worker == workers_.end()) return;
      // One that it was not told of needs no telling.
      if (std::erase(worker->second.given, action.task) != 0)
        return feed(
            BrokerLedger::Ended{action.worker, action.task, BrokerLedger::Ending::returned});
      worker->second.stops.push_back(action.task);
      return flush_later(action.worker, worker->second);
    case Kind::answer:
      if (outcome == nullptr) return;
      if (outcome->is_error) return settle(action.task, decode_error(outcome->bytes));
      return settle(action.task, encode(outcome->bytes));
    case Kind::lost: {
      const auto task = tasks_.find(action.task);
      if (task == tasks_.end()) return;
      const std::string name = worker == workers_.end() ? "?" : worker->second.hello.name;
      return settle(action.task, host_lost(task->second.order, name, action.attempt));
    }
    case Kind::timed_out: {
      const auto task = tasks_.find(action.task);
      if (task == tasks_.end()) return;
      return settle(action.task, Error{Errc::timeout, "task '" + task->second.order.label +
                                                          "' was not done at its deadline"});
    }
  }
}

void TaskBroker::arm() {
  const auto site = site_.lock();
  if (!site) return;
  const auto due = ledger_.next_deadline();
  if (timer_ && due && timer_->first == *due) return;
  if (timer_) site->loop().cancel(*timer_);
  timer_.reset();
  if (!due) return;
  timer_ = site->loop().at(Deadline::at(*due), [weak = weak_from_this()] {
    if (const auto broker = weak.lock()) {
      broker->timer_.reset();
      broker->feed(BrokerLedger::Tick{});
    }
  });
}

// --- telling workers: once for all that one batch of calls brings ---

void TaskBroker::flush_later(BrokerWorker number, Worker& worker) {
  if (std::exchange(worker.waits_for_flush, true)) return;
  unflushed_.push_back(number);
  const auto site = site_.lock();
  if (unflushed_.size() > 1 || !site) return;
  site->loop().post([weak = weak_from_this()] {
    if (const auto broker = weak.lock()) broker->flush();
  });
}

void TaskBroker::flush() {
  for (const BrokerWorker number : std::exchange(unflushed_, {})) {
    const auto worker = workers_.find(number);
    if (worker == workers_.end()) continue;
    worker->second.waits_for_flush = false;
    flush_to(worker->second);
  }
}

void TaskBroker::flush_to(Worker& worker) {
  if (worker.takes.empty() || (worker.given.empty() && worker.stops.empty())) return;
  TaskGrant grant;
  grant.stops = std::exchange(worker.stops, {});
  std::size_t bytes = 0;
  std::size_t told = 0;
  for (; told < worker.given.size(); ++told) {
    const auto task = tasks_.find(worker.given[told]);
    if (task == tasks_.end()) continue;  // it has answered what it was never told of
    const TaskOrder& order = task->second.order;
    bytes += size_of(order);
    if (bytes > grant_bytes && !grant.tasks.empty()) break;
    grant.tasks.push_back({.task = task->first,
                           .which = worker.which.at(names_.at(order.task)),
                           .label = order.label,
                           .limit_ns = order.limit_ns,
                           .grace_ns = order.grace_ns,
                           .args = order.args});
  }
  worker.given.erase(worker.given.begin(),
                     worker.given.begin() + static_cast<std::ptrdiff_t>(told));
  HostedReply reply = std::move(worker.takes.front().second);
  worker.takes.pop_front();
  reply.value(grant);
  flush_to(worker);
}

RemotePoolStats TaskBroker::report() const {
  RemotePoolStats out;
  for (const auto& [number, worker] : workers_) {
    RemotePoolStats::Worker one{.name = worker.hello.name,
                                .host = worker.hello.host,
                                .pid = worker.hello.pid,
                                .processes = worker.hello.processes,
                                .has = ledger_.given_to(number),
                                .done = worker.done,
                                .tasks = {}};
    for (const TaskSign& sign : worker.hello.tasks) one.tasks.push_back(sign.name);
    out.workers.push_back(std::move(one));
  }
  for (const auto& [name, offer] : offers_)
    if (ledger_.is_offered(name)) out.tasks.push_back(offer.sign.to_string());
  std::sort(out.tasks.begin(), out.tasks.end());
  out.waiting = ledger_.waiting();
  out.done = done_;
  out.lost = lost_;
  return out;
}

void TaskBroker::drain(std::function<void()> emptied) {
  draining_ = true;
  if (tasks_.empty()) return emptied();
  drained_.push_back(std::move(emptied));
}

}  // namespace passel::inline v0::detail
