// Layer pool: making and ending a ThreadPool.
#include <passel/thread_pool.hpp>

#include <passel/process.hpp>

#include <atomic>

namespace passel::inline v0 {
namespace {

Error not_running() { return {Errc::invalid_state, "Pool not running"}; }

}  // namespace

Result<ThreadPool> ThreadPool::start(ThreadPoolOptions options) {
  static std::atomic<unsigned> next{0};
  const int threads = options.processes.value_or(usable_cpu_count());
  if (threads < 1) {
    return Error{Errc::invalid_argument,
                 "number of processes must be at least 1, not " + std::to_string(threads)};
  }
  if (options.name.empty()) {
    options.name = "ThreadPool-" + std::to_string(next.fetch_add(1, std::memory_order_relaxed));
  }
  return ThreadPool{std::make_shared<detail::ThreadCrew>(
      detail::CrewOptions{.threads = static_cast<unsigned>(threads),
                          .spare = detail::usual_spare_threads,
                          .name = std::move(options.name),
                          .initializer = std::move(options.initializer),
                          .max_pending = options.max_pending,
                          .daemon = options.daemon})};
}

ThreadPool& ThreadPool::operator=(ThreadPool&& other) noexcept {
  ThreadPool taken{std::move(other)};
  std::swap(crew_, taken.crew_);
  return *this;
}

ThreadPool::~ThreadPool() {
  if (!crew_) return;
  crew_->end(detail::ThreadCrew::Rest::cancel);
}

void ThreadPool::close() { crew_->close(not_running(), detail::ThreadCrew::Rest::finish); }

void ThreadPool::terminate() { crew_->close(not_running(), detail::ThreadCrew::Rest::cancel); }

Result<void> ThreadPool::join(detail::Deadline deadline) {
  if (!crew_->refuses()) return Error{Errc::invalid_state, "Pool is still running"};
  return crew_->join(deadline);
}

}  // namespace passel::inline v0
