// Layer transport, tests: sessions whose line is cut, held or one-way, and what either side knows.
#include <passel/detail/session_link.hpp>
#include <passel/detail/session_server.hpp>

#include <gtest/gtest.h>

#include "session_fixture.hpp"
#include "support/chaos_proxy.hpp"
#include "support/net_namespace.hpp"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace {

using namespace passel::detail;
using namespace std::chrono_literals;
using passel::Address;
using passel::Errc;
using passel::TcpAddress;
using passel::UnixAddress;
using passel_test::ask;
using passel_test::ChaosProxy;
using passel_test::Server;
using passel_test::TwoHosts;
using passel_test::wait_by;
using Way = ChaosProxy::Way;
using Host = TwoHosts::Host;

// Long enough for a thread that has to wait for a processor; the defaults are 2 s and 6 s.
constexpr auto heartbeat = 500ms;
constexpr auto silence = 1500ms;
const SessionLinkOptions quick{.heartbeat = heartbeat, .silence = silence};

SessionServerOptions at(Address address) {
  return {.address = std::move(address), .heartbeat = heartbeat, .silence = silence};
}

/// The last thing that a client was granted. When its session ends in the server, which may then
/// give it to the next, the client must not believe any more that it has it.
struct Watched {
  void watch(Server& server) {
    server.echo.on_closed = [this] {
      const std::lock_guard lock{mutex};
      held_too_long |= lease.holds();
    };
  }
  void take(SessionLink& link) {
    auto granted = ask(link).unwrap().lease;
    EXPECT_TRUE(granted.holds());
    const std::lock_guard lock{mutex};
    lease = granted;
  }
  bool holds() {
    const std::lock_guard lock{mutex};
    return lease.holds();
  }
  std::mutex mutex;
  SessionLease lease;
  bool held_too_long = false;
};

enum class Fault { silent_client, silent_server, silent_line, reset, reset_at_the_server };

std::string name_of(const testing::TestParamInfo<Fault>& fault) {
  static constexpr const char* names[] = {"SilentClient", "SilentServer", "SilentLine", "Reset",
                                          "ResetAtTheServer"};
  return names[static_cast<int>(fault.param)];
}

class SessionOver : public testing::TestWithParam<Fault> {};
INSTANTIATE_TEST_SUITE_P(Lines, SessionOver,
                         testing::Values(Fault::silent_client, Fault::silent_server,
                                         Fault::silent_line, Fault::reset,
                                         Fault::reset_at_the_server),
                         name_of);

TEST_P(SessionOver, Fault37EveryCallEndsAndTheHolderKnowsBeforeTheServerGivesItAway) {
  Watched held;
  Server server{at(TcpAddress{})};
  held.watch(server);
  ChaosProxy line{server.port()};
  const auto link = server.connect(TcpAddress{"127.0.0.1", line.port()}, quick).unwrap();
  held.take(*link);
  auto waits = std::async(std::launch::async, [&] { return wait_by(*link); });
  auto brief = std::async(std::launch::async, [&] { return wait_by(*link, Deadline::after(1ms)); });
  server.echo.wait_until_waiting(1);
  switch (GetParam()) {
    case Fault::silent_client: line.hold(Way::there); break;
    case Fault::silent_server: line.hold(Way::back); break;
    case Fault::silent_line: line.hold(); break;
    case Fault::reset: line.cut(); break;
    case Fault::reset_at_the_server: line.cut_server(); break;
  }
  EXPECT_EQ(waits.get().error(), Errc::peer_lost);
  const Errc brief_end = brief.get().error().code();
  EXPECT_TRUE(brief_end == Errc::timeout || brief_end == Errc::peer_lost);
  EXPECT_FALSE(link->is_open());
  EXPECT_EQ(ask(*link).error(), Errc::peer_lost);
  server.echo.wait_until_closed(1);
  EXPECT_FALSE(held.held_too_long);
  EXPECT_FALSE(held.holds());
  line.pass();
  // What has healed does not bring back the old session; a new one is made as the first was.
  const auto again = server.connect(TcpAddress{"127.0.0.1", line.port()}, quick).unwrap();
  EXPECT_TRUE(ask(*again));
  EXPECT_FALSE(held.holds());
}

