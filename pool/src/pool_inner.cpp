// Layer pool: the pool's actor, what tasks ask of their own pool.
#include "pool_core.hpp"

#include <sys/epoll.h>

#include <csignal>

namespace passel::inline v0::detail {

/// A call of a task: its answer goes back to the worker that runs the caller.
class PoolCore::InnerJob final : public PoolJob {
 public:
  InnerJob(PoolCore& core, WorkerSlot worker, std::uint64_t life, const WorkerEnd::Task& call,
           std::span<const std::byte> args)
      : PoolJob{call.task},
        core_{core},
        worker_{worker},
        life_{life},
        number_{call.number},
        args_{args.begin(), args.end()},
        descriptors_{call.descriptors} {
    core_.inner_jobs_.emplace(std::pair{life_, number_}, this);
  }
  ~InnerJob() override { core_.inner_jobs_.erase({life_, number_}); }

  [[nodiscard]] std::size_t count() const noexcept override { return 1; }
  [[nodiscard]] std::string name() const override { return "a task of a task"; }
  [[nodiscard]] Payload payload(std::size_t) noexcept override {
    return {.args = args_, .descriptors = descriptors_};
  }
  /// Nobody waits for it when its caller is gone.
  [[nodiscard]] bool begin(std::size_t) noexcept override {
    return core_.links_[worker_]->life == life_;
  }
  void value(std::size_t, std::span<const std::byte> bytes,
             DescriptorSpan descriptors) noexcept override {
    core_.answer_inner(worker_, life_,
                       {.number = number_,
                        .bytes = {bytes.begin(), bytes.end()},
                        .descriptors = {descriptors.begin(), descriptors.end()}});
  }
  void error(std::size_t, const Error& error) noexcept override {
    core_.answer_inner(
        worker_, life_,
        {.number = number_, .bytes = encode_error(error).bytes, .kind = ChannelLayout::error});
  }
  void item(std::size_t, std::span<const std::byte> bytes,
            DescriptorSpan descriptors) noexcept override {
    core_.answer_inner(worker_, life_,
                       {.number = number_,
                        .bytes = {bytes.begin(), bytes.end()},
                        .kind = ChannelLayout::item,
                        .descriptors = {descriptors.begin(), descriptors.end()}});
  }
  /// By the mark before the answer of its only call.
  [[nodiscard]] bool has_failed(std::size_t, std::span<const std::byte> bytes,
                                DescriptorSpan) noexcept override {
    return !bytes.empty() && bytes.front() == std::byte{0};
  }
  void finished() noexcept override { delete this; }

  std::uint32_t told_taken = 0;  ///< items of which its task knows that they were taken

 private:
  PoolCore& core_;
  const WorkerSlot worker_;
  const std::uint64_t life_;
  const std::uint64_t number_;
  const std::vector<std::byte> args_;
  const std::vector<std::shared_ptr<Descriptor>> descriptors_;
};

void PoolCore::open_inner(WorkerSlot worker, const WorkerAnswer& offer) {
  Link& link = *links_[worker];
  auto line = WorkerEnd::attach(offer.descriptors, config_.max_message);
  if (line) {
    link.inner = *std::move(line);
    auto watch = io_.watch(link.inner->socket(), EPOLLIN | EPOLLET,
                           [tell = teller(worker, link.life)](std::uint32_t) {
                             tell([](PoolCore& core, WorkerSlot who, std::uint64_t life) {
                               core.inner_news(who, life);
                             });
                           });
    if (watch) {
      link.inner_watch = *std::move(watch);
      // What is there already rings no more.
      return inner_news(worker, link.life);
    }
  }
  // Without it the task would wait for ever.
  link.broken = true;
  link.complaint =
      line ? Error{Errc::no_space, "the line of a task cannot be watched"} : line.error();
  signal(worker, SIGKILL);
}

void PoolCore::inner_news(WorkerSlot worker, std::uint64_t life) {
  Link& link = *links_[worker];
  if (link.life != life || !link.inner) return;
  now_ = Deadline::Clock::now();
  changed_ = true;
  static_cast<void>(link.inner->hear_all());
  give_inner_answers(link);
  do {
    while (link.life == life && link.inner) {
      const auto message = link.inner->try_next();
      if (!message) break;
      take_inner(worker, *message);
    }
    if (link.life != life || !link.inner) break;
    link.calls = link.inner->is_lent();
    lend_or_regain(worker);
  } while (
      link.life == life && link.inner &&
      (link.inner->go_to_sleep() || link.inner->is_lent() != link.calls || pass_on_taken(link)));
  finish();
}

/// Tells the tasks that stream to this worker's task what it has taken. True when there was
/// something to tell.
bool PoolCore::pass_on_taken(Link& link) {
  bool told = false;
  for (auto job = inner_jobs_.lower_bound({link.life, 0});
       job != inner_jobs_.end() && job->first.first == link.life; ++job) {
    if (!job->second->terms().streams) continue;
    const std::uint32_t items = link.inner->taken_of(job->first.second);
    if (job->second->told_taken == items) continue;
    job->second->told_taken = items;
    tell_taken(job->second->serial(), items);
    told = true;
  }
  return told;
}

void PoolCore::take_inner(WorkerSlot worker, const WorkerEnd::Task& task) {
  InnerMessage message;
  if (!message.read(task.args)) return;
  switch (message.kind) {
    case InnerMessage::Kind::call: return call_inner(worker, message, task);
    case InnerMessage::Kind::nothing: return;
    case InnerMessage::Kind::stop: break;
  }
  const auto found = inner_jobs_.find({links_[worker]->life, message.number});
  if (found != inner_jobs_.end()) stop_job(found->second, found->second->serial());
}

void PoolCore::call_inner(WorkerSlot worker, const InnerMessage& message,
                          const WorkerEnd::Task& task) {
  auto job = std::make_unique<InnerJob>(*this, worker, links_[worker]->life, task,
                                        task.args.subspan(sizeof message));
  auto terms = message.terms();
  terms->depth = depth_of(worker) + 1;
  job->set_terms(std::move(terms));
  PoolJob& added = *job.release();
  // Also after close: the task that calls was submitted before.
  if (closing_told_ && !ledger_.has_work()) return refuse(added, shared_->refusal());
  if (added.terms().deadline <= now_) return refuse(added, too_late(added));
  add(added);
}

/// How deep the task that a worker runs was called by others.
unsigned PoolCore::depth_of(WorkerSlot worker) {
  Link& link = *links_[worker];
  for (const TaskSlot entry : link.by_number) {
    if (is_task(entry) && link.end->has_started(records_[entry].number))
      return records_[entry].job->terms().depth;
  }
  return 0;
}

void PoolCore::answer_inner(WorkerSlot worker, std::uint64_t life, InnerAnswer answer) {
  Link& link = *links_[worker];
  if (link.life != life || !link.inner) return;
  link.inner_answers.push_back(std::move(answer));
  give_inner_answers(link);
}

void PoolCore::give_inner_answers(Link& link) {
  while (!link.inner_answers.empty()) {
    const InnerAnswer& next = link.inner_answers.front();
    const auto given = link.inner->try_answer(next.number, next.bytes, next.kind, next.descriptors);
    if (given == PoolEnd::Posted::later) try_again_soon();
    if (given != PoolEnd::Posted::yes) return;
    link.inner_answers.pop_front();
    link.touched = true;
    // An item changes nothing in the ledger, and is to be told of all the same.
    changed_ = true;
  }
}

}  // namespace passel::inline v0::detail
