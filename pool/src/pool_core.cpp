// Layer pool: the pool's actor, its tasks. Its workers are in pool_workers.cpp.
#include "pool_core.hpp"

#include <passel/detail/futex.hpp>
#include <passel/log.hpp>

#include <algorithm>
#include <csignal>
#include <limits>

namespace passel::inline v0::detail {
namespace {

LedgerLimits limits_of(const PoolConfig& config) {
  LedgerLimits limits;
  limits.workers = config.processes;
  limits.least = config.min_processes;
  limits.idle_timeout = config.idle_timeout;
  limits.max_tasks_per_child = config.max_tasks_per_child;
  limits.max_restarts = config.max_restarts;
  limits.fragile = config.fragile;
  limits.restart_window = config.restart_window;
  limits.start_timeout = config.start_timeout;
  limits.stop_grace = config.stop_grace;
  return limits;
}

/// `yes` when it may be sent.
Result<PoolEnd::Posted> check_size(const PoolJob::Payload& payload, std::uint64_t max_message) {
  if (payload.size() > max_message) {
    return Error{Errc::too_large, "arguments of " + std::to_string(payload.size()) +
                                      " bytes are over the limit of " +
                                      std::to_string(max_message) + " bytes"};
  }
  if (payload.descriptors.size() > WorkerLine::most_descriptors) {
    return Error{Errc::too_large, "arguments with " + std::to_string(payload.descriptors.size()) +
                                      " handles are over the limit of " +
                                      std::to_string(WorkerLine::most_descriptors) +
                                      " in one message"};
  }
  return PoolEnd::Posted::yes;
}

}  // namespace

void PoolHandle::Shared::fail(const Error& why) {
  {
    const std::lock_guard lock{mutex};
    if (!failure) failure = why;
    state.store(failed, std::memory_order_release);
  }
  places.close();
}

Error PoolHandle::Shared::refusal() const {
  const std::lock_guard lock{mutex};
  return failure ? *failure : Error{Errc::invalid_state, "Pool not running"};
}

PoolCore::PoolCore(PoolConfig config, std::shared_ptr<PoolHandle::Shared> shared, IoLoop& io)
    : config_{std::move(config)}, shared_{std::move(shared)}, io_{io}, ledger_{limits_of(config_)} {
  shared_->appetite.store(2 * std::size_t{config_.processes}, std::memory_order_relaxed);
}

PoolCore::~PoolCore() {
  if (timer_) io_.cancel(*timer_);
  for (const auto& link : links_) {
    if (link->child && !link->child->exit_status()) static_cast<void>(link->child->signal(SIGKILL));
  }
  // The actor was ended from outside, with its engine: nobody is left to answer.
  const Error why{Errc::broken, "the pool was stopped together with the engine it ran on"};
  for (Record& record : records_) {
    if (record.job == nullptr) continue;
    record.job->error(record.index, why);
    answered(*std::exchange(record.job, nullptr));
  }
  refuse_feed(why);
  links_.clear();
  // Last: whoever joins may take the I/O loop down after this.
  shared_->gone.store(1, std::memory_order_release);
  futex_wake(shared_->gone, std::numeric_limits<int>::max(), FutexScope::process);
}

CellRef PoolCore::self_ref() noexcept { return CellRef{self_->try_add_handle() ? self_ : nullptr}; }

void PoolCore::start(Cell& self, Promise<void> started) {
  self_ = &self;
  first_start_ = std::move(started);
  starting_ = config_.min_processes != 0 ? config_.min_processes : config_.processes;
  now_ = Deadline::Clock::now();
  step(Ledger::Start{});
  finish();
}

void PoolCore::resize(unsigned processes) {
  now_ = Deadline::Clock::now();
  config_.processes = processes;
  shared_->processes.store(processes, std::memory_order_relaxed);
  step(Ledger::Resize{processes});
  finish();
}

void PoolCore::close() {
  now_ = Deadline::Clock::now();
  closing_ = true;
  finish();
}

void PoolCore::terminate() {
  now_ = Deadline::Clock::now();
  closing_ = true;
  refuse_feed({Errc::cancelled, "the pool was terminated before the task was finished"});
  step(Ledger::Terminate{});
  finish();
}

void PoolCore::drop() {
  if (const std::size_t left = queued() + ledger_.sent(); left > 0) {
    get_logger().warning("a pool was let go of with " + std::to_string(left) +
                         " unfinished tasks, which end as cancelled; close() and join() before "
                         "that let them finish");
  }
  terminate();
}

PoolCore::FeedLine& PoolCore::Feed::line(std::int64_t rank) {
  auto at = lines.begin();
  while (at != lines.end() && at->rank > rank) ++at;
  if (at == lines.end() || at->rank != rank) at = lines.insert(at, FeedLine{.rank = rank});
  return *at;
}

void PoolCore::Feed::forget_empty_lines() {
  // The usual one stays, so that it needs no memory each time.
  if (lines.size() > 1) {
    std::erase_if(lines,
                  [](const FeedLine& line) { return line.head == nullptr && line.rank != 0; });
  }
}

// --- the ledger's decisions

void PoolCore::step(const Ledger::Event& event) { step_with(event, {}); }

void PoolCore::step_with(const Ledger::Event& event, const Context& context) {
  changed_ = true;
  ledger_.step(event, now_, actions_);
  if (obeying_) return;  // the loop below comes to it
  obeying_ = true;
  context_ = context;
  for (std::size_t i = 0; i < actions_.size(); ++i) obey(Ledger::Action{actions_[i]});
  actions_.clear();
  context_ = {};
  obeying_ = false;
}

void PoolCore::obey(const Ledger::Action& action) {
  using Kind = Ledger::Action::Kind;
  switch (action.kind) {
    case Kind::spawn: return spawn(action.worker);
    case Kind::send: return send(action.worker, action.task, action.attempt);
    case Kind::take_back: return take_back(action.worker, action.task);
    case Kind::retire:
      links_[action.worker]->leaves = true;
      return links_[action.worker]->end->retire();
    case Kind::ask_stop: return ask_stop(action.worker, action.task);
    case Kind::condemn: return condemn(action.worker);
    case Kind::terminate:
      links_[action.worker]->leaves = true;
      return signal(action.worker, SIGTERM);
    case Kind::kill: return signal(action.worker, SIGKILL);
    case Kind::settle: return settle(action.task, action.settled);
    case Kind::cancel_refused: return;
    case Kind::failed: return fail();
    case Kind::closed: return self_->end(ExitReason::Kind::normal);
  }
}

void PoolCore::fail() {
  const std::string count = std::to_string(config_.max_restarts + 1);
  shared_->fail(
      {Errc::pool_failed,
       config_.fragile
           ? "a worker of the pool ended abruptly, which ends this pool: it " + last_death_
           : "the pool gave up after " + count +
                 " failures of its workers in a row; the last one " + last_death_});
  refuse_feed(shared_->refusal());
}

/// After every message: what was decided goes out in one piece.
void PoolCore::finish() {
  feed();
  if (closing_ && !closing_told_ && feed_.empty()) {
    closing_told_ = true;
    step(Ledger::Close{});
  }
  if (!std::exchange(changed_, false)) return;
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    const auto& link = links_[worker];
    if (std::exchange(link->resigned, false) && link->end && link->end->go_to_sleep()) {
      // What others wait for may call user code, which is not for the thread that has just stopped.
      io_.post([tell = teller(worker, link->life)] {
        tell([](PoolCore& core, WorkerSlot who, std::uint64_t life) { core.news(who, life); });
      });
    }
    if (!std::exchange(link->touched, false)) continue;
    if (link->end) link->end->flush();
    if (link->inner) link->inner->announce();
  }
  shared_->appetite.store(2 * std::size_t{config_.processes} * ledger_.window(),
                          std::memory_order_relaxed);
  arm_timer();
}

