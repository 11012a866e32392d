// The rules of a supervisor, in tables and in the simulator.
#include "supervisor_machine.hpp"

#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::ChildOptions;
using passel::Restart;
using passel::RestartPolicy;
using passel::Simulation;
using passel::SupervisorOptions;
using passel::detail::SupervisorMachine;
using State = SupervisorMachine::State;

// --- step by step

class Steps {
 public:
  explicit Steps(SupervisorOptions options) : machine{std::move(options)} {}

  std::string feed(const SupervisorMachine::Event& event) {
    std::vector<SupervisorMachine::Action> actions;
    machine.step(event, now, actions);
    std::string text;
    for (const auto& action : actions) text += describe(action);
    return text;
  }
  /// Adds children 0, 1, ... and lets them come up.
  void add(std::vector<RestartPolicy> policies) {
    for (std::uint32_t id = 0; id < policies.size(); ++id) {
      feed(SupervisorMachine::Add{id, "c" + std::to_string(id), {.restart = policies[id]}});
      feed(SupervisorMachine::Started{id, 1});
    }
  }
  std::string ended(std::uint32_t id, std::uint32_t life, bool failed = true) {
    return feed(SupervisorMachine::Ended{id, life, failed});
  }
  std::string started(std::uint32_t id, std::uint32_t life) {
    return feed(SupervisorMachine::Started{id, life});
  }

  SupervisorMachine machine;
  SupervisorMachine::Time now{1h};
  std::uint64_t last_timer = 0;

 private:
  std::string describe(const SupervisorMachine::Action& action) {
    if (const auto* a = std::get_if<SupervisorMachine::StartChild>(&action)) {
      return "start" + std::to_string(a->id) + "." + std::to_string(a->life) + " ";
    }
    if (const auto* a = std::get_if<SupervisorMachine::StopChild>(&action)) {
      return "stop" + std::to_string(a->id) + " ";
    }
    if (const auto* a = std::get_if<SupervisorMachine::KillChild>(&action)) {
      return "kill" + std::to_string(a->id) + " ";
    }
    if (const auto* a = std::get_if<SupervisorMachine::ReleaseChild>(&action)) {
      return "release" + std::to_string(a->id) + " ";
    }
    if (const auto* a = std::get_if<SupervisorMachine::Arm>(&action)) {
      last_timer = a->timer;
      return "";
    }
    const auto& a = std::get<SupervisorMachine::Finished>(action);
    std::string text = a.gave_up ? "gave_up" : "finished";
    for (const auto& name : a.late) text += " late:" + name;
    return text;
  }
};

constexpr auto permanent = RestartPolicy::permanent;
constexpr auto transient = RestartPolicy::transient;
constexpr auto temporary = RestartPolicy::temporary;

TEST(SupervisorMachine, OneForOneRestartsTheOneThatEnded) {
  Steps s{{.strategy = Restart::one_for_one}};
  s.add({permanent, transient, temporary});
  EXPECT_EQ(s.ended(0, 1, false), "start0.2 ");
  EXPECT_EQ(s.ended(0, 1, false), "");  // of an earlier life
  EXPECT_EQ(s.started(0, 2), "");
  EXPECT_EQ(s.ended(1, 1, true), "start1.2 ");
  EXPECT_EQ(s.started(1, 2), "");
  EXPECT_EQ(s.ended(1, 2, false), "release1 ");
  EXPECT_EQ(s.ended(2, 1, true), "release2 ");
  EXPECT_EQ(s.machine.children().size(), 1U);
}

TEST(SupervisorMachine, OneForAllStopsInReverseAndStartsInOrder) {
  Steps s{{.strategy = Restart::one_for_all}};
  s.add({permanent, permanent, temporary, permanent});
  EXPECT_EQ(s.ended(1, 1), "stop3 ");
  EXPECT_EQ(s.ended(3, 1, false), "stop2 ");
  EXPECT_EQ(s.ended(2, 1, false), "stop0 release2 ");
  EXPECT_EQ(s.ended(0, 1, false), "start0.2 ");
  EXPECT_EQ(s.started(0, 2), "start1.2 ");
  EXPECT_EQ(s.started(1, 2), "start3.2 ");
  EXPECT_EQ(s.started(3, 2), "");
}

