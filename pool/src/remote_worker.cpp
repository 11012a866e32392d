// Layer pool: RemoteWorker, and the main function of worker programs.
#include <passel/remote_worker.hpp>

#include <passel/detail/child.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/detail/remote_crew.hpp>

#include "environment.hpp"
#include "remote_body.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <charconv>
#include <csignal>
#include <cstring>
#include <utility>

namespace passel::inline v0 {
Result<RemoteWorkerOptions> RemoteWorkerOptions::from_environment() {
  using detail::variable;
  PASSEL_TRY(const auto server, RemoteExecutorOptions::from_environment());
  RemoteWorkerOptions options;
  options.address = server.address;
  options.authkey = server.authkey;
  options.certificates = server.certificates;
  options.pool = server.pool;
  options.name = variable("PASSEL_WORKER_NAME").value_or("");
  if (const auto number = variable("PASSEL_PROCESSES")) {
    int processes = 0;
    const auto [end, wrong] =
        std::from_chars(number->data(), number->data() + number->size(), processes);
    if (wrong != std::errc{} || end != number->data() + number->size() || processes < 1)
      return Error{Errc::invalid_argument,
                   "PASSEL_PROCESSES must be a number from 1, not '" + *number + "'"};
    options.processes.processes = processes;
  }
  return options;
}

RemoteWorker::RemoteWorker(std::shared_ptr<Body> body) noexcept : body_{std::move(body)} {}
RemoteWorker::RemoteWorker(RemoteWorker&&) noexcept = default;
RemoteWorker& RemoteWorker::operator=(RemoteWorker&& other) noexcept {
  RemoteWorker taken{std::move(other)};
  std::swap(body_, taken.body_);
  return *this;
}
RemoteWorker::~RemoteWorker() {
  if (body_) body_->end();
}

Result<std::shared_ptr<RemoteWorker::Body>> RemoteWorker::prepared(const ExposedTasks& tasks,
                                                                   RemoteWorkerOptions options) {
  if (tasks.empty())
    return Error{Errc::invalid_argument, "a worker without exposed tasks has nothing to do"};
  PASSEL_TRY(Pool pool, Pool::start(options.processes));
  return std::make_shared<Body>(tasks, std::move(options), std::move(pool));
}

Result<RemoteWorker> RemoteWorker::join(const ExposedTasks& tasks, RemoteWorkerOptions options) {
  PASSEL_TRY(auto body, prepared(tasks, std::move(options)));
  RemoteWorker worker{std::move(body)};
  PASSEL_CHECK(worker.body_->begin());
  return worker;
}

void RemoteWorker::leave() { body_->leave(); }
Result<void> RemoteWorker::wait_until(detail::Deadline deadline) { return body_->wait(deadline); }
RemoteWorkerStats RemoteWorker::stats() const { return body_->stats(); }
PoolStats RemoteWorker::processes() const { return body_->processes(); }

namespace {

/// SIGTERM and SIGINT as events of the I/O thread, while it lives.
class EndingSignals {
 public:
  [[nodiscard]] static Result<EndingSignals> block() {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    EndingSignals made;
    ::pthread_sigmask(SIG_BLOCK, &ending, &made.before_);
    made.descriptor_ = detail::Descriptor{::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!made.descriptor_)
      return Error{Errc::system, std::string{"signalfd: "} + std::strerror(errno)};
    return made;
  }
  EndingSignals(EndingSignals&& other) noexcept
      : before_{other.before_},
        descriptor_{std::move(other.descriptor_)},
        is_owner_{std::exchange(other.is_owner_, false)} {}
  EndingSignals& operator=(EndingSignals&&) = delete;
  ~EndingSignals() {
    if (is_owner_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }

 private:
  EndingSignals() = default;
  sigset_t before_{};
  detail::Descriptor descriptor_;
  bool is_owner_ = true;
};

}  // namespace

Result<void> serve_tasks(const ExposedTasks& tasks) {
  PASSEL_TRY(auto options, RemoteWorkerOptions::from_environment());
  return serve_tasks(tasks, std::move(options));
}

Result<void> serve_tasks(const ExposedTasks& tasks, RemoteWorkerOptions options) {
  PASSEL_TRY(const EndingSignals signals, EndingSignals::block());
  PASSEL_TRY(auto body, RemoteWorker::prepared(tasks, std::move(options)));
  RemoteWorker worker{std::move(body)};
  PASSEL_CHECK(worker.body_->begin_patiently());
  PASSEL_TRY(detail::IoLoop* const loop, detail::runtime_io());
  PASSEL_TRY(const auto watch, loop->watch(signals.fd(), EPOLLIN, [&](std::uint32_t) {
    signalfd_siginfo info{};
    while (::read(signals.fd(), &info, sizeof info) > 0) worker.leave();
  }));
  return worker.wait();
}

}  // namespace passel::inline v0
