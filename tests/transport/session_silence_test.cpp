// Layer transport, tests: the session machine: silence, signs of life, and leases.
#include "session_machine.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>
#include <vector>

namespace {

using namespace passel::detail;
using namespace std::chrono_literals;
using passel::Errc;
using passel_test::all;
using passel_test::named;
using passel_test::sent;
using passel_test::SessionTest;
using passel_test::start_time;
using Time = Session::Time;

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

}  // namespace
