// The machines of a condition and its lock in ten thousand simulated worlds: processes wait,
// notify, give up and are killed between any two steps.
#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include "condition_machine.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace detail = passel::detail;
using detail::ConditionMachine;
using detail::Grant;
using detail::PermitMachine;
using detail::SyncKind;
using detail::SyncObject;
using passel::Simulation;
using namespace std::chrono_literals;

constexpr std::uint32_t first_place = 100;
constexpr std::int32_t first_pid = 5000;

/// What is shared is the real state in an arena; a process's way through a call is cut wherever it
/// may be interrupted or killed.
class World {
 public:
  explicit World(Simulation& sim) : sim_{sim} {
    lock_ = SyncObject::create(SyncKind::lock, detail::permit_state_size(1), passel::Reach::threads)
                .unwrap();
    permits().init(detail::permits_bounded, 1, 1, 1);
    condition_ =
        SyncObject::create_beside(*lock_, SyncKind::condition, sizeof(detail::ConditionState))
            .unwrap();
    condition_->as<detail::ConditionState>().lock = arena().chunk_of(lock_->header());
    const auto count = 2 + sim.random().below(4);
    for (std::uint32_t i = 0; i < count; ++i) {
      processes_.push_back({.node = sim.add_node("process " + std::to_string(i)),
                            .place = first_place + i,
                            .notifies = i == 0 || sim.random().chance(0.2),
                            .turns = 1 + static_cast<int>(sim.random().below(4))});
      arena().process(first_place + i).pid.store(first_pid + static_cast<std::int32_t>(i));
    }
    closer_ = sim.add_node("closer");
    arena().process(closer_place).pid.store(1);
    sim.explain("one holder, and nobody wakes unasked", [this] { return broken_rule(); });
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    for (const Process& process : processes_) arena().process(process.place).pid.store(0);
    arena().process(closer_place).pid.store(0);
    for (std::uint32_t w = 1; w <= arena().waiters(); ++w) {
      if (arena().waiter(w).owner.load() >= first_place) arena().free_waiter(w);
    }
  }

  void run() {
    for (std::size_t p = 0; p < processes_.size(); ++p) {
      sim_.on_death(processes_[p].node, [this, p] { learn_of_death(p); });
      soon(p, "begin", [this, p] { take(p); });
      if (p != 0 && sim_.random().chance(0.25)) {
        sim_.at(in(3000), Simulation::nobody, "kill", [this, p] { sim_.kill(processes_[p].node); });
      }
    }
    sim_.run();
    // Whoever still waits was not notified: somebody who comes later can wake them all.
    for (int round = 0; round < 50 && waiting() > 0; ++round) {
      close_down();
      sim_.run();
    }
    for (const Process& process : processes_) {
      if (sim_.is_alive(process.node) && !process.finished) sim_.fail("somebody never came back");
    }
    if (expected_ != woken_ + lost_) {
      sim_.fail("notified " + std::to_string(expected_) + ", woke " + std::to_string(woken_) +
                ", died with it " + std::to_string(lost_));
    }
  }

 private:
  static constexpr std::uint32_t closer_place = first_place - 1;

  struct Process {
    Simulation::Node node;
    std::uint32_t place;
    bool notifies = false;
    int turns = 1;
    std::uint32_t waiter = 0;
    std::optional<Grant> grant = {};
    bool is_waiting = false;  ///< within wait()
    bool timed_out = false;
    bool asleep = false;
    bool finished = false;
  };

  [[nodiscard]] detail::SyncArena& arena() const { return lock_->arena(); }
  [[nodiscard]] PermitMachine permits() const { return {arena(), lock_->header()}; }
  [[nodiscard]] ConditionMachine conditions() const {
    return {arena(), condition_->header(), lock_->header()};
  }
  [[nodiscard]] std::size_t waiting() const { return conditions().waiting(); }
  Simulation::Time in(std::uint64_t microseconds) {
    return sim_.now() + std::chrono::microseconds{sim_.random().below(microseconds)};
  }
  void soon(std::size_t p, const char* what, std::function<void()> fire) {
    sim_.at(in(200), processes_[p].node, what, std::move(fire));
  }

