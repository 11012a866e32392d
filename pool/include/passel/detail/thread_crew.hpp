// Layer pool: threads that run work of a line, for everything that is an executor over threads.
#pragma once

#include <passel/detail/call_places.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/future_core.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace passel::inline v0 {

/// What an executor over threads looks like at one moment.
struct ThreadPoolStats {
  std::vector<std::string> threads;  ///< the names of its threads: "ThreadPoolExecutor-0_0", ...
  std::size_t idle = 0;              ///< how many of them have nothing to do
  std::size_t queued = 0;            ///< tasks that no thread has taken yet
};

namespace detail {

/// One piece of work: exactly one of its functions is called, once, and it owns its memory from
/// then on.
class PASSEL_API WorkItem {
 public:
  WorkItem() = default;
  WorkItem(const WorkItem&) = delete;
  WorkItem& operator=(const WorkItem&) = delete;
  virtual void run() noexcept = 0;
  /// It will not run: whoever waits for it is told `why`, with Errc::cancelled as a cancellation.
  virtual void drop(const Error& why) noexcept = 0;

 protected:
  virtual ~WorkItem();

 private:
  friend class ThreadCrew;
  WorkItem* next_ = nullptr;
};

/// How many threads may be lent for tasks that wait for futures.
inline constexpr unsigned usual_spare_threads = 256;

struct CrewOptions {
  unsigned threads = 1;
  unsigned spare = usual_spare_threads;
  std::string name{};
  std::function<void()> initializer{};
  std::size_t max_pending = 0;
  bool daemon = false;  ///< nobody waits for its end
};

/// Up to `threads` threads and the line of work that they run, first in first out. A thread is
/// started when work comes and no other is idle. A task that waits for a future lends its place: a
/// spare thread may be started meanwhile. Safe from any thread; user code never runs under its
/// lock.
class PASSEL_API ThreadCrew : public std::enable_shared_from_this<ThreadCrew>,
                              private WaitObserver {
 public:
  explicit ThreadCrew(CrewOptions options);
  ~ThreadCrew() override;

  /// A place for one call, waiting for it unless this is one of its threads; nothing when any
  /// number may be unanswered. Errors: full, timeout, why it was closed or broken.
  [[nodiscard]] Result<CallPlace> admit(Deadline deadline);
  /// Takes the item over. Errors, and the item untouched: why it was closed or broken, no_space
  /// when it has no thread and gets none.
  [[nodiscard]] Result<void> submit(WorkItem& item);
  /// Takes the items over; those that it refuses are dropped with the reason.
  void submit_all(const std::vector<WorkItem*>& items);
  /// Why nothing can be submitted any more.
  [[nodiscard]] std::optional<Error> refusal() const;
  /// Whether there is such a reason, without the lock.
  [[nodiscard]] bool refuses() const noexcept { return refuses_.load(std::memory_order_acquire); }
  /// No more work, for that reason. What is in line is still done, or dropped as cancelled.
  enum class Rest { finish, cancel };
  void close(const Error& why, Rest rest);
  /// Waits until all threads have ended; only after close. Errors: timeout, deadlock when called on
  /// one of its threads.
  [[nodiscard]] Result<void> join(Deadline deadline);
  /// For the last owner: closes it, unless that was done, and joins unless it is a daemon, or this
  /// is one of its threads or a forked copy of its process.
  void end(Rest rest);

  [[nodiscard]] ThreadPoolStats stats() const;
  [[nodiscard]] unsigned size() const noexcept { return options_.threads; }

 private:
  struct Worker {
    std::thread thread{};
    std::string name{};
    std::atomic<std::uint32_t> bell{0};
  };
  enum class State : std::uint8_t { open, closed, broken };

  void append(WorkItem& item) noexcept;
  /// Makes sure that somebody comes for what is in line. Returns an idle thread to wake.
  [[nodiscard]] Worker* call_for_help(std::optional<Error>& trouble);
  [[nodiscard]] std::optional<Error> start_thread();
  [[nodiscard]] Worker* take_idle() noexcept;
  static void wake(Worker* worker) noexcept;
  /// Everybody who is idle; the lock is held.
  [[nodiscard]] std::vector<Worker*> take_all_idle();
  static void drop_all(WorkItem* first, const Error& why) noexcept;
  [[nodiscard]] WorkItem* take_line() noexcept;

  void live(Worker& me) noexcept;
  [[nodiscard]] bool initialize();
  void break_down(const Error& why);
  void work(std::unique_lock<std::mutex>& lock);
  /// False: this thread is to leave.
  [[nodiscard]] bool rest(Worker& me, std::unique_lock<std::mutex>& lock);
  /// Takes it off the list; returns those that have left before and are to be joined.
  [[nodiscard]] std::list<Worker> retire(Worker& me);
  [[nodiscard]] unsigned allowed() const noexcept;

  void before_wait() noexcept override;
  void after_wait() noexcept override;

  const CrewOptions options_;
  const std::uint32_t generation_;
  CallPlaces places_;

  mutable std::mutex mutex_;
  std::condition_variable all_gone_;
  State state_ = State::open;
  std::optional<Error> refusal_;
  std::atomic<bool> refuses_{false};
  WorkItem* first_ = nullptr;
  WorkItem* last_ = nullptr;
  std::size_t queued_ = 0;
  std::list<Worker> workers_;
  std::list<Worker> retired_;  // have left; their threads are to be joined
  std::vector<Worker*> idle_;  // the one that rested last is woken first: its stack is warm
  unsigned coming_ = 0;        // woken or started, and not there yet
  unsigned lent_ = 0;          // tasks that wait for a future
  std::uint64_t next_number_ = 0;
  bool orphaned_ = false;  // nobody will join: threads are detached
  bool waking_ = false;    // somebody was woken and will wake the next one itself
};

/// A name for threads that were given none: "ThreadPoolExecutor-0", then -1, ...
[[nodiscard]] PASSEL_API std::string next_crew_name();
/// The exception in flight as an Error that also carries the exception itself (ThrownError). Call
/// it in a catch block only.
[[nodiscard]] PASSEL_API Error thrown_error() noexcept;

}  // namespace detail
}  // namespace passel::inline v0
