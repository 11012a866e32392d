// Layer transport, tests: two sessions talking over a socket pair.
#include "session_port.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace passel::detail;
using passel::Errc;
using passel::Error;
using namespace std::chrono_literals;

const Session::Time start_time{1h};

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
  return options;
}

struct Side : SessionHandler {
  void opened(const Hello& peer) override { peer_name = peer.name; }
  void serve(SessionPort& port, session_action::Serve&& call) override {
    served.push_back(std::get<std::string>(call.call.method) + ":" + text(call.call.args));
    const std::string answer = "echo " + text(call.call.args);
    if (call.call.target == 404) {
      port.reply(call.call.id, Error{Errc::not_found, "no object 404"}, start_time);
    } else if (call.call.target != 0) {
      port.reply(call.call.id, view(answer), start_time, std::move(call.descriptors));
    }
  }
  void answered(session_action::Answer&& answer) override {
    answers.push_back(answer.result ? text(*answer.result) : answer.result.error().to_string());
    descriptors += answer.descriptors.size();
  }
  void closed(const Error& error) override { ends.push_back(error.to_string()); }

  std::string peer_name;
  std::vector<std::string> served;
  std::vector<std::string> answers;
  std::vector<std::string> ends;
  std::size_t descriptors = 0;
};

class SessionPortTest : public testing::Test {
 protected:
  SessionPortTest() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    a.emplace(Descriptor{fds[0]}, named("a"), left);
    b.emplace(Descriptor{fds[1]}, named("b"), right);
    a->start(start_time);
    b->start(start_time);
    run();
  }
  void run() {
    for (int i = 0; i < 4; ++i) {
      a->flush(start_time);
      if (b) b->flush(start_time);
      a->readable(start_time);
      if (b) b->readable(start_time);
    }
  }
  Side left;
  Side right;
  std::optional<SessionPort> a;
  std::optional<SessionPort> b;
};

TEST_F(SessionPortTest, CallsAreAnswered) {
  EXPECT_EQ(left.peer_name, "b");
  EXPECT_EQ(right.peer_name, "a");
  const std::string args = "hello";
  const auto file = std::make_shared<Descriptor>(::dup(0));
  a->call(1, std::string{"echo"}, view(args), start_time, {file});
  a->call(404, std::string{"echo"}, view(args), start_time);
  b->call(2, std::string{"back"}, view(args), start_time);
  run();
  EXPECT_EQ(right.served, (std::vector<std::string>{"echo:hello", "echo:hello"}));
  EXPECT_EQ(left.answers, (std::vector<std::string>{"echo hello", "not_found: no object 404"}));
  EXPECT_EQ(right.answers, (std::vector<std::string>{"echo hello"}));
  EXPECT_EQ(left.descriptors, 1U);
}

TEST_F(SessionPortTest, OnOneHostEachSideKnowsWhereTheOtherOneRuns) {
  a->call(1, std::string{"echo"}, view("one"), start_time);
  run();
  EXPECT_EQ(a->peer_cpu().load(), 0U);
  EXPECT_EQ(b->peer_cpu().load(), 0U);
  a->tell_cpus();
  a->call(1, std::string{"echo"}, view("two"), start_time);
  run();
  EXPECT_EQ(b->peer_cpu().load(), 0U) << "told by who takes itself to be on the same host";
  b->tell_cpus();
  a->call(1, std::string{"echo"}, view("three"), start_time);
  run();
  const auto cpus = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_CONF));
  for (const auto& side : {&*a, &*b}) {
    EXPECT_GE(side->peer_cpu().load(), 1U);
    EXPECT_LE(side->peer_cpu().load(), cpus);
  }
}

TEST_F(SessionPortTest, LargeArgumentsAndAnswersComeAsTheyWereSentAmongSmallOnes) {
  std::vector<std::string> expected;
  for (const std::size_t size : {5'000'003U, 3U, 4'096U, 0U, 200'000U, 4'095U}) {
    expected.emplace_back(size, static_cast<char>('a' + size % 26));
    a->call(1, std::string{"echo"}, view(expected.back()), start_time);
  }
  while (left.answers.size() < expected.size()) run();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(right.served[i], "echo:" + expected[i]) << i;
    EXPECT_EQ(left.answers[i], "echo " + expected[i]) << i;
  }
}

TEST_F(SessionPortTest, TheDeathOfThePeerEndsWhatWasOpen) {
  const std::string args = "never answered";
  a->call(0, std::string{"echo"}, view(args), start_time);
  run();
  ASSERT_EQ(right.served.size(), 1U);
  b.reset();
  run();
  ASSERT_EQ(left.answers.size(), 1U);
  EXPECT_EQ(left.answers[0].substr(0, 9), "peer_lost");
  EXPECT_EQ(left.ends.size(), 1U);
}

TEST_F(SessionPortTest, GoodbyeArrives) {
  a->leave("done for today", start_time);
  run();
  ASSERT_EQ(right.ends.size(), 1U);
  EXPECT_NE(right.ends[0].find("done for today"), std::string::npos);
  EXPECT_EQ(left.ends.size(), 1U);
}

TEST_F(SessionPortTest, ACallTooLargeFailsAloneAndAtOnce) {
  const std::vector<std::byte> large(default_frame_limit + 1);
  a->call(1, std::string{"echo"}, large, start_time);
  ASSERT_EQ(left.answers.size(), 1U);
  EXPECT_EQ(left.answers[0].substr(0, 9), "too_large");
  const std::string args = "small";
  a->call(1, std::string{"echo"}, view(args), start_time);
  run();
  EXPECT_EQ(left.answers.back(), "echo small");
}

TEST_F(SessionPortTest, NonsenseFromThePeerEndsTheSession) {
  std::vector<std::byte> stream;
  append_frame(stream, std::vector<std::byte>(24, std::byte{0xff}));
  ASSERT_EQ(::send(a->fd(), stream.data(), stream.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(stream.size()));
  run();
  ASSERT_EQ(right.ends.size(), 1U);
  EXPECT_EQ(right.ends[0].substr(0, 9), "malformed");
}

}  // namespace
