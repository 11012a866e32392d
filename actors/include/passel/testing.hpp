// Layer actors: the simulator: seeded, with a virtual clock, for machines and protocols. No thread,
// no real time.
#pragma once

#include <passel/export.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// A small, fast random source whose sequence depends on the seed alone, on every platform.
class PASSEL_API SimulationRandom {
 public:
  explicit SimulationRandom(std::uint64_t seed) noexcept : state_{seed} {}
  std::uint64_t next() noexcept;
  /// From 0 to `limit - 1`; 0 when `limit` is 0.
  std::uint64_t below(std::uint64_t limit) noexcept { return limit == 0 ? 0 : next() % limit; }
  /// True with probability `p`.
  bool chance(double p) noexcept;

 private:
  std::uint64_t state_;
};

/// What the way from one node to another does to messages.
struct SimulatedLink {
  std::chrono::nanoseconds min_delay{0};
  std::chrono::nanoseconds max_delay{std::chrono::milliseconds{10}};
  double drop = 0;       ///< probability that a message is lost
  double duplicate = 0;  ///< probability that it arrives twice
  bool ordered = true;   ///< messages arrive in the order they were sent
};

struct SimulationOptions {
  std::uint64_t seed = 1;
  std::uint64_t max_steps = 100000;  ///< a run that is longer has failed
  /// Kills the mortal node `victim` just before this step, when set: see kill_everywhere.
  std::optional<std::uint64_t> kill_before_step = {};
  std::string victim = {};
  bool trace = false;  ///< keep the lines of note() and of each step
};

/// What went wrong in a simulated run: enough to run it again.
struct PASSEL_API SimulationFailure {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::optional<std::uint64_t> killed_before_step = {};
  std::string what;
  std::vector<std::string> trace;
  /// A report for people: seed, step, reason, trace, and how to replay it.
  [[nodiscard]] std::string to_string() const;
};

/// One run of a world of nodes that exchange messages and set timers, in virtual time.
///
/// Nothing happens by itself: events are due at moments of the virtual clock, and `run` takes them
/// one by one, in an order that the seed decides wherever the real world leaves it open. After each
/// one every invariant is checked. A node stands for a process or session: when it is killed, its
/// timers and whatever is on its way to it are lost, and on_death hooks run.
///
///     auto failure = passel::simulate({.seeds = 10000}, [](passel::Simulation& sim) {
///       auto client = sim.add_node("client"), home = sim.add_node("home");
///       sim.connect(client, home, {.drop = 0.1});
///       Lock lock;                                     // a machine: step(event, now, actions)
///       sim.invariant("one holder", [&] { return lock.holders() <= 1; });
///       sim.send(client, home, "acquire", [&] { ... lock.step(...) ... });
///       sim.run();
///     });
///     EXPECT_FALSE(failure) << failure->to_string();
class PASSEL_API Simulation {
 public:
  using Time = std::chrono::nanoseconds;  ///< since the beginning of the run
  using Node = std::size_t;
  static constexpr Node nobody = static_cast<Node>(-1);

  explicit Simulation(SimulationOptions options);
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  /// The virtual clock, and the same as a time point for machines that take one.
  [[nodiscard]] Time now() const noexcept { return now_; }
  [[nodiscard]] std::chrono::steady_clock::time_point time_point() const noexcept {
    return std::chrono::steady_clock::time_point{} + std::chrono::hours{1} +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(now_);
  }
  [[nodiscard]] SimulationRandom& random() noexcept { return random_; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return options_.seed; }

  Node add_node(std::string name);
  /// Sets what the way from `from` to `to` does; without it messages arrive after 0 to 10 ms, in
  /// order, all of them.
  void connect(Node from, Node to, SimulatedLink link) { links_[{from, to}].options = link; }
  /// Delivers by calling `deliver` at the receiver, later, perhaps never, perhaps twice. Lost when
  /// the receiver is dead by then.
  void send(Node from, Node to, std::string_view what, std::function<void()> deliver);
  /// Calls `fire` at `due` (or now, when that has passed) unless `owner` is dead by then. Returns a
  /// number for cancel.
  std::uint64_t at(Time due, Node owner, std::string_view what, std::function<void()> fire);
  void cancel(std::uint64_t timer) { cancelled_.push_back(timer); }

