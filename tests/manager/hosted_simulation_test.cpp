// Hosted queues and locks in simulated worlds: sessions take, keep, give up, finish and die in any
// order, and after each step the object is compared with what its calls must have made of it.
#include <gtest/gtest.h>

#include "hosted_locks.hpp"
#include "hosted_queue.hpp"
#include "hosted_world.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace passel::detail;
using passel::WireValue;
using passel_test::call;
using passel_test::run_worlds;
using passel_test::World;

// ---- queues -------------------------------------------------------------------------------------

class QueueWorld : public World {
 public:
  QueueWorld(IoLoop& loop, std::uint64_t seed) : World{loop, seed} {
    site_->answered = [this](const WireValue& answer) { handed_out(answer); };
    for (std::uint64_t n = 1; n <= 4; ++n) sessions_[n];
  }
  ~QueueWorld() {
    site_->answered = [](const WireValue&) {};
  }

  void run() {
    for (int n = 0; n < 120 && wrong_.empty(); ++n) step();
    drain();
  }
  std::uint64_t redelivered = 0;

 private:
  struct Item {
    enum class State { waits, queued, given, finished } state = State::waits;
    bool may_vanish = false;  ///< its put was given up
    std::uint64_t delivery = 0;
  };
  struct Given {
    std::uint64_t call = 0;
    std::int64_t item = 0;
    bool kept = false;
  };
  struct Session {
    std::map<std::uint64_t, bool> asked{};  ///< gets, and whether each is of many
    std::vector<std::pair<std::uint64_t, std::int64_t>> puts{};
    std::deque<Given> given{};
  };

  void handed_out(const WireValue& answer) {
    const auto& parts = *answer.items();
    const std::uint64_t id = *parts[0].as_uint64();
    const auto owner = callers_.find(id);
    expect(owner != callers_.end(), "an answer to nobody");
    if (owner == callers_.end()) return;
    Session& session = sessions_.at(owner->second);
    expect(session.asked.erase(id) == 1, "a get was answered twice");
    if (const auto* many = parts.back().items()) {
      for (const WireValue& one : *many) hand_out(session, id, *one.as_int64());
      return;
    }
    Item& item = hand_out(session, id, *parts[2].as_int64());
    expect(*parts[1].as_uint64() == item.delivery, "a wrong count of deliveries");
  }
  Item& hand_out(Session& session, std::uint64_t id, std::int64_t number) {
    Item& item = items_.at(number);
    expect(item.state == Item::State::queued || item.state == Item::State::waits,
           "item " + std::to_string(number) + " was handed out while somebody had it");
    item.state = Item::State::given;
    if (++item.delivery > 1) ++redelivered;
    session.given.push_back({id, number});
    return item;
  }

