// The pool's bookkeeping under random orders of events, with workers killed at every point.
#include "ledger.hpp"

#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Simulation;
using passel::detail::Ledger;
using passel::detail::LedgerLimits;
using passel::detail::Settled;
using passel::detail::TaskSlot;
using passel::detail::WorkerSlot;
using Kind = Ledger::Action::Kind;

/// A ledger, worker processes that do what real ones do, and a referee. Every life of a worker is a
/// node of its own.
class World {
 public:
  World(Simulation& sim, bool faults) : sim_{sim}, faults_{faults}, pool_{sim.add_node("pool")} {
    limits_.workers = 1 + pick(4);
    limits_.window_tasks = 1 + pick(8);
    limits_.max_tasks_per_child = pick(3) == 0 ? 1 + pick(4) : 0;
    limits_.max_restarts = faults && pick(4) == 0 ? 3 : 1'000'000;
    fast_ = pick(2) == 0;
    ledger_.emplace(limits_);
    sim.explain("nobody waits long behind a long task", [this] { return overtaken(); });
  }

  void play() {
    feed(Ledger::Start{});
    const unsigned tasks = 1 + pick(40);
    for (unsigned i = 0; i < tasks; ++i) later(pool_, 20ms, "submit", [this] { submit(); });
    if (faults_) {
      for (unsigned i = pick(6); i > 0; --i) later(pool_, 20ms, "cancel", [this] { cancel(); });
      for (unsigned i = pick(10); i > 0; --i) later(pool_, 30ms, "kill", [this] { kill_any(); });
      if (pick(10) == 0) {
        later(pool_, 30ms, "terminate", [this] {
          terminated_ = !failed_;
          feed(Ledger::Terminate{});
        });
      }
    }
    sim_.at(21ms, pool_, "close", [this] { feed(Ledger::Close{}); });
    if (sim_.run()) referee_end();
  }

 private:
  struct Job {
    std::optional<Settled> end{};
    unsigned allowed = 1;
    unsigned started = 0;
    unsigned finished = 0;
    bool cancelled = false;
  };
  struct Sent {
    std::size_t job = 0;
    TaskSlot slot = 0;
  };
  struct Process {
    Simulation::Node node = Simulation::nobody;
    bool there = false;  // spawned and not buried
    bool ready = false;
    bool retired = false;
    bool scheduled = false;
    std::deque<Sent> waiting{};
    std::optional<Sent> running{};
    std::deque<Sent> results{};  // finished, not yet read by the pool
    unsigned life_tasks = 0;
    Simulation::Time moved{0};  // when it last began or ended something
  };

  unsigned pick(unsigned below) { return static_cast<unsigned>(sim_.random().below(below)); }
  void later(Simulation::Node owner, std::chrono::nanoseconds most, const char* what,
             std::function<void()> what_to_do) {
    const auto wait = std::chrono::nanoseconds{
        static_cast<std::int64_t>(sim_.random().below(static_cast<std::uint64_t>(most.count())))};
    sim_.at(sim_.now() + wait, owner, what, std::move(what_to_do));
  }

  // --- the pool's driver ---

  void feed(const Ledger::Event& event) {
    std::deque<Ledger::Event> answers;
    sim_.feed(*ledger_, event, [&](const Ledger::Action& action) { obey(action, answers); });
    for (const auto& answer : answers) feed(answer);
    const auto due = ledger_->next_deadline();
    if (!due || (armed_ && *armed_ <= *due)) return;
    armed_ = due;
    // A timer of the real world is late, and other things happen meanwhile.
    const std::chrono::nanoseconds late{pick(1'000'000)};
    sim_.at(sim_.now() + (*due - sim_.time_point()) + late, pool_, "tick", [this, at = *due] {
      if (armed_ == at) armed_.reset();
      feed(Ledger::Tick{});
    });
  }

  void obey(const Ledger::Action& action, std::deque<Ledger::Event>& answers) {
    switch (action.kind) {
      case Kind::settle: return settle(action.task, action.settled);
      case Kind::failed: failed_ = true; return;
      case Kind::closed: return close();
      case Kind::cancel_refused:
        if (!slots_.at(action.task)) sim_.fail("cancel refused for a task that is over");
        return;
      default: break;
    }
    while (processes_.size() <= action.worker) processes_.push_back(std::make_unique<Process>());
    Process& process = *processes_[action.worker];
    switch (action.kind) {
      case Kind::spawn:
        if (process.there) sim_.fail("spawned into a place that is taken");
        if (faults_ && pick(10) == 0) {
          answers.emplace_back(Ledger::SpawnFailed{action.worker});
        } else {
          begin(action.worker);
        }
        break;
      case Kind::send: send(action, process); break;
      case Kind::take_back: take_back(action, process, answers); break;
      case Kind::retire:
        process.retired = true;
        schedule(action.worker);
        break;
      case Kind::terminate:
        // Some ignore it.
        if (pick(4) != 0)
          later(process.node, 2ms, "SIGTERM", [this, node = process.node] { sim_.kill(node); });
        break;
      case Kind::kill: sim_.kill(process.node); break;
      default: break;
    }
  }

