// Layer pool: Pool.
#include <passel/pool.hpp>

#include <sched.h>
#include <csignal>

namespace passel::inline v0 {
namespace {

/// Whether the numbers, the places and the manners of the workers can be as they were asked for.
Result<void> check_workers(const PoolOptions& options, int processes) {
  const int least = options.min_processes.value_or(processes);
  if (least < 1 || least > processes)
    return Error{Errc::invalid_argument, "min_processes must be from 1 to " +
                                             std::to_string(processes) + ", not " +
                                             std::to_string(least)};
  if (options.nice < -40 || options.nice > 40)
    return Error{Errc::invalid_argument,
                 "nice must be from -40 to 40, not " + std::to_string(options.nice)};
  if (options.stack_signal < 0 || options.stack_signal > SIGRTMAX ||
      options.stack_signal == SIGKILL || options.stack_signal == SIGSTOP)
    return Error{Errc::invalid_argument, "stack_signal must be a signal that can be handled, not " +
                                             std::to_string(options.stack_signal)};
  for (const auto& cpus : options.cpus) {
    if (cpus.empty()) return Error{Errc::invalid_argument, "an entry of cpus is empty"};
    for (const int cpu : cpus) {
      if (cpu < 0 || cpu >= CPU_SETSIZE)
        return Error{Errc::invalid_argument, "there is no CPU " + std::to_string(cpu)};
    }
  }
  return {};
}

}  // namespace

Result<Pool> Pool::start(PoolOptions options) {
  const int processes = options.processes.value_or(usable_cpu_count());
  if (processes < 1) {
    return Error{Errc::invalid_argument,
                 "number of processes must be at least 1, not " + std::to_string(processes)};
  }
  if (options.maxtasksperchild && *options.maxtasksperchild < 1) {
    return Error{Errc::invalid_argument, "maxtasksperchild must be at least 1, not " +
                                             std::to_string(*options.maxtasksperchild)};
  }
  if (options.max_restarts < 0) {
    return Error{Errc::invalid_argument, "max_restarts must not be negative, but is " +
                                             std::to_string(options.max_restarts)};
  }
  constexpr std::size_t largest = std::size_t{1} << 30;
  if (options.max_message < 1 || options.max_message > largest) {
    return Error{Errc::invalid_argument, "max_message must be from 1 to " +
                                             std::to_string(largest) + " bytes, not " +
                                             std::to_string(options.max_message)};
  }
  PASSEL_CHECK(check_workers(options, processes));
  detail::PoolConfig config;
  config.processes = static_cast<unsigned>(processes);
  config.name = std::move(options.name);
  config.method = options.method.value_or(start_method());
  config.max_tasks_per_child = static_cast<unsigned>(options.maxtasksperchild.value_or(0));
  config.max_restarts = static_cast<unsigned>(options.max_restarts);
  config.fragile = options.on_worker_death == WorkerDeath::breaks_the_pool;
  config.restart_window = options.restart_window;
  config.start_timeout = options.start_timeout;
  config.stop_grace = options.stop_grace;
  config.max_message = options.max_message;
  config.max_pending = options.max_pending;
  config.max_memory = options.max_memory;
  config.recycle_memory = options.recycle_memory;
  config.stderr_lines = options.stderr_lines;
  config.max_dead_letters = options.max_dead_letters;
  config.min_processes = static_cast<unsigned>(options.min_processes.value_or(0));
  config.idle_timeout = options.idle_timeout;
  config.cpus = std::move(options.cpus);
  config.nice = options.nice;
  config.warn_after = options.warn_after;
  config.stack_signal = options.stack_signal;
  if (auto& args = options.initializer.args_) {
    if (!*args) return args->error();
    config.initializer = detail::BoundTask{options.initializer.task_, **std::move(args)};
  }
  PASSEL_TRY(auto handle, detail::PoolHandle::start(std::move(config)));
  return Pool{std::move(handle)};
}

std::shared_ptr<detail::PoolHandle> detail::PoolAccess::handle(const Pool& pool) {
  return pool.handle_;
}

Pool& Pool::operator=(Pool&& other) noexcept {
  Pool taken{std::move(other)};
  std::swap(handle_, taken.handle_);
  return *this;
}

Pool::~Pool() {
  // Not left to the handle: results of an imap may hold it longer.
  if (handle_) handle_->end();
}

Result<void> Pool::resize(int processes) {
  if (processes < 1)
    return Error{Errc::invalid_argument,
                 "Number of processes must be at least 1, not " + std::to_string(processes)};
  return handle_->resize(static_cast<unsigned>(processes));
}
void Pool::close() { handle_->close(); }
void Pool::terminate() { handle_->terminate(); }

}  // namespace passel::inline v0
