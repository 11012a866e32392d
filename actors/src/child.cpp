// Layer actors: one child process as its parent knows it.
#include <passel/detail/child.hpp>

#include <passel/detail/futex.hpp>

#include "family.hpp"

#include <cstdio>
#include <limits>

namespace passel::inline v0::detail {

Child::Child(const ProcessId& id, std::string name, bool daemon, Descriptor pidfd, Reaper reaper,
             std::vector<std::shared_ptr<SharedObject>> ledger)
    : id_{id},
      name_{std::move(name)},
      daemon_{daemon},
      pidfd_{std::move(pidfd)},
      reaper_{reaper},
      ledger_{std::move(ledger)} {}

std::optional<ExitStatus> Child::exit_status() const {
  const std::lock_guard lock{mutex_};
  return status_;
}

Result<ExitStatus> Child::wait(Deadline deadline) {
  const auto ended = [this] { return ended_.load(std::memory_order_acquire) != 0; };
  if (!ended() && reaper_ == Reaper::guardian)
    if (Family* family = Family::current()) family->wait_for(ended, deadline);
  // A child we reap ourselves, and one whose guardian is gone, is finished by the I/O thread.
  while (!ended()) {
    if (deadline.passed())
      return Error{Errc::timeout, "process " + name_ + " (" + std::to_string(id_.pid) +
                                      ") has not ended in the time given"};
    futex_wait(ended_, 0, deadline, FutexScope::process);
  }
  return *exit_status();
}

Result<void> Child::signal(int number) {
  if (exit_status()) return {};
  signalled_.store(true, std::memory_order_relaxed);
  auto sent = signal_process(pidfd_, number);
  // Ended, but the news has not reached us yet.
  if (!sent && !is_running(id_)) return {};
  return sent;
}

void Child::on_exit(std::function<void(ExitStatus)> handler) {
  std::unique_lock lock{mutex_};
  if (!status_) {
    handlers_.push_back(std::move(handler));
    return;
  }
  const ExitStatus status = *status_;
  lock.unlock();
  handler(status);
}

void Child::finish(ExitStatus status) {
  std::vector<std::shared_ptr<SharedObject>> held;
  {
    const std::lock_guard lock{mutex_};
    if (status_) return;
    held.swap(ledger_);
  }
  // First take back what it held: whoever sees it ended may rely on that.
  for (const auto& object : held) object->process_lost(id_);
  tell_process_lost(id_);
  std::vector<std::function<void(ExitStatus)>> handlers;
  {
    const std::lock_guard lock{mutex_};
    status_ = status;
    handlers.swap(handlers_);
  }
  ended_.store(1, std::memory_order_release);
  futex_wake(ended_, std::numeric_limits<int>::max(), FutexScope::process);
  for (const auto& handler : handlers) handler(status);
}

void flush_before_children() noexcept {
  std::fflush(stdout);
  std::fflush(stderr);
}

Result<std::shared_ptr<Child>> start_child(ProcessSpec spec) {
  Family* family = Family::current();
  if (family == nullptr)
    return Error{Errc::invalid_state,
                 "no Runtime: passel::Runtime runtime{argc, argv}; must be the first line of main"};
  return family->start(std::move(spec));
}

Result<IoLoop*> runtime_io() {
  Family* family = Family::current();
  if (family == nullptr)
    return Error{Errc::invalid_state,
                 "no Runtime: passel::Runtime runtime{argc, argv}; must be the first line of main"};
  if (family->io().stopped()) return Error{Errc::invalid_state, "the Runtime has been shut down"};
  return &family->io();
}

bool on_io_thread() noexcept {
  Family* const family = Family::current();
  return family != nullptr && family->io().on_loop_thread();
}

}  // namespace passel::inline v0::detail
