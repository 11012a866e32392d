// Layer pool: the broker of a pool that spans hosts: sessions, calls and answers.
#include "task_broker.hpp"

#include <passel/log.hpp>

#include <algorithm>
#include <chrono>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t grant_bytes = std::size_t{8} << 20;  // in one message; a larger task alone
constexpr std::size_t most_takes = 16;
constexpr std::size_t most_label = 1000;  // of what errors call a task

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
    : site_{site}, name_{std::move(name)}, answers_{std::move(site)} {}

TaskBroker::~TaskBroker() {
  const auto site = site_.lock();
  if (site && timer_) site->loop().cancel(*timer_);
  for (const auto& [number, worker] : workers_) hello_bytes_ -= worker.hello_bytes;
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

// --- what is offered ---

void TaskBroker::meet(HostedCall&& call) {
  const auto hello = call.arguments<SubmitterHello>();
  if (!hello) return call.reply.set(hello.error());
  const auto& [asked] = *hello;
  for (const TaskSign& sign : asked.tasks) {
    auto why = offered_.mismatch(sign, asked.build);
    if (!why && !asked.may_wait) why = offered_.unknown(sign.name);
    if (why) return call.reply.set(*std::move(why));
  }
  call.reply.value();
}

Result<void> TaskBroker::check_hello(const HostedCall& call, const WorkerHello& hello) const {
  const auto full = [](std::string what, std::size_t value, std::size_t limit) {
    return Error{Errc::full, std::move(what) + ": " + std::to_string(value) + ", limit " +
                                 std::to_string(limit)};
  };
  const std::size_t bytes = call.args.size();
  if (bytes > max_hello) return full("bytes of what a worker offers", bytes, max_hello);
  if (hello_bytes_ + bytes > max_hellos)
    return full("bytes of what workers offer", hello_bytes_ + bytes, max_hellos);
  const auto others = static_cast<std::size_t>(
      std::count_if(workers_.begin(), workers_.end(),
                    [&](const auto& one) { return one.second.session == call.caller.session; }));
  if (others >= max_workers_of_session)
    return full("workers of one session", others + 1, max_workers_of_session);
  for (const TaskSign& sign : hello.tasks)
    if (auto why = offered_.mismatch(sign, hello.build)) return *std::move(why);
  return offered_.check_room(hello.tasks);
}

void TaskBroker::join(HostedCall&& call) {
  auto read = call.arguments<WorkerHello>();
  if (!read) return call.reply.set(read.error());
  WorkerHello& hello = std::get<0>(*read);
  if (auto may = check_hello(call, hello); !may) return call.reply.set(may.error());
  const BrokerWorker number = ++last_worker_;
  Worker& worker = workers_[number];
  BrokerLedger::Join joined{number, {}};
  for (const TaskSign& sign : hello.tasks) {
    const BrokerName name = offered_.hold(sign.name);
    worker.which.emplace(name, static_cast<std::uint32_t>(joined.names.size()));
    joined.names.push_back(name);
    offered_.offer(sign, hello.build, hello.name);
  }
  worker.session = call.caller.session;
  worker.hello_bytes = call.args.size();
  hello_bytes_ += worker.hello_bytes;
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
  const Turn turn{*this};
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
  const Turn turn{*this};
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
  const Turn turn{*this};
  worker->leaving = std::move(call.reply);
  stop_offering(*worker);
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
  const Turn turn{*this};
  if (worker_of(call, number) != nullptr) forget_worker(number);
  call.reply.value();
}

void TaskBroker::finish_leaving(BrokerWorker number, Worker& worker) {
  if (!worker.leaving || ledger_.given_to(number) != 0) return;
  worker.leaving->value();
  get_logger().log(LogLevel::info, [&] { return "worker '" + worker.hello.name + "' has left"; });
  erase_worker(number);
}

void TaskBroker::stop_offering(Worker& worker) {
  if (!std::exchange(worker.is_offering, false)) return;
  for (const TaskSign& sign : worker.hello.tasks) offered_.withdraw(sign.name);
}

void TaskBroker::forget_worker(BrokerWorker number) {
  Worker& worker = workers_.at(number);
  const std::size_t had = ledger_.given_to(number);
  get_logger().log(had == 0 ? LogLevel::info : LogLevel::warning, [&] {
    return "worker '" + worker.hello.name + "' at " + worker.hello.host + " is lost with " +
           std::to_string(had) + " tasks";
  });
  stop_offering(worker);
  // It never learnt of these. They must not come back to it, which would cost them an attempt.
  feed(BrokerLedger::Leave{number});
  for (const BrokerTask task : std::exchange(worker.given, {}))
    feed(BrokerLedger::Ended{number, task, BrokerLedger::Ending::returned});
  erase_worker(number);
}

void TaskBroker::erase_worker(BrokerWorker number) {
  feed(BrokerLedger::Gone{number});
  const auto gone = workers_.extract(number);
  hello_bytes_ -= gone.mapped().hello_bytes;
  for (const TaskSign& sign : gone.mapped().hello.tasks) offered_.let_go(sign.name);
}

// --- tasks ---

Result<void> TaskBroker::check_order(const TaskOrder& order) const {
  if (draining_) return Error{Errc::invalid_state, "the server is ending: no new tasks"};
  if (size_of(order) > most_payload) return over_payload("arguments and names", size_of(order));
  if (tasks_.size() >= max_tasks || bytes_ + size_of(order) > max_bytes)
    return Error{Errc::full, "the server has room for " + std::to_string(max_tasks) + " tasks of " +
                                 std::to_string(max_bytes >> 20) + " MiB together"};
  PASSEL_CHECK(offered_.check_room(order.task));
  if (!order.may_wait)
    if (auto why = offered_.unknown(order.task)) return *std::move(why);
  return {};
}

void TaskBroker::submit(HostedCall&& call) {
  auto read = call.arguments<TaskOrder>();
  if (!read) return call.reply.set(read.error());
  TaskOrder& order = std::get<0>(*read);
  if (order.label.size() > most_label) order.label.resize(most_label);
  if (auto may = check_order(order); !may) return call.reply.set(may.error());
  const BrokerName name = offered_.hold(order.task);
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
  offered_.let_go(waiting.order.task);
  ++done_;
  if (!answer && answer.error() == Errc::worker_lost) ++lost_;
  if (answer) {
    const auto [session, call] = waiting.key;
    answers_.answer(session, call, std::move(waiting.reply), *std::move(answer));
  } else {
    waiting.reply.set(answer.error());
  }
  tell_if_drained();
}

void TaskBroker::session_ready(std::uint64_t session) {
  answers_.deliver(session);
  tell_if_drained();
}

void TaskBroker::tell_if_drained() {
  if (!draining_ || !tasks_.empty() || !answers_.empty()) return;
  for (const auto& told : std::exchange(drained_, {})) told();
}

// --- ends of calls and sessions ---

void TaskBroker::abandoned(std::uint64_t session, std::uint64_t call) { on({session, call}); }
void TaskBroker::session_ended(std::uint64_t session) { on({session, std::nullopt}); }

void TaskBroker::on(const Notice& notice) {
  const Turn turn{*this};
  notices_.push_back(notice);
}

void TaskBroker::catch_up() {
  while (!notices_.empty()) {
    const Notice notice = notices_.front();
    notices_.pop_front();
    if (notice.call) {
      end_call(notice.session, *notice.call);
    } else {
      end_session(notice.session);
    }
  }
}

void TaskBroker::end_call(std::uint64_t session, std::uint64_t call) {
  const auto found = calls_.find({session, call});
  if (found == calls_.end()) {
    answers_.drop(session, call);
    tell_if_drained();
    return end_call_of_worker(session, call);
  }
  const BrokerTask task = found->second;
  feed(BrokerLedger::Drop{task});
  settle(task, Error{Errc::cancelled, "nobody waits for it"});
}

/// Over networks a session ends seconds after its connection broke, because of those who hold
/// locks; open calls end at once.
void TaskBroker::end_call_of_worker(std::uint64_t session, std::uint64_t call) {
  const auto found = std::find_if(workers_.begin(), workers_.end(), [&](const auto& one) {
    return one.second.session == session && one.second.stays.first == call;
  });
  if (found != workers_.end()) return forget_worker(found->first);
  for (auto& [number, worker] : workers_)
    if (worker.session == session)
      std::erase_if(worker.takes, [call](const auto& take) { return take.first == call; });
}

void TaskBroker::end_session(std::uint64_t session) {
  std::vector<BrokerWorker> gone;
  for (const auto& [number, worker] : workers_)
    if (worker.session == session) gone.push_back(number);
  for (const BrokerWorker number : gone) forget_worker(number);
  std::vector<std::uint64_t> open;
  for (auto it = calls_.lower_bound({session, 0}); it != calls_.end() && it->first.first == session;
       ++it)
    open.push_back(it->first.second);
  for (const std::uint64_t call : open) end_call(session, call);
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
      const Turn turn{*broker};
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
  const Turn turn{*this};
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
                           .which = worker.which.at(offered_.number_of(order.task)),
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
  out.tasks = offered_.signatures();
  out.waiting = ledger_.waiting();
  out.done = done_;
  out.lost = lost_;
  return out;
}

void TaskBroker::drain(std::function<void()> emptied) {
  draining_ = true;
  if (tasks_.empty() && answers_.empty()) return emptied();
  drained_.push_back(std::move(emptied));
}

}  // namespace passel::inline v0::detail
