// Hosted events, conditions and barriers in simulated worlds: sessions wait, notify, give up and
// die in any order, and after each step the object is compared with what has become of it.
#include <gtest/gtest.h>

#include "hosted_locks.hpp"
#include "hosted_world.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>

namespace {

using namespace passel::detail;
using passel::WireValue;
using passel_test::call;
using passel_test::run_worlds;
using passel_test::World;

constexpr std::uint64_t sessions = 5;

/// Something that sessions wait for in a line, each with one call at a time.
class LineWorld : public World {
 public:
  using World::World;

 protected:
  [[nodiscard]] bool waits(std::uint64_t which) const { return line_.contains(which); }
  std::uint64_t begin(std::uint64_t which) { return line_[which] = ++last_call_; }
  /// Takes the call out of the line, if there is one.
  [[nodiscard]] std::uint64_t give_up(std::uint64_t which) {
    const auto found = line_.extract(which);
    return found ? found.mapped() : 0;
  }
  std::map<std::uint64_t, std::uint64_t> line_{};  // the calls of those who wait
};

// ---- events -------------------------------------------------------------------------------------

class EventWorld : public LineWorld {
 public:
  EventWorld(IoLoop& loop, std::uint64_t seed) : LineWorld{loop, seed} {}

  void run() {
    for (int n = 0; n < 100 && wrong_.empty(); ++n) {
      step(1 + pick(sessions));
      expect(event_->is_set() == set_, "it is not what it was made");
      expect(event_->waiting() == line_.size(), "one waits in vain, or has gone on too early");
    }
  }
  std::uint64_t died = 0;

 private:
  void step(std::uint64_t which) {
    switch (pick(6)) {
      case 0:
        event_->set();
        set_ = true;
        return line_.clear();
      case 1:
        event_->clear();
        set_ = false;
        return;
      case 2: return die(which);
      case 3:
        if (const std::uint64_t given_up = give_up(which))
          return event_->abandoned(which, given_up);
        return;
      default:
        if (waits(which)) return;
        if (const std::uint64_t id = ++last_call_; !set_) line_[which] = id;
        call(*event_, site_, which, last_call_, "wait");
    }
  }
  void die(std::uint64_t which) {
    if (const std::uint64_t open = give_up(which)) {
      ++died;
      event_->abandoned(which, open);
    }
    event_->session_ended(which);
  }

  std::shared_ptr<HostedEvent> event_ = std::make_shared<HostedEvent>();
  bool set_ = false;
};

// ---- barriers -----------------------------------------------------------------------------------

class BarrierWorld : public LineWorld {
 public:
  BarrierWorld(IoLoop& loop, std::uint64_t seed)
      : LineWorld{loop, seed},
        barrier_{
            std::make_shared<HostedBarrier>(HostedBarrierOptions{.parties = 1 + pick(sessions)})} {}

  void run() {
    for (int n = 0; n < 100 && wrong_.empty(); ++n) {
      step(1 + pick(sessions));
      expect(barrier_->broken() == broken_, "it is broken without reason, or whole in spite of it");
      expect(barrier_->n_waiting() == line_.size(), "one waits in vain, or has gone on alone");
    }
  }
  std::uint64_t broken_by_death = 0;

 private:
  void step(std::uint64_t which) {
    switch (pick(12)) {
      case 0: barrier_->abort(); return breaks();
      case 1:
      case 2:
        barrier_->reset();
        broken_ = false;
        return line_.clear();
      case 3: return die(which);
      case 4: return leave(which);
      default: return wait(which);
    }
  }
  void wait(std::uint64_t which) {
    if (waits(which)) return;
    const std::uint64_t id = ++last_call_;
    if (!broken_) line_[which] = id;
    if (line_.size() == barrier_->parties()) line_.clear();
    call(*barrier_, site_, which, id, "wait");
  }
  void breaks() {
    broken_ = true;
    line_.clear();
  }
  void leave(std::uint64_t which) {
    const std::uint64_t open = give_up(which);
    if (open == 0) return;
    breaks();
    barrier_->abandoned(which, open);
  }
  void die(std::uint64_t which) {
    broken_by_death += waits(which) ? 1 : 0;
    leave(which);
    barrier_->session_ended(which);
  }

  std::shared_ptr<HostedBarrier> barrier_;
  bool broken_ = false;
};

// ---- conditions ---------------------------------------------------------------------------------

/// Over a Lock or an RLock.
class ConditionWorld : public World {
 public:
  ConditionWorld(IoLoop& loop, std::uint64_t seed) : World{loop, seed} {
    site_->answered = [](const WireValue&) {};
    if (pick(2) == 0) {
      const auto lock = std::make_shared<HostedRLock>();
      line_of_lock_ = lock.get();
      condition_ = std::make_shared<HostedCondition>(lock, WireValue{});
    } else {
      const auto lock = std::make_shared<HostedPermits>(HostedPermitsOptions{});
      line_of_lock_ = lock.get();
      condition_ = std::make_shared<HostedCondition>(lock, WireValue{});
    }
  }

  void run() {
    for (int n = 0; n < 150 && wrong_.empty(); ++n) {
      step(1 + pick(sessions));
      compare();
    }
  }
  std::uint64_t passed_on = 0;