  void begin(WorkerSlot worker) {
    Process& process = *processes_[worker];
    process = Process{};
    process.there = true;
    process.node = sim_.add_node("worker-" + std::to_string(++lives_));
    sim_.on_death(process.node,
                  [this, worker] { later(pool_, 1ms, "gone", [this, worker] { bury(worker); }); });
    schedule(worker);
  }

  void send(const Ledger::Action& action, Process& process) {
    if (!process.there) return sim_.fail("sent to a worker that is not there");
    if (!process.ready || process.retired) sim_.fail("sent to a worker that is not ready");
    if (!slots_.at(action.task)) return sim_.fail("sent a task that is over");
    const std::size_t job = *slots_[action.task];
    if (tasks_[job].cancelled) sim_.fail("sent a cancelled task");
    for (const auto& other : processes_) {
      for (const Sent& sent : other->waiting) {
        if (sent.job == job) sim_.fail("task is with two workers");
      }
      if (other->running && other->running->job == job) sim_.fail("task runs and is sent again");
    }
    if (process.waiting.empty() && !process.running) process.moved = sim_.now();
    process.waiting.push_back({.job = job, .slot = action.task});
    ++process.life_tasks;
    const std::size_t held = process.waiting.size() + (process.running ? 1 : 0);
    if (held > limits_.window_tasks) sim_.fail("window exceeded");
    if (limits_.max_tasks_per_child != 0 && process.life_tasks > limits_.max_tasks_per_child) {
      sim_.fail("more tasks than max_tasks_per_child");
    }
    schedule(action.worker);
  }

  static void take_back(const Ledger::Action& action, Process& process,
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

  void read_results(WorkerSlot worker) {
    Process& process = *processes_[worker];
    while (!process.results.empty()) {
      const Sent result = process.results.front();
      process.results.pop_front();
      static constexpr std::chrono::nanoseconds times[] = {100ns, 10us, 100us, 900us, 20ms};
      // After terminate the slot may stand for another task by now: a real pool drops such answers.
      if (slots_.at(result.slot) == result.job) {
        feed(Ledger::Done{worker, result.slot, times[pick(fast_ ? 2 : 5)]});
      } else if (!terminated_ && !failed_) {
        sim_.fail("a result of a task that is over");
      }
    }
  }

  void bury(WorkerSlot worker) {
    // What it had finished lies in shared memory and counts; then the task it was in is known.
    read_results(worker);
    Process& process = *processes_[worker];
    std::optional<TaskSlot> running;
    if (process.running) running = process.running->slot;
    process = Process{};
    feed(Ledger::Gone{worker, running});
  }

  /// A task may wait behind another one for the patience of the pool and the way of the news.
  std::optional<std::string> overtaken() const {
    for (const auto& process : processes_) {
      if (!process->there || process->retired || !sim_.is_alive(process->node)) continue;
      const std::size_t behind = process->waiting.size() + (process->running ? 1 : 0);
      if (behind < 2 || terminated_ || failed_) continue;
      if (sim_.now() - process->moved > 5ms)
        return std::to_string(behind - 1) + " tasks wait for " +
               std::to_string((sim_.now() - process->moved).count()) + " ns";
    }
    return {};
  }

  // --- the workers ---

  void schedule(WorkerSlot worker) {
    Process& process = *processes_[worker];
    if (process.scheduled || !sim_.is_alive(process.node)) return;
    process.scheduled = true;
    // Now and then one takes far longer than the others, or stands still for a while.
    later(process.node, pick(20) == 0 ? 20ms : 100us, "work", [this, worker] {
      processes_[worker]->scheduled = false;
      work(worker);
    });
  }

  void work(WorkerSlot worker) {
    Process& process = *processes_[worker];
    if (!process.ready) {
      later(pool_, 100us, "ready", [this, worker, node = process.node] {
        if (processes_[worker]->node != node) return;
        processes_[worker]->ready = true;
        feed(Ledger::Ready{worker});
      });
      return;
    }
    process.moved = sim_.now();
    if (process.running) {
      ++tasks_[process.running->job].finished;
      process.results.push_back(*process.running);
      process.running.reset();
      later(pool_, 200us, "results", [this, worker] { read_results(worker); });
    } else if (!process.waiting.empty()) {
      process.running = process.waiting.front();
      process.waiting.pop_front();
      Job& job = tasks_[process.running->job];
      ++job.started;
      if (job.cancelled) sim_.fail("a cancelled task ran");
      if (job.started > job.allowed) sim_.fail("more attempts than allowed");
    } else {
      if (process.retired) sim_.kill(process.node);
      return;
    }
    schedule(worker);
  }

  void kill_any() {
    if (processes_.empty()) return;
    const Process& process = *processes_[pick(static_cast<unsigned>(processes_.size()))];
    if (process.there) sim_.kill(process.node);
  }

  // --- the user, and the referee ---

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
    Job job;
    if (pick(3) == 0) job.allowed = 1 + pick(3);
    tasks_.push_back(job);
    feed(Ledger::Submit{.task = slot, .attempts = job.allowed});
  }

