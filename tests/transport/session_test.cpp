// Layer transport, tests: the session machine: beginnings, calls, what is held, and ends.
#include "session_machine.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace {

using namespace passel::detail;
using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel_test::all;
using passel_test::named;
using passel_test::sent;
using passel_test::SessionTest;
using passel_test::start_time;
using passel_test::text;
using passel_test::view;

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

}  // namespace
