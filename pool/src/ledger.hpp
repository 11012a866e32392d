// Layer pool: which worker has which task, as a machine without clock, thread or socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// Number of a task: chosen by the driver, small, and free again once the ledger has settled the
/// task.
using TaskSlot = std::uint32_t;
/// Number of a worker's place: chosen by the ledger, free again once the worker in it is gone.
using WorkerSlot = std::uint32_t;

/// The rules of one pool.
struct LedgerLimits {
  unsigned workers = 1;
  unsigned max_tasks_per_child = 0;               ///< 0: a worker lives as long as the pool
  unsigned window_tasks = 64;                     ///< most tasks that wait at one worker
  std::chrono::nanoseconds window_time{200'000};  ///< most work that waits at one worker
  std::chrono::nanoseconds patience{
      1'000'000};             ///< tasks behind one that runs longer are taken back
  unsigned max_restarts = 3;  ///< deaths outside a task within restart_window
  std::chrono::nanoseconds restart_window{5'000'000'000};
  std::chrono::nanoseconds backoff_min{10'000'000};
  std::chrono::nanoseconds backoff_max{5'000'000'000};
  std::chrono::nanoseconds start_timeout{60'000'000'000};  ///< until a new worker must be ready
  std::chrono::nanoseconds stop_grace{5'000'000'000};  ///< until a worker told to leave is killed
  std::chrono::nanoseconds kill_grace{500'000'000};    ///< between SIGTERM and SIGKILL
};

/// What a task came to.
enum class Settled : std::uint8_t {
  done,         ///< its result is there
  lost,         ///< the worker died while running it, on its last attempt
  cancelled,    ///< taken out before it started; it will never run
  terminated,   ///< the pool was terminated first
  pool_failed,  ///< the pool gave up
  refused,      ///< it came after close or terminate
};
[[nodiscard]] std::string_view to_string(Settled settled) noexcept;

/// The pool's bookkeeping: tasks wait in one queue, go to workers a few at a time, and come to
/// exactly one end each. Feed it events, carry out the actions it answers with, in order. It
/// promises:
/// - every submitted task is settled exactly once;
/// - a task is with one worker at most, and is sent again only when it provably did not start or
/// has attempts left;
/// - a worker's death costs only the task it was running, and one attempt of that;
/// - a cancelled task is never sent afterwards;
/// - no more than window_tasks tasks, or window_time of estimated work, are with one worker.
class Ledger {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::nanoseconds;

  struct Start {};  ///< the pool begins: its workers are asked for
  struct Submit {
    TaskSlot task = 0;
    unsigned attempts = 1;  ///< how many workers may die of it
  };
  struct Cancel {
    TaskSlot task = 0;
  };
  struct Ready {  ///< the worker has run its initializer
    WorkerSlot worker = 0;
  };
  struct Done {  ///< the worker's answer, value or error, is there
    WorkerSlot worker = 0;
    TaskSlot task = 0;
    Duration took{0};
  };
  struct Gone {  ///< the worker's process is gone; `running` is what it had started and not
                 ///< finished
    WorkerSlot worker = 0;
    std::optional<TaskSlot> running;
  };
  struct SpawnFailed {
    WorkerSlot worker = 0;
  };
  struct TakenBack {  ///< the task had not started and never will there
    WorkerSlot worker = 0;
    TaskSlot task = 0;
  };
  struct Kept {  ///< the task had started already
    WorkerSlot worker = 0;
    TaskSlot task = 0;
  };
  struct Close {};
  struct Terminate {};
  struct Tick {};  ///< the time of next_deadline() has come
  using Event = std::variant<Start, Submit, Cancel, Ready, Done, Gone, SpawnFailed, TakenBack, Kept,
                             Close, Terminate, Tick>;

  struct Action {
    enum class Kind : std::uint8_t {
      spawn,      ///< start a process for `worker`; answer with Ready, Gone or SpawnFailed
      send,       ///< give `task` to `worker`; `attempt` counts from 1
      take_back,  ///< withdraw `task` from `worker` if it has not started; answer TakenBack or Kept
      retire,     ///< tell `worker` to leave: nothing more will be sent to it
      terminate,  ///< ask `worker`'s process to end (SIGTERM)
      kill,       ///< end it (SIGKILL)
      settle,     ///< `task` has come to its end; its slot is free
      cancel_refused,  ///< `task` had started: cancel() was too late
      failed,          ///< the pool has failed: cause is the last worker's death
      closed,          ///< every worker is gone and none will follow
    };
    Kind kind{};
    Settled settled{};
    WorkerSlot worker = 0;
    TaskSlot task = 0;
    unsigned attempt = 0;
  };
  using Actions = std::vector<Action>;

  explicit Ledger(const LedgerLimits& limits);

  /// Takes one event in and appends what is to be done to `actions`. An event that no longer makes
  /// sense (a late answer of a worker that was given up, a second close) changes nothing.
  void step(const Event& event, Time now, Actions& actions);

  /// When a Tick is due; nothing when the pool can sleep until the next event.
  [[nodiscard]] std::optional<Time> next_deadline() const;
  /// How many more tasks the pool could use now beyond what waits in the queue. Lazy inputs are fed
  /// by this.
  [[nodiscard]] std::size_t room() const noexcept;

  [[nodiscard]] std::size_t queued() const noexcept { return queue_.count; }
  [[nodiscard]] std::size_t sent() const noexcept { return sent_; }
  [[nodiscard]] std::size_t sent_to(WorkerSlot worker) const noexcept;
  /// Tasks that may wait at one worker now, by the time that tasks take.
  [[nodiscard]] unsigned window() const noexcept;
  [[nodiscard]] bool is_open() const noexcept { return phase_ == Phase::open; }
  [[nodiscard]] bool is_failed() const noexcept { return phase_ == Phase::failed; }
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_; }

 private:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;
  enum class Phase : std::uint8_t { open, closing, terminated, failed };
  enum class TaskState : std::uint8_t { free, queued, sent };
  enum class WorkerState : std::uint8_t { absent, waiting, starting, ready, retiring, stopping };

  struct List {
    std::uint32_t head = none;
    std::uint32_t tail = none;
    std::size_t count = 0;
  };
  struct Task {
    std::uint32_t next = none;
    std::uint32_t previous = none;
    WorkerSlot worker = none;
    unsigned used = 0;
    unsigned attempts = 1;
    TaskState state = TaskState::free;
    bool cancel_wanted = false;
    bool asked_back = false;
  };
  struct Worker {
    WorkerState state = WorkerState::absent;
    List tasks{};
    unsigned sent = 0;      // in this life, less what was taken back
    unsigned finished = 0;  // in this life
    bool stuck = false;  // its present task runs longer than patience: nothing is queued behind it
    bool too_slow = false;  // stopped because it was not ready in time
    Time touched{};         // last progress seen, or when the present state began
    Time due{};             // waiting: spawn; starting: give up; retiring, stopping: kill
  };

  void on(const Start& event, Time now, Actions& actions);
  void on(const Submit& event, Time now, Actions& actions);
  void on(const Cancel& event, Time now, Actions& actions);
  void on(const Ready& event, Time now, Actions& actions);
  void on(const Done& event, Time now, Actions& actions);
  void on(const Gone& event, Time now, Actions& actions);
  void on(const SpawnFailed& event, Time now, Actions& actions);
  void on(const TakenBack& event, Time now, Actions& actions);
  void on(const Kept& event, Time now, Actions& actions);
  void on(const Close& event, Time now, Actions& actions);
  void on(const Terminate& event, Time now, Actions& actions);
  void on(const Tick& event, Time now, Actions& actions);

  void append(List& list, TaskSlot task);
  void prepend(List& list, TaskSlot task);
  void remove(List& list, TaskSlot task);
  bool is_sent_to(WorkerSlot worker, TaskSlot task) const noexcept;
  void settle(TaskSlot task, Settled how, Actions& actions);
  void fill(WorkerSlot worker, unsigned target, Time now, Actions& actions);
  void dispatch(Time now, Actions& actions);
  void reclaim(Worker& worker, const std::optional<TaskSlot>& running, Actions& actions);
  void learn(Duration took) noexcept;
  unsigned target() const noexcept;
  void spawn(Time now, Duration delay, Actions& actions);
  void begin(WorkerSlot worker, Time now, Actions& actions);
  void replace(bool in_task, Time now, Actions& actions);
  void stop(WorkerSlot worker, Time now, Actions& actions);
  void stop_all(Settled why, Time now, Actions& actions);
  void finish_closing(Time now, Actions& actions);
  void fail(Time now, Actions& actions);
  Duration backoff(std::size_t deaths) const noexcept;

  LedgerLimits limits_;
  Phase phase_ = Phase::open;
  bool closed_told_ = false;
  std::vector<Task> tasks_;
  std::vector<Worker> workers_;
  List queue_;
  std::size_t sent_ = 0;
  std::size_t ready_ = 0;
  double mean_ns_ = -1.0;           // of a task's time; negative before the first answer
  std::deque<Time> strikes_;        // deaths outside a task within restart_window
  std::deque<Time> crashes_;        // deaths inside a task within the last second
  std::size_t spawn_failures_ = 0;  // in a row
  Time spawn_failing_since_{};
  std::uint64_t restarts_ = 0;
};

}  // namespace passel::inline v0::detail