TEST(SupervisorMachine, RestForOneLeavesTheEarlierOnesAlone) {
  Steps s{{.strategy = Restart::rest_for_one}};
  s.add({permanent, permanent, permanent});
  EXPECT_EQ(s.ended(1, 1), "stop2 ");
  EXPECT_EQ(s.ended(2, 1, false), "start1.2 ");
  EXPECT_EQ(s.started(1, 2), "start2.2 ");
  EXPECT_EQ(s.started(2, 2), "");
}

TEST(SupervisorMachine, TooManyRestartsWithinTheWindowGiveUp) {
  Steps s{{.max_restarts = 2, .within = 1s}};
  s.add({permanent, permanent});
  std::uint32_t life = 1;
  for (int i = 0; i < 6; ++i) {
    s.now += 600ms;  // never three of them in one second
    EXPECT_NE(s.ended(0, life), "");
    s.started(0, ++life);
  }
  s.now += 2s;
  s.ended(0, life);
  s.started(0, ++life);
  s.ended(0, life);
  s.started(0, ++life);
  EXPECT_EQ(s.ended(0, life), "stop1 release0 ");
  EXPECT_EQ(s.ended(1, 1, false), "release1 gave_up");
  EXPECT_TRUE(s.machine.finished());
}

TEST(SupervisorMachine, AFailedFirstStartIsNotRepeatedALaterOneCounts) {
  Steps s{{.max_restarts = 1}};
  EXPECT_EQ(s.feed(SupervisorMachine::Add{0, "c0", {}}), "start0.1 ");
  EXPECT_EQ(s.ended(0, 1), "release0 ");
  s.add({permanent});
  EXPECT_EQ(s.ended(0, 1), "start0.2 ");
  EXPECT_EQ(s.ended(0, 2), "release0 gave_up");
}

TEST(SupervisorMachine, StopKillsTheStubbornAndNamesTheLate) {
  Steps s{{}};
  s.add({permanent, permanent});
  EXPECT_EQ(s.feed(SupervisorMachine::Stop{}), "stop1 ");
  EXPECT_EQ(s.feed(SupervisorMachine::TimeUp{s.last_timer}), "kill1 ");
  EXPECT_EQ(s.feed(SupervisorMachine::TimeUp{s.last_timer}), "stop0 ");
  EXPECT_EQ(s.ended(0, 1, false), "release0 finished late:c1");
}

TEST(SupervisorMachine, ADeadlineOfTheWholeStopKillsAllAtOnce) {
  Steps s{{}};
  s.add({permanent, permanent});
  EXPECT_EQ(s.feed(SupervisorMachine::Stop{.until = s.now + 1s}), "stop1 ");
  EXPECT_EQ(s.feed(SupervisorMachine::TimeUp{s.last_timer - 1}), "kill1 kill0 ");
  EXPECT_EQ(s.ended(0, 1, true), "release0 ");
  EXPECT_EQ(s.ended(1, 1, true), "release1 finished");
}

TEST(SupervisorMachine, ARemovedChildDoesNotHoldUpOthers) {
  Steps s{{.strategy = Restart::one_for_one}};
  s.add({permanent, permanent});
  EXPECT_EQ(s.feed(SupervisorMachine::Remove{1}), "stop1 ");
  EXPECT_EQ(s.ended(0, 1), "start0.2 ");
  EXPECT_EQ(s.ended(1, 1, false), "release1 ");
}

// --- simulated

/// A supervisor whose children start slowly, crash, refuse to start, ignore requests to stop and,
/// some, even kills.
class World {
 public:
  World(Simulation& sim, SupervisorOptions options)
      : sim_{sim}, options_{options}, machine_{options} {
    home_ = sim_.add_node("supervisor");
    sim_.explain("rules", [this] { return std::exchange(broken_, std::nullopt); });
  }

