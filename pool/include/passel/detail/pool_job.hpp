// Layer pool: work for a pool, and the pool behind its public handle.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/cell.hpp>
#include <passel/detail/child.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/guardian.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// What a pool looks like at one moment.
struct PoolStats {
  struct Worker {
    std::string name;         ///< "ForkServerPoolWorker-1"
    int pid = 0;              ///< 0 while it is not there
    bool ready = false;       ///< its initializer has run
    std::size_t waiting = 0;  ///< tasks that it has, the running one included
    std::uint64_t done = 0;   ///< tasks it has answered
  };
  std::vector<Worker> workers;
  std::size_t queued = 0;      ///< tasks with no worker yet
  std::uint64_t done = 0;      ///< tasks answered so far, chunks of a map counted as one
  std::uint64_t restarts = 0;  ///< workers replaced because they died
};

namespace detail {

class PoolCore;

/// One or more tasks of one function. It lives until `finished`; the pool calls its members one at
/// a time and never waits for it, so they must not block. Every task gets exactly one of `value`
/// and `error`.
class PASSEL_API PoolJob : public Op {
 public:
  struct Payload {
    std::span<const std::byte> args{};
    DescriptorSpan descriptors{};
    std::span<const std::shared_ptr<SharedObject>> objects{};
  };

  explicit PoolJob(TaskId task) noexcept : task_{task} {}
  PoolJob(const PoolJob&) = delete;
  PoolJob& operator=(const PoolJob&) = delete;
  virtual ~PoolJob();

  [[nodiscard]] virtual std::size_t count() const noexcept = 0;
  [[nodiscard]] virtual std::string name() const = 0;
  /// What task `index` is sent with; asked for again when it is sent again.
  [[nodiscard]] virtual Payload payload(std::size_t index) noexcept = 0;
  /// Task `index` is about to be sent for the first time. False when nobody wants it any more: then
  /// `error` follows.
  [[nodiscard]] virtual bool begin(std::size_t index) noexcept;
  virtual void value(std::size_t index, std::span<const std::byte> bytes,
                     DescriptorSpan descriptors) noexcept = 0;
  virtual void error(std::size_t index, const Error& error) noexcept = 0;
  /// All tasks have had their answer; usually deletes this.
  virtual void finished() noexcept = 0;

  void set_attempts(unsigned attempts) noexcept { attempts_ = attempts; }

 private:
  friend class PoolCore;
  TaskId task_;
  unsigned attempts_ = 1;
  PoolJob* behind_ = nullptr;  // the next job that is not fully fed into the pool
  std::size_t fed_ = 0;
  std::size_t answered_ = 0;
};

/// A task with its arguments, for later.
struct BoundTask {
  TaskId task;
  Encoded args;
};

/// What a pool is made with; PoolOptions in plain terms.
struct PoolConfig {
  unsigned processes = 1;
  std::string name{};
  StartMethod method = StartMethod::forkserver;
  std::optional<BoundTask> initializer{};
  unsigned max_tasks_per_child = 0;
  unsigned max_restarts = 3;
  std::chrono::nanoseconds restart_window{};
  std::chrono::nanoseconds start_timeout{};
  std::chrono::nanoseconds stop_grace{};
  std::uint64_t max_message = 0;
};

/// The pool: an actor that runs the ledger, seen from user threads. Destroying it terminates the
/// workers and waits for their end.
class PASSEL_API PoolHandle {
 public:
  struct Shared;

  [[nodiscard]] static Result<std::shared_ptr<PoolHandle>> start(PoolConfig config);
  PoolHandle(CellRef cell, std::shared_ptr<Shared> shared);
  PoolHandle(const PoolHandle&) = delete;
  PoolHandle& operator=(const PoolHandle&) = delete;
  ~PoolHandle();

  /// Takes the job over. Its members may be called before this returns, on this thread.
  void submit(std::unique_ptr<PoolJob> job);
  /// Why nothing can be submitted any more: closed, terminated, failed.
  [[nodiscard]] std::optional<Error> refusal() const;
  void close();
  void terminate();
  /// terminate and join, unless this is a forked copy of the owner, whom the workers do not belong
  /// to.
  void end();
  /// Errors: invalid_state while it is running, timeout.
  [[nodiscard]] Result<void> join(Deadline deadline);
  [[nodiscard]] PoolStats stats() const;

  [[nodiscard]] unsigned processes() const noexcept;
  [[nodiscard]] std::uint64_t max_message() const noexcept;
  /// Tasks that keep every worker busy without a pause, by what tasks take now.
  [[nodiscard]] std::size_t appetite() const noexcept;

 private:
  CellRef cell_;
  std::shared_ptr<Shared> shared_;
  std::uint32_t generation_;
};

}  // namespace detail
}  // namespace passel::inline v0