TEST(SessionLoss, Fault37ACallWithADeadlineEndsByItOverALineThatIsSilent) {
  Server server{{.address = TcpAddress{}, .heartbeat = 1h, .silence = 1h}};
  ChaosProxy line{server.port()};
  const auto link = server.connect(TcpAddress{"127.0.0.1", line.port()}).unwrap();
  line.hold();
  EXPECT_EQ(wait_by(*link, Deadline::after(20ms)).error(), Errc::timeout);
}

TEST(SessionLoss, AClientThatSaysGoodbyeIsGoneAtOnce) {
  Server server{{.address = TcpAddress{}, .silence = 1h}};
  auto link = server.connect().unwrap();
  const auto lease = ask(*link).unwrap().lease;
  link->leave();
  EXPECT_FALSE(lease.holds());
  server.echo.wait_until_closed(1);
}

TEST(SessionLoss, OnOneHostTheKernelTellsOfAnEnd) {
  SessionLease lease;
  {
    Server server{{.address = UnixAddress{}}};
    const auto link = server.connect().unwrap();
    lease = ask(*link).unwrap().lease;
    EXPECT_TRUE(lease.holds());
    server.server.reset();
    EXPECT_FALSE(lease.holds());
    EXPECT_FALSE(SessionLease{}.holds());
  }
  EXPECT_FALSE(lease.holds());
}

TEST(SessionLoss, AnIdleSessionOverANetworkStaysAndSoDoesItsLease) {
  Server server{at(TcpAddress{})};
  const auto link = server.connect(server.address(), quick).unwrap();
  const auto lease = ask(*link).unwrap().lease;
  std::this_thread::sleep_for(2 * silence);  // what is tested is what happens while nothing does
  EXPECT_TRUE(lease.holds());
  EXPECT_TRUE(ask(*link));
  EXPECT_TRUE(lease.holds());
  EXPECT_EQ(server.echo.closed, 0);
}

/// A server on one host and a client on another one.
struct FarServer {
  FarServer() {
    hosts.on(Host::left, [&] {
      server = std::make_unique<Server>(at(TcpAddress{TwoHosts::address(Host::left), 0}));
    });
  }
  std::shared_ptr<SessionLink> connect() {
    std::shared_ptr<SessionLink> link;
    hosts.on(Host::right, [&] { link = server->connect(server->address(), quick).unwrap(); });
    return link;
  }
  TwoHosts hosts;
  std::unique_ptr<Server> server;
};

enum class CableFault { cut, mute_client, mute_server };

class SessionOfHosts : public testing::TestWithParam<CableFault> {};
INSTANTIATE_TEST_SUITE_P(Cables, SessionOfHosts,
                         testing::Values(CableFault::cut, CableFault::mute_client,
                                         CableFault::mute_server),
                         [](const auto& fault) -> std::string {
                           if (fault.param == CableFault::cut) return "Cut";
                           return fault.param == CableFault::mute_client ? "MuteClient"
                                                                         : "MuteServer";
                         });

TEST_P(SessionOfHosts, Fault37AHalfOpenConnectionIsLostOnBothSides) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  Watched held;
  FarServer far;
  held.watch(*far.server);
  const auto link = far.connect();
  held.take(*link);
  auto waits = std::async(std::launch::async, [&] { return wait_by(*link); });
  far.server->echo.wait_until_waiting(1);
  const Host muted = GetParam() == CableFault::mute_client ? Host::right : Host::left;
  if (GetParam() == CableFault::cut) {
    far.hosts.cut();
  } else {
    far.hosts.mute(muted);
  }
  EXPECT_EQ(waits.get().error(), Errc::peer_lost);
  far.server->echo.wait_until_closed(1);
  EXPECT_FALSE(held.held_too_long);
  if (GetParam() == CableFault::cut) {
    far.hosts.mend();
  } else {
    far.hosts.unmute(muted);
  }
  const auto again = far.connect();
  EXPECT_TRUE(ask(*again));
  EXPECT_FALSE(held.holds());
}

}  // namespace