  std::optional<std::string> broken_rule() {
    int holders = 0;
    for (const Process& process : processes_) {
      holders += process.grant && sim_.is_alive(process.node) ? 1 : 0;
    }
    if (holders > 1) return std::to_string(holders) + " hold the lock";
    if (woken_ > expected_) return "more woke than were notified";
    return std::nullopt;
  }

  /// One step of a machine by a process, which may die before it wakes those it has called.
  template <class Machine, class Event>
  void step(Simulation::Node by, Machine machine, const Event& event) {
    detail::WakeList wakes;
    machine.step(event, sim_.time_point(), wakes);
    for (const detail::Wake wake : wakes) {
      sim_.at(in(20), by, "wake", [this, wake] { wake_up(wake.waiter); });
    }
  }
  void wake_up(std::uint32_t waiter) {
    for (std::size_t p = 0; p < processes_.size(); ++p) {
      if (processes_[p].waiter != waiter || !processes_[p].asleep) continue;
      processes_[p].asleep = false;
      soon(p, "look", [this, p] { look(p); });
    }
  }

  // ---- acquire --------------------------------------------------------------------------------

  void take(std::size_t p) {
    Process& me = processes_[p];
    if (const auto grant = permits().take(me.place)) {
      hold(p, *grant);
      return;
    }
    soon(p, "arrive", [this, p] {
      Process& self = processes_[p];
      self.waiter = arena().claim_waiter(self.place, 1).unwrap();
      step(self.node, permits(), PermitMachine::Arrive{self.waiter});
      soon(p, "look", [this, p] { look(p); });
    });
  }

  /// A waiter's thread looks at its state, as await_permit and the wait of a condition do.
  void look(std::size_t p) {
    Process& me = processes_[p];
    detail::Waiter& waiter = arena().waiter(me.waiter);
    std::uint32_t state = waiter.state.load();
    if (state == detail::waiter_granted) {
      const Grant grant = detail::grant_of(waiter);
      leave_waiter(me);
      hold(p, grant);
    } else if (state == detail::waiter_nudged) {
      if (const auto grant = permits().take(me.place)) {
        soon(p, "took", [this, p, grant = *grant] {
          Process& self = processes_[p];
          step(self.node, permits(), PermitMachine::Took{self.waiter});
          leave_waiter(self);
          hold(p, grant);
        });
        return;
      }
      if (waiter.state.compare_exchange_strong(state, detail::waiter_waiting) &&
          permits().is_available()) {
        waiter.state.store(detail::waiter_nudged);
      }
      soon(p, "look", [this, p] { look(p); });
    } else {
      me.asleep = true;
      if (me.is_waiting && !me.timed_out && sim_.random().chance(0.2)) give_up_later(p);
    }
  }
  void leave_waiter(Process& me) {
    arena().free_waiter(me.waiter);
    me.waiter = 0;
  }

  // ---- with the lock --------------------------------------------------------------------------

  void hold(std::size_t p, const Grant& grant) {
    Process& me = processes_[p];
    me.grant = grant;
    if (me.is_waiting) {
      me.is_waiting = false;
      woken_ += me.timed_out ? 0 : 1;
      me.timed_out = false;
    }
    if (me.turns-- == 0) {
      soon(p, "release", [this, p] {
        processes_[p].finished = true;
        release(p);
      });
    } else if (me.notifies) {
      soon(p, "notify", [this, p] { notify(p); });
    } else {
      soon(p, "wait", [this, p] { wait(p); });
    }
  }

