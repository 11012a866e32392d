// Layer transport, tests: the session machine.
#include "session.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace passel::detail;
using passel::Errc;
using passel::Error;
using passel::Result;
using namespace std::chrono_literals;
using Time = Session::Time;

const Time start_time{1h};

BytesView view(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
std::string text(BytesView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

SessionOptions named(std::string name) {
  SessionOptions options;
  options.hello.name = std::move(name);
  options.hello.role = "tester";
  options.hello.pid = 42;
  return options;
}

template <class A>
std::vector<A> all(const Session::Actions& actions) {
  std::vector<A> out;
  for (const auto& action : actions) {
    if (const A* found = std::get_if<A>(&action)) out.push_back(*found);
  }
  return out;
}

template <class M>
std::vector<M> sent(const Session::Actions& actions) {
  std::vector<M> out;
  for (const auto& send : all<session_action::Send>(actions)) {
    if (const M* found = std::get_if<M>(&send.message)) out.push_back(*found);
  }
  return out;
}

// One session whose peer is the test.
class SessionTest : public testing::Test {
 protected:
  explicit SessionTest(SessionOptions options = named("here")) : session{std::move(options)} {}

  Session::Actions step(SessionEvent event) {
    Session::Actions actions;
    session.step(std::move(event), now, actions);
    return actions;
  }
  Session::Actions hear(SessionMessage message) {
    return step(session_event::Received{std::move(message), {}});
  }
  void open() {
    step(session_event::Started{});
    hear(named("there").hello);
    ASSERT_TRUE(session.is_open());
  }
  std::uint64_t call(std::optional<Time> deadline = {}) {
    const std::uint64_t id = session.next_call_id();
    step(session_event::Call{id, 1, std::string{"get"}, {}, {}, deadline, 0});
    return id;
  }

  Time now = start_time;
  Session session;
};

TEST_F(SessionTest, OpensWhenBothHaveSaidHello) {
  const auto first = step(session_event::Started{});
  ASSERT_EQ(sent<Hello>(first).size(), 1U);
  EXPECT_EQ(sent<Hello>(first)[0].name, "here");
  EXPECT_FALSE(session.is_open());
  const auto opened = all<session_action::Opened>(hear(named("there").hello));
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0].peer.name, "there");
  EXPECT_TRUE(session.is_open());
}

TEST_F(SessionTest, AnotherProtocolIsTurnedAwayWithBothNamed) {
  step(session_event::Started{});
  auto hello = named("there").hello;
  hello.protocol = 7;
  const auto actions = hear(hello);
  const auto closed = all<session_action::Closed>(actions);
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_TRUE(closed[0].error == Errc::version_mismatch);
  EXPECT_NE(closed[0].error.what().find("protocol 7"), std::string::npos) << closed[0].error.what();
  EXPECT_NE(closed[0].error.what().find("protocol 1"), std::string::npos) << closed[0].error.what();
  EXPECT_NE(closed[0].error.what().find("there"), std::string::npos) << closed[0].error.what();
  ASSERT_EQ(sent<GoodbyeMessage>(actions).size(), 1U);
  EXPECT_TRUE(all<session_action::Opened>(actions).empty());
  EXPECT_TRUE(session.is_closed());
}

TEST(Session, AnotherBuildIsTurnedAwayWhereItMatters) {
  auto options = named("here");
  options.hello.build = {std::byte{0xab}};
  auto hello = named("there").hello;
  hello.build = {std::byte{0xcd}};
  for (const bool matters : {false, true}) {
    options.same_build = matters;
    Session session{options};
    Session::Actions actions;
    session.step(session_event::Started{}, start_time, actions);
    session.step(session_event::Received{hello, {}}, start_time, actions);
    EXPECT_EQ(session.is_open(), !matters);
    if (!matters) continue;
    const auto closed = all<session_action::Closed>(actions);
    ASSERT_EQ(closed.size(), 1U);
    EXPECT_TRUE(closed[0].error == Errc::version_mismatch);
    EXPECT_NE(closed[0].error.what().find("cd"), std::string::npos);
    EXPECT_NE(closed[0].error.what().find("ab"), std::string::npos);
  }
}

