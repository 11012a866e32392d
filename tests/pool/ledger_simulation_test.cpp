// The pool's bookkeeping under random orders of events, with workers killed at every point.
#include "ledger.hpp"

#include "support/seed.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::detail::Ledger;
using passel::detail::LedgerLimits;
using passel::detail::Settled;
using passel::detail::TaskSlot;
using passel::detail::WorkerSlot;
using Kind = Ledger::Action::Kind;

/// One run: a ledger, workers that do what real ones do, and a referee. The first broken promise is
/// kept as text.
class World {
 public:
  World(std::uint64_t seed, unsigned steps) : random_{seed}, steps_{steps} {
    limits_.workers = 1 + pick(4);
    limits_.window_tasks = 1 + pick(8);
    limits_.max_tasks_per_child = pick(3) == 0 ? 1 + pick(4) : 0;
    limits_.max_restarts = pick(4) == 0 ? 3 : 1'000'000;
    ledger_.emplace(limits_);
  }

  std::string run() {
    feed(Ledger::Start{});
    for (unsigned i = 0; i < steps_ && wrong_.empty(); ++i) turn();
    // No more faults: everything must come to its end by itself.
    calm_ = true;
    feed(Ledger::Close{});
    for (unsigned i = 0; i < 100'000 && wrong_.empty() && !closed_; ++i) turn();
    referee_end();
    return wrong_;
  }
  [[nodiscard]] std::size_t submitted() const { return tasks_.size(); }

 private:
  struct Job {
    std::optional<Settled> end{};
    unsigned allowed = 1;
    unsigned started = 0;
    unsigned finished = 0;
    bool cancel_promised = false;
  };
  struct Sent {
    std::size_t job = 0;
    TaskSlot slot = 0;
  };
  struct Process {
    bool alive = false;
    bool ready = false;
    bool retired = false;
    bool terminated = false;
    std::deque<Sent> waiting{};
    std::optional<Sent> running{};
    std::deque<Sent> results{};  // finished, not yet read by the pool
    unsigned life_tasks = 0;
  };

  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }
  void fault(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }

  void feed(const Ledger::Event& event) {
    Ledger::Actions actions;
    ledger_->step(event, now_, actions);
    std::deque<Ledger::Event> answers;
    for (const auto& action : actions) obey(action, answers);
    for (const auto& answer : answers) feed(answer);
  }

  void obey(const Ledger::Action& action, std::deque<Ledger::Event>& answers) {
    if (action.kind == Kind::settle) return settle(action.task, action.settled);
    if (action.kind == Kind::failed) failed_ = true;
    if (action.kind == Kind::closed) close();
    if (action.kind == Kind::cancel_refused) {
      if (!slots_.at(action.task)) fault("cancel refused for a task that is over");
      return;
    }
    if (action.kind == Kind::failed || action.kind == Kind::closed) return;
    if (action.worker >= processes_.size()) processes_.resize(action.worker + 1);
    Process& process = processes_[action.worker];
    switch (action.kind) {
      case Kind::spawn:
        if (process.alive) fault("spawned into a place that is taken");
        if (!calm_ && pick(10) == 0) {
          answers.emplace_back(Ledger::SpawnFailed{action.worker});
        } else {
          process = Process{.alive = true};
        }
        break;
      case Kind::send: send(action, process); break;
      case Kind::take_back: take_back(action, process, answers); break;
      case Kind::retire: process.retired = true; break;
      case Kind::terminate: process.terminated = true; break;
      case Kind::kill:
        if (process.alive) die(action.worker);
        break;
      default: break;
    }
  }

  void send(const Ledger::Action& action, Process& process) {
    if (!process.alive && !died_unseen(action.worker)) fault("sent to a worker that is not there");
    if (!process.ready || process.retired) fault("sent to a worker that is not ready");
    if (!slots_.at(action.task)) return fault("sent a task that is over");
    const std::size_t job = *slots_[action.task];
    if (tasks_[job].cancel_promised) fault("sent a cancelled task");
    for (const Process& other : processes_) {
      for (const Sent& sent : other.waiting) {
        if (sent.job == job) fault("task is with two workers");
      }
      if (other.running && other.running->job == job) fault("task runs and is sent again");
    }
    process.waiting.push_back({.job = job, .slot = action.task});
    ++process.life_tasks;
    const std::size_t held = process.waiting.size() + (process.running ? 1 : 0);
    if (held > std::max(limits_.window_tasks, 1U)) fault("window exceeded");
    if (limits_.max_tasks_per_child != 0 && process.life_tasks > limits_.max_tasks_per_child) {
      fault("more tasks than max_tasks_per_child");
    }
  }

  void take_back(const Ledger::Action& action, Process& process,
                 std::deque<Ledger::Event>& answers) {
    for (auto it = process.waiting.begin(); it != process.waiting.end(); ++it) {
      if (it->slot != action.task) continue;
      process.waiting.erase(it);
      --process.life_tasks;
      answers.emplace_back(Ledger::TakenBack{action.worker, action.task});
      return;
    }
    answers.emplace_back(Ledger::Kept{action.worker, action.task});
  }

  void settle(TaskSlot slot, Settled how) {
    if (slot >= slots_.size() || !slots_[slot]) return fault("settled twice");
    Job& job = tasks_[*slots_[slot]];
    slots_[slot].reset();
    free_.push_back(slot);
    if (job.end) fault("one task has two ends");
    job.end = how;
    if (how == Settled::done && job.finished != 1) fault("done without one result");
    if (how == Settled::lost && (job.started != job.allowed || job.finished != 0)) {
      fault("lost with attempts left, or although it had a result");
    }
    if (how == Settled::cancelled) {
      job.cancel_promised = true;
      if (job.finished != 0) fault("cancelled although it had a result");
    }
    if (how == Settled::terminated && !terminated_) fault("terminated without terminate");
    if (how == Settled::pool_failed && !failed_) fault("pool_failed without failure");
  }

