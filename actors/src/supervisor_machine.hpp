// Layer actors: when a supervisor starts, stops and gives up its children. No clock, no thread, no
// child.
#pragma once

#include <passel/supervisor_options.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// The rules of a supervisor (Erlang/OTP's `supervisor`). Events say what happened, actions say
/// what to do about it.
///
/// | child    | leaves it by                                                              |
/// | -------- | ------------------------------------------------------------------------- |
/// | down     | start, when it is wanted, nothing waits to be stopped, earlier ones are up |
/// | starting | started, or ended (counts as a failed start)                              |
/// | up       | ended; or stop, when its turn comes, the last child first                 |
/// | stopping | ended; or kill, when its shutdown time is over                            |
/// | killing  | ended; or late, when even that did not help                               |
/// | late     | nothing: it is named to whoever stops the supervisor                      |
///
/// A round (a restart of several, or the stop of all) stops one child at a time, in reverse order
/// of their adding, and only then starts what is wanted, one at a time, in order. Each life of a
/// child has a number; events of earlier lives are ignored.
class SupervisorMachine {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using ChildId = std::uint32_t;
  using Life = std::uint32_t;

  struct Add {
    ChildId id;
    std::string name;
    ChildOptions options;
  };
  struct Remove {
    ChildId id;
  };
  struct Started {
    ChildId id;
    Life life;
  };
  /// A child ended; `failed` is false for an orderly end. Also the answer to a start that did not
  /// work.
  struct Ended {
    ChildId id;
    Life life;
    bool failed;
  };
  struct TimeUp {
    std::uint64_t timer;
  };
  struct Stop {
    std::optional<Time> until;  // the whole stop, beside each child's own limit
  };
  using Event = std::variant<Add, Remove, Started, Ended, TimeUp, Stop>;

  struct StartChild {
    ChildId id;
    Life life;
  };
  struct StopChild {
    ChildId id;
    Life life;
  };
  struct KillChild {
    ChildId id;
    Life life;
  };
  /// It is down and will not be started again.
  struct ReleaseChild {
    ChildId id;
  };
  struct Arm {
    std::uint64_t timer;
    Time due;
  };
  /// Everything is down, or late. `gave_up` says why when it was not asked to stop.
  struct Finished {
    std::optional<std::string> gave_up;
    std::vector<std::string> late;
  };
  using Action = std::variant<StartChild, StopChild, KillChild, ReleaseChild, Arm, Finished>;

  explicit SupervisorMachine(SupervisorOptions options) : options_{std::move(options)} {}

  void step(const Event& event, Time now, std::vector<Action>& actions);

  enum class State { down, starting, up, stopping, killing, late };
  struct Child {
    ChildId id = 0;
    std::string name;
    ChildOptions options;
    State state = State::down;
    bool wanted = true;    // shall be up in the end
    bool cycling = false;  // must be down before anything is started again
    Life life = 0;
    unsigned restarts = 0;
    std::uint64_t timer = 0;
  };
  [[nodiscard]] const std::vector<Child>& children() const noexcept { return children_; }
  [[nodiscard]] bool stopping() const noexcept { return stopping_; }
  [[nodiscard]] bool finished() const noexcept { return finished_; }

 private:
  void on(const Add& event);
  void on(const Remove& event);
  void on(const Started& event);
  void on(const Ended& event);
  void on(const TimeUp& event);
  void on(const Stop& event);

  [[nodiscard]] Child* find(ChildId id) noexcept;
  void went_down(Child& child, bool failed);
  void begin_round(const Child& cause);
  [[nodiscard]] bool may_restart(const Child& cause);
  void give_up(std::string why);
  void want_nothing();
  void reconcile();
  void stop_next();
  [[nodiscard]] bool round_open();
  void start_next();
  void release_unwanted();
  void kill(Child& child);
  std::uint64_t arm(Time due);

  SupervisorOptions options_;
  std::vector<Child> children_;
  std::deque<Time> restarts_;
  std::vector<std::string> late_;
  std::optional<std::string> gave_up_;
  std::optional<Time> stop_until_;
  std::uint64_t next_timer_ = 1;
  std::uint64_t stop_timer_ = 0;
  bool stopping_ = false;
  bool finished_ = false;
  Time now_{};
  std::vector<Action>* actions_ = nullptr;  // of the present step
};

}  // namespace passel::inline v0::detail
