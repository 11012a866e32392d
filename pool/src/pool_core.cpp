// Layer pool: the pool's actor, its tasks. Its workers are in pool_workers.cpp.
#include "pool_core.hpp"

#include <passel/detail/futex.hpp>

#include <algorithm>
#include <csignal>
#include <limits>

namespace passel::inline v0::detail {
namespace {

LedgerLimits limits_of(const PoolConfig& config) {
  LedgerLimits limits;
  limits.workers = config.processes;
  limits.max_tasks_per_child = config.max_tasks_per_child;
  limits.max_restarts = config.max_restarts;
  limits.restart_window = config.restart_window;
  limits.start_timeout = config.start_timeout;
  limits.stop_grace = config.stop_grace;
  return limits;
}

/// `yes` when it may be sent.
Result<PoolEnd::Posted> check_size(const PoolJob::Payload& payload, std::uint64_t max_message) {
  if (payload.args.size() > max_message) {
    return Error{Errc::too_large, "arguments of " + std::to_string(payload.args.size()) +
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

Error not_running() { return {Errc::invalid_state, "Pool not running"}; }

}  // namespace

void PoolHandle::Shared::fail(const Error& why) {
  const std::lock_guard lock{mutex};
  if (!failure) failure = why;
  state.store(failed, std::memory_order_release);
}

Error PoolHandle::Shared::refusal() const {
  const std::lock_guard lock{mutex};
  return failure ? *failure : not_running();
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
  starting_ = config_.processes;
  now_ = Deadline::Clock::now();
  step(Ledger::Start{});
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

// --- jobs

void PoolCore::accept(Op* op, Cell* cell) noexcept {
  auto& job = static_cast<PoolJob&>(*op);
  if (cell == nullptr) return refuse(job, not_running());
  auto& core = cell->body<PoolCore>();
  if (core.closing_ || !core.ledger_.is_open()) return refuse(job, core.shared_->refusal());
  core.now_ = Deadline::Clock::now();
  core.add(job);
  core.finish();
}

void PoolCore::refuse(PoolJob& job, const Error& why) noexcept {
  while (job.fed_ < job.count()) {
    job.error(job.fed_++, why);
    ++job.answered_;
  }
  if (job.answered_ == job.count()) job.finished();
}

void PoolCore::refuse_feed(const Error& why) noexcept {
  while (feed_head_ != nullptr) refuse(*std::exchange(feed_head_, feed_head_->behind_), why);
  feed_tail_ = nullptr;
}

void PoolCore::add(PoolJob& job) {
  if (job.count() == 0) return job.finished();
  (feed_tail_ == nullptr ? feed_head_ : feed_tail_->behind_) = &job;
  feed_tail_ = &job;
}

void PoolCore::feed() {
  // Tasks enter the ledger only as workers can use them, so that a million of them cost no memory
  // here.
  for (std::size_t room = ledger_.room(); room > 0 && feed_head_ != nullptr; --room) {
    PoolJob& job = *feed_head_;
    TaskSlot task = 0;
    if (free_records_.empty()) {
      task = static_cast<TaskSlot>(records_.size());
      records_.emplace_back();
    } else {
      task = free_records_.back();
      free_records_.pop_back();
    }
    Record& record = records_[task];
    record.job = &job;
    record.index = job.fed_++;
    record.number = 0;
    record.begun = false;
    // Before the step: afterwards the job may be over and gone.
    const unsigned attempts = job.attempts_;
    if (job.fed_ == job.count()) {
      feed_head_ = job.behind_;
      if (feed_head_ == nullptr) feed_tail_ = nullptr;
    }
    step(Ledger::Submit{.task = task, .attempts = attempts});
  }
}

void PoolCore::answered(PoolJob& job) noexcept {
  if (++job.answered_ == job.count()) job.finished();
}

// --- the ledger's decisions

void PoolCore::step(const Ledger::Event& event) { step_with(event, {}); }

void PoolCore::step_with(const Ledger::Event& event, Context context) {
  ledger_.step(event, now_, actions_);
  if (obeying_) return;  // the loop below comes to it
  obeying_ = true;
  context_ = std::move(context);
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
    case Kind::retire: return links_[action.worker]->end->retire();
    case Kind::terminate: return signal(action.worker, SIGTERM);
    case Kind::kill: return signal(action.worker, SIGKILL);
    case Kind::settle: return settle(action.task, action.settled);
    case Kind::cancel_refused: return;
    case Kind::failed:
      shared_->fail({Errc::pool_failed,
                     "the pool gave up after " + std::to_string(config_.max_restarts + 1) +
                         " failures of its workers in a row; the last one " + last_death_});
      return refuse_feed(shared_->refusal());
    case Kind::closed: return self_->end(ExitReason::Kind::normal);
  }
}

/// After every message: what was decided goes out in one piece.
void PoolCore::finish() {
  feed();
  if (closing_ && !closing_told_ && feed_head_ == nullptr) {
    closing_told_ = true;
    step(Ledger::Close{});
  }
  for (const auto& link : links_) {
    if (std::exchange(link->touched, false) && link->end) link->end->flush();
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
    posted = link.end->post(
        {.task = record.job->task_, .args = payload.args, .descriptors = payload.descriptors});
  }
  if (!posted) {
    record.failure = std::make_unique<Error>(posted.error());
    step(Ledger::Done{worker, task, Ledger::Duration{1}});
    return true;
  }
  if (*posted == PoolEnd::Posted::no_room) return false;
  record.number = link.end->last_posted();
  link.by_number[record.number % ChannelLayout::cells] = task;
  link.touched = true;
  for (const auto& object : payload.objects) {
    if (std::find(link.objects.begin(), link.objects.end(), object) == link.objects.end()) {
      link.objects.push_back(object);
    }
  }
  if (link.objects.size() > 64) {
    std::erase_if(link.objects, [](const auto& object) { return !object->used_by_others(); });
  }
  return true;
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
    if (back) link.by_number[record.number % ChannelLayout::cells] = nobody;
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

void PoolCore::settle(TaskSlot task, Settled how) {
  Record& record = records_[task];
  PoolJob& job = *std::exchange(record.job, nullptr);
  const std::unique_ptr<Error> failure = std::move(record.failure);
  if (how != Settled::done && record.number != 0 && record.worker < links_.size()) {
    TaskSlot& entry = links_[record.worker]->by_number[record.number % ChannelLayout::cells];
    if (entry == task) entry = nobody;
  }
  if (how != Settled::done) {
    job.error(record.index, reason(record, how, job));
  } else if (failure) {
    job.error(record.index, *failure);
  } else if (context_.result->is_error) {
    job.error(record.index, decode_error(context_.result->bytes));
  } else {
    job.value(record.index, context_.result->bytes, context_.result->descriptors);
  }
  free_records_.push_back(task);
  answered(job);
}

Error PoolCore::reason(const Record& record, Settled how, const PoolJob& job) const {
  switch (how) {
    case Settled::cancelled: return {Errc::cancelled, "the task was cancelled before it started"};
    case Settled::terminated:
      return {Errc::cancelled, "the pool was terminated before the task was finished"};
    case Settled::lost:
      if (context_.death) {
        auto detail = std::make_shared<WorkerLost>(*context_.death);
        detail->task = job.name();
        detail->attempt = record.attempt;
        std::string text = "worker process " + std::to_string(detail->pid);
        text += detail->signal != 0 ? " was killed by signal " + std::to_string(detail->signal)
                                    : " exited with code " + std::to_string(detail->exit_code);
        text += " while it ran " + detail->task;
        if (job.attempts_ > 1)
          text += ", on attempt " + std::to_string(record.attempt) + " of " +
                  std::to_string(job.attempts_);
        return {Errc::worker_lost, std::move(text), std::move(detail)};
      }
      return {Errc::worker_lost, "the worker process is gone"};
    case Settled::done:
    case Settled::pool_failed:
    case Settled::refused: break;
  }
  return shared_->refusal();
}

}  // namespace passel::inline v0::detail