  void add(std::uint32_t id, ChildOptions options) {
    policies_[id] = options;
    feed(SupervisorMachine::Add{id, "c" + std::to_string(id), options});
  }
  void stop(std::optional<std::chrono::nanoseconds> within) {
    stop_asked_ = sim_.now();
    feed(SupervisorMachine::Stop{within ? std::optional{sim_.time_point() + *within}
                                        : std::nullopt});
  }
  void remove(std::uint32_t id) { feed(SupervisorMachine::Remove{id}); }

  void check_at_the_end(bool was_stopped) {
    if (was_stopped && !machine_.finished()) sim_.fail("a stop that does not end");
    if (machine_.finished()) {
      for (const auto& [id, life] : alive_) {
        const std::string name = "c" + std::to_string(id);
        if (std::find(late_.begin(), late_.end(), name) == late_.end()) {
          sim_.fail(name + " is alive after the end and not named late");
        }
      }
      return;
    }
    for (const auto& child : machine_.children()) {
      if (child.state != State::up)
        sim_.fail(child.name + " is not up although nothing happens any more");
      if (!alive_.contains(child.id)) sim_.fail(child.name + " is taken for alive");
    }
  }

 private:
  void feed(SupervisorMachine::Event event) {
    std::vector<SupervisorMachine::Action> actions;
    const bool was_finished = machine_.finished();
    machine_.step(event, sim_.time_point(), actions);
    if (was_finished && !actions.empty()) broken_ = "an action after the end";
    for (const auto& action : actions) std::visit([this](const auto& a) { act(a); }, action);
  }
  std::chrono::nanoseconds upto(std::chrono::nanoseconds limit) {
    return std::chrono::nanoseconds{sim_.random().below(static_cast<std::uint64_t>(limit.count()))};
  }
  void send_ended(std::uint32_t id, std::uint32_t life, bool failed) {
    sim_.send(id_node(id), home_, "ended", [this, id, life, failed] {
      feed(SupervisorMachine::Ended{id, life, failed});
    });
  }
  Simulation::Node id_node(std::uint32_t id) {
    const auto [found, added] = nodes_.try_emplace(id, 0);
    if (added) found->second = sim_.add_node("c" + std::to_string(id));
    return found->second;
  }
  void end(std::uint32_t id, std::uint32_t life, bool failed) {
    const auto found = alive_.find(id);
    if (found == alive_.end() || found->second != life) return;
    alive_.erase(found);
    send_ended(id, life, failed);
  }

