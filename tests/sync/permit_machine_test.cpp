// The machine behind locks and semaphores, simulated: processes take, wait, give back and die in
// every order.
#include "permit_machine.hpp"

#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Simulation;
using namespace passel::detail;

/// An object in memory of its own, with places given out by hand.
struct Memory {
  std::shared_ptr<SyncArena> arena = SyncArena::of_this_process(passel::Reach::threads).unwrap();
  std::shared_ptr<SyncObject> object;
  PermitMachine machine;

  Memory(std::uint32_t traits, std::uint32_t words, std::uint64_t value, std::uint64_t limit)
      : object{SyncObject::create(SyncKind::semaphore, permit_state_size(words),
                                  passel::Reach::threads)
                   .unwrap()},
        machine{object->arena(), object->header()} {
    machine.init(traits, words, value, limit);
  }
  [[nodiscard]] Waiter& waiter(std::uint32_t number) const {
    return object->arena().waiter(number);
  }
};

struct Rules {
  std::uint32_t traits = 0;
  std::uint32_t words = 1;
  std::uint64_t value = 1;
  std::uint64_t limit = 1;
  int workers = 4;
  int rounds = 6;
  bool some_are_futures = false;
  bool somebody_dies = true;
};

/// The world of one run: workers that take a permit, hold it for a while and give it back; what the
/// real calls do in one step without the lock, or with it, is one event here.
class World {
 public:
  World(Simulation& sim, const Rules& rules)
      : sim_{sim},
        rules_{rules},
        memory_{rules.traits, rules.words, rules.value, rules.limit},
        workers_(static_cast<std::size_t>(rules.workers)) {
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      Worker& worker = workers_[i];
      worker.place = static_cast<std::uint32_t>(i) + 1;
      worker.node = sim.add_node("worker " + std::to_string(i));
      worker.future = rules.some_are_futures && i % 2 == 1;
      sim.on_death(worker.node, [this, i] { died(i); });
      later(i, [this, i] { begin(i); });
    }
    undertaker_ = sim.add_node("undertaker");
    if (rules.somebody_dies) {
      for (std::size_t i = 0; i + 1 < workers_.size(); ++i) {
        if (!sim.random().chance(0.4)) continue;
        sim.at(moment(60ms), undertaker_, "kill", [this, i] { sim_.kill(workers_[i].node); });
      }
    }
    sim.explain("permits are conserved", [this] { return conserved(); });
    sim.explain("no more holders than permits", [this] { return exclusive(); });
  }

  ~World() {
    for (const Worker& worker : workers_) {
      if (worker.waiter != nobody) memory_.object->arena().free_waiter(worker.waiter);
    }
  }

  void finish() {
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      const Worker& worker = workers_[i];
      if (sim_.is_alive(worker.node) && worker.rounds != rules_.rounds) {
        sim_.fail("worker " + std::to_string(i) + " was served only " +
                  std::to_string(worker.rounds) + " times");
      }
    }
    if (!is_counted() && memory_.machine.available() != rules_.value) {
      sim_.fail("only " + std::to_string(memory_.machine.available()) + " permits came back");
    }
  }

 private:
  struct Worker {
    std::uint32_t place = 0;
    Simulation::Node node = 0;
    bool future = false;
    bool dead = false;  // and its place was given back
    int rounds = 0;
    std::uint32_t waiter = nobody;
    std::optional<Grant> held;
    int overtaken = 0;
    bool first_was_called = false;
  };

  [[nodiscard]] bool is_counted() const { return (rules_.traits & permits_counted) != 0; }
  Simulation::Time moment(Simulation::Time within) {
    return sim_.now() + Simulation::Time{static_cast<std::int64_t>(
                            sim_.random().below(static_cast<std::uint64_t>(within.count())))};
  }
  void later(std::size_t i, std::function<void()> what) {
    sim_.at(moment(sim_.random().chance(0.5) ? 100us : 2ms), workers_[i].node, "step",
            std::move(what));
  }
  template <class Event>
  void step(std::size_t by, const Event& event) {
    PermitMachine::Actions wakes;
    memory_.machine.step(event, sim_.time_point(), wakes);
    // Between the unlock and the wake-up there is time to die.
    for (const Wake wake : wakes) {
      later(by, [this, wake] { wake_up(wake.waiter); });
    }
  }
  void wake_up(std::uint32_t number) {
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i].waiter == number && sim_.is_alive(workers_[i].node)) {
        later(i, [this, i, number] { look(i, number); });
      }
    }
  }

  void begin(std::size_t i) {
    Worker& me = workers_[i];
    if (me.rounds == rules_.rounds) return;
    const bool may_take = !memory_.machine.is_fair() || !memory_.machine.is_awaited();
    if (may_take && sim_.random().chance(0.8)) {
      if (const auto grant = memory_.machine.take(me.place)) return got(i, *grant, true);
    }
    later(i, [this, i] { arrive(i); });
  }
  void arrive(std::size_t i) {
    Worker& me = workers_[i];
    me.waiter = memory_.object->arena().claim_waiter(me.place, 0).unwrap();
    memory_.waiter(me.waiter).is_future = me.future ? 1 : 0;
    order_.push_back(i);
    step(i, PermitMachine::Arrive{me.waiter});
    if (sim_.random().chance(0.15)) {  // a deadline
      const std::uint32_t number = me.waiter;
      sim_.at(moment(3ms), me.node, "deadline", [this, i, number] { leave(i, number); });
    }
  }
  /// What a waiter does when it wakes.
  void look(std::size_t i, std::uint32_t number) {
    Worker& me = workers_[i];
    if (me.waiter != number || taken_.contains(i)) return;
    Waiter& waiter = memory_.waiter(number);
    std::uint32_t state = waiter.state.load();
    if (state == waiter_granted) return stop_waiting(i, grant_of(waiter));
    if (state != waiter_nudged) return;
    if (const auto grant = memory_.machine.take(me.place)) {
      later(i, [this, i, grant = *grant] { took(i, grant); });
      taken_[i] = *grant;
      return;
    }
    later(i, [this, i, number] { settle(i, number); });
  }
  void settle(std::size_t i, std::uint32_t number) {
    if (workers_[i].waiter != number || taken_.contains(i)) return;
    Waiter& waiter = memory_.waiter(number);
    if (!memory_.machine.wait_again(waiter)) return look(i, number);
    later(i, [this, i, number] {
      if (workers_[i].waiter != number || taken_.contains(i)) return;
      memory_.machine.call_itself(memory_.waiter(number));
      look(i, number);
    });
  }
  void took(std::size_t i, const Grant& grant) {
    Worker& me = workers_[i];
    taken_.erase(i);
    step(i, PermitMachine::Took{me.waiter});
    stop_waiting(i, grant);
  }
  void leave(std::size_t i, std::uint32_t number) {
    Worker& me = workers_[i];
    if (me.waiter != number || taken_.contains(i)) return;
    step(i, PermitMachine::Leave{number});
    Waiter& waiter = memory_.waiter(number);
    if (waiter.state.load() == waiter_granted) {
      const Grant grant = grant_of(waiter);
      if (sim_.random().chance(0.5)) return stop_waiting(i, grant);
      forget(i);
      step(i, PermitMachine::Unused{grant});
    } else {
      forget(i);
    }
    later(i, [this, i] { begin(i); });
  }
  void forget(std::size_t i) {
    memory_.object->arena().free_waiter(workers_[i].waiter);
    workers_[i].waiter = nobody;
    std::erase(order_, i);
  }
  void stop_waiting(std::size_t i, const Grant& grant) {
    forget(i);
    got(i, grant, false);
  }
  void got(std::size_t i, const Grant& grant, bool at_once) {
    Worker& me = workers_[i];
    me.held = grant;
    me.overtaken = 0;
    if (!is_counted()) {
      std::uint64_t& last = tokens_[grant.permit];
      if (grant.token() <= last) sim_.fail("a token did not grow");
      last = grant.token();
      const bool expected = abandoned_.erase(grant.permit) > 0;
      if (grant.abandoned != expected) {
        sim_.fail(expected ? "nobody was told of a death" : "told of a death that was none");
      }
    }
    // Whoever is first and was called long enough ago is handed what is given back from then on.
    if (at_once && !order_.empty()) {
      Worker& first = workers_[order_.front()];
      first.overtaken += is_due(first) ? 1 : 0;
      const int most = rules_.workers + static_cast<int>(rules_.value);
      if (first.overtaken > most && sim_.is_alive(first.node)) sim_.fail("overtaken too often");
    }
    later(i, [this, i] { release(i); });
  }
  [[nodiscard]] bool is_due(const Worker& worker) {
    const Waiter& waiter = memory_.waiter(worker.waiter);
    const auto longest = std::chrono::nanoseconds{PermitMachine::longest_overtaken_ns};
    return waiter.nudged_at != 0 && waiter.state.load() != waiter_granted &&
           sim_.time_point().time_since_epoch() >=
               std::chrono::nanoseconds{waiter.nudged_at} + longest;
  }
  void release(std::size_t i) {
    Worker& me = workers_[i];
    const Grant grant = *me.held;
    ++me.rounds;
    const bool any = sim_.random().chance(0.3) && rules_.words == 1;
    const auto called_until = memory_.machine.called_until();
    if (!memory_.machine.is_awaited() || (called_until && sim_.time_point() < *called_until)) {
      me.held.reset();
      if (!(any ? memory_.machine.give_any(me.place) : memory_.machine.give(grant))) {
        sim_.fail("what was held could not be given back");
      }
      later(i, [this, i] {
        if (memory_.machine.is_awaited() && !memory_.machine.called_until()) {
          step(i, PermitMachine::Freed{});
        }
        later(i, [this, i] { begin(i); });
      });
      return;
    }
    me.held.reset();
    bool given = false;
    if (any) {
      step(i, PermitMachine::ReleaseAny{me.place, &given});
    } else {
      step(i, PermitMachine::Release{grant, &given});
    }
    if (!given) sim_.fail("what was held could not be handed over");
    later(i, [this, i] { begin(i); });
  }

  void died(std::size_t i) {
    // Somebody notices, later.
    sim_.at(moment(2ms), undertaker_, "lost", [this, i] { lost(i); });
  }
  void lost(std::size_t i) {
    Worker& dead = workers_[i];
    for (std::uint32_t p = 0; !is_counted() && p < rules_.words; ++p) {
      // What it was handed and had not learnt of it cannot have changed.
      const bool unseen = granted_and_asleep(i) && memory_.waiter(dead.waiter).grant == word(p);
      if (PermitMachine::place_of(word(p)) == dead.place && !unseen) abandoned_.insert(p);
    }
    if (is_counted()) {  // the dead keep theirs
      gone_ += (dead.held ? 1 : 0) + (taken_.contains(i) ? 1 : 0) + (granted_and_asleep(i) ? 1 : 0);
    }
    PermitMachine::Actions wakes;
    memory_.machine.step(PermitMachine::Lost{dead.place, 1}, sim_.time_point(), wakes);
    dead.held.reset();
    taken_.erase(i);
    if (dead.waiter != nobody) forget(i);
    dead.dead = true;
    for (const Wake wake : wakes) wake_up(wake.waiter);
    // As SyncArena::process_lost does for whom the dead one had called.
    for (const Worker& worker : workers_) {
      if (worker.waiter == nobody) continue;
      const std::uint32_t state = memory_.waiter(worker.waiter).state.load();
      if (state == waiter_nudged || state == waiter_granted) wake_up(worker.waiter);
    }
  }

  [[nodiscard]] bool granted_and_asleep(std::size_t i) const {
    const std::uint32_t number = workers_[i].waiter;
    return number != nobody && memory_.waiter(number).state.load() == waiter_granted;
  }
  [[nodiscard]] std::uint64_t word(std::uint32_t permit) {
    PermitState& state = memory_.machine.state();
    auto& further = *reinterpret_cast<std::atomic<std::uint64_t>(*)[8]>(&state + 1);
    return permit == 0 ? state.first.load() : further[permit - 1].load();
  }

  std::optional<std::string> conserved() {
    std::uint64_t held = gone_;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      held += workers_[i].held ? 1 : 0;
      held += taken_.contains(i) ? 1 : 0;
      // Took one by itself and was handed another one: that one is on its way back.
      held += granted_and_asleep(i) ? 1 : 0;
      if (workers_[i].dead && granted_and_asleep(i)) return "a dead waiter was granted a permit";
      for (std::uint32_t p = 0; workers_[i].dead && !is_counted() && p < rules_.words; ++p) {
        if (PermitMachine::place_of(word(p)) == workers_[i].place)
          return "a dead process holds one";
      }
    }
    const std::uint64_t all = memory_.machine.available() + held;
    if (all == rules_.value) return std::nullopt;
    return std::to_string(memory_.machine.available()) + " free and " + std::to_string(held) +
           " held are not " + std::to_string(rules_.value);
  }
  std::optional<std::string> exclusive() {
    std::uint64_t holders = 0;
    std::set<std::pair<std::uint32_t, std::uint64_t>> grants;
    for (const Worker& worker : workers_) {
      if (!worker.held) continue;
      ++holders;
      if (!is_counted() && !grants.insert({worker.held->permit, worker.held->word}).second) {
        return "two hold one grant";
      }
    }
    if (holders <= rules_.value) return std::nullopt;
    return std::to_string(holders) + " hold " + std::to_string(rules_.value);
  }

  Simulation& sim_;
  Rules rules_;
  Memory memory_;
  Simulation::Node undertaker_ = 0;
  std::vector<Worker> workers_;
  std::deque<std::size_t> order_;
  std::map<std::size_t, Grant> taken_;
  std::map<std::uint32_t, std::uint64_t> tokens_;
  std::set<std::uint32_t> abandoned_;
  std::uint64_t gone_ = 0;
};