TEST_F(SessionTest, EveryOpenCallEndsWhenTheConnectionIsLost) {
  open();
  const auto a = call();
  const auto b = call();
  const auto c = call();
  hear(ResultMessage{b, view("done")});
  const auto actions = step(session_event::Lost{Error{Errc::closed, "end of stream"}});
  const auto answers = all<session_action::Answer>(actions);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].id, a);
  EXPECT_EQ(answers[1].id, c);
  for (const auto& answer : answers) EXPECT_TRUE(answer.result.error() == Errc::peer_lost);
  EXPECT_EQ(all<session_action::Closed>(actions).size(), 1U);
  EXPECT_TRUE(std::holds_alternative<session_action::Closed>(actions.back()));
  // And one that comes later ends at once.
  const auto late =
      step(session_event::Call{session.next_call_id(), 1, std::string{"get"}, {}, {}, {}, 0});
  ASSERT_EQ(all<session_action::Answer>(late).size(), 1U);
  EXPECT_TRUE(all<session_action::Answer>(late)[0].result.error() == Errc::peer_lost);
  EXPECT_TRUE(step(session_event::Lost{Error{Errc::closed, "again"}}).empty());
}

TEST_F(SessionTest, GoodbyeEndsCallsWithItsReason) {
  open();
  call();
  const auto actions = hear(GoodbyeMessage{"shutting down"});
  const auto answers = all<session_action::Answer>(actions);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0].result.error() == Errc::peer_lost);
  EXPECT_NE(answers[0].result.error().what().find("shutting down"), std::string::npos);
  EXPECT_TRUE(sent<GoodbyeMessage>(actions).empty());
}

TEST_F(SessionTest, LeavingSaysGoodbyeAndAbandonsWork) {
  open();
  CallMessage incoming;
  incoming.id = 1;
  incoming.method = std::string{"work"};
  ASSERT_EQ(all<session_action::Serve>(hear(incoming)).size(), 1U);
  const auto actions = step(session_event::Leave{"enough"});
  EXPECT_EQ(sent<GoodbyeMessage>(actions).at(0).reason, "enough");
  EXPECT_EQ(all<session_action::Abandon>(actions).at(0).id, 1U);
  EXPECT_TRUE(session.is_closed());
  EXPECT_TRUE(step(session_event::Reply{1, view("late"), {}}).empty());
}

TEST_F(SessionTest, ACallCancelledBeforeItsResultIsCancelledOnce) {
  open();
  const auto id = call();
  const auto cancelled = step(session_event::Cancel{id});
  ASSERT_EQ(all<session_action::Answer>(cancelled).size(), 1U);
  EXPECT_TRUE(all<session_action::Answer>(cancelled)[0].result.error() == Errc::cancelled);
  EXPECT_EQ(sent<CancelMessage>(cancelled).at(0).id, id);
  EXPECT_TRUE(hear(ResultMessage{id, view("too late")}).empty());
  EXPECT_TRUE(session.is_open());
  EXPECT_TRUE(step(session_event::Cancel{id}).empty());
}

TEST_F(SessionTest, ACallCancelledAfterItsResultKeepsTheResult) {
  open();
  const auto id = call();
  const auto answers = all<session_action::Answer>(hear(ResultMessage{id, view("in time")}));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(text(*answers[0].result), "in time");
  EXPECT_TRUE(step(session_event::Cancel{id}).empty());
}

TEST_F(SessionTest, ACancelOfThePeerReachesTheWorkUntilItIsAnswered) {
  open();
  CallMessage incoming;
  incoming.id = 5;
  incoming.method = std::string{"work"};
  hear(incoming);
  EXPECT_EQ(all<session_action::Abandon>(hear(CancelMessage{5})).size(), 1U);
  const auto reply = step(session_event::Reply{5, view("x"), {}});
  EXPECT_EQ(sent<ResultMessage>(reply).size(), 1U);
  const auto unwanted = all<session_action::Unwanted>(hear(CancelMessage{5, 8}));
  EXPECT_EQ(unwanted.at(0).id, 5U);
  EXPECT_EQ(unwanted.at(0).target, 8U);
  EXPECT_TRUE(hear(CancelMessage{77}).empty());
  EXPECT_TRUE(step(session_event::Reply{5, view("twice"), {}}).empty());
  EXPECT_TRUE(session.is_open());
}

TEST_F(SessionTest, AnswersToCallsNeverMadeEndTheSession) {
  open();
  const auto id = call();
  const auto actions = hear(ResultMessage{id + 1, view("made up")});
  EXPECT_TRUE(all<session_action::Closed>(actions).at(0).error == Errc::malformed);
  EXPECT_TRUE(all<session_action::Answer>(actions).at(0).result.error() == Errc::malformed);
}

