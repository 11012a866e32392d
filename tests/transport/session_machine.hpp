// Layer transport, tests: one session machine, whose peer is the test.
#pragma once

#include "session.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace passel_test {

using namespace passel::detail;

inline const Session::Time start_time{std::chrono::hours{1}};

inline BytesView view(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string text(BytesView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline SessionOptions named(std::string name) {
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

/// One session whose peer is the test.
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
  std::uint64_t call(std::optional<Session::Time> deadline = {}) {
    const std::uint64_t id = session.next_call_id();
    step(session_event::Call{id, 1, std::string{"get"}, {}, {}, deadline, 0});
    return id;
  }

  Session::Time now = start_time;
  Session session;
};

}  // namespace passel_test
