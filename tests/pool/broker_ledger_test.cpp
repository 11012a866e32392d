// The bookkeeping of a pool that spans hosts: single steps, and random orders of events with
// workers lost, cut off and leaving at every point.
#include "broker_ledger.hpp"

#include <passel/testing.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Simulation;
using passel::detail::BrokerLedger;
using passel::detail::BrokerName;
using passel::detail::BrokerTask;
using passel::detail::BrokerWorker;
using Kind = BrokerLedger::Action::Kind;
using Ending = BrokerLedger::Ending;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A ledger by itself, its actions as text: "give 3 to 1 (2)".
class BrokerLedgerTest : public ::testing::Test {
 protected:
  std::vector<std::string> step(const BrokerLedger::Event& event,
                                std::chrono::milliseconds at = 0ms) {
    BrokerLedger::Actions actions;
    ledger_.step(event, BrokerLedger::Time{} + 1h + at, actions);
    std::vector<std::string> told;
    for (const auto& action : actions) {
      const std::string task = std::to_string(action.task);
      const std::string worker = std::to_string(action.worker);
      switch (action.kind) {
        case Kind::give:
          told.push_back("give " + task + " to " + worker + " (" + std::to_string(action.attempt) +
                         ")");
          break;
        case Kind::stop: told.push_back("stop " + task + " at " + worker); break;
        case Kind::answer: told.push_back("answer " + task); break;
        case Kind::lost: told.push_back("lost " + task); break;
        case Kind::timed_out: told.push_back("timed out " + task); break;
      }
    }
    return told;
  }
  void join(BrokerWorker worker, unsigned window, std::vector<BrokerName> names = {0}) {
    step(BrokerLedger::Join{worker, std::move(names)});
    step(BrokerLedger::Room{worker, window});
  }

  BrokerLedger ledger_;
};

TEST_F(BrokerLedgerTest, ATaskWaitsForAWorkerThatOffersIt) {
  EXPECT_THAT(step(BrokerLedger::Submit{.task = 1, .name = 7}), IsEmpty());
  join(1, 4, {3});
  EXPECT_EQ(ledger_.waiting(), 1U);
  step(BrokerLedger::Join{2, {3, 7}});
  EXPECT_THAT(step(BrokerLedger::Room{2, 1}), ElementsAre("give 1 to 2 (1)"));
  EXPECT_THAT(step(BrokerLedger::Ended{2, 1}), ElementsAre("answer 1"));
  EXPECT_EQ(ledger_.unsettled(), 0U);
}

TEST_F(BrokerLedgerTest, TheLeastBusyWorkerGetsTheNextTask) {
  join(1, 2);
  join(2, 4);
  std::map<BrokerWorker, int> given;
  for (BrokerTask task = 1; task <= 6; ++task) step(BrokerLedger::Submit{.task = task});
  EXPECT_EQ(ledger_.given_to(1), 2U);
  EXPECT_EQ(ledger_.given_to(2), 4U);
  EXPECT_THAT(step(BrokerLedger::Submit{.task = 7}), IsEmpty());
}

TEST_F(BrokerLedgerTest, HigherRanksGoFirstAndOfEqualsTheOldest) {
  step(BrokerLedger::Submit{.task = 1});
  step(BrokerLedger::Submit{.task = 2, .rank = 5});
  step(BrokerLedger::Submit{.task = 3, .name = 1, .rank = 5});
  step(BrokerLedger::Join{1, {0, 1}});
  EXPECT_THAT(step(BrokerLedger::Room{1, 9}),
              ElementsAre("give 2 to 1 (1)", "give 3 to 1 (1)", "give 1 to 1 (1)"));
}

TEST_F(BrokerLedgerTest, ALostWorkerCostsEachOfItsTasksAnAttempt) {
  join(1, 2);
  step(BrokerLedger::Submit{.task = 1});
  step(BrokerLedger::Submit{.task = 2, .attempts = 2});
  EXPECT_THAT(step(BrokerLedger::Gone{1}), ElementsAre("lost 1"));
  step(BrokerLedger::Join{2, {0}});
  EXPECT_THAT(step(BrokerLedger::Room{2, 1}), ElementsAre("give 2 to 2 (2)"));
  EXPECT_THAT(step(BrokerLedger::Ended{1, 2}), IsEmpty()) << "of a worker that is gone";
  EXPECT_THAT(step(BrokerLedger::Ended{2, 2, Ending::lost}), ElementsAre("answer 2"));
}