TEST_F(SessionTest, CallIdsOfThePeerMustGrow) {
  open();
  CallMessage incoming;
  incoming.id = 5;
  incoming.method = std::string{"work"};
  hear(incoming);
  const auto closed = all<session_action::Closed>(hear(incoming));
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_TRUE(closed[0].error == Errc::malformed);
}

TEST_F(SessionTest, OnlyAHelloComesFirstAndOnlyOnce) {
  step(session_event::Started{});
  EXPECT_TRUE(all<session_action::Closed>(hear(PingMessage{1})).at(0).error == Errc::malformed);
  Session other{named("here")};
  Session::Actions actions;
  other.step(session_event::Started{}, now, actions);
  other.step(session_event::Received{named("there").hello, {}}, now, actions);
  other.step(session_event::Received{named("there").hello, {}}, now, actions);
  EXPECT_TRUE(all<session_action::Closed>(actions).at(0).error == Errc::malformed);
}

TEST_F(SessionTest, TasksAreForTheFamilyOnly) {
  open();
  CallMessage incoming;
  incoming.id = 1;
  incoming.method = TaskId{0, 4096};
  const auto actions = hear(incoming);
  EXPECT_TRUE(all<session_action::Serve>(actions).empty());
  ASSERT_EQ(sent<ResultMessage>(actions).size(), 1U);
  EXPECT_TRUE(sent<ResultMessage>(actions)[0].result.error() == Errc::refused);
  EXPECT_TRUE(session.is_open());
}

TEST_F(SessionTest, DeadlinesEndCalls) {
  open();
  const auto late = call(now + 20ms);
  const auto soon = call(now + 10ms);
  EXPECT_EQ(session.next_wakeup(), now + 10ms);
  now += 10ms;
  const auto actions = step(session_event::Tick{});
  ASSERT_EQ(all<session_action::Answer>(actions).size(), 1U);
  EXPECT_EQ(all<session_action::Answer>(actions)[0].id, soon);
  EXPECT_TRUE(all<session_action::Answer>(actions)[0].result.error() == Errc::timeout);
  EXPECT_EQ(sent<CancelMessage>(actions).at(0).id, soon);
  EXPECT_EQ(session.next_wakeup(), start_time + 20ms);
  hear(ResultMessage{late, view("in time")});
  EXPECT_EQ(session.next_wakeup(), std::nullopt);
  const auto past =
      step(session_event::Call{session.next_call_id(), 1, std::string{"get"}, {}, {}, now, 0});
  EXPECT_TRUE(all<session_action::Answer>(past).at(0).result.error() == Errc::timeout);
  EXPECT_TRUE(sent<CallMessage>(past).empty());
}

TEST_F(SessionTest, TheCallersPatienceTravels) {
  open();
  const auto actions = step(
      session_event::Call{session.next_call_id(), 1, std::string{"get"}, {}, {}, now + 1500us, 9});
  EXPECT_EQ(sent<CallMessage>(actions).at(0).left, 1500us);
  EXPECT_EQ(sent<CallMessage>(actions).at(0).trace, 9U);
  CallMessage incoming;
  incoming.id = 1;
  incoming.method = std::string{"work"};
  incoming.left = 300us;
  EXPECT_EQ(all<session_action::Serve>(hear(incoming)).at(0).deadline, now + 300us);
  incoming.id = 2;
  incoming.left = std::chrono::microseconds::max();
  EXPECT_EQ(all<session_action::Serve>(hear(incoming)).at(0).deadline, std::nullopt);
}

TEST_F(SessionTest, WhatThePeerHoldsComesBackWhenItGoes) {
  open();
  EXPECT_EQ(sent<GrantMessage>(step(session_event::Grant{{7, 1, false}})).size(), 1U);
  step(session_event::Grant{{7, 2, false}});
  step(session_event::Grant{{8, 3, true}});
  const auto released = all<session_action::Returned>(hear(ReleaseMessage{7, 2}));
  ASSERT_EQ(released.size(), 1U);
  EXPECT_FALSE(released[0].abandoned);
  EXPECT_TRUE(hear(ReleaseMessage{7, 2}).empty());
  hear(GrantMessage{1, 10, false});
  const auto actions = step(session_event::Lost{Error{Errc::closed, "end"}});
  const auto back = all<session_action::Returned>(actions);
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(back[0].grant.token, 1U);
  EXPECT_EQ(back[1].grant.token, 3U);
  EXPECT_TRUE(back[0].abandoned && back[1].abandoned);
  EXPECT_EQ(all<session_action::GrantLost>(actions).at(0).grant.token, 10U);
  // A grant decided after the end comes straight back.
  EXPECT_TRUE(
      all<session_action::Returned>(step(session_event::Grant{{7, 4, false}})).at(0).abandoned);
}