void run(Simulation& sim, const Rules& rules) {
  World world{sim, rules};
  if (sim.run()) world.finish();
}

struct Case {
  const char* name;
  Rules rules;
};

class PermitMachineSimulated : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(
    Kinds, PermitMachineSimulated,
    ::testing::Values(
        Case{"Lock", {.traits = permits_bounded}},
        Case{"FairLock", {.traits = permits_bounded | permits_fair}},
        Case{"LockWithFutures", {.traits = permits_bounded, .some_are_futures = true}},
        Case{"Bounded",
             {.traits = permits_bounded, .words = 3, .value = 3, .limit = 3, .workers = 6}},
        Case{"BoundedWithFutures",
             {.traits = permits_bounded,
              .words = 2,
              .value = 2,
              .limit = 2,
              .workers = 6,
              .some_are_futures = true}},
        Case{"Counted",
             {.traits = permits_counted, .value = 2, .limit = 99, .somebody_dies = false}},
        Case{"CountedWithFutures",
             {.traits = permits_counted,
              .value = 2,
              .limit = 99,
              .workers = 6,
              .some_are_futures = true,
              .somebody_dies = false}},
        Case{"CountedAndDeaths", {.traits = permits_counted, .value = 9, .limit = 99}}),
    [](const auto& each) { return each.param.name; });

TEST_P(PermitMachineSimulated, EverybodyIsServedAndNothingIsLost) {
  const auto failure =
      passel::simulate({.seeds = 10000}, [](Simulation& sim) { run(sim, GetParam().rules); });
  EXPECT_FALSE(failure) << failure->to_string();
}

TEST_P(PermitMachineSimulated, WhereverOneDies) {
  Rules rules = GetParam().rules;
  if ((rules.traits & permits_counted) != 0) rules.value = 9;
  rules.somebody_dies = false;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    for (const char* const victim : {"worker 0", "worker 1"}) {
      const auto failure =
          passel::kill_everywhere(seed, victim, [&rules](Simulation& sim) { run(sim, rules); });
      ASSERT_FALSE(failure) << failure->to_string();
    }
  }
}

}  // namespace
