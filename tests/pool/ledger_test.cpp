// The pool's bookkeeping, event by event.
#include "ledger.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::detail::Ledger;
using passel::detail::LedgerLimits;
using passel::detail::Settled;
using passel::detail::TaskSlot;
using passel::detail::WorkerSlot;
using Kind = Ledger::Action::Kind;

/// A ledger, its clock and the actions of the last step in words: "send 3 to 0", "settle 3 done".
class Fixture {
 public:
  explicit Fixture(const LedgerLimits& limits) : ledger{limits} {}

  std::vector<std::string> step(const Ledger::Event& event) {
    actions.clear();
    ledger.step(event, now, actions);
    std::vector<std::string> words;
    for (const auto& action : actions) words.push_back(describe(action));
    return words;
  }
  std::vector<std::string> tick() {
    now = std::max(now, ledger.next_deadline().value_or(now));
    return step(Ledger::Tick{});
  }
  void start_ready(unsigned workers) {
    step(Ledger::Start{});
    for (unsigned worker = 0; worker < workers; ++worker) step(Ledger::Ready{worker});
  }
  /// Teaches the ledger how long tasks take.
  void teach(std::chrono::nanoseconds took) {
    for (int i = 0; i < 100; ++i) {
      step(Ledger::Submit{.task = 999});
      step(Ledger::Done{.worker = actions.at(0).worker, .task = 999, .took = took});
    }
  }

  static std::string describe(const Ledger::Action& action) {
    const std::string worker = std::to_string(action.worker);
    const std::string task = std::to_string(action.task);
    switch (action.kind) {
      case Kind::spawn: return "spawn " + worker;
      case Kind::send:
        return "send " + task + " to " + worker +
               (action.attempt > 1 ? " again " + std::to_string(action.attempt) : "");
      case Kind::take_back: return "take back " + task + " from " + worker;
      case Kind::retire: return "retire " + worker;
      case Kind::ask_stop: return "ask " + worker + " to stop " + task;
      case Kind::condemn: return "condemn " + worker;
      case Kind::terminate: return "terminate " + worker;
      case Kind::kill: return "kill " + worker;
      case Kind::settle: return "settle " + task + " " + std::string{to_string(action.settled)};
      case Kind::cancel_refused: return "cancel refused " + task;
      case Kind::failed: return "failed";
      case Kind::closed: return "closed";
    }
    return "?";
  }

  Ledger ledger;
  Ledger::Time now{1000s};
  Ledger::Actions actions;
};

using Words = std::vector<std::string>;

TEST(Ledger, StartsItsWorkersAndSendsWhenTheyAreReady) {
  Fixture pool{{.workers = 2}};
  EXPECT_EQ(pool.step(Ledger::Start{}), (Words{"spawn 0", "spawn 1"}));
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 7}), Words{});
  EXPECT_EQ(pool.step(Ledger::Ready{1}), Words{"send 7 to 1"});
  EXPECT_EQ(pool.step(Ledger::Done{1, 7, 1us}), Words{"settle 7 done"});
  EXPECT_EQ(pool.ledger.sent(), 0U);
}

TEST(Ledger, AWorkerHasOneTaskUntilTasksAreKnownToBeShort) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 0}), Words{"send 0 to 0"});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1}), Words{});
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 5ms}), (Words{"settle 0 done", "send 1 to 0"}));
}

TEST(Ledger, WindowHoldsTwoHundredMicrosecondsOfWorkAndAtMostSixtyFourTasks) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.teach(10us);
  EXPECT_EQ(pool.ledger.window(), 20U);
  pool.teach(100ns);
  EXPECT_EQ(pool.ledger.window(), 64U);
  pool.teach(500us);
  EXPECT_EQ(pool.ledger.window(), 2U);
  pool.teach(5ms);
  EXPECT_EQ(pool.ledger.window(), 1U);
}

TEST(Ledger, AnOutlierDoesNotCloseTheWindow) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.teach(100ns);
  pool.step(Ledger::Submit{.task = 1});
  pool.step(Ledger::Done{0, 1, 1s});
  EXPECT_EQ(pool.ledger.window(), 64U);
}