TEST_F(SessionTest, LimitsOnOpenCallsAreKept) {
  auto options = named("here");
  options.max_open_calls = 2;
  session = Session{options};
  open();
  call();
  call();
  const auto refused =
      step(session_event::Call{session.next_call_id(), 1, std::string{"get"}, {}, {}, {}, 0});
  EXPECT_TRUE(all<session_action::Answer>(refused).at(0).result.error() == Errc::full);
  CallMessage incoming;
  incoming.method = std::string{"work"};
  for (std::uint64_t id = 1; id <= 2; ++id) {
    incoming.id = id;
    EXPECT_EQ(all<session_action::Serve>(hear(incoming)).size(), 1U);
  }
  incoming.id = 3;
  EXPECT_TRUE(sent<ResultMessage>(hear(incoming)).at(0).result.error() == Errc::full);
}

TEST_F(SessionTest, SilenceEndsTheSessionAndPingsPreventIt) {
  auto options = named("here");
  options.heartbeat = 100ms;
  options.silence = 300ms;
  session = Session{options};
  open();
  EXPECT_EQ(session.next_wakeup(), now + 100ms);
  now += 100ms;
  const auto pings = sent<PingMessage>(step(session_event::Tick{}));
  ASSERT_EQ(pings.size(), 1U);
  EXPECT_EQ(session.next_wakeup(), start_time + 300ms);
  now += 50ms;
  hear(PongMessage{pings[0].number});
  now += 299ms;
  EXPECT_TRUE(all<session_action::Closed>(step(session_event::Tick{})).empty());
  now += 1ms;
  EXPECT_TRUE(all<session_action::Closed>(step(session_event::Tick{})).at(0).error ==
              Errc::peer_lost);
  EXPECT_EQ(session.next_wakeup(), std::nullopt);
}

/// A session whose peer takes it for lost after 800 ms, and what is known of its lease.
struct LeasedSession : SessionTest {
  LeasedSession() {
    auto options = named("here");
    options.heartbeat = 1h;
    options.leased = true;
    session = Session{options};
    auto peer = named("there").hello;
    peer.silence = 800ms;
    step(session_event::Started{});
    hear(peer);
  }
  /// An answer to something that was asked `ago`.
  void answered_after(std::chrono::milliseconds ago) {
    const std::uint64_t id = call();
    now += ago;
    hear(ResultMessage{id, BytesView{}});
  }
};

TEST_F(LeasedSession, ALeaseLastsFromWhenSomethingWasSaidThatWasHeard) {
  EXPECT_FALSE(session.holds(session.lease(), now));  // nothing was confirmed yet
  answered_after(300ms);
  const auto lease = session.lease();
  now += 399ms;
  EXPECT_TRUE(session.holds(lease, now));
  now += 1ms;  // an eighth less than the peer's patience, counted from the question
  EXPECT_FALSE(session.holds(lease, now));
}

TEST_F(LeasedSession, WhatThePeerSaysByItselfProlongsNothing) {
  answered_after(0ms);
  const auto lease = session.lease();
  for (int n = 0; n < 7; ++n) {
    now += 100ms;
    hear(PingMessage{1});
  }
  EXPECT_FALSE(session.holds(lease, now));
}

TEST_F(LeasedSession, PingsProlongIt) {
  answered_after(0ms);
  const auto lease = session.lease();
  for (int n = 0; n < 20; ++n) {
    now += 266ms;  // a third of the peer's patience
    ASSERT_EQ(session.next_wakeup(), now);
    const auto pings = sent<PingMessage>(step(session_event::Tick{}));
    ASSERT_EQ(pings.size(), 1U);
    hear(PongMessage{pings[0].number});
    EXPECT_TRUE(session.holds(lease, now));
  }
}

