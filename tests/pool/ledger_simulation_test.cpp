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
    if (pick(3) == 0) limits_.least = 1 + pick(limits_.workers);
    limits_.idle_timeout = 1ms * (1 + pick(20));
    limits_.max_tasks_per_child = pick(3) == 0 ? 1 + pick(4) : 0;
    limits_.max_restarts = faults && pick(4) == 0 ? 3 : 1'000'000;
    fast_ = pick(2) == 0;
    nesting_ = pick(3) == 0;
    ledger_.emplace(limits_);
    sim.explain("nobody waits long behind a long task", [this] { return overtaken(); });
    sim.explain("a deadline is kept", [this] { return overdue(); });
    sim.explain("a worker that stands still holds up nobody", [this] { return held_up(); });
  }

  void play() {
    feed(Ledger::Start{});
    const unsigned tasks = 1 + pick(40);
    for (unsigned i = 0; i < tasks; ++i) later(pool_, 20ms, "submit", [this] { submit(); });
    if (faults_) {
      for (unsigned i = pick(6); i > 0; --i) later(pool_, 20ms, "cancel", [this] { cancel(); });
      for (unsigned i = pick(10); i > 0; --i) later(pool_, 30ms, "kill", [this] { kill_any(); });
      for (unsigned i = pick(6); i > 0; --i) later(pool_, 30ms, "stop", [this] { stop_any(); });
      for (unsigned i = pick(3); i > 0; --i) later(pool_, 30ms, "freeze", [this] { freeze_any(); });
      for (unsigned i = pick(3); i > 0; --i) {
        later(pool_, 30ms, "recycle", [this] { feed(Ledger::Recycle{pick(limits_.workers)}); });
      }
      if (pick(10) == 0) {
        later(pool_, 30ms, "terminate", [this] {
          terminated_ = !failed_;
          feed(Ledger::Terminate{});
        });
      }
    }
    for (unsigned i = pick(4) == 0 ? 3 : 0; i > 0; --i)
      later(pool_, 20ms, "resize", [this] { feed(Ledger::Resize{1 + pick(5)}); });
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
    bool stopped = false;    // somebody asked it to stop
    bool sent = false;       // ever
    bool repeats = false;    // an answer that is an error is tried again
    bool has_error = false;  // an answer of that kind came
    std::int64_t rank = 0;
    std::chrono::nanoseconds backoff{0};
    std::chrono::nanoseconds limit{0};
    Simulation::Time failed{0};  // when the last attempt did
    std::optional<Ledger::Time> deadline{};
    std::size_t parent = none;  // the task that waits for it
    unsigned children = 0;      // that it has yet to submit when it runs
    unsigned awaited = 0;       // of those, without an end
  };
  static constexpr std::size_t none = ~std::size_t{0};
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
    bool asked = false;         // to stop
    bool condemned = false;     // what it runs will not be answered
    bool frozen = false;        // by SIGSTOP
    bool lent = false;          // its task waits for others
    bool terminable = false;    // the pool has a reason to end it
    std::size_t orphan = none;  // the job that was settled while it runs on
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
      case Kind::ask_stop: process.asked = true; break;
      case Kind::condemn:
        if (!process.running || !process.there) break;
        process.condemned = true;
        answers.emplace_back(Ledger::Condemned{action.worker});
        break;
      case Kind::terminate:
        if (process.ready && !process.retired && !process.condemned && !terminated_ && !failed_)
          sim_.fail("ended a worker for no reason");
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
    if (tasks_[job].failed.count() != 0 && sim_.now() - tasks_[job].failed < tasks_[job].backoff)
      sim_.fail("tried again too soon");
    for (const Job& other : tasks_) {
      if (!other.end && !other.sent && other.rank > tasks_[job].rank)
        sim_.fail("a task of higher rank was left waiting");
    }
    tasks_[job].sent = true;
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
      const auto took = times[pick(fast_ ? 2 : 5)];
      if (process.orphan == result.job) {
        process.orphan = none;
        process.asked = false;
        feed(Ledger::Returned{worker});
      } else if (slots_.at(result.slot) == result.job && tasks_[result.job].repeats) {
        tasks_[result.job].failed = sim_.now();
        tasks_[result.job].has_error = true;
        feed(Ledger::Failed{worker, result.slot, took});
        // After terminate the slot may stand for another task by now: a real pool drops that.
      } else if (slots_.at(result.slot) == result.job) {
        feed(Ledger::Done{worker, result.slot, took});
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
    if (process.running && process.orphan != process.running->job) {
      running = process.running->slot;
      tasks_[process.running->job].failed = sim_.now();
    }
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

  std::optional<std::string> overdue() const {
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      if (!tasks_[i].end && tasks_[i].deadline && sim_.time_point() > *tasks_[i].deadline + 3ms)
        return "task " + std::to_string(i);
    }
    return {};
  }

  /// A task that was not begun goes to a worker that has nothing to do.
  std::optional<std::string> held_up() const {
    bool idle = false;
    for (WorkerSlot worker = 0; worker < processes_.size(); ++worker) {
      const Process& process = *processes_[worker];
      // That a frozen one moves again is only noticed after a while.
      idle |= process.ready && !process.frozen && !process.retired && !process.running &&
              process.waiting.empty() && process.results.empty() && !ledger_->is_stalled(worker) &&
              sim_.now() - process.moved > 150ms;
    }
    if (!idle || terminated_ || failed_) return {};
    for (const auto& process : processes_) {
      if (!process->frozen || process->running || process->waiting.empty()) continue;
      if (process->retired || !sim_.is_alive(process->node)) continue;
      if (sim_.now() - process->moved > 250ms) return std::string{"a task at a frozen worker"};
    }
    return {};
  }

  // --- the workers ---

  void schedule(WorkerSlot worker) {
    Process& process = *processes_[worker];
    if (process.scheduled || !sim_.is_alive(process.node) || process.frozen || process.lent) return;
    process.scheduled = true;
    // Now and then one takes far longer than the others, or stands still for a while.
    later(process.node, pick(20) == 0 ? 20ms : 100us, "work", [this, worker] {
      processes_[worker]->scheduled = false;
      if (!processes_[worker]->frozen) work(worker);
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
    if (process.running && tasks_[process.running->job].children > 0) return nest(worker);
    if (process.running) {
      if (process.condemned) return sim_.kill(process.node);
      Job& ran = tasks_[process.running->job];
      // Some tasks fail at first, and are tried again if that was asked for.
      ran.repeats = ran.repeats && pick(2) == 0;
      if (!ran.repeats) ++ran.finished;
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

  /// The running task submits others and waits for them.
  void nest(WorkerSlot worker) {
    Process& process = *processes_[worker];
    const std::size_t parent = process.running->job;
    process.lent = true;
    tasks_[parent].awaited = std::exchange(tasks_[parent].children, 0);
    later(pool_, 100us, "nest", [this, worker, parent, node = process.node] {
      for (unsigned i = tasks_[parent].awaited; i > 0; --i) submit(parent);
      if (processes_[worker]->node == node) feed(Ledger::Lend{worker});
      go_on(parent);
    });
  }

  /// The parent of tasks that have ended, if it waits.
  void go_on(std::size_t parent) {
    if (tasks_[parent].awaited > 0) return;
    for (WorkerSlot worker = 0; worker < processes_.size(); ++worker) {
      Process& process = *processes_[worker];
      if (!process.there || !process.lent || !process.running || process.running->job != parent)
        continue;
      later(pool_, 100us, "regain", [this, worker, node = process.node] {
        if (processes_[worker]->node != node || !processes_[worker]->lent) return;
        processes_[worker]->lent = false;
        processes_[worker]->moved = sim_.now();
        feed(Ledger::Regain{worker});
        schedule(worker);
      });
    }
  }

  void freeze_any() {
    if (processes_.empty()) return;
    const WorkerSlot worker = pick(static_cast<unsigned>(processes_.size()));
    Process& process = *processes_[worker];
    if (!process.there || process.frozen) return;
    process.frozen = true;
    sim_.at(sim_.now() + 600ms, pool_, "thaw", [this, worker, node = process.node] {
      if (processes_[worker]->node != node) return;
      processes_[worker]->frozen = false;
      processes_[worker]->moved = sim_.now();
      schedule(worker);
      later(pool_, 100ms, "alive", [this, worker, node] {
        if (processes_[worker]->node == node && ledger_->is_stalled(worker))
          feed(Ledger::Alive{worker});
      });
    });
  }

  void kill_any() {
    if (processes_.empty()) return;
    const Process& process = *processes_[pick(static_cast<unsigned>(processes_.size()))];
    if (process.there) sim_.kill(process.node);
  }

  // --- the user, and the referee ---

  void submit(std::size_t parent = none) {
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
    if (pick(4) == 0) job.rank = static_cast<std::int64_t>(pick(3)) - 1;
    if (job.allowed > 1 && pick(2) == 0) job.backoff = std::chrono::milliseconds{1 + pick(10)};
    if (faults_ && pick(5) == 0) job.deadline = sim_.time_point() + 1ms * (1 + pick(40));
    if (faults_ && pick(5) == 0) job.limit = 1ms * (1 + pick(10));
    job.repeats = faults_ && job.allowed > 1 && pick(2) == 0;
    if (nesting_ && parent == none && pick(4) == 0) job.children = 1 + pick(3);
    job.parent = parent;
    if (parent != none) job.rank = tasks_[parent].rank * 10 + 100;
    tasks_.push_back(job);
    feed(Ledger::Submit{.task = slot,
                        .attempts = job.allowed,
                        .inner = parent != none,
                        .rank = job.rank,
                        .backoff = job.backoff,
                        .deadline = job.deadline.value_or(Ledger::Time::max()),
                        .limit = job.limit,
                        .grace = 1ms * pick(10)});
  }

  void stop_any() {
    if (slots_.empty()) return;
    const TaskSlot slot = pick(static_cast<unsigned>(slots_.size()));
    if (slots_[slot]) tasks_[*slots_[slot]].stopped = true;
    feed(Ledger::Stop{slot});
  }

  void cancel() {
    cancels_ = true;
    if (!slots_.empty()) feed(Ledger::Cancel{pick(static_cast<unsigned>(slots_.size()))});
  }

  void settle(TaskSlot slot, Settled how) {
    if (slot >= slots_.size() || !slots_[slot]) return sim_.fail("settled twice");
    Job& job = tasks_[*slots_[slot]];
    slots_[slot].reset();
    free_.push_back(slot);
    if (job.end) sim_.fail("one task has two ends");
    job.end = how;
    for (const auto& process : processes_) {
      // What was finished but not read counts for nobody either.
      const bool there = process->running && &tasks_[process->running->job] == &job;
      bool unread = false;
      for (const Sent& sent : process->results) unread |= &tasks_[sent.job] == &job;
      if (how == Settled::timed_out && (there || unread))
        process->orphan = static_cast<std::size_t>(&job - tasks_.data());
      if (how == Settled::done && process->asked && !process->running) process->asked = false;
    }
    if (job.parent != none && tasks_[job.parent].awaited > 0 && --tasks_[job.parent].awaited == 0)
      go_on(job.parent);
    if (how == Settled::done && job.finished != 1 && !job.has_error)
      sim_.fail("done without one result");
    if (how == Settled::timed_out && job.limit.count() == 0 &&
        (!job.deadline || sim_.time_point() < *job.deadline)) {
      sim_.fail("timed out before its time");
    }
    if (how == Settled::lost && (job.started != job.allowed || job.finished != 0)) {
      sim_.fail("lost with attempts left, or although it had a result");
    }
    if (how == Settled::cancelled) {
      job.cancelled = true;
      if (job.started > 0 && !job.stopped && !cancels_) sim_.fail("cancelled while it ran");
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
  bool nesting_ = false;  // some tasks submit others and wait for them
  bool cancels_ = false;
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
