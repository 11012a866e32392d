// Layer actors: the part of a future's shared state that does not depend on its type.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/result.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace passel::inline v0::detail {

class FutureCore;

/// Somebody to tell when a future is done. Told once; owns its own storage from then on (a heap
/// node deletes itself, a node in a coroutine frame just goes out of scope).
struct FutureWatcher {
  FutureWatcher* next = nullptr;
  bool is_quiet = false;  ///< runs no user code: any thread may tell it
  virtual void done(FutureCore& core) noexcept = 0;

 protected:
  FutureWatcher() = default;
  FutureWatcher(const FutureWatcher&) = delete;
  FutureWatcher& operator=(const FutureWatcher&) = delete;
  ~FutureWatcher() = default;
};

/// What the asking side can do to whoever works on the answer.
enum class FutureWish : std::uint32_t {
  none = 0,    ///< of a hook that only describes
  cancel = 1,  ///< cancel() succeeded: it must not run any more
  abandon =
      2,     ///< the last handle was dropped and nobody else watches: the answer would reach nobody
  stop = 4,  ///< request_stop(): whoever runs it may end early
};

/// A hook of the answering side for one kind of wish. Runs at most once, on the thread that made
/// the wish.
struct FutureHook {
  explicit FutureHook(FutureWish wish) : wish_{wish} {}
  FutureHook(const FutureHook&) = delete;
  FutureHook& operator=(const FutureHook&) = delete;
  virtual ~FutureHook() = default;
  virtual void run() noexcept = 0;
  /// What errors call the work; empty: that is for others to say.
  [[nodiscard]] virtual std::string work() const { return {}; }

  FutureHook* next_ = nullptr;
  FutureWish wish_;
  std::atomic<bool> fired_{false};
};

/// Says what the work is.
struct FutureLabel final : FutureHook {
  explicit FutureLabel(std::string text) : FutureHook{FutureWish::none}, text_{std::move(text)} {}
  void run() noexcept override {}
  [[nodiscard]] std::string work() const override { return text_; }

  std::string text_;
};

/// Where one thread waits for several futures. Counted: the waiter has one reference, each future
/// it waits at another.
class PASSEL_API FutureGate {
 public:
  /// Opens after `target` arrivals, or at the first failed one when `on_failure`.
  FutureGate(std::uint32_t target, bool on_failure) noexcept
      : target_{target}, on_failure_{on_failure} {}
  FutureGate(const FutureGate&) = delete;
  FutureGate& operator=(const FutureGate&) = delete;

  void arrive(bool failed) noexcept;
  /// False when the time was up.
  bool wait(Deadline deadline) noexcept;
  void add_ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  ~FutureGate() = default;
  const std::uint32_t target_;
  const bool on_failure_;
  std::atomic<std::uint32_t> arrived_{0};
  std::atomic<std::uint32_t> open_{0};
  std::atomic<std::uint32_t> references_{1};
};

/// Told when a thread is about to sleep for a result and when it goes on: a pool lends the slot of
/// a task that waits.
class PASSEL_API WaitObserver {
 public:
  WaitObserver() = default;
  WaitObserver(const WaitObserver&) = delete;
  WaitObserver& operator=(const WaitObserver&) = delete;
  virtual ~WaitObserver();
  virtual void before_wait() noexcept = 0;
  virtual void after_wait() noexcept = 0;

  /// The calling thread's observer, and how to change it (returns the one before).
  [[nodiscard]] static WaitObserver* current() noexcept;
  static WaitObserver* exchange(WaitObserver* observer) noexcept;
};

/// While it lives, futures that this thread answers wake their sleepers together: a sleeper that
/// finds many answers at once costs one wake-up instead of one each. They are woken early when
/// something foreign is about to run (a callback, a user's codec), which may wait for them.
class PASSEL_API WakeBatch {
 public:
  WakeBatch() noexcept;
  WakeBatch(const WakeBatch&) = delete;
  WakeBatch& operator=(const WakeBatch&) = delete;
  ~WakeBatch();

