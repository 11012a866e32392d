// Layer pool: what a worker process knows of the task it runs.
#pragma once

#include "inner_pool.hpp"
#include "worker_channel.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <thread>

namespace passel::inline v0::detail {

/// The task in hand and what the pool wants of it. One in each worker process; its observers may be
/// called by any thread.
class WorkerSeat {
 public:
  WorkerSeat(WorkerEnd& end, const WorkerStart& start);
  WorkerSeat(const WorkerSeat&) = delete;
  WorkerSeat& operator=(const WorkerSeat&) = delete;
  ~WorkerSeat();

  /// The seat of this process, or nullptr when it is no worker.
  [[nodiscard]] static WorkerSeat* current() noexcept;

  void take(const WorkerEnd::Task& task) noexcept {
    attempt_.store(task.attempt, std::memory_order_relaxed);
    number_.store(static_cast<std::uint32_t>(task.number), std::memory_order_relaxed);
    task_number_ = task.number;
    items_sent_ = 0;
  }
  [[nodiscard]] bool stop_requested() const noexcept {
    return memory_.stop.load(std::memory_order_acquire) == number_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::stop_token stop_token();
  /// The pool of the task; the calling thread must be that of the task.
  [[nodiscard]] Result<std::shared_ptr<PoolHandle>> pool();
  /// Streams an item of the task in hand. On the task's thread.
  [[nodiscard]] Result<void> send_item(const Encoded& item, std::uint32_t window,
                                       Deadline deadline);
  [[nodiscard]] unsigned index() const noexcept { return start_.index; }
  [[nodiscard]] unsigned attempt() const noexcept {
    return attempt_.load(std::memory_order_relaxed);
  }

 private:
  void watch();

  WorkerEnd& end_;
  ChannelLayout& memory_;
  const WorkerStart start_;
  const std::thread::id task_thread_ = std::this_thread::get_id();
  std::shared_ptr<InnerPool> pool_;
  std::uint64_t task_number_ = 0;
  std::uint32_t items_sent_ = 0;          // of the task in hand
  std::atomic<std::uint32_t> number_{0};  // the lower half
  std::atomic<std::uint32_t> attempt_{0};
  std::mutex mutex_;
  std::stop_source source_{std::nostopstate};  // of the task source_number_
  std::uint32_t source_number_ = 0;
  std::atomic<bool> quit_{false};
  std::thread watcher_;
};

}  // namespace passel::inline v0::detail