  void act(const SupervisorMachine::StartChild& a) {
    sim_.note([&] { return "start c" + std::to_string(a.id); });
    if (alive_.contains(a.id)) broken_ = "two lives of c" + std::to_string(a.id);
    if (a.life > 1) note_restart();
    for (const auto& child : machine_.children()) {
      if (child.id == a.id) break;
      if (child.wanted && child.state != State::up) broken_ = "an earlier child is not up";
    }
    if (sim_.random().chance(0.05)) {
      send_ended(a.id, a.life, true);
      return;
    }
    alive_[a.id] = a.life;
    sim_.send(id_node(a.id), home_, "started", [this, a] {
      feed(SupervisorMachine::Started{a.id, a.life});
    });
    if (sim_.random().chance(0.3)) {
      const bool failed = sim_.random().chance(0.7);
      sim_.at(sim_.now() + upto(8s), id_node(a.id), "ends",
              [this, a, failed] { end(a.id, a.life, failed); });
    }
  }
  void act(const SupervisorMachine::StopChild& a) {
    sim_.note([&] { return "stop c" + std::to_string(a.id); });
    for (const auto& child : machine_.children()) {
      if (child.id != a.id && (child.state == State::stopping || child.state == State::killing)) {
        broken_ = "two stops at once";
      }
    }
    if (machine_.stopping() && a.id < highest_alive_up()) broken_ = "stopped before a later child";
    if (sim_.random().chance(0.1)) return;  // takes no notice
    sim_.at(sim_.now() + upto(2s), id_node(a.id), "obeys", [this, a] { end(a.id, a.life, false); });
  }
  void act(const SupervisorMachine::KillChild& a) {
    sim_.note([&] { return "kill c" + std::to_string(a.id); });
    if (sim_.random().chance(0.2)) return;  // stuck for good
    sim_.at(sim_.now() + upto(100ms), id_node(a.id), "dies",
            [this, a] { end(a.id, a.life, true); });
  }
  void act(const SupervisorMachine::ReleaseChild& a) {
    if (alive_.contains(a.id)) broken_ = "released while alive";
    policies_.erase(a.id);
  }
  void act(const SupervisorMachine::Arm& a) {
    const auto wait = a.due - sim_.time_point();
    sim_.at(sim_.now() + wait, home_, "timer",
            [this, a] { feed(SupervisorMachine::TimeUp{a.timer}); });
  }
  void act(const SupervisorMachine::Finished& a) {
    late_ = a.late;
    if (a.gave_up.has_value() == stop_asked_.has_value() && !a.gave_up)
      broken_ = "finished unasked";
  }
  std::uint32_t highest_alive_up() const {
    std::uint32_t highest = 0;
    for (const auto& child : machine_.children()) {
      if (child.state == State::up || child.state == State::starting)
        highest = std::max(highest, child.id);
    }
    return highest;
  }
  void note_restart() {
    // One round restarts several children but counts once, so only one_for_one can be counted from
    // outside.
    if (options_.strategy != Restart::one_for_one) return;
    restarts_.push_back(sim_.now());
    std::size_t recent = 0;
    for (const auto when : restarts_)
      recent += sim_.now() - when <= options_.within - 200ms ? 1U : 0U;
    if (recent > options_.max_restarts) broken_ = "restarted too often";
  }

  Simulation& sim_;
  SupervisorOptions options_;
  SupervisorMachine machine_;
  Simulation::Node home_ = 0;
  std::map<std::uint32_t, Simulation::Node> nodes_;
  std::map<std::uint32_t, std::uint32_t> alive_;  // id to life
  std::map<std::uint32_t, ChildOptions> policies_;
  std::vector<std::chrono::nanoseconds> restarts_;
  std::vector<std::string> late_;
  std::optional<std::chrono::nanoseconds> stop_asked_;
  std::optional<std::string> broken_;
};

void scenario(Simulation& sim) {
  auto& random = sim.random();
  SupervisorOptions options;
  options.strategy = static_cast<Restart>(random.below(3));
  options.max_restarts = static_cast<unsigned>(random.below(5));
  World world{sim, options};
  const auto count = static_cast<std::uint32_t>(1 + random.below(5));
  for (std::uint32_t id = 0; id < count; ++id) {
    ChildOptions child;
    child.restart = static_cast<RestartPolicy>(random.below(3));
    child.shutdown = std::chrono::milliseconds{100 + random.below(3000)};
    sim.at(std::chrono::milliseconds{id}, Simulation::nobody, "add",
           [&world, id, child] { world.add(id, child); });
  }
  if (random.chance(0.3)) {
    sim.at(std::chrono::milliseconds{random.below(5000)}, Simulation::nobody, "remove",
           [&world, count, &random] {
             world.remove(static_cast<std::uint32_t>(random.below(count)));
           });
  }
  const bool stops = random.chance(0.6);
  if (stops) {
    std::optional<std::chrono::nanoseconds> within;
    if (random.chance(0.5)) within = std::chrono::milliseconds{random.below(4000)};
    sim.at(std::chrono::milliseconds{random.below(10000)}, Simulation::nobody, "stop",
           [&world, within] { world.stop(within); });
  }
  if (sim.run()) world.check_at_the_end(stops);
}

TEST(SupervisorMachine, KeepsItsRulesInTenThousandWorlds) {
  const auto failure = passel::simulate({.seeds = 10000}, scenario);
  EXPECT_FALSE(failure) << failure->to_string();
}

}  // namespace
