// Layer pool: a pool of worker processes as an object in a manager's server.
#include "hosted_pool.hpp"

#include <passel/manager_options.hpp>
#include <passel/process.hpp>

#include "chunk_job.hpp"

#include <algorithm>

namespace passel::inline v0::detail {
namespace {

struct ExposedHere {
  std::mutex mutex;
  std::map<std::string, ExposedPlan, std::less<>> tasks;
};
ExposedHere& exposed_here() {
  static auto* const all = new ExposedHere;
  return *all;
}

Result<TaskId> find_exposed(const std::string& name) {
  ExposedHere& all = exposed_here();
  const std::lock_guard lock{all.mutex};
  const auto found = all.tasks.find(name);
  if (found != all.tasks.end())
    return TaskId{.module = found->second.module, .offset = found->second.offset};
  std::string known;
  for (const auto& [known_name, task] : all.tasks)
    known += (known.empty() ? "" : ", ") + task.sign.to_string();
  return Error{Errc::not_found, "the server was started without a task '" + name +
                                    "'; there are: " + (known.empty() ? "none" : known)};
}

Error not_started() { return {Errc::invalid_state, "the pool has not been started"}; }

}  // namespace

std::vector<ExposedPlan> plan_of(const ExposedTasks& tasks) {
  std::vector<ExposedPlan> plan;
  for (const auto& entry : tasks.entries())
    plan.push_back({entry.sign, entry.task.module, entry.task.offset});
  return plan;
}

void expose_here(const std::vector<ExposedPlan>& tasks) {
  for (const ExposedPlan& task : tasks)
    static_cast<void>(find_task({.module = task.module, .offset = task.offset}).unwrap());
  ExposedHere& all = exposed_here();
  const std::lock_guard lock{all.mutex};
  for (const ExposedPlan& task : tasks) all.tasks.insert_or_assign(task.sign.name, task);
}

std::span<const HostedMethod<HostedPool>> HostedPool::table() {
  static constexpr HostedMethod<HostedPool> methods[] = {
      hosted_method<&HostedPool::submit>{"submit"},
      hosted_method<&HostedPool::start>{"start"},
      hosted_method<&HostedPool::close>{"close"},
      hosted_method<&HostedPool::terminate>{"terminate"},
      hosted_method<&HostedPool::join>{"join"},
      hosted_method<&HostedPool::processes>{"processes"}};
  return methods;
}

Result<std::shared_ptr<HostedObject>> make_hosted_pool(const HostedCall& call) {
  PASSEL_CHECK(call.arguments<>());
  return std::shared_ptr<HostedObject>{std::make_shared<HostedPool>(call.site)};
}

std::string HostedPool::text() const {
  if (!pool_) return "<pool that has not been started>";
  return "<pool of " + std::to_string(pool_->processes()) + " processes>";
}

HostedPool::~HostedPool() {
  give_back_processes();
  if (!pool_) return;
  pool_->terminate();
  // Its end is waited for by another thread than this one, which brings it about. With no thread
  // left, or no server, the process ends as well.
  auto* const last = new std::shared_ptr<Pool>{std::move(pool_)};
  if (const auto site = site_.lock()) static_cast<void>(site->run([last] { delete last; }).is_ok());
}

void HostedPool::start(HostedCall&& call) {
  auto read = call.arguments<HostedPoolPlan>();
  if (!read) return call.reply.set(read.error());
  if (pool_ || is_starting_)
    return call.reply.set(Error{Errc::invalid_state, "the pool has been started"});
  const int wanted = std::get<0>(*read).processes.value_or(usable_cpu_count());
  const auto more = static_cast<std::size_t>(std::max(wanted, 0));
  const std::size_t limit = call.site->limits().processes;
  if (more > limit - std::min(limit, call.site->processes)) {
    return call.reply.set(
        Error{Errc::full, std::to_string(more) + " processes for a pool, beside " +
                              std::to_string(call.site->processes) +
                              " of other pools of the manager: limit " + std::to_string(limit)});
  }
  is_starting_ = true;
  processes_ = more;
  call.site->processes += more;
  auto reply = std::make_shared<HostedReply>(std::move(call.reply));
  const auto begun = call.site->run(
      [weak = weak_from_this(), site = call.site, reply, plan = std::move(std::get<0>(*read))] {
        auto pool =
            std::make_shared<Result<Pool>>(Pool::start({.processes = plan.processes,
                                                        .maxtasksperchild = plan.maxtasksperchild,
                                                        .name = plan.name}));
        site->loop().post([weak, pool, reply] {
          if (const auto self = weak.lock()) self->started(std::move(*pool), std::move(*reply));
        });
      });
  if (!begun) started(begun.error(), std::move(*reply));
}

void HostedPool::started(Result<Pool> pool, HostedReply reply) {
  is_starting_ = false;
  if (!pool) {
    give_back_processes();
    return reply.set(pool.error());
  }
  pool_ = std::make_shared<Pool>(*std::move(pool));
  reply.value();
}

void HostedPool::give_back_processes() {
  const std::size_t mine = std::exchange(processes_, 0);
  if (const auto site = site_.lock()) site->processes -= mine;
}

void HostedPool::submit(HostedCall&& call) {
  auto read = call.arguments<std::string, std::vector<std::byte>>();
  if (!read) return call.reply.set(read.error());
  auto& [name, args] = *read;
  if (!pool_) return call.reply.set(not_started());
  const auto task = find_exposed(name);
  if (!task) return call.reply.set(task.error());
  const auto handle = PoolAccess::handle(*pool_);
  if (auto why = handle->refusal()) return call.reply.set(*std::move(why));
  const CallKey key{call.caller.session, call.id};
  auto reply = std::make_shared<HostedReply>(std::move(call.reply));
  auto job =
      std::make_unique<ChunkJob>(*task, name, std::move(args), ChunkJob::Limits{},
                                 [weak = weak_from_this(), reply, key](ChunkOutcome&& outcome) {
                                   if (const auto self = weak.lock()) {
                                     const std::lock_guard lock{self->mutex_};
                                     self->open_.erase(key);
                                   }
                                   reply->set(outcome.answer());
                                 });
  {
    const std::lock_guard lock{mutex_};
    open_[key] = {job.get(), job->serial()};
  }
  handle->submit(std::move(job));
}

void HostedPool::abandoned(std::uint64_t session, std::uint64_t call) {
  if (joiners_.remove(session, call)) return;
  Open open;
  {
    const std::lock_guard lock{mutex_};
    const auto found = open_.find({session, call});
    if (found == open_.end()) return;
    open = found->second;
  }
  PoolAccess::handle(*pool_)->stop(open.job, open.serial);
}

Result<void> HostedPool::close() {
  if (!pool_) return not_started();
  pool_->close();
  return {};
}

Result<void> HostedPool::terminate() {
  if (!pool_) return not_started();
  pool_->terminate();
  return {};
}

void HostedPool::join(HostedCall&& call) {
  if (!pool_) return call.reply.set(not_started());
  if (!PoolAccess::handle(*pool_)->refusal())
    return call.reply.set(Error{Errc::invalid_state, "Pool is still running"});
  if (end_) return call.reply.value(*end_);
  const auto site = call.site;
  joiners_.add(std::move(call), {},
               Error{Errc::timeout, "the pool has not ended in the time given"});
  if (std::exchange(end_is_awaited_, true)) return;
  // One thread waits for all of them.
  const auto begun = site->run([weak = weak_from_this(), site, pool = pool_] {
    site->loop().post([weak, outcome = pool->join()] {
      if (const auto self = weak.lock()) self->ended(outcome);
    });
  });
  if (begun) return;
  end_is_awaited_ = false;
  while (!joiners_.empty()) joiners_.take_front().call.reply.set(begun.error());
}

void HostedPool::ended(const Result<void>& outcome) {
  end_ = outcome;
  if (outcome) give_back_processes();
  while (!joiners_.empty()) joiners_.take_front().call.reply.value(*end_);
}

Result<std::uint32_t> HostedPool::processes() const {
  if (!pool_) return not_started();
  return pool_->processes();
}

}  // namespace passel::inline v0::detail