TEST(Ledger, SharesFewTasksEvenly) {
  Fixture pool{{.workers = 2}};
  pool.start_ready(2);
  pool.teach(1us);
  for (TaskSlot task = 0; task < 10; ++task) pool.step(Ledger::Submit{.task = task});
  EXPECT_EQ(pool.ledger.sent_to(0), 5U);
  EXPECT_EQ(pool.ledger.sent_to(1), 5U);
}

TEST(Ledger, TasksBehindALongOneGoToAnIdleWorker) {
  Fixture pool{{.workers = 2}};
  pool.step(Ledger::Start{});
  pool.step(Ledger::Ready{0});
  pool.teach(1us);
  for (TaskSlot task = 0; task < 3; ++task) pool.step(Ledger::Submit{.task = task});
  EXPECT_EQ(pool.ledger.sent_to(0), 3U);
  EXPECT_EQ(pool.tick(), (Words{"take back 2 from 0", "take back 1 from 0"}));
  EXPECT_EQ(pool.step(Ledger::TakenBack{0, 2}), Words{}) << "not behind the long one again";
  EXPECT_EQ(pool.step(Ledger::TakenBack{0, 1}), Words{});
  EXPECT_EQ(pool.step(Ledger::Ready{1}), (Words{"send 1 to 1", "send 2 to 1"}));
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 1s}), Words{"settle 0 done"});
}

TEST(Ledger, NothingIsQueuedBehindATaskThatRunsLong) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.teach(1us);
  pool.step(Ledger::Submit{.task = 0});
  pool.now += 2ms;
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1}), Words{});
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 2ms}), (Words{"settle 0 done", "send 1 to 0"}));
}

TEST(Ledger, TasksAreTakenBackAlsoWhenMoreWereOfferedMeanwhile) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.teach(1us);
  pool.step(Ledger::Submit{.task = 0});
  pool.step(Ledger::Submit{.task = 1});
  pool.now += 2ms;
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 2}), Words{});
  EXPECT_EQ(pool.tick(), Words{"take back 1 from 0"});
}

TEST(Ledger, DeathCostsOnlyTheTaskThatRan) {
  Fixture pool{{.workers = 2}};
  pool.step(Ledger::Start{});
  pool.step(Ledger::Ready{0});
  pool.teach(1us);
  for (TaskSlot task = 0; task < 3; ++task) pool.step(Ledger::Submit{.task = task});
  pool.step(Ledger::Ready{1});
  EXPECT_EQ(pool.step(Ledger::Gone{0, TaskSlot{0}}),
            (Words{"settle 0 lost", "spawn 0", "send 1 to 1", "send 2 to 1"}));
}

TEST(Ledger, DeathBeforeATaskStartedUsesNoAttempt) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.step(Ledger::Submit{.task = 0});
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{"spawn 0"});
  EXPECT_EQ(pool.step(Ledger::Ready{0}), Words{"send 0 to 0"});
}

TEST(Ledger, RetriesAreCountedAndGoBehindTheOthers) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.step(Ledger::Submit{.task = 0, .attempts = 2});
  pool.step(Ledger::Submit{.task = 1});
  EXPECT_EQ(pool.step(Ledger::Gone{0, TaskSlot{0}}), Words{"spawn 0"});
  EXPECT_EQ(pool.step(Ledger::Ready{0}), Words{"send 1 to 0"});
  EXPECT_EQ(pool.step(Ledger::Done{0, 1, 1s}), (Words{"settle 1 done", "send 0 to 0 again 2"}));
  EXPECT_EQ(pool.step(Ledger::Gone{0, TaskSlot{0}}), (Words{"settle 0 lost", "spawn 0"}));
}

TEST(Ledger, FourthDeathOutsideATaskInFiveSecondsFailsThePool) {
  Fixture pool{{.workers = 1}};
  pool.step(Ledger::Start{});
  pool.step(Ledger::Submit{.task = 0});
  for (const auto delay : {10ms, 20ms, 40ms}) {
    const auto died = pool.now;
    EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{});
    EXPECT_EQ(pool.tick(), Words{"spawn 0"});
    EXPECT_EQ(pool.now - died, delay);
  }
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), (Words{"failed", "settle 0 pool_failed", "closed"}));
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1}), Words{"settle 1 pool_failed"});
}

