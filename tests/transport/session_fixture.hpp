// Layer transport, tests: a session server and its clients in one process.
#pragma once

#include <passel/authkey.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/detail/session_server.hpp>
#include <passel/listener.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace passel_test {

using namespace passel::detail;

inline const passel::AuthKey right_key{"the right key, which is long enough"};
inline const passel::AuthKey wrong_key{"the wrong key, which is long enough"};

/// Answers every call with what it was called with, but none of "wait".
struct Echo final : SessionService {
  void serve(const ServedCall& call) override {
    if (call.method == "wait") {
      ++waiting;
      waiting.notify_all();
      return;
    }
    Encoded answer;
    answer.bytes.assign(call.args.begin(), call.args.end());
    server.load()->reply(call.session, call.id, std::move(answer));
  }
  void call_abandoned(std::uint64_t, std::uint64_t, std::uint64_t) override { ++abandoned; }
  void session_closed(std::uint64_t, const passel::Error&) override {
    if (on_closed) on_closed();
    ++closed;
    closed.notify_all();
  }
  void wait_until_closed(int count) const {
    for (int now = closed; now < count; now = closed) closed.wait(now);
  }
  void wait_until_waiting(int count) const {
    for (int now = waiting; now < count; now = waiting) waiting.wait(now);
  }
  std::function<void()> on_closed;  // set it before there are sessions
  std::atomic<int> waiting = 0;
  std::atomic<int> abandoned = 0;
  std::atomic<int> closed = 0;
  std::atomic<SessionServer*> server = nullptr;
};

/// A server on an I/O thread of its own, and what its clients need.
struct Server {
  explicit Server(SessionServerOptions options) {
    options.authkey = right_key;
    server = SessionServer::open(loop, std::move(options), echo).unwrap();
    echo.server = server.get();
  }
  [[nodiscard]] const passel::Address& address() const { return server->address(); }
  [[nodiscard]] std::uint16_t port() const {
    return std::get<passel::TcpAddress>(server->address()).port;
  }
  passel::Result<std::shared_ptr<SessionLink>> connect(const passel::Address& at,
                                                       SessionLinkOptions options = {}) {
    if (!options.authkey) options.authkey = right_key;
    return SessionLink::connect(clients, at, options, Deadline::after(std::chrono::seconds{30}));
  }
  passel::Result<std::shared_ptr<SessionLink>> connect(const passel::AuthKey& key = right_key) {
    return connect(address(), {.authkey = key});
  }
  IoLoop loop;
  IoLoop clients;
  Echo echo;
  std::unique_ptr<SessionServer> server;
};

inline passel::Result<SessionReply> ask(SessionLink& link, std::size_t size = 1) {
  Encoded args;
  args.bytes.resize(size);
  return link.call(
      {.target = 1, .method = "echo", .args = std::move(args), .deadline = Deadline::never()});
}
/// Waits for an answer that does not come.
inline passel::Result<SessionReply> wait_by(SessionLink& link,
                                            Deadline deadline = Deadline::never()) {
  return link.call({.target = 1, .method = "wait", .args = {}, .deadline = deadline});
}

}  // namespace passel_test