  void release(std::size_t p) {
    Process& me = processes_[p];
    bool given = false;
    const Grant grant = *me.grant;
    me.grant.reset();
    if (permits().is_awaited()) {
      step(me.node, permits(), PermitMachine::Release{grant, &given});
      return;
    }
    given = permits().give(grant);
    soon(p, "look whether somebody came", [this, p] {
      if (permits().is_awaited()) step(processes_[p].node, permits(), PermitMachine::Freed{});
    });
  }

  void notify(std::size_t p) {
    const auto count = 1 + sim_.random().below(3);
    expected_ += std::min<std::size_t>(count, waiting());
    step(processes_[p].node, conditions(), ConditionMachine::Notify{count});
    soon(p, "release", [this, p] {
      release(p);
      soon(p, "again", [this, p] { take(p); });
    });
  }

  void wait(std::size_t p) {
    Process& me = processes_[p];
    me.waiter = arena().claim_waiter(me.place, 1).unwrap();
    me.is_waiting = true;
    step(me.node, conditions(), ConditionMachine::Arrive{me.waiter});
    soon(p, "give the lock up", [this, p] {
      release(p);
      soon(p, "look", [this, p] { look(p); });
    });
  }

  void give_up_later(std::size_t p) {
    const std::uint32_t waiter = processes_[p].waiter;
    sim_.at(in(2000), processes_[p].node, "time is up", [this, p, waiter] {
      Process& me = processes_[p];
      if (me.waiter != waiter || !me.asleep) return;
      bool was_waiting = false;
      step(me.node, conditions(), ConditionMachine::Leave{waiter, &was_waiting});
      if (!was_waiting) return;
      me.timed_out = true;
      me.asleep = false;
      soon(p, "arrive", [this, p] {
        step(processes_[p].node, permits(), PermitMachine::Arrive{processes_[p].waiter});
        soon(p, "look", [this, p] { look(p); });
      });
    });
  }

  // ---- deaths and the end ---------------------------------------------------------------------

  /// As the arena does it for a process that is gone.
  void learn_of_death(std::size_t p) {
    const Process& dead = processes_[p];
    sim_.at(in(500), Simulation::nobody, "death is known", [this, place = dead.place] {
      step(Simulation::nobody, conditions(), ConditionMachine::Lost{place});
      step(Simulation::nobody, permits(),
           PermitMachine::Lost{.place = place, .pid = arena().process(place).pid.load()});
      for (std::uint32_t w = 1; w <= arena().waiters(); ++w) {
        if (arena().waiter(w).owner.load() != place) continue;
        const bool was_notified = arena().waiter(w).condition != 0;
        arena().free_waiter(w);
        if (!was_notified) continue;
        if (waiting() == 0) ++lost_;
        step(Simulation::nobody, conditions(), ConditionMachine::Notify{1});
      }
      for (std::uint32_t w = 1; w <= arena().waiters(); ++w) {
        const std::uint32_t state = arena().waiter(w).state.load();
        if (state == detail::waiter_nudged || state == detail::waiter_granted) wake_up(w);
      }
    });
  }

  void close_down() {
    const auto grant = permits().take(closer_place);
    if (!grant) {
      sim_.fail("the lock is held, and nobody is there");
      return;
    }
    expected_ += waiting();
    step(closer_, conditions(), ConditionMachine::Notify{waiting()});
    bool given = false;
    step(closer_, permits(), PermitMachine::Release{*grant, &given});
  }

  Simulation& sim_;
  std::shared_ptr<SyncObject> lock_;
  std::shared_ptr<SyncObject> condition_;
  std::vector<Process> processes_;
  Simulation::Node closer_ = 0;
  std::size_t expected_ = 0;
  std::size_t woken_ = 0;
  std::size_t lost_ = 0;
};

TEST(ConditionSimulation, EveryNotifyReachesOneWhoGoesOn) {
  const auto failure =
      passel::simulate({.seeds = 10000}, [](Simulation& sim) { World{sim}.run(); });
  EXPECT_FALSE(failure) << failure->to_string();
}

}  // namespace