TEST_F(BrokerLedgerTest, WhatIsGivenBackCostsNoAttempt) {
  join(1, 1);
  step(BrokerLedger::Submit{.task = 1});
  step(BrokerLedger::Leave{1});
  step(BrokerLedger::Ended{1, 1, Ending::returned});
  step(BrokerLedger::Join{2, {0}});
  EXPECT_THAT(step(BrokerLedger::Room{2, 1}), ElementsAre("give 1 to 2 (1)"));
  EXPECT_THAT(step(BrokerLedger::Submit{.task = 2}), IsEmpty())
      << "one has left, the other is full";
}

TEST_F(BrokerLedgerTest, RetriesWaitLongerEachTime) {
  join(1, 1);
  step(BrokerLedger::Submit{.task = 1, .attempts = 4, .retry_failures = true, .backoff = 10ms});
  EXPECT_THAT(step(BrokerLedger::Ended{1, 1, Ending::failed}), IsEmpty());
  EXPECT_EQ(ledger_.next_deadline(), BrokerLedger::Time{} + 1h + 10ms);
  EXPECT_THAT(step(BrokerLedger::Tick{}, 9ms), IsEmpty());
  EXPECT_THAT(step(BrokerLedger::Tick{}, 10ms), ElementsAre("give 1 to 1 (2)"));
  step(BrokerLedger::Ended{1, 1, Ending::failed}, 10ms);
  EXPECT_EQ(ledger_.next_deadline(), BrokerLedger::Time{} + 1h + 30ms);
  EXPECT_THAT(step(BrokerLedger::Drop{1}, 20ms), IsEmpty());
  EXPECT_EQ(ledger_.next_deadline(), std::nullopt);
  EXPECT_EQ(ledger_.waiting(), 0U);
}

TEST_F(BrokerLedgerTest, APauseBelowNothingIsNone) {
  join(1, 1);
  step(BrokerLedger::Submit{
      .task = 1, .attempts = 70, .retry_failures = true, .backoff = BrokerLedger::Duration{-1}});
  for (unsigned attempt = 2; attempt <= 70; ++attempt) {
    EXPECT_THAT(step(BrokerLedger::Ended{1, 1, Ending::failed}),
                ElementsAre("give 1 to 1 (" + std::to_string(attempt) + ")"));
  }
  EXPECT_THAT(step(BrokerLedger::Ended{1, 1, Ending::failed}), ElementsAre("answer 1"));
}

TEST_F(BrokerLedgerTest, ATaskOverItsTimeIsSettledAndStopped) {
  join(1, 1);
  const auto deadline = BrokerLedger::Time{} + 1h + 5ms;
  step(BrokerLedger::Submit{.task = 1, .deadline = deadline});
  step(BrokerLedger::Submit{.task = 2, .deadline = deadline});
  EXPECT_THAT(step(BrokerLedger::Tick{}, 5ms),
              ElementsAre("timed out 1", "stop 1 at 1", "timed out 2"));
  EXPECT_EQ(ledger_.unsettled(), 0U);
  EXPECT_EQ(ledger_.given_to(1), 1U) << "until the worker is through with it";
  EXPECT_THAT(step(BrokerLedger::Ended{1, 1}), IsEmpty());
  EXPECT_EQ(ledger_.given_to(1), 0U);
}

TEST_F(BrokerLedgerTest, ADroppedTaskIsNeverGivenAgain) {
  join(1, 1);
  step(BrokerLedger::Submit{.task = 1, .attempts = 9});
  step(BrokerLedger::Submit{.task = 2});
  EXPECT_THAT(step(BrokerLedger::Drop{2}), IsEmpty());
  EXPECT_THAT(step(BrokerLedger::Drop{1}), ElementsAre("stop 1 at 1"));
  EXPECT_THAT(step(BrokerLedger::Gone{1}), IsEmpty());
  step(BrokerLedger::Join{2, {0}});
  EXPECT_THAT(step(BrokerLedger::Room{2, 5}), IsEmpty());
}