 private:
  enum class Does { nothing, wants, has, waits, wants_again };
  struct Who {
    Does does = Does::nothing;
    std::uint64_t call = 0;
    bool kept = false;      // the lock: it cannot be given up any more
    bool notified = false;  // and not heard of since
  };

  void step(std::uint64_t which) {
    Who& who = all_[which];
    const bool has = who.does == Does::has;
    switch (pick(9)) {
      case 0:
      case 1: return who.does == Does::nothing ? acquire(which, who) : void();
      case 2: return has ? release(which) : void();
      case 3:
      case 4: return has ? wait(which, who) : void();
      case 5: return has ? notify(which, who, 1 + pick(3)) : void();
      case 6: return has && !who.kept ? keep(which, who) : void();
      case 7: return give_up(which, who);
      default: return pick(2) == 0 ? die(which, who) : void();
    }
  }
  void acquire(std::uint64_t which, Who& who) {
    who = {Does::wants, ++last_call_};
    for_lock_.push_back(which);
    serve();
    call(*condition_, site_, which, all_[which].call, "acquire", true, true);
  }
  void release(std::uint64_t which) {
    let_go(which);
    call(*condition_, site_, which, ++last_call_, "release");
  }
  void wait(std::uint64_t which, Who& who) {
    let_go(which);
    who = {Does::waits, ++last_call_};
    for_notice_.push_back(which);
    call(*condition_, site_, which, last_call_, "wait");
  }
  void notify(std::uint64_t which, Who& who, std::uint64_t count) {
    who.notified = false;
    for (std::uint64_t n = 0; n < count; ++n) static_cast<void>(notify_next());
    call(*condition_, site_, which, ++last_call_, "notify", count);
  }
  void keep(std::uint64_t which, Who& who) {
    who.kept = true;
    condition_->kept(which, who.call);
  }
  void give_up(std::uint64_t which, Who& who) {
    const std::uint64_t id = who.call;
    if (who.does == Does::has && !who.kept) {
      let_go(which);
      return condition_->discarded(which, id);
    }
    if (who.does == Does::has || who.does == Does::nothing) return;
    std::erase(who.does == Does::waits ? for_notice_ : for_lock_, which);
    const bool notified = who.notified;
    who = {};
    if (notified) pass_on();
    condition_->abandoned(which, id);
  }
  void die(std::uint64_t which, Who& who) {
    if (who.does == Does::has) {
      if (who.notified) pass_on();
      let_go(which);
    } else {
      give_up(which, who);
    }
    condition_->session_ended(which);
  }

  void let_go(std::uint64_t which) {
    all_[which] = {};
    owner_ = 0;
    serve();
  }
  /// The lock goes to who came first.
  void serve() {
    if (owner_ != 0 || for_lock_.empty()) return;
    owner_ = for_lock_.front();
    for_lock_.pop_front();
    Who& who = all_[owner_];
    who.kept = who.does == Does::wants_again;
    who.does = Does::has;
  }
  bool notify_next() {
    if (for_notice_.empty()) return false;
    const std::uint64_t next = for_notice_.front();
    for_notice_.pop_front();
    all_[next].does = Does::wants_again;
    all_[next].notified = true;
    for_lock_.push_back(next);
    serve();
    return true;
  }
  void pass_on() { passed_on += notify_next() ? 1 : 0; }

  void compare() {
    expect(condition_->waiting() == for_notice_.size(), "a notification is lost, or came twice");
    expect(line_of_lock_->waiting() == for_lock_.size(), "a wrong line for the lock");
    expect(condition_->locked() == (owner_ != 0), "the lock is not what it was left as");
    for (std::uint64_t which = 1; which <= sessions; ++which)
      expect(line_of_lock_->hold_of({which, 1}).has_value() == (owner_ == which),
             "session " + std::to_string(which) + " was passed over, or has too much");
    expect(condition_->token() >= newest_, "fencing tokens fell");
    newest_ = condition_->token();
  }

  std::shared_ptr<HostedCondition> condition_;
  HostedLockLine* line_of_lock_ = nullptr;
  std::map<std::uint64_t, Who> all_;
  std::deque<std::uint64_t> for_lock_;
  std::deque<std::uint64_t> for_notice_;
  std::uint64_t owner_ = 0;
  std::uint64_t newest_ = 0;
};

TEST(HostedSimulation, Fault23NobodyWaitsForAnEventInVainInAnyOfTenThousandWorlds) {
  EXPECT_GT(run_worlds(&EventWorld::died), passel_test::rounds(10'000) / 4);
}

TEST(HostedSimulation, Fault24ABarrierBreaksWithAPartyAndNeverElseInAnyOfTenThousandWorlds) {
  EXPECT_GT(run_worlds(&BarrierWorld::broken_by_death), passel_test::rounds(10'000) / 4);
}

// Faults 21, 23 and 26.
TEST(HostedSimulation, Fault23NoNotificationDiesWithItsReceiverInAnyOfTenThousandWorlds) {
  EXPECT_GT(run_worlds(&ConditionWorld::passed_on), passel_test::rounds(10'000) / 10);
}

}  // namespace