TEST(Ledger, SlowDeathsAreForgiven) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  for (int i = 0; i < 20; ++i) {
    pool.step(Ledger::Gone{0, {}});
    pool.tick();
    pool.step(Ledger::Ready{0});
    pool.now += 2s;
  }
  EXPECT_FALSE(pool.ledger.is_failed());
}

TEST(Ledger, DeathsInsideTasksDoNotUseTheBudgetButAreRateLimited) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  int immediate = 0;
  for (TaskSlot task = 0; task < 50; ++task) {
    pool.step(Ledger::Submit{.task = task});
    const Words words = pool.step(Ledger::Gone{0, task});
    ASSERT_EQ(words.at(0), "settle " + std::to_string(task) + " lost");
    if (words.size() == 2) {
      ++immediate;
    } else {
      ASSERT_EQ(pool.tick(), Words{"spawn 0"});
    }
    pool.step(Ledger::Ready{0});
  }
  EXPECT_FALSE(pool.ledger.is_failed());
  EXPECT_LT(immediate, 50);
  EXPECT_GE(pool.now - Ledger::Time{1000s}, 1s) << "50 crashes took no time";
}

TEST(Ledger, AWorkerThatIsNotReadyInTimeIsStoppedAndCountsAsADeath) {
  Fixture pool{{.workers = 1, .max_restarts = 0, .start_timeout = 1s, .kill_grace = 100ms}};
  pool.step(Ledger::Start{});
  pool.step(Ledger::Submit{.task = 0});
  EXPECT_EQ(pool.tick(), Words{"terminate 0"});
  EXPECT_EQ(pool.now, Ledger::Time{1001s});
  EXPECT_EQ(pool.tick(), Words{"kill 0"});
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), (Words{"failed", "settle 0 pool_failed", "closed"}));
}

TEST(Ledger, FailedForksAreTriedAgainAndAtLastFailThePool) {
  Fixture pool{{.workers = 1}};
  pool.step(Ledger::Start{});
  pool.step(Ledger::Submit{.task = 0});
  Words words;
  while (!pool.ledger.is_failed()) {
    words = pool.step(Ledger::SpawnFailed{0});
    if (!pool.ledger.is_failed()) {
      ASSERT_EQ(pool.tick(), Words{"spawn 0"});
    }
  }
  EXPECT_EQ(words, (Words{"failed", "settle 0 pool_failed", "closed"}));
  EXPECT_GE(pool.now, Ledger::Time{1005s});
}

TEST(Ledger, AWorkerLeavesAfterItsTasks) {
  Fixture pool{{.workers = 1, .max_tasks_per_child = 2}};
  pool.start_ready(1);
  for (TaskSlot task = 0; task < 3; ++task) pool.step(Ledger::Submit{.task = task});
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 1us}), (Words{"settle 0 done", "send 1 to 0"}));
  EXPECT_EQ(pool.step(Ledger::Done{0, 1, 1us}), (Words{"settle 1 done", "retire 0", "spawn 1"}));
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{});
  EXPECT_EQ(pool.step(Ledger::Ready{1}), Words{"send 2 to 1"});
}

TEST(Ledger, CancelTakesAQueuedTaskOut) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.step(Ledger::Submit{.task = 0});
  pool.step(Ledger::Submit{.task = 1});
  EXPECT_EQ(pool.step(Ledger::Cancel{1}), Words{"settle 1 cancelled"});
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 1us}), Words{"settle 0 done"});
}

TEST(Ledger, CancelAsksTheWorkerForATaskThatIsThereAlready) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.step(Ledger::Submit{.task = 0});
  EXPECT_EQ(pool.step(Ledger::Cancel{0}), Words{"take back 0 from 0"});
  EXPECT_EQ(pool.step(Ledger::Kept{0, 0}), Words{"cancel refused 0"});
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 1us}), Words{"settle 0 done"});
  pool.step(Ledger::Submit{.task = 1});
  EXPECT_EQ(pool.step(Ledger::Cancel{1}), Words{"take back 1 from 0"});
  EXPECT_EQ(pool.step(Ledger::TakenBack{0, 1}), Words{"settle 1 cancelled"});
}