void PoolCore::send(WorkerSlot worker, TaskSlot task, unsigned attempt) {
  Record& record = records_[task];
  record.worker = worker;
  record.number = 0;
  record.attempt = attempt;
  if (!record.begun) {
    record.begun = true;
    // A false answer makes the ledger take it back, which it has not left yet.
    if (!record.job->begin(record.index)) return step(Ledger::Cancel{task});
  }
  Link& link = *links_[worker];
  if (!link.unposted.empty() || !post(worker, task)) link.unposted.push_back(task);
}

bool PoolCore::post(WorkerSlot worker, TaskSlot task) {
  Record& record = records_[task];
  Link& link = *links_[worker];
  const PoolJob::Payload payload = record.job->payload(record.index);
  Result<PoolEnd::Posted> posted = check_size(payload, config_.max_message);
  if (posted) {
    posted = link.end->post({.task = record.job->task_,
                             .attempt = record.attempt,
                             .args = payload.args,
                             .tail = payload.tail,
                             .descriptors = payload.descriptors});
  }
  if (!posted) {
    record.failure = std::make_unique<Error>(posted.error());
    step(Ledger::Done{worker, task, Ledger::Duration{1}});
    return true;
  }
  if (*posted == PoolEnd::Posted::later) try_again_soon();
  if (*posted != PoolEnd::Posted::yes) return false;
  record.number = link.end->last_posted();
  link.by_number[record.number % ChannelLayout::cells] = task;
  link.touched = true;
  for (const auto& object : payload.objects) {
    if (std::find(link.objects.begin(), link.objects.end(), object) == link.objects.end()) {
      link.objects.push_back(object);
    }
  }
  if (link.objects.size() > 64) forget_objects(link);
  if (std::exchange(record.job->awaited_, false)) static_cast<void>(grant_fetch(*record.job));
  return true;
}

/// Those that no other process has: there is nothing to repair in them when the worker dies.
void PoolCore::forget_objects(Link& link) {
  std::erase_if(link.objects, [](const auto& object) { return !object->used_by_others(); });
}

/// Nobody tells when the kernel takes further descriptors.
void PoolCore::try_again_soon() {
  retry_at_ = std::min(retry_at_, now_ + std::chrono::milliseconds{5});
  changed_ = true;
}

void PoolCore::try_again() {
  if (now_ < retry_at_) return;
  retry_at_ = Ledger::Time::max();
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    Link& link = *links_[worker];
    if (link.life != 0 && link.end) post_waiting(worker);
    if (link.life != 0 && link.inner) give_inner_answers(link);
  }
}

void PoolCore::post_waiting(WorkerSlot worker) {
  Link& link = *links_[worker];
  while (!link.unposted.empty() && post(worker, link.unposted.front())) link.unposted.pop_front();
}

void PoolCore::take_back(WorkerSlot worker, TaskSlot task) {
  Link& link = *links_[worker];
  Record& record = records_[task];
  bool back = true;
  if (record.number != 0) {
    back = link.end->revoke(record.number);
    if (back) {
      link.by_number[record.number % ChannelLayout::cells] = nobody;
      end_fetch(record);
    }
  } else {
    std::erase(link.unposted, task);
  }
  if (back) {
    record.number = 0;
    step(Ledger::TakenBack{worker, task});
  } else {
    step(Ledger::Kept{worker, task});
  }
}

}  // namespace passel::inline v0::detail