TEST_F(LeasedSession, ALeaseThatRanOutIsNoneAgain) {
  answered_after(0ms);
  const auto lease = session.lease();
  now += 266ms;
  const auto pings = sent<PingMessage>(step(session_event::Tick{}));
  now += 1s;
  hear(PongMessage{pings.at(0).number});
  EXPECT_FALSE(session.holds(lease, now));
  answered_after(0ms);
  EXPECT_FALSE(session.holds(lease, now));
  EXPECT_TRUE(session.holds(session.lease(), now));
  const auto second = session.lease();
  step(session_event::Slept{});
  EXPECT_FALSE(session.holds(second, now));
  EXPECT_TRUE(session.holds(session.lease(), now));
  step(session_event::Lost{{Errc::peer_lost, "gone"}});
  EXPECT_FALSE(session.holds(session.lease(), now));
}

TEST_F(SessionTest, WithAPeerThatBelievesTheKernelALeaseLastsAsLongAsTheSession) {
  auto options = named("here");
  options.leased = true;
  session = Session{options};
  open();
  now += 24h;
  EXPECT_TRUE(session.holds(session.lease(), now));
}

TEST_F(SessionTest, PartOfAMessageIsASignOfLife) {
  auto options = named("here");
  options.silence = 300ms;
  session = Session{options};
  open();
  now += 200ms;
  step(session_event::Heard{});
  EXPECT_EQ(session.heard(), now);
  EXPECT_EQ(session.next_wakeup(), now + 300ms);
}

/// Two ends, of which one sends a message that takes longer than the silence after which a peer
/// counts as lost; what it says meanwhile comes behind that message.
TEST(Session, AMessageMayTakeLongerThanTheSilence) {
  for (const bool leased : {false, true}) {
    auto options = named("sender");
    options.leased = leased;
    options.heartbeat = 2s;
    options.silence = 6s;
    Session sender{options};
    options = named("receiver");
    options.hello.silence = options.silence = 6s;
    options.heartbeat = 2s;
    Session receiver{options};
    Time now = start_time;
    std::vector<SessionMessage> behind;
    const auto step = [&](Session& one, SessionEvent event) {
      Session::Actions actions;
      one.step(std::move(event), now, actions);
      for (auto& send : all<session_action::Send>(actions)) {
        if (&one == &sender) {
          behind.push_back(std::move(send.message));
        } else {
          Session::Actions ignored;
          sender.step(session_event::Received{std::move(send.message), {}}, now, ignored);
          for (auto& answer : all<session_action::Send>(ignored))
            behind.push_back(std::move(answer.message));
        }
      }
    };
    step(sender, session_event::Started{});
    step(receiver, session_event::Started{});
    step(receiver, session_event::Received{options.hello, {}});
    ASSERT_TRUE(sender.is_open());
    behind.clear();
    for (int piece = 0; piece < 200; ++piece) {
      now += 100ms;
      step(receiver, session_event::Heard{});
      for (Session* one : {&sender, &receiver})
        if (const auto due = one->next_wakeup(); due && *due <= now)
          step(*one, session_event::Tick{});
      ASSERT_FALSE(sender.is_closed()) << sender.closed_by().to_string();
      ASSERT_FALSE(receiver.is_closed()) << receiver.closed_by().to_string();
    }
    for (auto& message : std::exchange(behind, {}))
      step(receiver, session_event::Received{std::move(message), {}});
    EXPECT_TRUE(receiver.is_open());
    // Nothing more comes: both find out.
    for (int tick = 0; tick < 7; ++tick) {
      now += 1s;
      step(receiver, session_event::Tick{});
    }
    EXPECT_TRUE(receiver.is_closed());
  }
}

TEST_F(SessionTest, PingsAreAnswered) {
  open();
  EXPECT_EQ(sent<PongMessage>(hear(PingMessage{99})).at(0).number, 99U);
}

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
    for (auto& action : actions) {
      if (auto* send = std::get_if<session_action::Send>(&action)) {
        ends_[1 - which].inbox.push_back(send->message);
      } else if (auto* answer = std::get_if<session_action::Answer>(&action)) {
        ++end.answers[answer->id];
      } else if (auto* serve = std::get_if<session_action::Serve>(&action)) {
        end.work.push_back(serve->call.id);
      } else if (std::get_if<session_action::Returned>(&action) != nullptr) {
        ++end.back;
      } else if (std::get_if<session_action::Closed>(&action) != nullptr) {
        ++end.closed;
      }
    }
  }

  std::mt19937 random_;
  Time now_ = start_time;
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

}  // namespace
