// Timers: once or never, whatever happens at the same time.
#include <passel/testing.hpp>
#include <passel/timer.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/seed.hpp"
#include "timer_race.hpp"

#include <sys/prctl.h>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Simulation;
using passel::Thread;
using passel::Timer;
using passel::detail::timer_move;
using passel::detail::TimerEvent;
using passel::detail::TimerState;
using Clock = std::chrono::steady_clock;

TEST(Timer, CallsItsFunctionOnceAfterTheInterval) {
  std::atomic<int> calls{0};
  std::uint64_t caller = 0;
  const Timer t{30ms,
                [&](int n) {
                  calls += n;
                  caller = passel::get_ident();
                },
                1};
  EXPECT_FALSE(t.daemon());
  EXPECT_THAT(t.name(), ::testing::MatchesRegex("Thread-[0-9]+"));
  EXPECT_THAT(t.to_string(), ::testing::HasSubstr("<Timer(Thread-"));
  const auto start = Clock::now();
  t.start().unwrap();
  EXPECT_TRUE(t.is_alive());
  t.join().unwrap();
  EXPECT_GE(Clock::now() - start, 30ms);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(caller, t.ident());
  EXPECT_FALSE(t.cancel());  // too late
  EXPECT_FALSE(t.cancel());
  EXPECT_TRUE(t.start().is_err());
  EXPECT_EQ(calls, 1);
}

TEST(Timer, IsAThread) {
  const Timer t{{.name = "tick", .daemon = true}, 1h, [] {}};
  EXPECT_EQ(t.name(), "tick");
  EXPECT_TRUE(t.daemon());
  EXPECT_EQ(t.join().error().what(), "cannot join thread before it is started");
  t.start().unwrap();
  const Thread as_thread = t;
  EXPECT_THAT(passel::enumerate_threads(), ::testing::Contains(as_thread));
  EXPECT_EQ(t.join_for(5ms).error().code(), passel::Errc::timeout);
  EXPECT_TRUE(t.cancel());
  as_thread.join().unwrap();
}

TEST(Timer, CancelEndsTheWaitAtOnce) {
  std::atomic<int> calls{0};
  const auto t = Timer::spawn({.name = "never"}, 24h, [&] { ++calls; }).unwrap();
  EXPECT_TRUE(t.cancel());
  t.join().unwrap();
  EXPECT_TRUE(t.cancel());  // it is still true
  EXPECT_EQ(calls, 0);
}

TEST(Timer, CancelledBeforeTheStartItNeverFires) {
  std::atomic<int> calls{0};
  const Timer t{0ms, [&] { ++calls; }};
  EXPECT_TRUE(t.cancel());
  t.start().unwrap();
  t.join().unwrap();
  EXPECT_EQ(calls, 0);
}

TEST(Timer, CancelInItsOwnFunctionIsTooLate) {
  std::shared_ptr<Timer> t;
  std::atomic<int> answer{-1};
  t = std::make_shared<Timer>(0ms, [&] { answer = t->cancel() ? 1 : 0; });
  t->start().unwrap();
  t->join().unwrap();
  EXPECT_EQ(answer, 0);
}

TEST(Timer, ZeroNegativeAndFractionalIntervals) {
  std::atomic<int> calls{0};
  Timer::spawn(0s, [&] { ++calls; }).unwrap().join().unwrap();
  Timer::spawn(-1h, [&] { ++calls; }).unwrap().join().unwrap();
  Timer::spawn(std::chrono::duration<double>{0.001}, [&] { ++calls; }).unwrap().join().unwrap();
  EXPECT_EQ(calls, 3);
  const auto endless = Timer::spawn(std::chrono::hours::max(), [&] { ++calls; }).unwrap();
  EXPECT_TRUE(endless.cancel());
  endless.join().unwrap();
  EXPECT_EQ(calls, 3);
}

TEST(Timer, ArgumentsOfOneDoNotLeakIntoTheNext) {
  // TimerTests.test_init_immutable_default_args
  std::vector<std::vector<int>> seen;
  const auto append = [&](std::vector<int> list) {
    list.push_back(1);
    seen.push_back(std::move(list));
  };
  const std::vector<int> list;
  for (int i = 0; i < 2; ++i) Timer::spawn(1ms, append, list).unwrap().join().unwrap();
  EXPECT_EQ(seen, (std::vector<std::vector<int>>{{1}, {1}}));
}