  void cancel() {
    if (!slots_.empty()) feed(Ledger::Cancel{pick(static_cast<unsigned>(slots_.size()))});
  }

  void settle(TaskSlot slot, Settled how) {
    if (slot >= slots_.size() || !slots_[slot]) return sim_.fail("settled twice");
    Job& job = tasks_[*slots_[slot]];
    slots_[slot].reset();
    free_.push_back(slot);
    if (job.end) sim_.fail("one task has two ends");
    job.end = how;
    if (how == Settled::done && job.finished != 1) sim_.fail("done without one result");
    if (how == Settled::lost && (job.started != job.allowed || job.finished != 0)) {
      sim_.fail("lost with attempts left, or although it had a result");
    }
    if (how == Settled::cancelled) {
      job.cancelled = true;
      if (job.finished != 0) sim_.fail("cancelled although it had a result");
    }
    if (how == Settled::terminated && !terminated_) sim_.fail("terminated without terminate");
    if (how == Settled::pool_failed && !failed_) sim_.fail("pool_failed without failure");
    if (how != Settled::done && !faults_) sim_.fail("not done although nothing went wrong");
  }

  void close() {
    if (closed_) sim_.fail("closed twice");
    closed_ = true;
    for (const auto& process : processes_) {
      if (process->there) sim_.fail("closed with a worker left");
    }
  }

  void referee_end() {
    if (!closed_) return sim_.fail("never closed");
    if (ledger_->next_deadline()) return sim_.fail("closed, and still waits for a time");
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      if (!tasks_[i].end) return sim_.fail("task " + std::to_string(i) + " never came to an end");
      if (tasks_[i].finished > 1)
        return sim_.fail("task " + std::to_string(i) + " has two results");
    }
  }

  Simulation& sim_;
  const bool faults_;
  const Simulation::Node pool_;
  LedgerLimits limits_;
  std::optional<Ledger> ledger_;
  std::optional<Ledger::Time> armed_;
  std::vector<Job> tasks_;
  std::vector<std::optional<std::size_t>> slots_;
  std::vector<TaskSlot> free_;
  std::vector<std::unique_ptr<Process>> processes_;
  unsigned lives_ = 0;
  bool fast_ = false;  // tasks are short, so that many of them go to a worker at once
  bool terminated_ = false;
  bool failed_ = false;
  bool closed_ = false;
};

TEST(LedgerSimulation, KeepsItsPromisesInEveryOrderOfEvents) {
  const auto failure = passel::simulate({.seeds = 10'000}, [](Simulation& sim) {
    World{sim, true}.play();
  });
  EXPECT_FALSE(failure) << failure->to_string();
}

TEST(LedgerSimulation, WithoutFaultsEveryTaskIsDone) {
  const auto failure = passel::simulate({.seeds = 1'000}, [](Simulation& sim) {
    World{sim, false}.play();
  });
  EXPECT_FALSE(failure) << failure->to_string();
}

TEST(LedgerSimulation, AWorkerMayDieAtEveryStep) {
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    const auto failure = passel::kill_everywhere(seed, "worker-1", [](Simulation& sim) {
      World{sim, true}.play();
    });
    EXPECT_FALSE(failure) << failure->to_string();
  }
}

}  // namespace
