// Layer pool: which worker has which task, as a machine without clock, thread or socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
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
  unsigned workers = 1;  ///< at most; those whose slots are lent are not counted
  unsigned least = 0;    ///< workers that stay when there is nothing to do; 0: all
  std::chrono::nanoseconds idle_timeout{10'000'000'000};  ///< then the others leave
  unsigned max_tasks_per_child = 0;                       ///< 0: a worker lives as long as the pool
  unsigned window_tasks = 64;                             ///< most tasks that wait at one worker
  std::chrono::nanoseconds window_time{200'000};          ///< most work that waits at one worker
  std::chrono::nanoseconds patience{
      1'000'000};             ///< tasks behind one that runs longer are taken back
  unsigned max_restarts = 3;  ///< deaths outside a task within restart_window
  bool fragile = false;       ///< the first death that nobody asked for fails the pool
  std::chrono::nanoseconds restart_window{5'000'000'000};
  std::chrono::nanoseconds backoff_min{10'000'000};
  std::chrono::nanoseconds backoff_max{5'000'000'000};
  std::chrono::nanoseconds start_timeout{60'000'000'000};  ///< until a new worker must be ready
  std::chrono::nanoseconds stop_grace{5'000'000'000};  ///< until a worker told to leave is killed
  std::chrono::nanoseconds kill_grace{500'000'000};    ///< between SIGTERM and SIGKILL
  std::chrono::nanoseconds stall_patience{
      100'000'000};  ///< a worker that has not begun its task by then is passed over
  std::chrono::nanoseconds linger{
      1'000'000'000};  ///< workers that were only needed for lent slots leave after so long
  std::chrono::nanoseconds retry_backoff_max{60'000'000'000};
};

/// What a task came to.
enum class Settled : std::uint8_t {
  done,         ///< its result is there
  lost,         ///< the worker died while running it, on its last attempt
  cancelled,    ///< taken out before it started, or stopped while it ran
  timed_out,    ///< it was over its time; if it had started, its worker is being made to stop
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
/// - no more than window_tasks tasks, or window_time of estimated work, are with one worker;
/// - a task is settled at its deadline at the latest;
/// - a worker is made to end for a task only after `condemn` was answered with Condemned: never for
/// one that had finished.
class Ledger {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::nanoseconds;

  struct Start {};  ///< the pool begins: its workers are asked for
  struct Submit {
    TaskSlot task = 0;
    unsigned attempts = 1;          ///< how many workers may die of it
    bool inner = false;             ///< of a task of this pool: welcome after close as well
    std::int64_t rank = 0;          ///< the highest goes first, equals in order of arrival
    Duration backoff{0};            ///< pause before the second attempt, doubled for each further
    Time deadline = Time::max();    ///< it is settled by then
    Duration limit{0};              ///< how long one attempt may run; 0: for ever
    Duration grace{1'000'000'000};  ///< from asking it to stop to SIGTERM, and on to SIGKILL
  };
  struct Cancel {  ///< if it has not started
    TaskSlot task = 0;
  };
  struct Stop {  ///< also when it runs
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
  struct Failed {  ///< the worker's answer is an error, and the task would rather try again
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
  struct Returned {  ///< the task that was settled as timed out while it ran has ended by itself
    WorkerSlot worker = 0;
  };
  struct Condemned {  ///< what the worker runs will never be finished: it may be ended
    WorkerSlot worker = 0;
  };
  struct Alive {  ///< a worker that did not begin its task moves again
    WorkerSlot worker = 0;
  };
  struct Lend {  ///< the worker's task waits for other tasks of this pool
    WorkerSlot worker = 0;
  };
  struct Regain {  ///< it goes on
    WorkerSlot worker = 0;
  };
  struct Recycle {  ///< the worker shall be replaced when it has no task
    WorkerSlot worker = 0;
  };
  struct Pin {  ///< what the task has done so far has been seen: it will not be tried again
    TaskSlot task = 0;
  };
  struct Resize {  ///< another number of workers; who is in a task finishes that first
    unsigned workers = 1;
  };
  struct Close {};
  struct Terminate {};
  struct Tick {};      ///< the time of next_deadline() has come
  struct Dispatch {};  ///< set_outside was lowered: what it held back may go
  using Event = std::variant<Start, Submit, Cancel, Stop, Ready, Done, Failed, Gone, SpawnFailed,
                             TakenBack, Kept, Returned, Condemned, Alive, Lend, Regain, Recycle,
                             Pin, Resize, Close, Terminate, Tick, Dispatch>;

  struct Action {
    enum class Kind : std::uint8_t {
      spawn,      ///< start a process for `worker`; answer with Ready, Gone or SpawnFailed
      send,       ///< give `task` to `worker`; `attempt` counts from 1
      take_back,  ///< withdraw `task` from `worker` if it has not started; answer TakenBack or Kept
      retire,     ///< tell `worker` to leave: nothing more will be sent to it
      ask_stop,   ///< tell `task`, which `worker` runs, that it should end
      condemn,    ///< see to it that what `worker` was asked to stop is never finished, and answer
                  ///< Condemned; or its answer is there, and comes instead
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
  [[nodiscard]] std::size_t room(std::int64_t rank = 0) const noexcept;
  /// No worker is given a task of lower rank than one that is not here yet; the lowest of all
  /// numbers: none is. Returns true when it is lower than before: then Dispatch.
  [[nodiscard]] bool set_outside(std::int64_t rank) noexcept {
    return std::exchange(outside_, rank) > rank;
  }

  [[nodiscard]] std::size_t queued() const noexcept { return queued_ + delayed_.size(); }
  [[nodiscard]] std::size_t sent() const noexcept { return sent_; }
  [[nodiscard]] std::size_t sent_to(WorkerSlot worker) const noexcept;
  /// Tasks that may wait at one worker now, by the time that tasks take.
  [[nodiscard]] unsigned window() const noexcept;
  [[nodiscard]] bool is_open() const noexcept { return phase_ == Phase::open; }
  [[nodiscard]] bool is_failed() const noexcept { return phase_ == Phase::failed; }
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_; }
  /// Its slot is lent: another worker may run tasks in its place.
  [[nodiscard]] bool is_lent(WorkerSlot worker) const noexcept {
    return worker < workers_.size() && workers_[worker].state == WorkerState::lent;
  }
  /// The worker has not begun what it was sent in time.
  [[nodiscard]] bool is_stalled(WorkerSlot worker) const noexcept;
  /// The task that the worker is at, and since when.
  [[nodiscard]] std::optional<std::pair<TaskSlot, Time>> first_of(WorkerSlot worker) const noexcept;
  /// Tasks without an end.
  [[nodiscard]] bool has_work() const noexcept {
    return queued_ > 0 || sent_ > 0 || !delayed_.empty();
  }
  /// Workers whose slots are lent.
  [[nodiscard]] std::size_t lent() const noexcept { return lent_; }

 private:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;
  enum class Phase : std::uint8_t { open, closing, terminated, failed };
  enum class TaskState : std::uint8_t { free, queued, delayed, sent };
  enum class WorkerState : std::uint8_t {
    absent,
    waiting,  // for its time to be started
    starting,
    ready,
    lent,      // its task waits for others
    overdue,   // its task was asked to stop
    retiring,  // told to leave
    stopping,  // made to leave
  };
  // What is to become of a task when it is known whether it has started.
  // Each takes the place of those before it.
  enum class Wish : std::uint8_t { none, probe, cancel, overrun, stop, expire };
  static bool is_final(Wish wish) noexcept { return wish >= Wish::cancel; }

  struct List {
    std::uint32_t head = none;
    std::uint32_t tail = none;
    std::size_t count = 0;
  };
  struct Level {
    std::int64_t rank = 0;
    List list{};
  };
  struct Task {
    std::uint32_t next = none;
    std::uint32_t previous = none;
    WorkerSlot worker = none;
    unsigned used = 0;
    unsigned attempts = 1;
    std::int64_t rank = 0;
    Duration backoff{0};
    Duration limit{0};
    Duration grace{0};
    Time deadline = Time::max();
    Time due{};  // delayed: to be queued
    TaskState state = TaskState::free;
    Wish wish = Wish::none;
    bool asked_back = false;
    bool started = false;  // known to have
  };
  struct Worker {
    WorkerState state = WorkerState::absent;
    List tasks{};
    unsigned sent = 0;      // in this life, less what was taken back
    unsigned finished = 0;  // in this life
    bool stuck = false;  // its present task runs longer than patience: nothing is queued behind it
    bool too_slow = false;    // stopped because it was not ready in time
    bool stalled = false;     // did not begin its task in time: passed over
    bool recycle = false;     // to be replaced when it has no task
    TaskSlot overrun = none;  // overdue: the task that was asked to stop, unless settled already
    Duration grace{0};        // overdue: of that task
    Time touched{};           // last progress seen, or when the present state began
    Time probe{};             // when to look whether the first task was begun
    Time due{};  // waiting: spawn; starting: give up; overdue: condemn; retiring, stopping: kill
  };

  void on(const Start& event, Time now, Actions& actions);
  void on(const Submit& event, Time now, Actions& actions);
  void on(const Cancel& event, Time now, Actions& actions);
  void on(const Stop& event, Time now, Actions& actions);
  void on(const Ready& event, Time now, Actions& actions);
  void on(const Done& event, Time now, Actions& actions);
  void on(const Failed& event, Time now, Actions& actions);
  void on(const Gone& event, Time now, Actions& actions);
  void on(const SpawnFailed& event, Time now, Actions& actions);
  void on(const TakenBack& event, Time now, Actions& actions);
  void on(const Kept& event, Time now, Actions& actions);
  void on(const Returned& event, Time now, Actions& actions);
  void on(const Condemned& event, Time now, Actions& actions);
  void on(const Alive& event, Time now, Actions& actions);
  void on(const Lend& event, Time now, Actions& actions);
  void on(const Regain& event, Time now, Actions& actions);
  void on(const Recycle& event, Time now, Actions& actions);
  void on(const Pin& event, Time now, Actions& actions);
  void on(const Resize& event, Time now, Actions& actions);
  void on(const Close& event, Time now, Actions& actions);
  void on(const Terminate& event, Time now, Actions& actions);
  void on(const Tick& event, Time now, Actions& actions);
  void on(const Dispatch&, Time now, Actions& actions) { dispatch(now, actions); }

  void append(List& list, TaskSlot task);
  void prepend(List& list, TaskSlot task);
  void remove(List& list, TaskSlot task);
  List& level(std::int64_t rank);
  void enqueue(TaskSlot task, bool in_front);
  void dequeue(TaskSlot task);
  TaskSlot first_queued() const noexcept;
  bool is_sent_to(WorkerSlot worker, TaskSlot task) const noexcept;
  void settle(TaskSlot task, Settled how, Actions& actions);
  void release(TaskSlot task);
  void give_up(TaskSlot task, Wish wish, Settled how, Actions& actions);
  void withdraw(TaskSlot task, Wish wish, Actions& actions);
  void withdraw_behind(WorkerSlot worker, TaskSlot head, Actions& actions);
  void fill(WorkerSlot worker, unsigned target, Time now, Actions& actions);
  bool may_begin() const noexcept;
  void dispatch(Time now, Actions& actions);
  void give_out(Time now, Actions& actions);
  void grow(Time now, Actions& actions);
  void retry(TaskSlot task, Time now);
  void answered(WorkerSlot worker, TaskSlot task, Duration took, Time now);
  void go_on(WorkerSlot worker, TaskSlot task, Time now, Actions& actions);
  void reclaim(Worker& worker, const std::optional<TaskSlot>& running, Time now, Actions& actions);
  void expire(TaskSlot task, Actions& actions);
  void overrun(WorkerSlot worker, TaskSlot task, Time now, Actions& actions);
  void revive(WorkerSlot worker, Time now, Actions& actions);
  void learn(Duration took) noexcept;
  unsigned target() const noexcept;
  void spawn(Time now, Duration delay, Actions& actions);
  void begin(WorkerSlot worker, Time now, Actions& actions);
  void refill(Duration delay, Time now, Actions& actions);
  std::size_t live() const noexcept;
  void leave(Worker& worker) noexcept;
  void regain(WorkerSlot slot, Time now);
  void retire(WorkerSlot worker, Time now, Actions& actions);
  void retire_surplus(Time now, Actions& actions);
  void retire_idle(Time now, Actions& actions);
  void tick(WorkerSlot worker, Time now, Actions& actions);
  void tick_task(WorkerSlot worker, Time now, Actions& actions);
  bool is_anybody_idle() const noexcept;
  void replace(bool in_task, Time now, Actions& actions);
  void stop(WorkerSlot worker, Time now, Actions& actions);
  void stop_all(Settled why, Time now, Actions& actions);
  void finish_closing(Time now, Actions& actions);
  void fail(Time now, Actions& actions);
  Duration backoff(std::size_t deaths) const noexcept;

  LedgerLimits limits_;
  const bool elastic_;
  unsigned wanted_;  // workers at present, between limits_.least and limits_.workers
  Phase phase_ = Phase::open;
  bool closed_told_ = false;
  std::vector<Task> tasks_;
  std::vector<Worker> workers_;
  std::vector<Level> levels_;  // of tasks that wait, the highest rank first
  std::int64_t outside_ = std::numeric_limits<std::int64_t>::min();
  std::size_t queued_ = 0;  // on all levels
  std::vector<TaskSlot> delayed_;
  std::set<std::pair<Time, TaskSlot>> deadlines_;
  std::size_t sent_ = 0;
  std::size_t parked_ = 0;  // of those, with workers that are not ready
  std::size_t ready_ = 0;
  std::size_t lent_ = 0;
  Time surplus_due_{};              // when workers beyond the number leave, if they are idle then
  double mean_ns_ = -1.0;           // of a task's time; negative before the first answer
  std::deque<Time> strikes_;        // deaths outside a task within restart_window
  std::deque<Time> crashes_;        // deaths inside a task within the last second
  std::size_t spawn_failures_ = 0;  // in a row
  Time spawn_failing_since_{};
  std::uint64_t restarts_ = 0;
};

}  // namespace passel::inline v0::detail
