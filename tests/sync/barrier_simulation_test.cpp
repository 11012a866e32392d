// The barrier's machine in ten thousand simulated worlds: parties come, are late, abort, reset, end
// and are killed between any two steps.
#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include "barrier_machine.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace {

namespace detail = passel::detail;
using detail::BarrierAnswer;
using detail::BarrierEnd;
using detail::BarrierMachine;
using passel::Simulation;
using namespace std::chrono_literals;

constexpr std::uint32_t first_place = 100;
constexpr std::int32_t first_pid = 5000;

/// Processes with threads around one barrier. What is shared is the real state in an arena; a
/// thread's way through wait() is cut where it may be interrupted or killed.
class World {
 public:
  explicit World(Simulation& sim) : sim_{sim} {
    auto& random = sim.random();
    object_ = detail::SyncObject::create(detail::SyncKind::barrier, sizeof(detail::BarrierState),
                                         passel::Reach::threads)
                  .unwrap();
    home_ = sim.add_node("home");
    const auto processes = 1 + random.below(4);
    for (std::uint32_t p = 0; p < processes; ++p) {
      nodes_.push_back(sim.add_node("process " + std::to_string(p)));
      arena().process(place(p)).pid.store(pid(p));
      const auto threads = 1 + random.below(2);
      for (std::uint32_t t = 0; t < threads; ++t) threads_.push_back({.process = p});
    }
    auto& state = machine().state();
    // Now and then more threads than parties: somebody is always early.
    const auto spare = threads_.size() > 2 && random.chance(0.2) ? 1U : 0U;
    state.parties = static_cast<std::uint32_t>(threads_.size()) - spare;
    state.action = static_cast<std::uint32_t>(random.below(3));
    state.home = place(0);
    state.home_pid = pid(0);
    is_calm_ = random.chance(0.3);
    sim.explain("rounds are whole", [this]() { return wrong_; });
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    for (auto& thread : threads_) leave(thread);
    for (std::uint32_t p = 0; p < nodes_.size(); ++p) {
      arena().process(place(p)).pid.store(0);
    }
  }

  void run() {
    for (std::size_t t = 0; t < threads_.size(); ++t) soon(t, "come", [this, t] { come(t); });
    if (!is_calm_) {
      for (std::uint32_t p = 0; p < nodes_.size(); ++p) plan_end(p);
      if (sim_.random().chance(0.3)) plan_intervention();
    }
    sim_.run();
    check_end();
  }

 private:
  struct Thread {
    std::uint32_t process;
    std::uint32_t waiter = 0;
    bool asleep = false;
    bool outside = false;  // early: has to come again
    bool stopped = false;
    int rounds = 0;
  };

  static std::uint32_t place(std::uint32_t process) { return first_place + process; }
  static std::int32_t pid(std::uint32_t process) {
    return first_pid + static_cast<std::int32_t>(process);
  }
  [[nodiscard]] detail::SyncArena& arena() const { return object_->arena(); }
  [[nodiscard]] BarrierMachine machine() const { return {object_->arena(), object_->header()}; }
  [[nodiscard]] Simulation::Node node_of(std::size_t t) const {
    return nodes_[threads_[t].process];
  }

  void soon(std::size_t t, const char* what, std::function<void()> fire) {
    const auto due = sim_.now() + std::chrono::microseconds{sim_.random().below(1000)};
    sim_.at(due, node_of(t), what, std::move(fire));
  }
  void leave(Thread& thread) {
    if (thread.waiter != 0) arena().free_waiter(thread.waiter);
    thread.waiter = 0;
  }

  /// One step; whoever made it may be killed before it wakes the others.
  template <class Event>
  void step(Simulation::Node by, const Event& event) {
    const auto before = who_wait();
    BarrierMachine::Actions actions;
    machine().step(event, sim_.time_point(), actions);
    check_round(before);
    if (!actions.empty()) sim_.at(sim_.now() + 1us, by, "wake", [this] { wake_all(); });
  }

