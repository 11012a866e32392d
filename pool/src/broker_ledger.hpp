// Layer pool: who has which task of a pool that spans hosts. A machine: no clock, no session.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

using BrokerTask = std::uint64_t;
using BrokerWorker = std::uint64_t;
using BrokerName = std::uint64_t;  ///< of tasks, as the owner numbers them

/// The bookkeeping of a broker: tasks wait by name, workers (each a host with some processes) come
/// and go, offer names, and say how many tasks they want to have. It promises:
/// - every submitted task is settled exactly once, or dropped by its submitter;
/// - a task is with one worker at most, which offers its name, and no worker has more than it
/// wants;
/// - what a lost worker had been given may have run there, and costs an attempt each; what it has
///   given back had not begun, and costs none. No task is given more often than its attempts allow;
/// - a task that is settled or dropped is never given again, and who has it is told to stop;
/// - a task is settled at its deadline at the latest;
/// - no task waits while a worker that offers its name wants one; of those that wait the one of the
///   highest rank goes first, of equals the oldest; of several workers the least busy has it.
class BrokerLedger {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::nanoseconds;

  struct Join {
    BrokerWorker worker = 0;
    std::vector<BrokerName> names;
  };
  struct Room {  ///< the worker wants to have so many tasks, running ones included
    BrokerWorker worker = 0;
    unsigned window = 0;
  };
  struct Leave {  ///< it wants no more; what it has goes on
    BrokerWorker worker = 0;
  };
  struct Gone {
    BrokerWorker worker = 0;
  };
  struct Submit {
    BrokerTask task = 0;
    BrokerName name = 0;
    unsigned attempts = 1;
    bool retry_failures = false;
    std::int64_t rank = 0;
    Duration backoff{0};  ///< before the second attempt, doubled for each further
    Time deadline = Time::max();
  };
  struct Drop {  ///< nobody waits for it any more
    BrokerTask task = 0;
  };
  enum class Ending : std::uint8_t {
    answered,  ///< with a value, or an error of its own
    failed,    ///< with an error of its own, and would rather try again
    lost,      ///< the process that ran it has died
    returned,  ///< it had not begun
  };
  struct Ended {  ///< the worker is through with it
    BrokerWorker worker = 0;
    BrokerTask task = 0;
    Ending how = Ending::answered;
  };
  struct Tick {};
  using Event = std::variant<Join, Room, Leave, Gone, Submit, Drop, Ended, Tick>;

  struct Action {
    enum class Kind : std::uint8_t {
      give,    ///< `task` to `worker`; `attempt` counts from 1
      stop,    ///< tell `worker` that nobody wants `task` any more; an Ended follows all the same
      answer,  ///< settle `task` with what came with its Ended
      lost,    ///< settle it: the worker that had it on its last attempt is gone
      timed_out,  ///< settle it: its time is up
    };
    Kind kind{};
    BrokerWorker worker = 0;
    BrokerTask task = 0;
    unsigned attempt = 0;
  };
  using Actions = std::vector<Action>;

  /// Takes one event in and appends what is to be done. An event that makes no sense any more (a
  /// late answer, a worker that is gone) changes nothing.
  void step(const Event& event, Time now, Actions& actions);
  /// When a Tick is due.
  [[nodiscard]] std::optional<Time> next_deadline() const;

  /// Tasks that are not settled: without a worker, or with one.
  [[nodiscard]] std::size_t unsettled() const noexcept { return unsettled_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::size_t given_to(BrokerWorker worker) const;
  /// Of the task, the attempt in hand or the last one; 0: none yet.
  [[nodiscard]] unsigned attempts_used(BrokerTask task) const;
  [[nodiscard]] std::size_t workers() const noexcept { return workers_.size(); }

 private:
  /// The place of a task that waits: higher ranks first, then the older.
  using Place = std::pair<std::int64_t, std::uint64_t>;
  enum class State : std::uint8_t { queued, delayed, given, unwanted };
  struct Task {
    BrokerName name = 0;
    State state = State::queued;
    Place place{};
    BrokerWorker worker = 0;
    unsigned attempts = 1;
    unsigned used = 0;
    bool retry_failures = false;
    Duration backoff{0};
    Time deadline = Time::max();
    Time due{};  // delayed: to be queued
  };
  struct Worker {
    std::vector<BrokerName> names;
    std::set<BrokerTask> given;
    unsigned window = 0;
    bool leaving = false;
    [[nodiscard]] bool has_room() const noexcept { return !leaving && given.size() < window; }
  };
  using Tasks = std::map<BrokerTask, Task>;

  void on(const Join& event, Time now, Actions& actions);
  void on(const Room& event, Time now, Actions& actions);
  void on(const Leave& event, Time now, Actions& actions);
  void on(const Gone& event, Time now, Actions& actions);
  void on(const Submit& event, Time now, Actions& actions);
  void on(const Drop& event, Time now, Actions& actions);
  void on(const Ended& event, Time now, Actions& actions);
  void on(const Tick& event, Time now, Actions& actions);

  void enqueue(BrokerTask number, Task& task, Actions& actions);
  void unqueue(BrokerTask number, Task& task);
  void retry(BrokerTask number, Task& task, Time now, Actions& actions);
  void forget(Tasks::iterator task);
  void withdraw_offers(BrokerWorker number, const Worker& worker);
  void withdraw(Tasks::iterator task, Actions& actions);
  void give(BrokerWorker number, Worker& worker, BrokerTask task, Actions& actions);
  void fill(BrokerWorker number, Actions& actions);
  [[nodiscard]] std::map<BrokerWorker, Worker>::iterator least_busy(BrokerName name);

  Tasks tasks_;
  std::map<BrokerWorker, Worker> workers_;
  std::map<BrokerName, std::map<Place, BrokerTask>> queues_;
  std::map<BrokerName, std::set<BrokerWorker>> offers_;
  std::set<std::pair<Time, BrokerTask>> alarms_;  // deadlines, and ends of pauses
  std::uint64_t sequence_ = 0;
  std::size_t waiting_ = 0;
  std::size_t unsettled_ = 0;
};

}  // namespace passel::inline v0::detail
