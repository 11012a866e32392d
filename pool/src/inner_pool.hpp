// Layer pool: the pool of a task, as that task sees it from its worker process.
#pragma once

#include "inner_line.hpp"

#include <passel/detail/future_core.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace passel::inline v0::detail {

/// Calls go to the pool over a line of their own, with the roles of pool and worker exchanged. A
/// thread reads the answers. While the task's thread waits for a future and calls are out, the pool
/// is told so, and lends the slot.
class InnerPool final : public PoolHandle, private WaitObserver {
 public:
  struct Opened;
  /// The pool and what the other process needs for its end of the line.
  [[nodiscard]] static Result<Opened> open(std::uint64_t max_message, unsigned processes);

  InnerPool(std::unique_ptr<PoolEnd> line, std::uint64_t max_message, unsigned processes);
  ~InnerPool() override;

  [[nodiscard]] Result<std::shared_ptr<void>> admit(Deadline) override {
    return std::shared_ptr<void>{};
  }
  void submit(std::unique_ptr<PoolJob> job) override;
  [[nodiscard]] std::optional<Error> refusal() const override;
  [[nodiscard]] Result<void> resize(unsigned) override {
    return Error{Errc::invalid_state, "a task cannot resize the pool that runs it"};
  }
  void close() override {}
  void terminate() override {}
  void end() override {}
  [[nodiscard]] Result<void> join(Deadline deadline) override;
  [[nodiscard]] PoolShutdown shutdown(Deadline) override { return {}; }
  [[nodiscard]] PoolStats stats() const override { return {}; }
  [[nodiscard]] std::vector<DeadLetter> dead_letters() const override { return {}; }
  void stop(const PoolJob* job, std::uint64_t serial) override;
  void tell_taken(const PoolJob* job, std::uint64_t serial, std::uint32_t items) override;
  [[nodiscard]] unsigned processes() const noexcept override { return processes_; }
  [[nodiscard]] std::uint64_t max_message() const noexcept override { return max_message_; }
  [[nodiscard]] std::size_t appetite() const noexcept override {
    return std::size_t{2} * processes_;
  }

  /// Waits of the calling thread are told from now on.
  void observe_this_thread() noexcept { WaitObserver::exchange(this); }

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Entry {
    PoolJob* job = nullptr;
    std::size_t index = 0;
    std::uint64_t number = 0;
  };
  /// Something to be told to a job without the lock.
  struct Refusal {
    PoolJob* job = nullptr;
    std::size_t index = 0;
    Error why;
  };

  void before_wait() noexcept override;
  void after_wait() noexcept override;
  void read();
  void read_answers(Lock& lock);
  void answered(Lock& lock, PoolJob& job);
  void post_more(Lock& lock);
  [[nodiscard]] bool find_number();
  [[nodiscard]] bool post(PoolJob& job, std::size_t index);
  void tell(InnerMessage message, Lock& lock);
  void refuse(Lock& lock);
  void fail(const Error& why, Lock& lock);

  const std::uint64_t max_message_;
  const unsigned processes_;
  mutable std::mutex mutex_;
  std::unique_ptr<PoolEnd> line_;
  std::deque<PoolJob*> feed_;
  std::array<Entry, ChannelLayout::cells> open_{};
  std::size_t unanswered_ = 0;
  bool begun_ = false;  // the next task to be posted has been told that it begins
  std::vector<Refusal> refusals_;
  std::vector<std::byte> scratch_;
  std::optional<Error> failure_;
  bool lent_ = false;
  std::atomic<bool> quit_{false};
  std::thread reader_;
};

struct InnerPool::Opened {
  std::shared_ptr<InnerPool> pool;
  std::vector<std::shared_ptr<Descriptor>> for_pool;
};

}  // namespace passel::inline v0::detail