TEST(Timer, WaitsExactlyAndGivesTheFunctionTheUsualSlack) {
  const int usual = ::prctl(PR_GET_TIMERSLACK);
  int in_function = 0;
  Timer::spawn(1ms, [&] { in_function = ::prctl(PR_GET_TIMERSLACK); }).unwrap().join().unwrap();
  EXPECT_EQ(in_function, usual);
}

TEST(Timer, CancelTellsTheTruthWhenItRacesTheCall) {
  // Cancelled by several threads at about the time when it is due.
  std::mt19937_64 random{passel_test::seed()};
  int fired = 0;
  for (unsigned round = 0; round < passel_test::rounds(300); ++round) {
    std::atomic<int> calls{0};
    std::atomic<int> yes{0};
    const Timer t{std::chrono::microseconds{random() % 300}, [&] { ++calls; }};
    const auto pause = std::chrono::microseconds{random() % 300};
    t.start().unwrap();
    std::vector<Thread> others;
    for (int i = 0; i < 2; ++i) {
      others.push_back(Thread::spawn([&] {
                         const auto until = Clock::now() + pause;
                         while (Clock::now() < until) {
                         }
                         yes += t.cancel() ? 1 : 0;
                       }).unwrap());
    }
    for (const Thread& other : others) other.join().unwrap();
    t.join().unwrap();
    ASSERT_LE(calls, 1);
    ASSERT_EQ(yes, calls == 0 ? 2 : 0);
    fired += calls;
  }
  std::printf("%d fired\n", fired);
}

// --- the race in the simulator: looking and deciding are steps of their own, as they are for a CPU

struct World {
  TimerState word = TimerState::waiting;
  int fired = 0;
  int refused = 0;
  int granted = 0;
  int asked = 0;
  bool thread_ended = false;
};

/// One turn of the loop in timer.cpp: look, decide, write if nobody was quicker, else once more.
void apply(Simulation& sim, Simulation::Node node, World& world, TimerEvent event,
           std::function<void(bool)> then) {
  const TimerState seen = world.word;
  const auto later = sim.now() + std::chrono::nanoseconds{sim.random().below(20)};
  sim.at(later, node, "write", [&sim, node, &world, event, seen, then = std::move(then)] {
    const auto move = timer_move(seen, event);
    if (move.next == seen) return then(move.yes);
    if (world.word != seen) return apply(sim, node, world, event, then);
    world.word = move.next;
    then(move.yes);
  });
}

TEST(TimerRace, FiresAtMostOnceAndCancelTellsTheTruth) {
  int fired = 0;
  const auto failure = passel::simulate({.seeds = 10000}, [&fired](Simulation& sim) {
    World world;
    sim.invariant("at most one call", [&] { return world.fired <= 1; });
    sim.invariant("a cancel that said yes was right",
                  [&] { return world.granted == 0 || world.fired == 0; });
    sim.invariant("a cancel that said no was right",
                  [&] { return world.refused == 0 || world.word == TimerState::fired; });
    const auto timer = sim.add_node("timer");
    sim.at(50ns, timer, "due", [&sim, timer, &world] {
      apply(sim, timer, world, TimerEvent::due, [&world](bool yes) {
        world.fired += yes ? 1 : 0;
        world.thread_ended = true;
      });
    });
    const auto cancels = 1 + sim.random().below(4);
    for (std::uint64_t i = 0; i < cancels; ++i) {
      const auto node = sim.add_node("canceller " + std::to_string(i));
      sim.at(std::chrono::nanoseconds{sim.random().below(100)}, node, "cancel",
             [&sim, node, &world] {
               ++world.asked;
               apply(sim, node, world, TimerEvent::cancel,
                     [&world](bool yes) { ++(yes ? world.granted : world.refused); });
             });
    }
    sim.run();
    if (world.fired + (world.granted > 0 ? 1 : 0) != 1 || !world.thread_ended ||
        world.granted + world.refused != world.asked)
      sim.fail("not decided");
    fired += world.fired;
  });
  EXPECT_FALSE(failure) << failure->to_string();
  // Both ends were reached.
  EXPECT_GT(fired, 0);
  EXPECT_LT(fired, 10000);
}

}  // namespace
