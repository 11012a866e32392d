// The simulator itself: seeds, clocks, links, kills.
#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::simulate;
using passel::Simulation;
using passel::SimulationFailure;

TEST(Simulation, TheSameSeedGivesTheSameRun) {
  const auto record = [](std::uint64_t seed) {
    Simulation sim{{.seed = seed}};
    const auto a = sim.add_node("a");
    const auto b = sim.add_node("b");
    sim.connect(a, b, {.max_delay = 50ms, .drop = 0.2, .duplicate = 0.2, .ordered = false});
    std::string seen;
    for (int i = 0; i < 50; ++i) {
      sim.send(a, b, "n", [&seen, &sim, i] {
        seen += std::to_string(i) + "@" + std::to_string(sim.now().count()) + " ";
      });
    }
    sim.run();
    return seen;
  };
  EXPECT_EQ(record(7), record(7));
  EXPECT_NE(record(7), record(8));
}

TEST(Simulation, OrderedLinksKeepOrderOthersDoNot) {
  const auto received = [](bool ordered) {
    Simulation sim{{.seed = 3}};
    const auto a = sim.add_node("a");
    const auto b = sim.add_node("b");
    sim.connect(a, b, {.ordered = ordered});
    std::vector<int> seen;
    for (int i = 0; i < 100; ++i) sim.send(a, b, "n", [&seen, i] { seen.push_back(i); });
    sim.run();
    return seen;
  };
  const auto in_order = received(true);
  EXPECT_EQ(in_order.size(), 100U);
  EXPECT_TRUE(std::is_sorted(in_order.begin(), in_order.end()));
  const auto mixed = received(false);
  EXPECT_EQ(mixed.size(), 100U);
  EXPECT_FALSE(std::is_sorted(mixed.begin(), mixed.end()));
}

TEST(Simulation, TimersFollowTheVirtualClockAndDieWithTheirOwner) {
  Simulation sim{{.seed = 1}};
  const auto a = sim.add_node("a");
  const auto b = sim.add_node("b");
  std::string seen;
  sim.at(2h, a, "late", [&] { seen += "late"; });
  sim.at(1h, a, "early", [&] { seen += "early "; });
  const auto cancelled = sim.at(90min, a, "never", [&] { seen += "never"; });
  sim.at(90min, b, "dead", [&] { seen += "dead"; });
  sim.on_death(b, [&] { seen += "(b died) "; });
  sim.cancel(cancelled);
  sim.at(30min, a, "kill", [&] { sim.kill(b); });
  EXPECT_TRUE(sim.run());
  EXPECT_EQ(seen, "(b died) early late");
  EXPECT_EQ(sim.now(), 2h);
}

/// A lock with a bug that needs a message to arrive twice.
struct BadLock {
  int holders = 0;
  int waiting = 0;
  void acquire() { holders == 0 ? ++holders : ++waiting; }
  void release() {
    --holders;
    if (waiting > 0) --waiting, ++holders;
  }
};

void bad_lock_scenario(Simulation& sim) {
  const auto client = sim.add_node("client");
  const auto home = sim.add_node("home");
  sim.connect(client, home, {.duplicate = 0.01});
  auto lock = std::make_shared<BadLock>();
  sim.invariant("never fewer than no holders", [lock] { return lock->holders >= 0; });
  for (int i = 0; i < 5; ++i) {
    sim.send(client, home, "acquire", [lock] { lock->acquire(); });
    sim.send(client, home, "release", [lock] { lock->release(); });
  }
  sim.run();
}

TEST(Simulation, FindsAPlantedBugAndReplaysItsSeed) {
  const auto failure = simulate({.seeds = 10000}, bad_lock_scenario);
  ASSERT_TRUE(failure.has_value());
  EXPECT_NE(failure->what.find("never fewer than no holders"), std::string::npos);
  EXPECT_FALSE(failure->trace.empty());
  EXPECT_NE(failure->to_string().find("PASSEL_SEED=" + std::to_string(failure->seed)),
            std::string::npos);

  ASSERT_EQ(::setenv("PASSEL_SEED", std::to_string(failure->seed).c_str(), 1), 0);
  const auto again = simulate({}, bad_lock_scenario);
  ::unsetenv("PASSEL_SEED");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->to_string(), failure->to_string());
}

TEST(Simulation, KillsANodeAtEveryPoint) {
  std::set<int> progress;
  const auto failure = passel::kill_everywhere(1, "worker", [&progress](Simulation& sim) {
    const auto worker = sim.add_node("worker");
    auto done = std::make_shared<int>(0);
    for (int i = 0; i < 5; ++i) sim.at(1ms * i, worker, "work", [done] { ++*done; });
    sim.run();
    progress.insert(*done);
  });
  EXPECT_FALSE(failure.has_value());
  EXPECT_EQ(progress, (std::set<int>{0, 1, 2, 3, 4, 5}));
}

TEST(Simulation, ARunThatNeverEndsIsAFailure) {
  const auto failure = simulate({.seeds = 1, .max_steps = 100}, [](Simulation& sim) {
    const auto node = sim.add_node("n");
    auto again = std::make_shared<std::function<void()>>();
    *again = [&sim, node, again_ptr = again.get()] {
      sim.at(sim.now() + 1ms, node, "again", *again_ptr);
    };
    (*again)();
    sim.run();
  });
  ASSERT_TRUE(failure.has_value());
  EXPECT_NE(failure->what.find("100 steps"), std::string::npos);
}

}  // namespace