  /// Wakes who was put off so far by the batch of the calling thread, if it has one.
  static void flush() noexcept;
  /// False when the calling thread has no batch: then the caller wakes.
  [[nodiscard]] static bool put_off(std::atomic<std::uint32_t>& word) noexcept;

 private:
  void wake_all() noexcept;

  static constexpr std::size_t most = 16;
  // Addresses and nothing more: what lay there may be gone by then, and a futex is not read when it
  // is woken.
  std::atomic<std::uint32_t>* words_[most];
  std::size_t count_ = 0;
  WakeBatch* const before_;
};

/// Python's states, the sleepers, the watchers and the hooks of one future. One word holds the
/// state so that a sleeper is one futex; the value lives in the derived class and is written in the
/// phase `setting`, which nobody else can leave.
class PASSEL_API FutureCore {
 public:
  enum Phase : std::uint32_t { pending = 0, running = 1, setting = 2, cancelled = 3, finished = 4 };

  FutureCore() = default;
  FutureCore(const FutureCore&) = delete;
  FutureCore& operator=(const FutureCore&) = delete;

  void add_ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    // The last owner needs no atomic read-modify-write.
    if (references_.load(std::memory_order_acquire) == 1 ||
        references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete this;
    }
  }

  [[nodiscard]] Phase phase() const noexcept {
    return static_cast<Phase>(word_.load(std::memory_order_acquire) & phase_mask);
  }
  [[nodiscard]] bool is_done() const noexcept { return phase() >= cancelled; }

  /// pending or running -> setting. False when it is cancelled or somebody else has set it.
  [[nodiscard]] bool begin_set() noexcept { return begin_set_unless(0); }
  /// The same, but false also when it was dropped and the answer would reach nobody.
  [[nodiscard]] bool begin_set_if_wanted() noexcept { return begin_set_unless(abandon_bit); }
  /// setting -> finished: wakes the sleepers, tells the watchers.
  void finish_set() noexcept;
  /// pending -> running. False when cancelled, or not pending.
  bool set_running() noexcept;
  /// pending -> cancelled, tells everybody. True when cancelled now or before.
  bool cancel() noexcept;
  void request_stop() noexcept;
  [[nodiscard]] bool stop_requested() const noexcept {
    return (word_.load(std::memory_order_relaxed) & stop_bit) != 0;
  }
  /// The asking handle is gone.
  void drop_handle() noexcept;

  /// Sleeps until done; `for_value` also until no watcher reads the value any more. False when the
  /// time was up.
  bool wait(Deadline deadline, bool for_value) noexcept;
  /// True for the first caller only: the one who may move the value out.
  [[nodiscard]] bool take() noexcept {
    return (word_.fetch_or(taken_bit, std::memory_order_acq_rel) & taken_bit) == 0;
  }
  [[nodiscard]] bool is_taken() const noexcept {
    return (word_.load(std::memory_order_acquire) & taken_bit) != 0;
  }

  /// For a thread that sleeps for the answer elsewhere: from now on wake_fetcher is called when
  /// this gets done. False when it is.
  [[nodiscard]] bool sleep_elsewhere() noexcept;
  void woken_elsewhere() noexcept { word_.fetch_and(~elsewhere_bit, std::memory_order_relaxed); }

  /// Told when done, at once when it already is. A watcher that `counts` keeps a dropped future
  /// from being abandoned.
  void watch(FutureWatcher* watcher, bool counts) noexcept;
  /// The gate is told when this is done, at once when it already is; leave_gate takes that back.
  void join_gate(FutureGate& gate) noexcept;
  void leave_gate(FutureGate& gate) noexcept;
  /// Takes ownership. Runs at once when the wish has been made already.
  void add_hook(FutureHook* hook) noexcept;

  /// Finished with an error; only when done.
  [[nodiscard]] virtual bool failed() const noexcept = 0;
  /// What a wait for this that was in vain is told: Errc::timeout with a LateAnswer.
  [[nodiscard]] Error late_error(Deadline::Clock::duration waited) const;

 protected:
  virtual ~FutureCore();
  /// What errors call the work that this is the answer of; empty when nobody has said. From any
  /// thread.
  [[nodiscard]] virtual std::string work() const;
  /// Somebody has called request_stop and it is not done: for those who answer and need no hook.
  virtual void stop_wished() noexcept;
  /// It was cancelled, or dropped before it was done: for those who answer and need no hook.
  virtual void given_up() noexcept;

  /// A thread is about to sleep until this is done: who answers may have it fetch the answer by
  /// itself instead. Returns when this is done, at the deadline, or when the thread had better
  /// sleep. Not called when user code is to be told of the answer.
  virtual void fetch(Deadline deadline) noexcept;
  /// This is done, and a thread that sleeps elsewhere has said so by `sleep_elsewhere`.
  virtual void wake_fetcher() noexcept;
  /// For whoever answered and has a reference still: nobody else has one, and nobody has seen the
  /// value.
  [[nodiscard]] bool reaches_nobody() const noexcept {
    return references_.load(std::memory_order_acquire) == 1 &&
           (word_.load(std::memory_order_acquire) & (taken_bit | watched_bit)) == 0;
  }
  /// User code is told when this is done.
  [[nodiscard]] bool has_callbacks() const noexcept {
    return (word_.load(std::memory_order_acquire) & callback_bit) != 0;
  }

 private:
  static constexpr std::uint32_t phase_mask = 7;
  static constexpr std::uint32_t waiters_bit = 8;       // somebody sleeps on the word
  static constexpr std::uint32_t settled_bit = 16;      // no watcher reads the value any more
  static constexpr std::uint32_t taken_bit = 32;        // the value has been moved out
  static constexpr std::uint32_t watched_bit = 64;      // a watcher that counts was added
  static constexpr std::uint32_t abandon_bit = 128;     // the handle was dropped before it was done
  static constexpr std::uint32_t stop_bit = 256;        // request_stop() was called
  static constexpr std::uint32_t gated_bit = 512;       // gate_ may hold a gate
  static constexpr std::uint32_t elsewhere_bit = 1024;  // wake_fetcher is to be called
  static constexpr std::uint32_t callback_bit = 2048;   // a watcher runs user code

  /// A place for a gate. Made when all others are taken, used again when one is left.
  struct GateSeat {
    std::atomic<FutureGate*> gate{nullptr};
    std::atomic<GateSeat*> next{nullptr};
  };

  [[nodiscard]] bool begin_set_unless(std::uint32_t bits) noexcept;
  void open_gate() noexcept;
  void tell(FutureWatcher* list, Phase from, Phase to) noexcept;
  void wish(FutureWish wish) noexcept;
  [[nodiscard]] bool wished(FutureWish wish) const noexcept;

  std::atomic<std::uint32_t> word_{pending};
  std::atomic<std::uint32_t> references_{1};
  std::atomic<FutureWatcher*> watchers_{nullptr};
  std::atomic<FutureHook*> hooks_{nullptr};
  GateSeat gates_;  // who waits for several: usually one at a time
};