  void close() {
    if (closed_) fault("closed twice");
    closed_ = true;
    for (const Process& process : processes_) {
      if (process.alive) fault("closed with a living worker");
    }
  }

  bool died_unseen(WorkerSlot worker) const {
    for (const WorkerSlot dead : corpses_) {
      if (dead == worker) return true;
    }
    return false;
  }

  /// The process ends now; the pool hears of it later.
  void die(WorkerSlot worker) {
    processes_[worker].alive = false;
    corpses_.push_back(worker);
  }

  void bury() {
    if (corpses_.empty()) return;
    const WorkerSlot worker = corpses_[pick(static_cast<unsigned>(corpses_.size()))];
    Process& process = processes_[worker];
    // What it had finished lies in shared memory and counts; then the task it was in is known.
    while (!process.results.empty()) read_result(worker);
    std::optional<TaskSlot> running;
    if (process.running) running = process.running->slot;
    process = Process{};
    std::erase(corpses_, worker);
    feed(Ledger::Gone{worker, running});
  }

  void read_result(WorkerSlot worker) {
    const Sent result = processes_[worker].results.front();
    processes_[worker].results.pop_front();
    static constexpr std::chrono::nanoseconds times[] = {100ns, 10us, 100us, 900us, 20ms};
    // After terminate the slot may stand for another task by now: a real pool drops such answers.
    if (slots_.at(result.slot) == result.job) {
      feed(Ledger::Done{worker, result.slot, times[pick(5)]});
    } else if (!terminated_ && !failed_) {
      fault("a result of a task that is over");
    }
  }

  void work(WorkerSlot worker) {
    Process& process = processes_[worker];
    if (!process.alive) return;
    if (process.terminated && (calm_ || pick(2) == 0)) return die(worker);
    if (!process.ready) {
      process.ready = true;
      return feed(Ledger::Ready{worker});
    }
    if (process.running) {
      Job& job = tasks_[process.running->job];
      ++job.finished;
      process.results.push_back(*process.running);
      process.running.reset();
    } else if (!process.waiting.empty()) {
      process.running = process.waiting.front();
      process.waiting.pop_front();
      Job& job = tasks_[process.running->job];
      ++job.started;
      if (job.cancel_promised) fault("a cancelled task ran");
      if (job.started > job.allowed) fault("more attempts than allowed");
    } else if (process.retired && process.results.empty()) {
      die(worker);
    }
  }

  void submit() {
    TaskSlot slot = 0;
    if (free_.empty()) {
      slot = static_cast<TaskSlot>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot] = tasks_.size();
    tasks_.push_back(Job{.allowed = 1 + (pick(3) == 0 ? pick(3) : 0)});
    feed(Ledger::Submit{.task = slot, .attempts = tasks_.back().allowed});
  }

  void turn() {
    const unsigned what = pick(100);
    const auto any = processes_.empty() ? 0 : pick(static_cast<unsigned>(processes_.size()));
    const bool there = !processes_.empty();
    if (!calm_ && what < 15) {
      submit();
    } else if (!calm_ && what < 19 && !slots_.empty()) {
      feed(Ledger::Cancel{pick(static_cast<unsigned>(slots_.size()))});
    } else if (!calm_ && what < 22 && there && processes_[any].alive) {
      die(any);
    } else if (!calm_ && what == 22 && pick(60) == 0) {
      terminated_ = !failed_;
      feed(Ledger::Terminate{});
    } else if (what < 70 && there) {
      work(any);
    } else if (what < 85 && there) {
      if (processes_[any].alive && !processes_[any].results.empty()) read_result(any);
    } else if (what < 90) {
      bury();
    } else {
      now_ += std::chrono::microseconds{pick(calm_ ? 1'000'000 : 400)};
      const auto due = ledger_->next_deadline();
      if (due && (*due <= now_ || pick(8) == 0)) {
        now_ = std::max(now_, *due);
        feed(Ledger::Tick{});
      }
    }
  }

  void referee_end() {
    if (!wrong_.empty()) return;
    if (!closed_) return fault("never closed");
    if (ledger_->next_deadline()) return fault("closed, and still waits for a time");
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      const Job& job = tasks_[i];
      if (!job.end) return fault("task " + std::to_string(i) + " never came to an end");
      if (job.finished > 1) return fault("task " + std::to_string(i) + " has two results");
    }
  }

  std::mt19937_64 random_;
  unsigned steps_;
  LedgerLimits limits_;
  std::optional<Ledger> ledger_;
  Ledger::Time now_{1000s};
  std::vector<Job> tasks_;
  std::vector<std::optional<std::size_t>> slots_;
  std::vector<TaskSlot> free_;
  std::deque<Process> processes_;  // references stay good while it grows
  std::vector<WorkerSlot> corpses_;
  bool calm_ = false;
  bool terminated_ = false;
  bool failed_ = false;
  bool closed_ = false;
  std::string wrong_;
};

TEST(LedgerSimulation, KeepsItsPromisesInEveryOrderOfEvents) {
  const std::uint64_t first = passel_test::seed();
  const unsigned rounds = passel_test::rounds(10'000);
  std::size_t submitted = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    World world{first + round, 300};
    const std::string wrong = world.run();
    ASSERT_EQ(wrong, "") << "PASSEL_ROUNDS=1 PASSEL_SEED=" << first + round;
    submitted += world.submitted();
  }
  EXPECT_GT(submitted, rounds * std::size_t{10});
}

}  // namespace