  void wake_all() {
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      if (!threads_[t].asleep) continue;
      threads_[t].asleep = false;
      if (sim_.is_alive(node_of(t))) soon(t, "look", [this, t] { look(t); });
    }
  }

  void come(std::size_t t) {
    Thread& thread = threads_[t];
    if (thread.waiter == 0) thread.waiter = arena().claim_waiter(place(thread.process), 1).unwrap();
    thread.outside = false;
    BarrierAnswer answer = BarrierAnswer::later;
    step(node_of(t), BarrierMachine::Arrive{thread.waiter, &answer});
    switch (answer) {
      case BarrierAnswer::broken: meet_broken(t); break;
      case BarrierAnswer::act: act(t); break;
      case BarrierAnswer::later: thread.outside = true; [[fallthrough]];
      case BarrierAnswer::wait:
        soon(t, "look", [this, t] { look(t); });
        if (!is_calm_ && !thread.outside && sim_.random().chance(0.1)) expire_later(t);
        break;
    }
  }

  void expire_later(std::size_t t) {
    const auto round = threads_[t].rounds;
    sim_.at(sim_.now() + 2ms, node_of(t), "expire", [this, t, round] {
      Thread& thread = threads_[t];
      if (thread.waiter == 0 || thread.outside || thread.rounds != round) return;
      const bool all_there = machine().phase() == detail::barrier_acting;
      step(node_of(t), BarrierMachine::Expire{thread.waiter, pid(thread.process)});
      if (all_there && machine().phase() != detail::barrier_acting) fail("broken though complete");
      if (!thread.asleep) return;
      thread.asleep = false;
      look(t);
    });
  }

  /// Sees whether it has its end, else goes to sleep.
  void look(std::size_t t) {
    Thread& thread = threads_[t];
    if (thread.waiter == 0 || thread.asleep) return;
    const auto state = arena().waiter(thread.waiter).state.load();
    if (thread.outside) {
      const bool may_come = machine().phase() != detail::barrier_acting &&
                            machine().state().waiting < machine().state().parties;
      if (may_come) return come(t);
    } else if (machine().has_ended(thread.waiter)) {
      return end(t);
    } else if (state == detail::waiter_nudged) {
      return act(t);
    }
    machine().state().word.fetch_or(1);
    thread.asleep = true;
  }

  void act(std::size_t t) {
    if (acting_) fail("the action runs twice in a round");
    acting_ = true;
    if (machine().state().action == detail::action_at_home && threads_[t].process != 0) {
      fail("the action runs where it cannot be called");
    }
    soon(t, "acted", [this, t] {
      const bool failed = !is_calm_ && sim_.random().chance(0.1);
      Thread& thread = threads_[t];
      acted_ = !failed;
      const bool over = machine().has_ended(thread.waiter);
      step(node_of(t), BarrierMachine::Acted{thread.waiter, pid(thread.process), failed});
      if (!over) acting_ = false;
      acted_ = false;
      if (!machine().has_ended(thread.waiter)) fail("who ran the action still waits");
      end(t);
    });
  }

  void end(std::size_t t) {
    Thread& thread = threads_[t];
    const auto how = machine().end_of(thread.waiter);
    leave(thread);
    if (how.what != BarrierEnd::released) return meet_broken(t);
    if (++thread.rounds == 5) {
      thread.stopped = true;
    } else {
      soon(t, "come", [this, t] { come(t); });
    }
  }

  void meet_broken(std::size_t t) {
    Thread& thread = threads_[t];
    leave(thread);
    if (sim_.random().chance(0.5)) {
      thread.stopped = true;
      step(node_of(t), BarrierMachine::Abort{pid(thread.process)});
    } else {
      step(node_of(t), BarrierMachine::Reset{pid(thread.process)});
      soon(t, "come again", [this, t] { come(t); });
    }
  }

  void plan_intervention() {
    sim_.at(sim_.now() + std::chrono::microseconds{sim_.random().below(5000)}, home_, "abort",
            [this] { step(home_, BarrierMachine::Abort{1}); });
  }

  /// The process may be killed, or end in order, and its parent learns of it later.
  void plan_end(std::uint32_t p) {
    if (!sim_.random().chance(0.4)) return;
    const bool orderly = sim_.random().chance(0.3);
    const auto when = sim_.now() + std::chrono::microseconds{sim_.random().below(6000)};
    sim_.at(when, home_, orderly ? "end" : "kill", [this, p, orderly] {
      sim_.kill(nodes_[p]);
      const auto heard = sim_.now() + std::chrono::microseconds{sim_.random().below(500)};
      sim_.at(heard, home_, "lost", [this, p, orderly] { lose(p, orderly); });
      if (!orderly && sim_.random().chance(0.5)) die_within();
    });
  }

  /// It had the line locked, and left the links as it liked.
  void die_within() {
    object_->header().first = detail::nobody;
    object_->header().last = detail::nobody;
    BarrierMachine::Actions actions;
    machine().rebuild(actions);
    wake_all();
  }

  void lose(std::uint32_t p, bool orderly) {
    bool waited = false;
    for (auto& thread : threads_) {
      if (thread.process != p) continue;
      waited =
          waited || (thread.waiter != 0 && !thread.outside && !machine().has_ended(thread.waiter));
      thread.asleep = false;
    }
    const auto was_broken = machine().phase() == detail::barrier_broken;
    step(home_, BarrierMachine::Lost{place(p), pid(p), orderly});
    for (auto& thread : threads_) {
      if (thread.process == p) leave(thread);
    }
    const bool is_broken = machine().phase() == detail::barrier_broken;
    if (is_broken != (was_broken || waited || !orderly)) fail("broken for the wrong reason");
    if (is_broken && !was_broken) {
      acting_ = false;
      if (machine().broken_by().pid != pid(p)) fail("somebody else is blamed");
    }
    wake_all();
  }

  [[nodiscard]] std::vector<std::size_t> who_wait() const {
    std::vector<std::size_t> waiting;
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      if (threads_[t].waiter != 0 && !machine().has_ended(threads_[t].waiter)) waiting.push_back(t);
    }
    return waiting;
  }

  /// After a step: whoever was released was so together with all of its round.
  void check_round(const std::vector<std::size_t>& waited) {
    std::set<std::uint32_t> indices;
    std::size_t released = 0;
    std::size_t ended = 0;
    for (const std::size_t t : waited) {
      if (!machine().has_ended(threads_[t].waiter)) continue;
      ++ended;
      if (machine().end_of(threads_[t].waiter).what != BarrierEnd::released) continue;
      ++released;
      indices.insert(machine().index_of(threads_[t].waiter));
    }
    if (released != 0) {
      const auto parties = machine().state().parties;
      if (released != parties) fail(std::to_string(released) + " were released");
      if (indices.size() != parties || *indices.rbegin() != parties - 1) fail("indices are wrong");
      if (machine().state().action != detail::action_none && !acted_) fail("without the action");
    }
    if (ended != 0 && ended != released) acting_ = false;
    if (machine().phase() == detail::barrier_broken && machine().state().waiting != 0) {
      fail("somebody waits at a broken barrier");
    }
  }

  void check_end() {
    std::size_t stopped = 0;
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      stopped += threads_[t].stopped || !sim_.is_alive(node_of(t)) ? 1U : 0U;
    }
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      const Thread& thread = threads_[t];
      if (thread.stopped || !sim_.is_alive(node_of(t))) continue;
      // It sleeps: nobody who could come is left, and it was told of all that happened.
      if (!thread.asleep) fail("a thread is nowhere");
      if (thread.outside) fail("a thread was left outside");
      if (machine().has_ended(thread.waiter)) fail("a thread was not woken");
      if (machine().phase() != detail::barrier_filling) fail("a thread sleeps on");
      if (stopped == 0) fail("all came and nobody went on");
    }
  }

  void fail(const std::string& what) {
    if (!wrong_) wrong_ = what;
    sim_.fail(what);
  }

  Simulation& sim_;
  std::shared_ptr<detail::SyncObject> object_;
  Simulation::Node home_;
  std::vector<Simulation::Node> nodes_;
  std::vector<Thread> threads_;
  bool is_calm_ = false;  // nothing breaks
  bool acting_ = false;
  bool acted_ = false;
  std::optional<std::string> wrong_;
};

TEST(BarrierSimulation, TenThousandWorlds) {
  const auto failure = passel::simulate({.seeds = 10000}, [](Simulation& sim) {
    World world{sim};
    world.run();
  });
  EXPECT_FALSE(failure) << failure->to_string();
}

}  // namespace