/// Positions of futures in the order in which they were done: any thread adds, one takes.
class PASSEL_API CompletionLine {
 public:
  void add(std::size_t position) noexcept;
  /// The next one; waits for it. Nothing when the time was up.
  std::optional<std::size_t> take(Deadline deadline) noexcept;

 private:
  std::mutex mutex_;
  std::deque<std::size_t> line_;
  std::atomic<std::uint32_t> added_{0};
};

/// Waits until one of them is done (`first`), all are, or (`on_failure`) one has failed. False when
/// the time was up.
PASSEL_API bool wait_for_many(std::span<FutureCore* const> futures, bool first, bool on_failure,
                              Deadline deadline) noexcept;

/// current_exception_as_error, for places that must not throw. Call it in a catch block only.
[[nodiscard]] PASSEL_API Error current_exception_error() noexcept;
/// Hands a failure that nobody waits for to the handler of set_background_error_handler.
PASSEL_API void report_background_error(const Error& error) noexcept;

[[nodiscard]] PASSEL_API Error no_future_error();
[[nodiscard]] PASSEL_API Error taken_future_error();
[[nodiscard]] PASSEL_API Error cancelled_future_error();
[[nodiscard]] PASSEL_API Error broken_promise_error();

}  // namespace passel::inline v0::detail
