// Layer pool: Pool.
#include <passel/pool.hpp>

namespace passel::inline v0 {

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

void Pool::close() { handle_->close(); }
void Pool::terminate() { handle_->terminate(); }

}  // namespace passel::inline v0