  void step() {
    const std::uint64_t which = 1 + pick(sessions_.size());
    Session& session = sessions_.at(which);
    switch (pick(10)) {
      case 0:
      case 1:
      case 2: return put(which);
      case 3:
      case 4: return get(which);
      case 5: return tell(which, session);
      case 6:
      case 7: return finish(which, session);
      case 8: return give_up(which, session);
      default: return pick(3) == 0 ? die(which, session) : put(which);
    }
  }
  void put(std::uint64_t which) {
    const auto number = static_cast<std::int64_t>(items_.size());
    items_[number];
    sessions_.at(which).puts.emplace_back(++last_call_, number);
    call(*queue_, site_, which, last_call_, "put", WireValue{number}, true);
  }
  void get(std::uint64_t which) {
    const bool many = pick(3) == 0;
    callers_[++last_call_] = which;
    sessions_.at(which).asked[last_call_] = many;
    if (many) {
      call(*queue_, site_, which, last_call_, "get_many", std::uint64_t{1 + pick(3)}, true, true);
    } else {
      call(*queue_, site_, which, last_call_, "get", true, true);
    }
  }
  /// What became of the oldest answer: it has arrived, or it reached nobody.
  void tell(std::uint64_t which, Session& session) {
    for (const Given& one : session.given) {
      if (one.kept) continue;
      const std::uint64_t id = one.call;
      if (pick(3) == 0) return send_back(which, session, id);
      for (Given& given : session.given) given.kept = given.kept || given.call == id;
      return queue_->kept(which, id);
    }
  }
  void send_back(std::uint64_t which, Session& session, std::uint64_t id) {
    std::erase_if(session.given, [&](const Given& one) {
      if (one.call != id) return false;
      Item& item = items_.at(one.item);
      item.state = Item::State::queued;
      --item.delivery;
      return true;
    });
    queue_->discarded(which, id);
  }
  void finish(std::uint64_t which, Session& session) {
    const auto mine = std::find_if(session.given.begin(), session.given.end(),
                                   [](const Given& one) { return one.kept; });
    const bool has = mine != session.given.end();
    expect(queue_->task_done({which, 1}).is_ok() == has, "task_done of who has nothing");
    if (!has) return;
    items_.at(mine->item).state = Item::State::finished;
    session.given.erase(mine);
  }
  /// A get that waits, or a put whose answer nobody waited for.
  void give_up(std::uint64_t which, Session& session) {
    if (!session.asked.empty() && pick(2) == 0) {
      const std::uint64_t id = session.asked.begin()->first;
      session.asked.erase(id);
      return queue_->abandoned(which, id);
    }
    if (session.puts.empty()) return;
    const auto [id, number] = session.puts.back();
    session.puts.pop_back();
    vanish(number);
    queue_->abandoned(which, id);
    queue_->discarded(which, id);
  }
  void vanish(std::int64_t number) {
    Item& item = items_.at(number);
    if (item.delivery == 0) item.may_vanish = true;
  }
  void die(std::uint64_t which, Session& session) {
    Session gone = std::exchange(session, {});
    for (const Given& one : gone.given) items_.at(one.item).state = Item::State::queued;
    for (const auto& [id, number] : gone.puts) {
      vanish(number);
      queue_->abandoned(which, id);
    }
    for (const auto& [id, many] : gone.asked) queue_->abandoned(which, id);
    queue_->session_ended(which);
  }

  /// Everybody else goes; one that lives finishes all that is there.
  void drain() {
    for (auto& [which, session] : sessions_) {
      // Puts that wait are the living one's now: their room comes.
      session.puts.clear();
      die(which, session);
    }
    Session& last = sessions_[9];
    while (wrong_.empty()) {
      callers_[++last_call_] = 9;
      last.asked[last_call_] = false;
      call(*queue_, site_, 9, last_call_, "get", false, true);
      if (last.given.empty()) break;
      queue_->kept(9, last_call_);
      last.given.back().kept = true;
      finish(9, last);
    }
    expect(queue_->qsize() == 0, "something is left");
    for (const auto& [number, item] : items_)
      expect(item.state == Item::State::finished || item.may_vanish,
             "item " + std::to_string(number) + " is lost");
  }

  std::shared_ptr<HostedQueue> queue_ =
      std::make_shared<HostedQueue>(HostedQueueOptions{.maxsize = 5, .joinable = true});
  std::map<std::uint64_t, Session> sessions_;
  std::map<std::uint64_t, std::uint64_t> callers_;  // of gets: their sessions
  std::map<std::int64_t, Item> items_;
};

// ---- locks --------------------------------------------------------------------------------------

class PermitsWorld : public World {
 public:
  PermitsWorld(IoLoop& loop, std::uint64_t seed)
      : World{loop, seed},
        permits_{static_cast<std::int64_t>(1 + pick(3))},
        lock_{std::make_shared<HostedPermits>(
            HostedPermitsOptions{.kind = "BoundedSemaphore", .value = permits_})} {
    site_->answered = [](const WireValue&) {};
  }

  void run() {
    for (int n = 0; n < 120 && wrong_.empty(); ++n) {
      step();
      compare();
    }
  }
  std::uint64_t passed_on = 0;

 private:
  struct Wish {
    std::uint64_t session = 0;
    std::uint64_t call = 0;
  };
  struct Holder {
    std::uint64_t call = 0;
    bool kept = false;
  };

