// Layer pool: work for a pool, and the pool behind its public handle.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/cell.hpp>
#include <passel/detail/child.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/future_core.hpp>
#include <passel/detail/guardian.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// How a pool came to its end by Pool::shutdown_for.
struct PoolShutdown {
  struct Worker {
    std::string name;
    int pid = 0;
    std::string task;  ///< what it was running
  };
  std::vector<Worker> killed;  ///< workers that had to be ended in the middle of a task
  std::size_t unfinished = 0;  ///< tasks that were given up, those included
};

/// What a pool looks like at one moment.
struct PoolStats {
  struct Worker {
    std::string name;                         ///< "ForkServerPoolWorker-1"
    unsigned index = 0;                       ///< see this_task::worker_index
    int pid = 0;                              ///< 0 while it is not there
    bool ready = false;                       ///< its initializer has run
    std::size_t waiting = 0;                  ///< tasks that it has, the running one included
    std::uint64_t done = 0;                   ///< tasks it has answered
    std::string task{};                       ///< what it runs, or is about to; empty: nothing
    bool running = false;                     ///< it has begun that
    std::chrono::nanoseconds running_for{0};  ///< since it could
    bool stalled = false;                     ///< stopped by a signal, or it has not begun its task
    std::uint64_t memory = 0;                 ///< bytes in use for itself
    std::chrono::nanoseconds up{0};           ///< since it was ready
    std::chrono::nanoseconds busy{0};         ///< of that, in tasks it has answered
  };
  std::vector<Worker> workers;
  std::size_t queued = 0;      ///< tasks with no worker yet
  std::uint64_t done = 0;      ///< tasks answered so far, chunks of a map counted as one
  std::uint64_t restarts = 0;  ///< workers replaced because they died
};

/// A task that cost every worker it was given to: see Pool::dead_letters.
struct DeadLetter {
  std::string task;       ///< its name
  unsigned attempts = 1;  ///< how many workers died of it
  Error error;            ///< what its future got: worker_lost
  std::vector<std::byte> payload{};
  std::vector<std::shared_ptr<detail::Descriptor>> descriptors{};

  /// The arguments of its calls, given their types: one list, or one for each item of a chunk.
  /// Errors: malformed or type_mismatch when they are of other types.
  template <class... A>
  [[nodiscard]] Result<std::vector<std::tuple<A...>>> arguments() const;
};

namespace detail {

class ActorPool;
class PoolCore;
class InnerPool;
class Segment;

/// How a job's tasks are to be treated, where that differs from the usual.
struct PoolTerms {
  unsigned attempts = 1;
  std::chrono::nanoseconds backoff{0};
  bool retry_failures = false;
  int priority = 0;
  unsigned depth = 0;  ///< of calls by tasks of the pool: the deeper goes first
  Deadline::Clock::time_point deadline = Deadline::Clock::time_point::max();
  std::chrono::nanoseconds limit{0};  ///< of one attempt; 0: for ever
  std::chrono::nanoseconds grace{std::chrono::seconds{1}};
  bool streams = false;  ///< it sends items before its answer
  std::string name{};
  std::shared_ptr<void> ticket{};  ///< its place among the calls that may be unanswered
};

/// One or more tasks of one function. It lives until `finished`; the pool calls its members one at
/// a time and never waits for it, so they must not block. Every task gets exactly one of `value`
/// and `error`.
class PASSEL_API PoolJob : public Op {
 public:
  struct Payload {
    std::span<const std::byte> args{};
    std::span<const std::byte> tail{};  ///< what follows `args`, where its owner keeps it
    DescriptorSpan descriptors{};
    std::span<const std::shared_ptr<SharedObject>> objects{};

    [[nodiscard]] std::size_t size() const noexcept { return args.size() + tail.size(); }
  };

  explicit PoolJob(TaskId task) noexcept : task_{task} {}
  PoolJob(const PoolJob&) = delete;
  PoolJob& operator=(const PoolJob&) = delete;
  virtual ~PoolJob();

  [[nodiscard]] virtual std::size_t count() const noexcept = 0;
  [[nodiscard]] virtual std::string name() const = 0;
  /// What task `index` is sent with; asked for again when it is sent again, and not after its
  /// answer.
  [[nodiscard]] virtual Payload payload(std::size_t index) noexcept = 0;
  /// Task `index` is about to be sent for the first time. False when nobody wants it any more: then
  /// `error` follows.
  [[nodiscard]] virtual bool begin(std::size_t index) noexcept;
  virtual void value(std::size_t index, std::span<const std::byte> bytes,
                     DescriptorSpan descriptors) noexcept = 0;
  virtual void error(std::size_t index, const Error& error) noexcept = 0;
  /// An item of a task that streams; its answer follows the last one.
  virtual void item(std::size_t index, std::span<const std::byte> bytes,
                    DescriptorSpan descriptors) noexcept;
  /// Whether the answer holds an error of the task: asked when such are to be tried again.
  [[nodiscard]] virtual bool has_failed(std::size_t index, std::span<const std::byte> bytes,
                                        DescriptorSpan descriptors) noexcept;
  /// All tasks have had their answer; usually deletes this.
  virtual void finished() noexcept = 0;
  /// Whether a thread that waits for the answer may read it by itself: not when user code is told.
  [[nodiscard]] virtual bool may_be_fetched() const noexcept { return false; }

  void set_terms(std::unique_ptr<PoolTerms> terms) noexcept { terms_ = std::move(terms); }
  [[nodiscard]] const PoolTerms& terms() const noexcept;
  /// What errors call its tasks.
  [[nodiscard]] std::string label() const { return terms().name.empty() ? name() : terms().name; }
  /// "fib (task 17)", for those who wait for it.
  [[nodiscard]] std::string work() const {
    return label() + " (task " + std::to_string(serial_) + ")";
  }
  /// Tells this job from others that lay at the same address.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }
  /// The thread that submits this will wait for it at once.
  void await() noexcept { awaited_ = true; }

