// Layer transport, tests: two session machines in worlds where chance decides what happens next.
#include "session_machine.hpp"

#include <gtest/gtest.h>

#include "support/seed.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace passel::detail;
using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel_test::named;
using passel_test::start_time;
using Time = Session::Time;

// Two machines joined by queues that deliver in order; chance decides who does what next and when
// the session ends.
class Chance {
 public:
  explicit Chance(std::uint32_t seed) : random_{seed} {}

  void run() {
    step(0, session_event::Started{});
    step(1, session_event::Started{});
    for (int i = 0; i < 150; ++i) {
      const std::size_t end = random_() % 2;
      now_ += std::chrono::microseconds{random_() % 500};
      act(end);
      if (random_() % 200 == 0) step(end, session_event::Leave{"chance"});
    }
    for (const std::size_t end : {0U, 1U})
      step(end, session_event::Lost{Error{Errc::closed, "the end"}});
  }

  /// The second one is a server: it is killed at some point, and another one is there at its
  /// address. What it had said by then may still arrive.
  void run_with_a_death() {
    SessionOptions server = named("b");
    for (server.hello.epoch = 1; server.hello.epoch <= 2; ++server.hello.epoch) {
      ends_[0] = {Session{named("a")}, {}, {}, {}, {}};
      ends_[1] = {Session{server}, {}, {}, {}, {}};
      step(0, session_event::Started{});
      step(1, session_event::Started{});
      for (std::size_t left = random_() % 150; left > 0; --left) {
        now_ += std::chrono::microseconds{random_() % 500};
        act(random_() % 2);
      }
      die();
      check_client(server.hello.epoch);
    }
  }
  [[nodiscard]] std::size_t ended_by_death() const { return ended_by_death_.size(); }

  // Each call ended exactly once, everything granted came back, and there was one end.
  void check() const {
    for (const End& end : ends_) {
      ASSERT_EQ(end.answers.size(), end.asked.size());
      for (const auto& [id, count] : end.answers) ASSERT_EQ(count, 1) << "call " << id;
      ASSERT_EQ(end.back, end.lent);
      ASSERT_EQ(end.closed, 1);
      ASSERT_EQ(end.session.open_calls(), 0U);
      ASSERT_EQ(end.session.calls_in_work(), 0U);
    }
  }

 private:
  struct End {
    Session session;
    std::vector<SessionMessage> inbox;
    std::map<std::uint64_t, int> answers;
    std::set<std::uint64_t> asked;
    std::vector<std::uint64_t> work;
    std::size_t lent = 0;
    std::size_t back = 0;
    int closed = 0;
    std::vector<std::uint64_t> epochs{};  // of the peers that it met
  };

  void act(std::size_t which) {
    End& end = ends_[which];
    switch (random_() % 8) {
      case 0: return call(which);
      case 1:
        if (!end.asked.empty())
          step(which, session_event::Cancel{*end.asked.begin() + random_() % 5});
        return;
      case 2:
        if (end.work.empty()) return;
        step(which, session_event::Reply{end.work.back(), BytesView{}, {}});
        end.work.pop_back();
        return;
      case 3: return step(which, session_event::Grant{{1, ++end.lent, false}});
      case 4: return step(which, session_event::Release{{1, 1 + random_() % 5}});
      case 5: return step(which, session_event::Tick{});
      default:
        if (end.inbox.empty()) return;
        auto message = std::move(end.inbox.front());
        end.inbox.erase(end.inbox.begin());
        step(which, session_event::Received{std::move(message), {}});
    }
  }

  void die() {
    auto& inbox = ends_[0].inbox;
    inbox.resize(random_() % (inbox.size() + 1));
    for (auto& message : std::exchange(inbox, {}))
      step(0, session_event::Received{std::move(message), {}});
    Session::Actions actions;
    ends_[0].session.step(session_event::Lost{Error{Errc::peer_lost, "killed"}}, now_, actions);
    for (const auto& answer : passel_test::all<session_action::Answer>(actions))
      ended_by_death_.push_back(answer.result.error().code());
    take(0, actions);
  }

  /// No call is left over, none ended twice, and those that the death ended say so.
  void check_client(std::uint64_t epoch) const {
    const End& client = ends_[0];
    ASSERT_EQ(client.answers.size(), client.asked.size());
    for (const auto& [call, count] : client.answers) ASSERT_EQ(count, 1) << "call " << call;
    ASSERT_EQ(client.closed, 1);
    for (const Errc why : ended_by_death_) ASSERT_EQ(why, Errc::peer_lost);
    for (const std::uint64_t met : client.epochs) ASSERT_EQ(met, epoch);
  }

  void call(std::size_t which) {
    const auto id = ends_[which].session.next_call_id();
    ends_[which].asked.insert(id);
    std::optional<Time> deadline;
    if (random_() % 2 == 0) deadline = now_ + std::chrono::microseconds{1 + random_() % 2000};
    step(which, session_event::Call{id, 1, std::string{"m"}, {}, {}, deadline, 0});
  }

  void step(std::size_t which, SessionEvent event) {
    End& end = ends_[which];
    Session::Actions actions;
    end.session.step(std::move(event), now_, actions);
    take(which, actions);
  }
  void take(std::size_t which, Session::Actions& actions) {
    End& end = ends_[which];
    for (auto& action : actions) {
      if (auto* send = std::get_if<session_action::Send>(&action)) {
        ends_[1 - which].inbox.push_back(send->message);
      } else if (auto* answer = std::get_if<session_action::Answer>(&action)) {
        ++end.answers[answer->id];
      } else if (auto* serve = std::get_if<session_action::Serve>(&action)) {
        end.work.push_back(serve->call.id);
      } else if (std::get_if<session_action::Returned>(&action) != nullptr) {
        ++end.back;
      } else if (const auto* opened = std::get_if<session_action::Opened>(&action)) {
        end.epochs.push_back(opened->peer.epoch);
      } else if (std::get_if<session_action::Closed>(&action) != nullptr) {
        ++end.closed;
      }
    }
  }

  std::mt19937 random_;
  Time now_ = start_time;
  std::vector<Errc> ended_by_death_;
  End ends_[2]{{Session{named("a")}, {}, {}, {}, {}}, {Session{named("b")}, {}, {}, {}, {}}};
};

TEST(Session, EveryCallEndsOnceWhateverHappens) {
  const std::uint32_t first_seed = std::random_device{}();
  for (std::uint32_t i = 0; i < 500; ++i) {
    SCOPED_TRACE("seed " + std::to_string(first_seed + i));
    Chance chance{first_seed + i};
    chance.run();
    chance.check();
    if (HasFatalFailure()) return;
  }
}

TEST(Session, Fault36AServerKilledAtAnyPointEndsEachCallOnceAndIsAnotherOneAfterwards) {
  const auto first_seed = static_cast<std::uint32_t>(passel_test::seed());
  const unsigned worlds = passel_test::rounds(2000);
  std::size_t ended_by_death = 0;
  for (std::uint32_t i = 0; i < worlds; ++i) {
    SCOPED_TRACE("PASSEL_SEED=" + std::to_string(first_seed + i));
    Chance chance{first_seed + i};
    chance.run_with_a_death();
    if (HasFatalFailure()) return;
    ended_by_death += chance.ended_by_death();
  }
  EXPECT_GT(ended_by_death, worlds);
}

}  // namespace