TEST(Ledger, CloseLetsTasksFinishAndWorkersGo) {
  Fixture pool{{.workers = 2}};
  pool.start_ready(2);
  pool.step(Ledger::Submit{.task = 0});
  EXPECT_EQ(pool.step(Ledger::Close{}), Words{});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1}), Words{"settle 1 refused"});
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 1us}), (Words{"settle 0 done", "retire 0", "retire 1"}));
  EXPECT_EQ(pool.step(Ledger::Gone{1, {}}), Words{});
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{"closed"});
  EXPECT_EQ(pool.ledger.next_deadline(), std::nullopt);
}

TEST(Ledger, NothingOvertakesATaskOfHigherRankThatIsNotHereYet) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  EXPECT_FALSE(pool.ledger.set_outside(3));
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 0, .rank = 2}), Words{});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1, .rank = 3}), Words{"send 1 to 0"});
  EXPECT_EQ(pool.step(Ledger::Done{0, 1, 1us}), Words{"settle 1 done"});
  EXPECT_TRUE(pool.ledger.set_outside(-1));
  EXPECT_EQ(pool.step(Ledger::Dispatch{}), Words{"send 0 to 0"});
}

TEST(Ledger, CloseLetsAStartingWorkerFinishItsStart) {
  Fixture pool{{.workers = 2, .start_timeout = 30s, .stop_grace = 1s}};
  pool.start_ready(1);
  EXPECT_EQ(pool.step(Ledger::Close{}), (Words{"retire 0", "retire 1"}));
  EXPECT_EQ(pool.step(Ledger::Ready{1}), Words{});
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{});
  EXPECT_EQ(pool.tick(), Words{"terminate 1"}) << "when the time of a start is over";
  EXPECT_EQ(pool.now, Ledger::Time{1000s} + 30s);
  EXPECT_EQ(pool.step(Ledger::Gone{1, {}}), Words{"closed"});
}

TEST(Ledger, ARetiredWorkerThatDoesNotLeaveIsKilled) {
  Fixture pool{{.workers = 1, .stop_grace = 1s, .kill_grace = 100ms}};
  pool.start_ready(1);
  EXPECT_EQ(pool.step(Ledger::Close{}), Words{"retire 0"});
  EXPECT_EQ(pool.tick(), Words{"terminate 0"});
  EXPECT_EQ(pool.tick(), Words{"kill 0"});
  EXPECT_EQ(pool.now, Ledger::Time{1001s} + 100ms);
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{"closed"});
}

TEST(Ledger, TerminateSettlesEverythingAtOnce) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  pool.step(Ledger::Submit{.task = 0});
  pool.step(Ledger::Submit{.task = 1});
  EXPECT_EQ(pool.step(Ledger::Terminate{}),
            (Words{"settle 1 terminated", "settle 0 terminated", "terminate 0"}));
  EXPECT_EQ(pool.step(Ledger::Done{0, 0, 1us}), Words{}) << "settled already";
  EXPECT_EQ(pool.step(Ledger::Gone{0, {}}), Words{"closed"});
  EXPECT_EQ(pool.step(Ledger::Terminate{}), Words{});
}

TEST(Ledger, AnIdlePoolNeedsNoClock) {
  Fixture pool{{.workers = 2}};
  pool.start_ready(2);
  EXPECT_EQ(pool.ledger.next_deadline(), std::nullopt);
  pool.step(Ledger::Submit{.task = 0});
  EXPECT_EQ(pool.ledger.next_deadline(), pool.now + 100ms) << "whether it was begun";
  EXPECT_EQ(pool.tick(), Words{"take back 0 from 0"});
  pool.step(Ledger::Kept{0, 0});
  EXPECT_EQ(pool.ledger.next_deadline(), std::nullopt) << "nobody waits behind it";
}

TEST(Ledger, APinnedTaskIsNotTriedAgain) {
  Fixture f{{.workers = 1}};
  f.start_ready(1);
  EXPECT_EQ(f.step(Ledger::Submit{.task = 1, .attempts = 3}), Words{"send 1 to 0"});
  EXPECT_EQ(f.step(Ledger::Pin{1}), Words{});
  EXPECT_EQ(f.step(Ledger::Gone{.worker = 0, .running = 1}), (Words{"settle 1 lost", "spawn 0"}));
}

