// Layer pool: making and ending a ThreadPoolExecutor.
#include <passel/thread_pool_executor.hpp>

#include <passel/process.hpp>

#include <algorithm>

namespace passel::inline v0 {

Result<ThreadPoolExecutor> ThreadPoolExecutor::start(Options options) {
  const int workers = options.max_workers.value_or(std::min(32, usable_cpu_count() + 4));
  if (workers < 1) {
    return Error{Errc::invalid_argument,
                 "max_workers must be greater than 0, not " + std::to_string(workers)};
  }
  if (options.thread_name_prefix.empty()) options.thread_name_prefix = detail::next_crew_name();
  return ThreadPoolExecutor{std::make_shared<detail::ThreadCrew>(
                                detail::CrewOptions{.threads = static_cast<unsigned>(workers),
                                                    .spare = options.max_spare_threads,
                                                    .name = std::move(options.thread_name_prefix),
                                                    .initializer = std::move(options.initializer),
                                                    .max_pending = options.max_pending,
                                                    .daemon = options.daemon}),
                            detail::UnwindWatch{options.cancel_on_exception}};
}

ThreadPoolExecutor& ThreadPoolExecutor::operator=(ThreadPoolExecutor&& other) noexcept {
  ThreadPoolExecutor taken{std::move(other)};
  std::swap(crew_, taken.crew_);
  std::swap(unwind_, taken.unwind_);
  return *this;
}

ThreadPoolExecutor::~ThreadPoolExecutor() {
  using Rest = detail::ThreadCrew::Rest;
  if (crew_) crew_->end(unwind_.unwinding() ? Rest::cancel : Rest::finish);
}

Result<void> ThreadPoolExecutor::shutdown(ShutdownOptions options) {
  return shutdown(options, detail::Deadline::never());
}

Result<void> ThreadPoolExecutor::shutdown(ShutdownOptions options, detail::Deadline deadline) {
  using Rest = detail::ThreadCrew::Rest;
  crew_->close(Error{Errc::invalid_state, "cannot schedule new futures after shutdown"},
               options.cancel_futures ? Rest::cancel : Rest::finish);
  return options.wait ? crew_->join(deadline) : Result<void>{};
}

}  // namespace passel::inline v0