 protected:
  /// For a thread that waits for `answer`, which this gives: it reads the answer of the worker by
  /// itself if that spares a wake-up. Returns when it is done, at the deadline, or when the thread
  /// had better sleep.
  void fetch_from(std::uint64_t pool, FutureCore& answer, Deadline deadline) noexcept;
  /// It is about to be answered: whoever sees the answer finds room for another call.
  void leave_place() noexcept {
    if (terms_) terms_->ticket.reset();
  }
  /// Wakes the thread that sleeps where the worker's answer comes in.
  void wake_fetcher_of_job() noexcept;

 private:
  [[nodiscard]] static std::uint64_t next_serial() noexcept;

  friend class PoolCore;
  friend class InnerPool;
  friend class ActorPool;
  TaskId task_;
  const std::uint64_t serial_ = next_serial();
  std::unique_ptr<PoolTerms> terms_;
  PoolJob* behind_ = nullptr;  // neighbours among the jobs that are not fully fed into the pool
  PoolJob* ahead_ = nullptr;
  std::size_t fed_ = 0;
  std::size_t answered_ = 0;
  std::shared_ptr<Segment> fetched_from_;  // of the worker whose answer a waiting thread may read
  std::uint32_t task_slot_ = 0;            // its last task in the pool's ledger
  bool awaited_ = false;
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
  bool fragile = false;
  std::chrono::nanoseconds restart_window{};
  std::chrono::nanoseconds start_timeout{};
  std::chrono::nanoseconds stop_grace{};
  std::uint64_t max_message = 0;
  std::size_t max_dead_letters = 0;
  std::size_t max_pending = 0;
  std::size_t max_memory = 0;
  std::size_t recycle_memory = 0;
  std::size_t stderr_lines = 0;
  unsigned min_processes = 0;
  std::chrono::nanoseconds idle_timeout{};
  std::vector<std::vector<int>> cpus{};
  int nice = 0;
  std::chrono::nanoseconds warn_after{0};
  int stack_signal = 0;
};

/// A pool as user threads see it: the actor that runs the ledger, or, inside of a task, the line to
/// it.
class PASSEL_API PoolHandle : public std::enable_shared_from_this<PoolHandle> {
 public:
  struct Shared;

  [[nodiscard]] static Result<std::shared_ptr<PoolHandle>> start(PoolConfig config);
  PoolHandle();
  PoolHandle(const PoolHandle&) = delete;
  PoolHandle& operator=(const PoolHandle&) = delete;
  virtual ~PoolHandle();

  /// A place among the calls that may be unanswered, waiting for it; null when any number may.
  /// Errors: full when the deadline is "try", timeout, invalid_state when the pool is closed.
  [[nodiscard]] virtual Result<std::shared_ptr<void>> admit(Deadline deadline) = 0;
  /// Takes the job over. Its members may be called before this returns, on this thread.
  virtual void submit(std::unique_ptr<PoolJob> job) = 0;
  /// Why nothing can be submitted any more: closed, terminated, failed.
  [[nodiscard]] virtual std::optional<Error> refusal() const = 0;
  /// Error: invalid_state in a task.
  [[nodiscard]] virtual Result<void> resize(unsigned processes) = 0;
  virtual void close() = 0;
  virtual void terminate() = 0;
  /// terminate and join, unless this is a forked copy of the owner, whom the workers do not belong
  /// to.
  virtual void end() = 0;
  /// Errors: invalid_state while it is running, timeout.
  [[nodiscard]] virtual Result<void> join(Deadline deadline) = 0;
  [[nodiscard]] virtual PoolShutdown shutdown(Deadline deadline) = 0;
  [[nodiscard]] virtual PoolStats stats() const = 0;
  [[nodiscard]] virtual std::vector<DeadLetter> dead_letters() const = 0;
  /// Ends the job if it is still there. From any thread, also when the pool is gone.
  virtual void stop(const PoolJob* job, std::uint64_t serial) = 0;
  /// Of the items that the job's task has sent so many have been taken. From any thread.
  virtual void tell_taken(const PoolJob* job, std::uint64_t serial, std::uint32_t items) = 0;

  enum class FetchStep { begin, look, leave };
  /// A thread that waits for the job becomes the reader of the worker that has its task, looks
  /// there, gives that up. How many of the worker's answers have been read; nothing when the thread
  /// is not, or no longer, the reader, and had better sleep.
  [[nodiscard]] virtual std::optional<std::uint64_t> fetch(PoolJob& job, FetchStep step);

  /// `stop` of the pool of that number, unless it is gone: jobs know their pool by it, because a
  /// reference would be counted up and down for each of them.
  static void stop_in(std::uint64_t number, const PoolJob* job, std::uint64_t serial) noexcept;
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

  [[nodiscard]] virtual unsigned processes() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t max_message() const noexcept = 0;
  /// Tasks that keep every worker busy without a pause, by what tasks take now.
  [[nodiscard]] virtual std::size_t appetite() const noexcept = 0;

 private:
  const std::uint64_t number_;
};

/// Sends an item of the task that this worker process runs; see WorkerEnd::send_item.
[[nodiscard]] PASSEL_API Result<void> stream_item(const Encoded& item, std::uint32_t window,
                                                  Deadline deadline);

/// The pool that the task of this worker process belongs to. Error: invalid_state outside of one.
[[nodiscard]] PASSEL_API Result<std::shared_ptr<PoolHandle>> pool_of_task();

}  // namespace detail
}  // namespace passel::inline v0
