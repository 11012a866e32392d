// Layer pool: making and ending a ProcessPoolExecutor.
#include <passel/process_pool_executor.hpp>

#include <passel/detail/guardian.hpp>
#include <passel/detail/shared_object.hpp>

#include <algorithm>
#include <csignal>
#include <map>

namespace passel::inline v0 {
namespace detail {

struct FutureRoll::Entry final : FutureWatcher {
  Entry(std::shared_ptr<FutureRoll> r, FutureCore& f) : roll{std::move(r)}, future{&f} {
    is_quiet = true;
  }
  void done(FutureCore&) noexcept override {
    {
      const std::lock_guard lock{roll->mutex_};
      (before == nullptr ? roll->first_ : before->behind) = behind;
      if (behind != nullptr) behind->before = before;
    }
    delete this;
  }
  std::shared_ptr<FutureRoll> roll;
  FutureCore* future;
  Entry* before = nullptr;
  Entry* behind = nullptr;
};

FutureRoll::~FutureRoll() = default;

void FutureRoll::add(FutureCore& future) {
  auto* const entry = new Entry{shared_from_this(), future};
  {
    const std::lock_guard lock{mutex_};
    entry->behind = first_;
    if (first_ != nullptr) first_->before = entry;
    first_ = entry;
  }
  future.watch(entry, false);
}

void FutureRoll::cancel_all() {
  std::vector<CoreRef> present;
  {
    // Who is in the list has not been told that its future is done, and so the future lives.
    const std::lock_guard lock{mutex_};
    for (Entry* entry = first_; entry != nullptr; entry = entry->behind) {
      present.emplace_back(entry->future);
    }
  }
  // The newest first, so that none moves up into a worker while others are cancelled.
  for (const CoreRef& future : present) future->cancel();
}

ProcessCrew::ProcessCrew(Pool p) : pool{std::move(p)}, generation_{fork_generation()} {}

ProcessCrew::~ProcessCrew() = default;

std::optional<Error> ProcessCrew::refusal() const {
  if (!closed_.load(std::memory_order_acquire)) return std::nullopt;
  return Error{Errc::invalid_state, "cannot schedule new futures after shutdown"};
}

void ProcessCrew::close(bool cancel) {
  closed_.store(true, std::memory_order_release);
  if (cancel) roll_->cancel_all();
  pool.close();
}

std::vector<Descriptor> ProcessCrew::open_workers() const {
  std::map<int, Descriptor> opened;
  for (const auto& worker : pool.stats().workers) {
    if (worker.pid == 0) continue;
    if (auto pidfd = open_process(worker.pid)) opened.emplace(worker.pid, *std::move(pidfd));
  }
  // A worker that is still there is what the descriptor names, not somebody who got its pid later.
  std::vector<Descriptor> present;
  for (const auto& worker : pool.stats().workers) {
    if (auto found = opened.extract(worker.pid)) present.push_back(std::move(found.mapped()));
  }
  return present;
}

void ProcessCrew::terminate(bool at_once) {
  closed_.store(true, std::memory_order_release);
  const auto workers = at_once ? open_workers() : std::vector<Descriptor>{};
  pool.terminate();
  for (const Descriptor& worker : workers) static_cast<void>(signal_process(worker, SIGKILL));
}

Result<void> ProcessCrew::join(Deadline deadline) {
  return deadline.is_never() ? pool.join() : pool.join_for(deadline.left());
}

void ProcessCrew::end(bool cancel) {
  if (generation_ != fork_generation()) return;
  close(cancel);
  static_cast<void>(join(Deadline::never()));
}

}  // namespace detail

Result<ProcessPoolExecutor> ProcessPoolExecutor::start(Options options) {
  if (options.max_workers && *options.max_workers < 1) {
    return Error{Errc::invalid_argument,
                 "max_workers must be greater than 0, not " + std::to_string(*options.max_workers)};
  }
  if (options.max_tasks_per_child && *options.max_tasks_per_child < 1) {
    return Error{Errc::invalid_argument, "max_tasks_per_child must be >= 1, not " +
                                             std::to_string(*options.max_tasks_per_child)};
  }
  if (options.max_tasks_per_child && options.method == StartMethod::fork) {
    return Error{Errc::invalid_argument,
                 "max_tasks_per_child is incompatible with the 'fork' multiprocessing start "
                 "method; supply a different method"};
  }
  PASSEL_TRY(Pool pool, Pool::start({.processes = options.max_workers,
                                     .initializer = std::move(options.initializer),
                                     .maxtasksperchild = options.max_tasks_per_child,
                                     .name = std::move(options.name),
                                     .method = options.method,
                                     .on_worker_death = options.on_worker_death,
                                     .max_pending = options.max_pending}));
  return ProcessPoolExecutor{std::make_shared<detail::ProcessCrew>(std::move(pool)),
                             detail::UnwindWatch{options.cancel_on_exception}};
}

ProcessPoolExecutor& ProcessPoolExecutor::operator=(ProcessPoolExecutor&& other) noexcept {
  ProcessPoolExecutor taken{std::move(other)};
  std::swap(crew_, taken.crew_);
  std::swap(unwind_, taken.unwind_);
  return *this;
}

ProcessPoolExecutor::~ProcessPoolExecutor() {
  if (crew_) crew_->end(unwind_.unwinding());
}

Result<void> ProcessPoolExecutor::shutdown(ShutdownOptions options) {
  return shutdown(options, detail::Deadline::never());
}

Result<void> ProcessPoolExecutor::shutdown(ShutdownOptions options, detail::Deadline deadline) {
  crew_->close(options.cancel_futures);
  return options.wait ? crew_->join(deadline) : Result<void>{};
}

}  // namespace passel::inline v0
