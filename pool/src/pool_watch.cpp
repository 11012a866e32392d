// Layer pool: the pool's actor, what it sees of its workers: their memory, their stderr, their end.
#include "pool_core.hpp"

#include <passel/log.hpp>

#include <sys/epoll.h>

#include <csignal>

namespace passel::inline v0::detail {
namespace {

/// What can be told from the way it ended.
LossCause cause_of(ExitStatus status) {
  switch (status.signal) {
    case 0: return LossCause::exited;
    case SIGSEGV:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS: return LossCause::crashed;
    default: return LossCause::killed;
  }
}

/// Until nothing is left: a worker in the middle of one long write rings no second time.
void drain_lines(IoLoop& io, const std::shared_ptr<LastLines>& lines) {
  if (!lines->drain()) io.post([&io, lines] { drain_lines(io, lines); });
}

}  // namespace

Result<void> PoolCore::keep_last_lines(Link& link, ProcessSpec& spec, WorkerStart& start) {
  if (config_.stderr_lines == 0) return {};
  PASSEL_TRY(auto pipe, LastLines::create());
  link.last_lines = std::move(pipe.first);
  spec.args.descriptors.push_back(std::make_shared<Descriptor>(std::move(pipe.second)));
  start.has_stderr = 1;
  PASSEL_TRY(link.last_lines_watch, io_.watch(link.last_lines->descriptor(), EPOLLIN | EPOLLET,
                                              [&io = io_, lines = link.last_lines](std::uint32_t) {
                                                drain_lines(io, lines);
                                              }));
  return {};
}

WorkerLost PoolCore::describe_end(Link& link, ExitStatus status) {
  WorkerLost lost;
  lost.pid = link.child ? link.child->id().pid : 0;
  lost.exit_code = status.code;
  lost.signal = status.signal;
  lost.peak_rss = status.peak_rss;
  lost.cause = link.cause.value_or(cause_of(status));
  if (lost.cause == LossCause::killed && status.signal == SIGKILL) {
    // The kernel counts those that it kills for memory.
    const std::uint64_t kills = memory_kills();
    if (kills > memory_kills_) lost.cause = LossCause::out_of_memory;
    memory_kills_ = kills;
  }
  if (link.last_lines) lost.last_lines = link.last_lines->take(config_.stderr_lines);
  return lost;
}

/// Ends workers that use more memory than they may.
void PoolCore::weigh_workers() {
  if (config_.max_memory == 0 || now_ < weigh_at_) return;
  weigh_at_ = now_ + std::chrono::milliseconds{100};
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    Link& link = *links_[worker];
    if (link.life == 0 || !link.child || !link.end || ledger_.sent_to(worker) == 0) continue;
    if (own_memory(link.child->id().pid) <= config_.max_memory) continue;
    const auto first = ledger_.first_of(worker);
    const std::uint64_t number = first ? records_[first->first].number : 0;
    if (number != 0 && link.end->condemn(number)) {
      link.cause = LossCause::out_of_memory;
      signal(worker, SIGKILL);
    } else {
      step(Ledger::Recycle{worker});
    }
  }
}

std::optional<Ledger::Time> PoolCore::warning_due() const {
  std::optional<Ledger::Time> due;
  if (config_.warn_after <= Ledger::Duration::zero() || ledger_.sent() == 0) return due;
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    const auto first = ledger_.first_of(worker);
    if (!first || records_[first->first].number == links_[worker]->warned_of) continue;
    const Ledger::Time at = first->second + config_.warn_after;
    if (!due || at < *due) due = at;
  }
  return due;
}

void PoolCore::warn_of_long_tasks() {
  if (config_.warn_after <= Ledger::Duration::zero()) return;
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    Link& link = *links_[worker];
    const auto first = ledger_.first_of(worker);
    if (!first || now_ - first->second < config_.warn_after || !link.child) continue;
    const std::uint64_t number = records_[first->first].number;
    if (number == link.warned_of) continue;
    link.warned_of = number;
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now_ - first->second);
    get_logger().warning(records_[first->first].job->label() + " has been with " + link.name +
                         " (process " + std::to_string(link.child->id().pid) + ") for " +
                         std::to_string(age.count()) + " ms; " + doing_of(link.child->id().pid));
    if (config_.stack_signal != 0) static_cast<void>(link.child->signal(config_.stack_signal));
  }
}

/// Tasks with no worker yet.
std::size_t PoolCore::queued() const noexcept {
  std::size_t count = ledger_.queued();
  for (const FeedLine& line : feed_.lines) {
    for (const PoolJob* job = line.head; job != nullptr; job = job->behind_)
      count += job->count() - job->fed_;
  }
  return count;
}

PoolStats PoolCore::stats() const {
  PoolStats stats;
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    const Link& link = *links_[worker];
    if (link.life == 0) continue;
    const int pid = link.child ? link.child->id().pid : 0;
    PoolStats::Worker seen{.name = link.name,
                           .index = link.index,
                           .pid = pid,
                           .ready = link.ready,
                           .waiting = ledger_.sent_to(worker),
                           .done = link.done,
                           .stalled = ledger_.is_stalled(worker) || (pid != 0 && is_stopped(pid)),
                           .memory = pid != 0 ? own_memory(pid) : 0,
                           .busy = link.busy};
    if (link.ready) seen.up = Deadline::Clock::now() - link.ready_at;
    if (const auto first = ledger_.first_of(worker)) {
      seen.task = records_[first->first].job->label();
      const std::uint64_t number = records_[first->first].number;
      seen.running = number != 0 && link.end && link.end->is_running(number);
      seen.running_for = Deadline::Clock::now() - first->second;
    }
    stats.workers.push_back(std::move(seen));
  }
  stats.queued = queued();
  stats.done = done_;
  stats.restarts = ledger_.restarts();
  return stats;
}

}  // namespace passel::inline v0::detail