TEST(Ledger, AFragilePoolFailsWithItsFirstDeath) {
  Fixture f{{.workers = 2, .fragile = true}};
  f.start_ready(2);
  f.step(Ledger::Submit{.task = 1});
  f.step(Ledger::Submit{.task = 2});
  f.step(Ledger::Submit{.task = 3});
  EXPECT_EQ(f.step(Ledger::Gone{.worker = 0, .running = 1}),
            (Words{"settle 1 lost", "failed", "settle 3 pool_failed", "settle 2 pool_failed",
                   "terminate 1"}));
  EXPECT_TRUE(f.ledger.is_failed());
}

TEST(Ledger, AWorkerWhoseLentTaskIsAnsweredTakesTheNextAtOnce) {
  Fixture f{{.workers = 1}};
  f.start_ready(1);
  f.step(Ledger::Submit{.task = 1});
  EXPECT_EQ(f.step(Ledger::Lend{0}), Words{"spawn 1"});
  f.step(Ledger::Submit{.task = 2});
  // That it goes on is told behind its answer.
  EXPECT_EQ(f.step(Ledger::Done{.worker = 0, .task = 1, .took = 5ms}),
            (Words{"settle 1 done", "send 2 to 0"}));
  EXPECT_EQ(f.step(Ledger::Regain{0}), Words{});
}

TEST(Ledger, AnElasticPoolGrowsOneByOneWhileTasksWait) {
  Fixture pool{{.workers = 3, .least = 1}};
  EXPECT_EQ(pool.step(Ledger::Start{}), Words{"spawn 0"});
  EXPECT_EQ(pool.step(Ledger::Ready{0}), Words{});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1}), Words{"send 1 to 0"});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 2}), Words{"spawn 1"});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 3}), Words{});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 4}), Words{});
  EXPECT_EQ(pool.step(Ledger::Ready{1}), (Words{"send 2 to 1", "spawn 2"}));
  EXPECT_EQ(pool.step(Ledger::Ready{2}), Words{"send 3 to 2"});
}

TEST(Ledger, AnElasticPoolLetsIdleWorkersGo) {
  Fixture pool{{.workers = 3, .least = 1, .idle_timeout = 5s}};
  pool.start_ready(1);
  pool.step(Ledger::Submit{.task = 1});
  pool.step(Ledger::Submit{.task = 2});
  EXPECT_EQ(pool.step(Ledger::Ready{1}), Words{"send 2 to 1"});
  pool.step(Ledger::Done{.worker = 0, .task = 1, .took = 1s});
  pool.now += 1s;
  pool.step(Ledger::Done{.worker = 1, .task = 2, .took = 1s});
  EXPECT_EQ(pool.tick(), Words{"retire 0"});
  pool.step(Ledger::Gone{.worker = 0, .running = {}});
  pool.now += 60s;
  EXPECT_EQ(pool.step(Ledger::Tick{}), Words{});
  EXPECT_FALSE(pool.ledger.next_deadline());
}

TEST(Ledger, ResizeStartsWorkersAtOnceAndLetsTheBusyOnesFinish) {
  Fixture pool{{.workers = 1}};
  pool.start_ready(1);
  EXPECT_EQ(pool.step(Ledger::Resize{3}), (Words{"spawn 1", "spawn 2"}));
  pool.step(Ledger::Ready{1});
  pool.step(Ledger::Ready{2});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 1}), Words{"send 1 to 0"});
  EXPECT_EQ(pool.step(Ledger::Submit{.task = 2}), Words{"send 2 to 1"});
  EXPECT_EQ(pool.step(Ledger::Resize{1}), Words{"retire 2"});
  pool.step(Ledger::Done{.worker = 0, .task = 1, .took = 1s});
  EXPECT_EQ(pool.tick(), Words{"take back 2 from 1"});
  pool.step(Ledger::Kept{.worker = 1, .task = 2});
  EXPECT_EQ(pool.tick(), Words{"retire 0"});
  EXPECT_EQ(pool.step(Ledger::Done{.worker = 1, .task = 2, .took = 1s}), Words{"settle 2 done"});
}

}  // namespace
