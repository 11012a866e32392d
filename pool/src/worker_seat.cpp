// Layer pool: what a worker process knows of the task it runs.
#include "worker_seat.hpp"

#include <passel/detail/futex.hpp>
#include <passel/detail/quiet_thread.hpp>
#include <passel/this_task.hpp>

#include <limits>
#include <string>

namespace passel::inline v0 {
namespace detail {
namespace {

std::atomic<WorkerSeat*> seat{nullptr};

}  // namespace

WorkerSeat::WorkerSeat(WorkerEnd& end, const WorkerStart& start)
    : end_{end}, memory_{end.shared()}, start_{start} {
  seat.store(this, std::memory_order_release);
}

WorkerSeat::~WorkerSeat() {
  seat.store(nullptr, std::memory_order_release);
  if (!watcher_.joinable()) return;
  quit_.store(true, std::memory_order_release);
  // No task has this number. The watcher may be on its way to sleep on any other.
  memory_.stop.store(0xFFFF'FFFF, std::memory_order_release);
  futex_wake(memory_.stop, std::numeric_limits<int>::max(), FutexScope::host);
  watcher_.join();
}

WorkerSeat* WorkerSeat::current() noexcept { return seat.load(std::memory_order_acquire); }

std::stop_token WorkerSeat::stop_token() {
  std::stop_source source{std::nostopstate};
  {
    const std::lock_guard lock{mutex_};
    const std::uint32_t number = number_.load(std::memory_order_relaxed);
    if (source_number_ != number) {
      source_ = std::stop_source{};
      source_number_ = number;
    }
    source = source_;
    if (!watcher_.joinable()) {
      auto watcher = start_quiet_thread("passel.stop", [this] { watch(); });
      // Without one, the token learns of the request when it is asked for again.
      if (watcher) watcher_ = *std::move(watcher);
    }
  }
  // Callbacks of the user run here: without the lock.
  if (stop_requested()) source.request_stop();
  return source.get_token();
}

Result<std::shared_ptr<PoolHandle>> WorkerSeat::pool() {
  const std::lock_guard lock{mutex_};
  if (!pool_) {
    if (std::this_thread::get_id() != task_thread_) {
      return Error{Errc::invalid_state,
                   "the first use of a task's pool must be on the thread of the task"};
    }
    PASSEL_TRY(auto opened, InnerPool::open(start_.max_message, start_.processes));
    PASSEL_CHECK(end_.offer_line(opened.for_pool));
    pool_ = std::move(opened.pool);
    pool_->observe_this_thread();
  }
  return std::shared_ptr<PoolHandle>{pool_};
}

Result<void> WorkerSeat::send_item(const Encoded& item, std::uint32_t window, Deadline deadline) {
  if (item.bytes.size() > start_.max_message)
    return Error{Errc::too_large, "an item of " + std::to_string(item.bytes.size()) +
                                      " bytes is over the limit of " +
                                      std::to_string(start_.max_message) + " bytes"};
  PASSEL_CHECK(end_.send_item(task_number_, items_sent_, window, item, deadline));
  ++items_sent_;
  return {};
}

Result<void> stream_item(const Encoded& item, std::uint32_t window, Deadline deadline) {
  auto* const mine = WorkerSeat::current();
  if (mine != nullptr) return mine->send_item(item, window, deadline);
  return Error{Errc::invalid_state, "this is no task of a pool"};
}

Result<std::shared_ptr<PoolHandle>> pool_of_task() {
  auto* const mine = WorkerSeat::current();
  if (mine != nullptr) return mine->pool();
  return Error{Errc::invalid_state, "this is no task of a pool"};
}

void WorkerSeat::watch() {
  while (!quit_.load(std::memory_order_acquire)) {
    const std::uint32_t wanted = memory_.stop.load(std::memory_order_acquire);
    std::stop_source meant{std::nostopstate};
    {
      const std::lock_guard lock{mutex_};
      if (wanted == source_number_) meant = source_;
    }
    // Callbacks of the user run here: without the lock.
    if (meant.stop_possible()) meant.request_stop();
    static_cast<void>(futex_wait(memory_.stop, wanted, Deadline::never(), FutexScope::host));
  }
}

}  // namespace detail

namespace this_task {

bool stop_requested() noexcept {
  const auto* const seat = detail::WorkerSeat::current();
  return seat != nullptr && seat->stop_requested();
}

std::stop_token stop_token() {
  auto* const seat = detail::WorkerSeat::current();
  return seat != nullptr ? seat->stop_token() : std::stop_token{};
}

Result<Pool> pool() {
  PASSEL_TRY(auto handle, detail::pool_of_task());
  return detail::PoolAccess::make(std::move(handle));
}

std::optional<unsigned> worker_index() noexcept {
  const auto* const seat = detail::WorkerSeat::current();
  return seat != nullptr ? std::optional{seat->index()} : std::nullopt;
}

unsigned attempt() noexcept {
  const auto* const seat = detail::WorkerSeat::current();
  return seat != nullptr ? seat->attempt() : 0;
}

}  // namespace this_task
}  // namespace passel::inline v0