  /// The node dies now. Idempotent.
  void kill(Node node);
  [[nodiscard]] bool is_alive(Node node) const { return nodes_[node].alive; }
  /// Called when the node dies: what its peers see (a closed connection).
  void on_death(Node node, std::function<void()> hook) {
    nodes_[node].on_death.push_back(std::move(hook));
  }

  /// Checked after each step; false, or a text, is a failure of the run.
  void invariant(std::string name, std::function<bool()> holds);
  void explain(std::string name, std::function<std::optional<std::string>()> broken);
  /// Fails the run from inside an event.
  void fail(std::string what);
  /// Adds a line to the trace; `line()` is only called when there is one.
  template <class F>
  void note(F&& line) {
    if (options_.trace) trace_.push_back(stamp() + std::forward<F>(line)());
  }

  /// Feeds `event` to a machine with `step(event, now, actions)` and hands each action to `act`.
  template <class Machine, class Event, class Act>
  void feed(Machine& machine, Event&& event, Act&& act) {
    std::vector<typename Machine::Action> actions;
    machine.step(std::forward<Event>(event), time_point(), actions);
    for (auto& action : actions) act(action);
  }

  /// One event. False when nothing is left, or the run has failed.
  bool step();
  /// All of them, or until `until` has come. False when the run has failed.
  bool run(std::optional<Time> until = {});
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
  /// The failure, when there was one.
  [[nodiscard]] const std::optional<SimulationFailure>& failure() const noexcept {
    return failure_;
  }

 private:
  struct Event {
    Time due;
    std::uint64_t tie;  // random: decides between events that are due at once
    std::uint64_t id;
    Node owner;
    std::string what;
    std::function<void()> fire;
    bool operator>(const Event& other) const noexcept {
      return due != other.due ? due > other.due : tie > other.tie;
    }
  };
  struct NodeState {
    std::string name;
    bool alive = true;
    std::vector<std::function<void()>> on_death = {};
  };
  struct LinkState {
    SimulatedLink options;
    Time last_due{-1};
    std::uint64_t last_tie = 0;
  };

  [[nodiscard]] std::string stamp() const;
  void push(Time due, std::uint64_t tie, Node owner, std::string_view what,
            std::function<void()> fire);
  void check();

  SimulationOptions options_;
  SimulationRandom random_;
  Time now_{0};
  std::uint64_t steps_ = 0;
  std::uint64_t next_id_ = 1;
  std::vector<Event> events_;  // a heap, the next one first
  std::vector<std::uint64_t> cancelled_;
  std::vector<NodeState> nodes_;
  std::map<std::pair<Node, Node>, LinkState> links_;
  std::vector<std::pair<std::string, std::function<std::optional<std::string>()>>> invariants_;
  std::vector<std::string> trace_;
  std::optional<SimulationFailure> failure_;
};

struct SimulateOptions {
  std::uint64_t first_seed = 1;
  std::uint64_t seeds = 1000;
  std::uint64_t max_steps = 100000;
};

/// Runs `scenario` once for each seed and returns the first failure, run again with a trace. The
/// environment variable PASSEL_SEED, when set, makes it run that seed alone: that is how a failure
/// is replayed.
[[nodiscard]] PASSEL_API std::optional<SimulationFailure> simulate(
    SimulateOptions options, const std::function<void(Simulation&)>& scenario);

/// Runs `scenario` with one seed over and over, killing the node named `victim` before step 0, then
/// before step 1 and so on, until the scenario is over before that step comes. Returns the first
/// failure.
[[nodiscard]] PASSEL_API std::optional<SimulationFailure> kill_everywhere(
    std::uint64_t seed, const std::string& victim,
    const std::function<void(Simulation&)>& scenario);

}  // namespace passel::inline v0
