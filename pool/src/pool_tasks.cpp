// Layer pool: the pool's actor, its jobs: how they come in, and what their tasks come to.
#include "pool_core.hpp"

#include <algorithm>
#include <csignal>
#include <limits>

namespace passel::inline v0::detail {
namespace {

Error not_running() { return {Errc::invalid_state, "Pool not running"}; }

std::string seconds(std::chrono::nanoseconds time) {
  std::string text = std::to_string(static_cast<double>(time.count()) / 1e9);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text + " s";
}

std::string end_of(const WorkerLost& lost) {
  std::string text = lost.signal != 0 ? "was killed by signal " + std::to_string(lost.signal)
                                      : "exited with code " + std::to_string(lost.exit_code);
  if (lost.cause == LossCause::out_of_memory) text += " (out of memory)";
  return text;
}

}  // namespace

void PoolCore::accept(Op* op, Cell* cell) noexcept {
  auto& job = static_cast<PoolJob&>(*op);
  if (cell == nullptr) return refuse(job, not_running());
  auto& core = cell->body<PoolCore>();
  if (core.closing_ || !core.ledger_.is_open()) return refuse(job, core.shared_->refusal());
  // Behind others that wait: nothing else changes.
  if (job.terms_ == nullptr && !core.feed_.empty() && core.ledger_.room() == 0) {
    if (job.count() == 0) return job.finished();
    return core.append(job);
  }
  core.now_ = Deadline::Clock::now();
  if (job.terms().deadline <= core.now_) return refuse(job, core.too_late(job));
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

// --- the line of jobs whose tasks have not all been fed into the ledger

void PoolCore::add(PoolJob& job) {
  if (job.count() == 0) return job.finished();
  append(job);
  if (job.terms().deadline == Ledger::Time::max()) return;
  feed_.deadlines.emplace(job.terms().deadline, &job);
  changed_ = true;
}

void PoolCore::append(PoolJob& job) {
  FeedLine& line = feed_.line(rank_of(job.terms()));
  job.ahead_ = line.tail;
  (line.tail == nullptr ? line.head : line.tail->behind_) = &job;
  line.tail = &job;
  ++feed_.jobs;
}

void PoolCore::unlink(PoolJob& job) {
  FeedLine& line = feed_.line(rank_of(job.terms()));
  (job.ahead_ == nullptr ? line.head : job.ahead_->behind_) = job.behind_;
  (job.behind_ == nullptr ? line.tail : job.behind_->ahead_) = job.ahead_;
  --feed_.jobs;
  if (job.terms().deadline != Ledger::Time::max())
    feed_.deadlines.erase({job.terms().deadline, &job});
}

void PoolCore::refuse_feed(const Error& why) noexcept {
  for (auto& line : feed_.lines) {
    while (line.head != nullptr) {
      PoolJob& job = *line.head;
      unlink(job);
      refuse(job, why);
    }
  }
}

void PoolCore::refuse_late() {
  while (!feed_.deadlines.empty() && feed_.deadlines.begin()->first <= now_) {
    PoolJob& job = *feed_.deadlines.begin()->second;
    unlink(job);
    refuse(job, too_late(job));
  }
}

/// Tasks enter the ledger only as workers can use them, so that a million of them cost no memory
/// here.
void PoolCore::feed() {
  std::int64_t outside = std::numeric_limits<std::int64_t>::min();
  if (!feed_.empty()) {
    for (std::size_t at = 0; at < feed_.lines.size(); ++at) {
      // Asked for each time anew: a task that was cancelled uses up none of the room.
      while (feed_.lines[at].head != nullptr && ledger_.room(feed_.lines[at].rank) > 0)
        feed_one(*feed_.lines[at].head);
    }
    for (const FeedLine& line : feed_.lines) {
      if (line.head != nullptr) outside = std::max(outside, line.rank);
    }
    feed_.forget_empty_lines();
  }
  if (ledger_.set_outside(outside)) step(Ledger::Dispatch{});
}

void PoolCore::feed_one(PoolJob& job) {
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
  record.has_items = false;
  job.task_slot_ = task;
  if (job.terms().streams) streams_.insert_or_assign(job.serial_, task);
  if (job.fed_ == job.count()) unlink(job);
  // By value: after the step the job may be over and gone.
  Ledger::Submit submit{.task = task};
  if (const PoolTerms* const terms = job.terms_.get()) {
    submit.attempts = terms->attempts;
    submit.rank = rank_of(*terms);
    submit.inner = terms->depth > 0;
    submit.backoff = terms->backoff;
    submit.deadline = terms->deadline;
    submit.limit = terms->limit;
    submit.grace = terms->grace;
  }
  step(submit);
}

void PoolCore::answered(PoolJob& job) noexcept {
  if (++job.answered_ == job.count()) job.finished();
}

/// Ends what is left of a job; what runs is asked to stop, and made to.
void PoolCore::stop_job(const PoolJob* wanted, std::uint64_t serial) {
  now_ = Deadline::Clock::now();
  for (const FeedLine& line : feed_.lines) {
    for (PoolJob* job = line.head; job != nullptr; job = job->behind_) {
      if (job != wanted || job->serial_ != serial) continue;
      unlink(*job);
      // What was fed already is still counted: the job is not over by this alone.
      const bool fed = job->answered_ < job->fed_;
      refuse(*job, {Errc::cancelled, "the task was cancelled before it started"});
      if (!fed) return finish();
      break;
    }
  }
  std::vector<TaskSlot> tasks;
  for (TaskSlot task = 0; task < records_.size(); ++task) {
    const PoolJob* const job = records_[task].job;
    if (job != nullptr && job == wanted && job->serial_ == serial) tasks.push_back(task);
  }
  for (const TaskSlot task : tasks) step(Ledger::Stop{task});
  finish();
}

void PoolCore::tell_taken(std::uint64_t serial, std::uint32_t items) {
  const auto found = streams_.find(serial);
  if (found == streams_.end()) return;
  const Record& record = records_[found->second];
  Link& link = *links_[record.worker];
  if (record.number != 0 && link.end) link.end->tell_taken(record.number, items);
}

void PoolCore::take_item(WorkerSlot worker, const WorkerAnswer& item) {
  const TaskSlot task = links_[worker]->by_number[item.number % ChannelLayout::cells];
  if (!is_task(task) || records_[task].number != item.number) return;
  Record& record = records_[task];
  if (!std::exchange(record.has_items, true)) step(Ledger::Pin{task});
  record.job->item(record.index, item.bytes, item.descriptors);
}

// --- what tasks come to

void PoolCore::ask_stop(WorkerSlot worker, TaskSlot task) {
  Link& link = *links_[worker];
  link.asked_to_stop = records_[task].number;
  link.end->ask_stop(link.asked_to_stop);
}

void PoolCore::condemn(WorkerSlot worker) {
  Link& link = *links_[worker];
  // It may have finished just now: then its answer is on the way, and it lives.
  if (!link.end->condemn(link.asked_to_stop)) return;
  link.cause = LossCause::overtime;
  step(Ledger::Condemned{worker});
}

void PoolCore::settle(TaskSlot task, Settled how) {
  Record& record = records_[task];
  end_fetch(record);
  PoolJob& job = *std::exchange(record.job, nullptr);
  if (job.terms().streams) streams_.erase(job.serial_);
  const std::unique_ptr<Error> failure = std::move(record.failure);
  if (how != Settled::done && record.number != 0 && record.worker < links_.size()) {
    TaskSlot& entry = links_[record.worker]->by_number[record.number % ChannelLayout::cells];
    // A task that runs on over its time leaves word when it is through.
    if (entry == task) entry = how == Settled::timed_out ? orphan : nobody;
  }
  if (how != Settled::done) {
    const Error why = reason(record, how, job);
    if (how == Settled::lost) bury(job, record, why);
    job.error(record.index, why);
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

Error PoolCore::too_late(const PoolJob& job) {
  return {Errc::timeout, job.label() + " was not finished by its deadline"};
}

Error PoolCore::reason(const Record& record, Settled how, const PoolJob& job) const {
  switch (how) {
    case Settled::cancelled:
      return {Errc::cancelled, record.number == 0 ? "the task was cancelled before it started"
                                                  : "the task was stopped while it ran"};
    case Settled::terminated:
      return {Errc::cancelled, "the pool was terminated before the task was finished"};
    case Settled::timed_out:
      if (job.terms().deadline <= now_) return too_late(job);
      return {Errc::timeout,
              job.label() + " ran longer than its limit of " + seconds(job.terms().limit)};
    case Settled::lost: return lost(record, job);
    case Settled::done:
    case Settled::pool_failed:
    case Settled::refused: break;
  }
  return shared_->refusal();
}

Error PoolCore::lost(const Record& record, const PoolJob& job) const {
  if (!context_.death) return {Errc::worker_lost, "the worker process is gone"};
  auto detail = std::make_shared<WorkerLost>(*context_.death);
  detail->task = job.label();
  detail->attempt = record.attempt;
  std::string text = "worker process " + std::to_string(detail->pid) + " " + end_of(*detail) +
                     " while it ran " + detail->task;
  if (job.terms().attempts > 1) {
    text += ", on attempt " + std::to_string(record.attempt) + " of " +
            std::to_string(job.terms().attempts);
  }
  if (!detail->last_lines.empty()) text += "; its last words: " + detail->last_lines.back();
  return {Errc::worker_lost, std::move(text), std::move(detail)};
}

/// Keeps what a task that cost its last worker was sent with.
void PoolCore::bury(PoolJob& job, const Record& record, const Error& why) {
  if (config_.max_dead_letters == 0) return;
  const PoolJob::Payload payload = job.payload(record.index);
  dead_bytes_ += payload.size();
  dead_letters_.push_back(
      {.task = job.label(),
       .attempts = record.attempt,
       .error = why,
       .payload = {payload.args.begin(), payload.args.end()},
       .descriptors = {payload.descriptors.begin(), payload.descriptors.end()}});
  auto& kept = dead_letters_.back().payload;
  kept.insert(kept.end(), payload.tail.begin(), payload.tail.end());
  while (dead_letters_.size() > config_.max_dead_letters ||
         (dead_bytes_ > config_.max_message && dead_letters_.size() > 1)) {
    dead_bytes_ -= dead_letters_.front().payload.size();
    dead_letters_.pop_front();
  }
}

}  // namespace passel::inline v0::detail
