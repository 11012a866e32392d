// Layer pool: the pool's actor, its workers: how they start, answer and end.
#include "pool_core.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <csignal>
#include <cstring>

namespace passel::inline v0::detail {
namespace {

std::string worker_name(const PoolConfig& config, std::uint64_t number) {
  std::string base = config.name;
  if (base.empty()) {
    switch (config.method) {
      case StartMethod::forkserver: base = "ForkServerPoolWorker"; break;
      case StartMethod::spawn: base = "SpawnPoolWorker"; break;
      case StartMethod::fork: base = "ForkPoolWorker"; break;
    }
  }
  return base + "-" + std::to_string(number);
}

std::string describe(ExitStatus status) {
  return status.signal != 0 ? "was killed by signal " + std::to_string(status.signal)
                            : "exited with code " + std::to_string(status.code);
}

}  // namespace

/// A worker takes over the number of the one whose place it takes.
unsigned PoolCore::free_index() const {
  unsigned index = 0;
  const auto is_taken = [&](const auto& link) {
    return link->life != 0 && !link->leaves && link->index == index;
  };
  while (std::any_of(links_.begin(), links_.end(), is_taken)) ++index;
  return index;
}

void PoolCore::spawn(WorkerSlot worker) {
  while (links_.size() <= worker) links_.push_back(std::make_unique<Link>());
  Link& link = *links_[worker];
  link = Link{};
  link.index = free_index();
  link.by_number.fill(nobody);
  link.life = ++lives_;
  link.name = worker_name(config_, link.life);
  if (Result<void> prepared = prepare(worker); !prepared)
    spawned(worker, link.life, prepared.error());
}

WorkerStart PoolCore::start_of(const Link& link) const {
  WorkerStart start;
  start.max_message = config_.max_message;
  start.recycle_memory = config_.recycle_memory;
  start.processes = config_.processes;
  start.index = link.index;
  start.nice = config_.nice;
  start.stack_signal = config_.stack_signal;
  if (!config_.cpus.empty()) {
    start.has_cpus = 1;
    for (const int cpu : config_.cpus[link.index % config_.cpus.size()])
      CPU_SET(static_cast<std::size_t>(cpu), &start.cpus);
  }
  return start;
}

/// Makes the worker's channel and has the I/O thread start its process: that waits for the
/// guardian, which an actor must not, and which nobody may who is just being told of an exit.
Result<void> PoolCore::prepare(WorkerSlot worker) {
  Link& link = *links_[worker];
  PASSEL_TRY(PoolEnd::Created channel, PoolEnd::create(config_.max_message));
  link.end = std::move(channel.end);

  WorkerStart start = start_of(link);
  // Shared because std::function wants to be copied; it never is.
  auto spec = std::make_shared<ProcessSpec>(ProcessSpec{.name = link.name,
                                                        .task = pool_worker_task(),
                                                        .method = config_.method,
                                                        .daemon = true,
                                                        .ignore_interrupt = true});
  spec->args.descriptors = std::move(channel.for_worker);
  PASSEL_CHECK(keep_last_lines(link, *spec, start));
  std::vector<std::byte>& bytes = spec->args.bytes;
  bytes.resize(sizeof start);
  if (config_.initializer) {
    const Encoded& args = config_.initializer->args;
    start.initializer = config_.initializer->task;
    start.has_initializer = 1;
    bytes.insert(bytes.end(), args.bytes.begin(), args.bytes.end());
    spec->args.descriptors.insert(spec->args.descriptors.end(), args.descriptors.begin(),
                                  args.descriptors.end());
    spec->args.objects = args.objects;
  }
  std::memcpy(bytes.data(), &start, sizeof start);

  const auto tell = teller(worker, link.life);
  static_cast<void>(link.end->go_to_sleep());
  // Edge-triggered: bells are counted, not read, so that each costs no system call here.
  PASSEL_TRY(link.watch, io_.watch(link.end->socket(), EPOLLIN | EPOLLET, [tell](std::uint32_t) {
    tell([](PoolCore& core, WorkerSlot who, std::uint64_t life) { core.news(who, life); });
  }));
  io_.post([tell, spec] {
    auto child = std::make_shared<Result<std::shared_ptr<Child>>>(start_child(std::move(*spec)));
    // The worker has its own copies by now; ours would keep it from seeing that the pool is gone.
    spec->args.descriptors.clear();
    tell([child](PoolCore& core, WorkerSlot who, std::uint64_t life) {
      core.spawned(who, life, *child);
    });
  });
  return {};
}

void PoolCore::spawned(WorkerSlot worker, std::uint64_t life,
                       Result<std::shared_ptr<Child>> child) {
  Link& link = *links_[worker];
  if (link.life != life) return;
  now_ = Deadline::Clock::now();
  if (child) {
    one_started_ = true;
    link.child = *std::move(child);
    if (link.signal != 0) signal(worker, link.signal);
    link.child->on_exit([tell = teller(worker, life)](ExitStatus status) {
      tell([status](PoolCore& core, WorkerSlot who, std::uint64_t of) {
        core.gone(who, of, status);
      });
    });
  } else {
    last_death_ = "could not be started: " + child.error().to_string();
    if (first_start_ && !spawn_error_) spawn_error_ = child.error();
    link = Link{};
    step(Ledger::SpawnFailed{worker});
  }
  // A pool with fewer workers than it wants goes on trying to start the others.
  if (first_start_ && --starting_ == 0) {
    if (!one_started_) step(Ledger::Terminate{});
    std::exchange(first_start_, std::nullopt)
        ->set(one_started_ ? Result<void>{} : Result<void>{*spawn_error_});
  }
  finish();
}

void PoolCore::signal(WorkerSlot worker, int number) {
  Link& link = *links_[worker];
  link.signal = number;
  if (link.child) static_cast<void>(link.child->signal(number));
}

void PoolCore::news(WorkerSlot worker, std::uint64_t life) {
  Link& link = *links_[worker];
  if (link.life != life) return;
  now_ = Deadline::Clock::now();
  // The socket holds hundreds of bells: it must be emptied now and then only.
  if (++link.bells >= 64) {
    link.bells = 0;
    static_cast<void>(link.end->hear_all());
  }
  const WakeBatch batch;
  drain(worker);
  finish();
}

void PoolCore::drain(WorkerSlot worker, const PoolJob* fetcher) {
  Link& link = *links_[worker];
  if (!link.end || link.broken) return;
  const auto sleep = [&link] {
    return link.end->sleep_by(link.fetcher != nullptr ? ChannelLayout::by_futex
                                                      : ChannelLayout::by_socket);
  };
  do {
    read_results(worker, fetcher);
    // What follows is not for a thread that has its answer.
    if (link.fetcher != fetcher && fetcher != nullptr) return;
    link.waits = link.end->waits_for_reader();
    lend_or_regain(worker);
    if (!link.ready && link.end->is_ready()) {
      link.ready = true;
      link.ready_at = Deadline::Clock::now();
      step(Ledger::Ready{worker});
    }
  } while (!link.broken && (sleep() || (!link.ready && link.end->is_ready()) ||
                            link.waits != link.end->waits_for_reader()));
}

/// The slot of a task that waits for its own calls, or for whoever reads what it streams, is lent.
void PoolCore::lend_or_regain(WorkerSlot worker) {
  const Link& link = *links_[worker];
  const bool waits = link.calls || link.waits;
  // The ledger takes the slot back by itself with an answer, so it alone knows.
  if (waits == ledger_.is_lent(worker)) return;
  if (waits) {
    step(Ledger::Lend{worker});
  } else {
    step(Ledger::Regain{worker});
  }
}

void PoolCore::read_results(WorkerSlot worker, const PoolJob* fetcher) {
  Link& link = *links_[worker];
  for (unsigned count = 1;; ++count) {
    // Who sleeps for a result need not sleep through a hundred more.
    if (count % 32 == 0) WakeBatch::flush();
    const auto next = link.end->next_result();
    if (!next) {
      // Its memory is damaged: what it says cannot be believed any more.
      link.broken = true;
      link.complaint = next.error();
      signal(worker, SIGKILL);
      return;
    }
    if (!*next) return;
    const WorkerAnswer& result = **next;
    if (result.is_line) {
      open_inner(worker, result);
      continue;
    }
    if (result.is_item) {
      take_item(worker, result);
      continue;
    }
    if (result.number == 0) {
      link.complaint = decode_error(result.bytes);
      continue;
    }
    const TaskSlot task =
        std::exchange(link.by_number[result.number % ChannelLayout::cells], nobody);
    if (task == orphan) step(Ledger::Returned{worker});
    // Nobody waits for the answers of a terminated pool.
    if (!is_task(task) || records_[task].number != result.number) continue;
    ++link.done;
    link.busy += result.took;
    ++done_;
    end_fetch(records_[task]);
    Context context;
    context.result = &result;
    if (wants_retry(records_[task], result)) {
      step_with(Ledger::Failed{worker, task, result.took}, context);
    } else {
      step_with(Ledger::Done{worker, task, result.took}, context);
    }
    post_waiting(worker);
    if (!link.objects.empty() && ledger_.sent_to(worker) == 0) forget_objects(link);
    if (config_.recycle_memory != 0 && link.end->is_heavy()) step(Ledger::Recycle{worker});
    if (link.fetcher != fetcher && fetcher != nullptr) return link.end->free_results();
  }
}

// --- threads that wait for one answer and read it by themselves

bool PoolCore::grant_fetch(PoolJob& job) {
  const Record& record = records_[job.task_slot_];
  Link& link = *links_[record.worker];
  if (!link.end || link.broken || link.fetcher != nullptr || !job.may_be_fetched()) return false;
  // Answers of other tasks would be read by that thread, and what is told of them is user code.
  if (job.count() != 1 || job.terms().streams || ledger_.sent_to(record.worker) != 1) return false;
  // A waker may be looking there already: it stays where it is.
  if (job.fetched_from_ && job.fetched_from_ != link.end->memory()) return false;
  if (!job.fetched_from_) job.fetched_from_ = link.end->memory();
  link.fetcher = &job;
  link.end->stay_awake();
  return true;
}

void PoolCore::end_fetch(const Record& record) {
  if (record.worker >= links_.size()) return;
  Link& link = *links_[record.worker];
  if (link.fetcher == nullptr || link.fetcher != record.job) return;
  link.fetcher = nullptr;
  link.resigned = true;
  changed_ = true;
}

std::optional<std::uint64_t> PoolCore::fetch(PoolJob& job, PoolHandle::FetchStep step) {
  using Step = PoolHandle::FetchStep;
  job.awaited_ = false;
  if (job.task_slot_ >= records_.size()) return {};
  const Record& record = records_[job.task_slot_];
  if (record.job != &job || record.number == 0) return {};
  const WorkerSlot worker = record.worker;
  Link& link = *links_[worker];
  if (link.fetcher != &job && (step != Step::begin || !grant_fetch(job))) return {};
  if (step == Step::leave || !job.may_be_fetched()) {
    end_fetch(record);
  } else if (step == Step::look) {
    now_ = Deadline::Clock::now();
    const WakeBatch batch;
    drain(worker, &job);
  }
  finish();
  if (link.fetcher != &job) return {};
  return link.end->read();
}

bool PoolCore::wants_retry(const Record& record, const WorkerAnswer& answer) {
  if (!record.job->terms().retry_failures || record.has_items) return false;
  return answer.is_error || record.job->has_failed(record.index, answer.bytes, answer.descriptors);
}

void PoolCore::gone(WorkerSlot worker, std::uint64_t life, ExitStatus status) {
  Link& link = *links_[worker];
  if (link.life != life) return;
  now_ = Deadline::Clock::now();
  // What it had finished lies in its memory still, and so does what it had started.
  if (link.end && !link.broken) read_results(worker);
  if (link.broken) lose_started(link, worker);
  std::optional<TaskSlot> running;
  for (const TaskSlot task : link.by_number) {
    if (is_task(task) && link.end->has_started(records_[task].number)) running = task;
  }
  take_back_objects(link, running);
  last_death_ = "(" + link.name + ") " + describe(status);
  if (link.complaint) last_death_ += ": " + link.complaint->to_string();
  const WorkerLost death = describe_end(link, status);
  // The slot may get its next worker in the same step.
  link.life = 0;
  link.watch.reset();
  link.inner_watch.reset();
  link.inner.reset();
  link.inner_answers.clear();
  link.last_lines_watch.reset();
  link.last_lines.reset();
  link.child.reset();
  link.ready = false;
  link.fetcher = nullptr;
  link.unposted.clear();
  step_with(Ledger::Gone{worker, running}, {.death = &death});
  if (link.life == 0) link.end.reset();
  finish();
}

/// What was handed to the worker with the task that it ran is missed where others wait for that;
/// what came with tasks that it did not begin is not.
void PoolCore::take_back_objects(Link& link, std::optional<TaskSlot> running) {
  const ProcessId process = link.child ? link.child->id() : ProcessId{};
  PoolJob::Payload begun;
  if (running) begun = records_[*running].job->payload(records_[*running].index);
  for (const auto& object : link.objects) {
    const bool is_missed = link.broken || std::find(begun.objects.begin(), begun.objects.end(),
                                                    object) != begun.objects.end();
    is_missed ? object->process_lost(process) : object->bystander_lost(process);
  }
}

/// A worker whose memory is damaged may have finished any task that it had started: none of them
/// may run again.
void PoolCore::lose_started(Link& link, WorkerSlot worker) {
  for (TaskSlot& entry : link.by_number) {
    if (!is_task(entry) || !link.end->has_started(records_[entry].number)) continue;
    records_[entry].failure =
        std::make_unique<Error>(Errc::worker_lost, link.complaint->to_string());
    step(Ledger::Done{worker, std::exchange(entry, nobody), Ledger::Duration{1}});
  }
}

void PoolCore::tick() {
  timer_.reset();
  changed_ = true;
  now_ = Deadline::Clock::now();
  // A worker in a long task may have answered others before it: those answers count first.
  for (WorkerSlot worker = 0; worker < links_.size(); ++worker) {
    Link& link = *links_[worker];
    if (link.life == 0) continue;
    if (link.end) static_cast<void>(link.end->hear_all());
    link.bells = 0;
    drain(worker);
    if (ledger_.is_stalled(worker) && link.end && link.end->is_caught_up())
      step(Ledger::Alive{worker});
  }
  try_again();
  refuse_late();
  weigh_workers();
  warn_of_long_tasks();
  const auto due = ledger_.next_deadline();
  if (due && *due <= now_) step(Ledger::Tick{});
  finish();
}

std::optional<Ledger::Time> PoolCore::next_due() const {
  std::optional<Ledger::Time> due = ledger_.next_deadline();
  if (!feed_.deadlines.empty() && (!due || feed_.deadlines.begin()->first < *due))
    due = feed_.deadlines.begin()->first;
  if (const auto warning = warning_due(); warning && (!due || *warning < *due)) due = warning;
  if (config_.max_memory != 0 && ledger_.sent() > 0 && (!due || weigh_at_ < *due)) due = weigh_at_;
  if (retry_at_ != Ledger::Time::max() && (!due || retry_at_ < *due)) due = retry_at_;
  return due;
}

void PoolCore::arm_timer() {
  const auto due = next_due();
  if (!due || (timer_ && timer_at_ <= *due)) return;
  if (timer_) io_.cancel(*timer_);
  timer_at_ = *due;
  timer_ = io_.at(Deadline::at(*due), [ref = self_ref()] {
    if (!ref) return;
    ref->post_or_cancel(make_op([](Cell* cell) {
      if (cell != nullptr) cell->body<PoolCore>().tick();
    }));
  });
}

}  // namespace passel::inline v0::detail