/// A broker, workers that run what they are given or give it back, and a referee. Every life of a
/// worker is a node of its own; one that is cut off goes on, and its answers come to nothing.
class World {
 public:
  explicit World(Simulation& sim) : sim_{sim}, broker_{sim.add_node("broker")} {
    sim.explain("no worker has more than it wants", [this] { return overfull(); });
    sim.explain("no task waits while a worker wants one", [this] { return idle(); });
  }

  void play() {
    for (unsigned i = 1 + pick(4); i > 0; --i) later(20ms, "join", [this] { join(); });
    for (unsigned i = 1 + pick(40); i > 0; --i) later(40ms, "submit", [this] { submit(); });
    for (unsigned i = pick(8); i > 0; --i) later(60ms, "drop", [this] { drop(); });
    for (unsigned i = pick(6); i > 0; --i) later(60ms, "lose", [this] { lose(pick(1000)); });
    for (unsigned i = pick(3); i > 0; --i) later(60ms, "leave", [this] { leave(pick(1000)); });
    // Somebody who offers everything comes at last, so that every task can end.
    sim_.at(100ms, broker_, "join at last", [this] { join(true); });
    if (sim_.run()) referee();
  }

 private:
  struct Job {
    unsigned attempts = 1;
    unsigned runs = 0;
    unsigned ends = 0;
    bool dropped = false;
    bool overdue = false;
    BrokerName name = 0;
    BrokerLedger::Time deadline = BrokerLedger::Time::max();
  };
  struct Host {
    Simulation::Node node = 0;
    std::set<BrokerName> names;
    unsigned window = 0;
    bool gone = false;  // for the broker
    bool leaving = false;
    bool immortal = false;
    std::set<BrokerTask> has;  // by the broker's reckoning
  };

  unsigned pick(unsigned below) { return static_cast<unsigned>(sim_.random().below(below)); }
  void later(std::chrono::nanoseconds most, const char* what, std::function<void()> act) {
    const auto wait = std::chrono::nanoseconds{
        static_cast<std::int64_t>(sim_.random().below(static_cast<std::uint64_t>(most.count())))};
    sim_.at(sim_.now() + wait, broker_, what, std::move(act));
  }

  void feed(const BrokerLedger::Event& event) {
    sim_.feed(ledger_, event, [this](const BrokerLedger::Action& action) { act(action); });
    arm();
  }
  void arm() {
    const auto due = ledger_.next_deadline();
    if (!due || (armed_ && *armed_ <= *due)) return;
    armed_ = due;
    const auto in = std::max(*due - sim_.time_point(), BrokerLedger::Duration{0});
    sim_.at(sim_.now() + in, broker_, "tick", [this] {
      armed_.reset();
      feed(BrokerLedger::Tick{});
    });
  }

  void act(const BrokerLedger::Action& action) {
    Job& job = jobs_.at(action.task);
    if (action.kind == Kind::stop) return;
    if (action.kind != Kind::give) {
      if (++job.ends > 1 || job.dropped) sim_.fail("a task was settled twice");
      if (action.kind == Kind::timed_out && job.deadline > sim_.time_point())
        sim_.fail("a task was late before its time");
      return;
    }
    if (job.ends != 0 || job.dropped) sim_.fail("a settled task was given away");
    Host& host = hosts_.at(action.worker);
    if (host.gone || host.leaving || !host.names.contains(job.name))
      sim_.fail("a task went to a worker that does not take it");
    if (++job.runs > job.attempts) sim_.fail("a task was given too often");
    for (const auto& [number, other] : hosts_)
      if (!other.gone && other.has.contains(action.task)) sim_.fail("a task is with two workers");
    host.has.insert(action.task);
    const BrokerWorker worker = action.worker;
    const BrokerTask task = action.task;
    sim_.send(broker_, host.node, "task", [this, worker, task] { run(worker, task); });
  }