  [[nodiscard]] bool waits(std::uint64_t which) const {
    for (const Wish& one : line_)
      if (one.session == which) return true;
    return false;
  }
  void step() {
    const std::uint64_t which = 1 + pick(6);
    const auto held = held_.find(which);
    switch (pick(7)) {
      case 0:
      case 1:
      case 2:
        if (held == held_.end() && !waits(which)) ask(which);
        return;
      case 3:
        if (held == held_.end()) return;
        held_.erase(held);
        serve();
        return expect(lock_->release_by({which, 1}).is_ok(), "a holder may not release");
      case 4:
        if (held == held_.end() || held->second.kept) return;
        held->second.kept = true;
        return lock_->kept(which, held->second.call);
      case 5: return give_up(which);
      default: return die(which);
    }
  }
  void ask(std::uint64_t which) {
    line_.push_back({which, ++last_call_});
    serve();
    call(*lock_, site_, which, last_call_, "acquire", true, true);
  }
  /// A grant that reached nobody, or a place in the line.
  void give_up(std::uint64_t which) {
    if (const auto held = held_.find(which); held != held_.end()) {
      const Holder holder = held->second;
      if (!holder.kept) held_.erase(held);
      serve();
      return lock_->discarded(which, holder.call);
    }
    for (auto one = line_.begin(); one != line_.end(); ++one) {
      if (one->session != which) continue;
      const std::uint64_t id = one->call;
      line_.erase(one);
      return lock_->abandoned(which, id);
    }
  }
  void die(std::uint64_t which) {
    for (const Wish& one : line_)
      if (one.session == which) lock_->abandoned(which, one.call);
    std::erase_if(line_, [&](const Wish& one) { return one.session == which; });
    passed_on += held_.erase(which) != 0 && !line_.empty() ? 1 : 0;
    serve();
    lock_->session_ended(which);
  }
  /// Who came first is next.
  void serve() {
    while (!line_.empty() && static_cast<std::int64_t>(held_.size()) < permits_) {
      held_[line_.front().session] = {line_.front().call, false};
      line_.pop_front();
    }
  }
  void compare() {
    expect(lock_->value() == permits_ - static_cast<std::int64_t>(held_.size()),
           "permits are not conserved");
    expect(lock_->waiting() == line_.size(), "a wrong line");
    for (std::uint64_t which = 1; which <= 6; ++which) {
      const auto hold = lock_->hold_of({which, 1});
      expect(hold.has_value() == held_.contains(which),
             "session " + std::to_string(which) + " was passed over, or has too much");
      if (!hold) {
        tokens_.erase(which);
        continue;
      }
      const auto [known, is_new] = tokens_.try_emplace(which, hold->token, held_[which].call);
      if (is_new || known->second.second != held_[which].call) {
        expect(fences_.insert(hold->token).second, "a fencing token came twice");
        known->second = {hold->token, held_[which].call};
      }
      expect(hold->token == known->second.first, "the token of a grant changed");
      expect(hold->token <= lock_->token(), "a token of the future");
    }
    expect(lock_->token() >= newest_, "fencing tokens fell");
    newest_ = lock_->token();
  }

  std::int64_t permits_;
  std::shared_ptr<HostedPermits> lock_;
  std::deque<Wish> line_;
  std::map<std::uint64_t, Holder> held_;
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> tokens_;  // and the call
  std::set<std::uint64_t> fences_;
  std::uint64_t newest_ = 0;
};

// Faults 27 to 29: what dies with a consumer comes back, and nothing is lost or doubled.
TEST(HostedSimulation, Fault27NoItemOfAQueueIsLostOrInTwoHandsInAnyOfTenThousandWorlds) {
  EXPECT_GT(run_worlds(&QueueWorld::redelivered), passel_test::rounds(10'000));
}

// Faults 21, 23 and 25.
TEST(HostedSimulation, Fault21PermitsAreConservedAndTokensRiseInAnyOfTenThousandWorlds) {
  EXPECT_GT(run_worlds(&PermitsWorld::passed_on), passel_test::rounds(10'000) / 10);
}

}  // namespace