  void run(BrokerWorker worker, BrokerTask task) {
    Ending how = Ending::answered;
    if (pick(8) == 0) how = Ending::lost;
    if (pick(8) == 0) how = Ending::failed;
    if (pick(8) == 0 && !hosts_.at(worker).immortal) how = Ending::returned;
    const auto takes = std::chrono::microseconds{pick(20'000)};
    sim_.at(sim_.now() + takes, hosts_.at(worker).node, "ran", [this, worker, task, how] {
      sim_.send(hosts_.at(worker).node, broker_, "ended", [this, worker, task, how] {
        Host& host = hosts_.at(worker);
        if (!host.gone && host.has.erase(task) != 0 && how == Ending::returned)
          --jobs_.at(task).runs;
        feed(BrokerLedger::Ended{worker, task, how});
      });
    });
  }

  void join(bool immortal = false) {
    const BrokerWorker number = ++last_worker_;
    Host& host = hosts_[number];
    host.node = sim_.add_node("worker " + std::to_string(number));
    host.immortal = immortal;
    for (BrokerName name = 0; name < 3; ++name)
      if (immortal || pick(2) == 0) host.names.insert(name);
    feed(BrokerLedger::Join{number, {host.names.begin(), host.names.end()}});
    host.window = 1 + pick(4);
    feed(BrokerLedger::Room{number, host.window});
  }
  void lose(unsigned which) {
    if (hosts_.empty()) return;
    const auto host = std::next(hosts_.begin(), which % hosts_.size());
    if (host->second.gone || host->second.immortal) return;
    host->second.gone = true;
    // Cut off, it runs on for the time being; or it has died.
    if (pick(2) == 0) sim_.kill(host->second.node);
    feed(BrokerLedger::Gone{host->first});
  }
  void leave(unsigned which) {
    if (hosts_.empty()) return;
    const auto host = std::next(hosts_.begin(), which % hosts_.size());
    if (host->second.immortal) return;
    host->second.leaving = true;
    feed(BrokerLedger::Leave{host->first});
  }
  void submit() {
    const BrokerTask number = ++last_task_;
    Job& job = jobs_[number];
    job.attempts = 1 + pick(3);
    job.name = pick(3);
    if (pick(4) == 0) job.deadline = sim_.time_point() + std::chrono::milliseconds{pick(80)};
    feed(BrokerLedger::Submit{.task = number,
                              .name = job.name,
                              .attempts = job.attempts,
                              .retry_failures = pick(2) == 0,
                              .rank = pick(3),
                              .backoff = std::chrono::milliseconds{pick(4)},
                              .deadline = job.deadline});
  }
  void drop() {
    if (jobs_.empty()) return;
    auto job = std::next(jobs_.begin(), pick(static_cast<unsigned>(jobs_.size())));
    if (job->second.ends != 0) return;
    job->second.dropped = true;
    feed(BrokerLedger::Drop{job->first});
  }

  std::optional<std::string> overfull() {
    for (const auto& [number, host] : hosts_)
      if (!host.gone && host.has.size() > host.window) return "worker " + std::to_string(number);
    return std::nullopt;
  }
  std::optional<std::string> idle() {
    if (ledger_.waiting() == 0) return std::nullopt;
    for (const auto& [number, host] : hosts_) {
      // The last one takes everything: nothing may wait but what pauses between attempts.
      if (host.immortal && host.has.size() < host.window && !ledger_.next_deadline())
        return "worker " + std::to_string(number) + " is idle";
    }
    return std::nullopt;
  }
  void referee() {
    for (const auto& [number, job] : jobs_)
      if (job.ends + (job.dropped ? 1 : 0) != 1)
        sim_.fail("task " + std::to_string(number) + " came to no end");
    if (ledger_.unsettled() != 0 || ledger_.waiting() != 0) sim_.fail("something is left");
    if (ledger_.next_deadline()) sim_.fail("an alarm is left");
  }

  Simulation& sim_;
  const Simulation::Node broker_;
  BrokerLedger ledger_;
  std::map<BrokerTask, Job> jobs_;
  std::map<BrokerWorker, Host> hosts_;
  BrokerTask last_task_ = 0;
  BrokerWorker last_worker_ = 0;
  std::optional<BrokerLedger::Time> armed_;
};

TEST(BrokerLedgerSimulation, EveryTaskEndsOnceWhateverBecomesOfWorkers) {
  const auto failure = passel::simulate({.seeds = 10'000}, [](Simulation& sim) {
    World world{sim};
    world.play();
  });
  EXPECT_FALSE(failure) << failure->to_string();
}

}  // namespace
