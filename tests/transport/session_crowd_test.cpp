// Layer transport, tests: a server with ten thousand sessions.
#include <passel/detail/session_link.hpp>
#include <passel/detail/session_server.hpp>

#include <gtest/gtest.h>

#include "process/executed_copy.hpp"
#include "session_fixture.hpp"
#include "support/watchdog.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace passel::detail;
using namespace std::chrono_literals;
using passel::Address;
using passel::TcpAddress;
using passel::UnixAddress;
using passel_test::ask;
using passel_test::Server;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool checked = true;  // by something that slows down and takes memory
#else
constexpr bool checked = false;
#endif
constexpr std::size_t whole_crowd = checked ? 1'000 : 10'000;
constexpr std::size_t spare_descriptors = 200;

/// In KiB, of this process now.
long memory() {
  std::ifstream file{"/proc/self/status"};
  for (std::string text; std::getline(file, text);)
    if (text.starts_with("VmRSS:")) return std::atol(text.c_str() + 6);
  return 0;
}

/// So many descriptors, or as many as this process may have: root may have more than its limit.
std::size_t take_descriptors(std::size_t wanted) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit raised{wanted, std::max<rlim_t>(wanted, limit.rlim_max)};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return wanted;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}
/// Handshakes of them all, on both sides, while other tests run.
constexpr std::chrono::seconds time_for_all{240};

class SessionCrowd : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, SessionCrowd,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tcp";
                         });

// The clients: they come all at once, ask, ask again, and stay until the server ends.
TEST(DISABLED_ExecutedCopy, Crowd) {
  passel_test::Watchdog::limit(time_for_all);
  const std::size_t crowd = std::strtoul(std::getenv("TEST_CROWD"), nullptr, 10);
  take_descriptors(crowd + spare_descriptors);
  const std::string path = std::getenv("TEST_PATH");
  const int port = std::atoi(std::getenv("TEST_PORT"));
  const Address address = path.empty()
                              ? Address{TcpAddress{"127.0.0.1", static_cast<std::uint16_t>(port)}}
                              : Address{UnixAddress{path}};
  IoLoop loop;
  std::vector<std::shared_ptr<SessionLink>> links(crowd);
  std::vector<std::thread> storm;
  constexpr std::size_t threads = 16;
  for (std::size_t t = 0; t < threads; ++t) {
    storm.emplace_back([&, t] {
      for (std::size_t n = t; n < crowd; n += threads) {
        links[n] =
            SessionLink::connect(loop, address, {.authkey = passel_test::right_key, .silence = 1h},
                                 Deadline::never())
                .unwrap();
        ask(*links[n]).unwrap();
      }
    });
  }
  for (std::thread& thread : storm) thread.join();
  for (const auto& link : links) ask(*link).unwrap();
  EXPECT_FALSE(passel_test::wait_by(*links.front()));
  for (const auto& link : links) EXPECT_FALSE(ask(*link));
}

TEST_P(SessionCrowd, Fault50TenThousandClientsAreServedAndAnIdleOneCostsLittle) {
  passel_test::Watchdog::limit(time_for_all);
  const std::size_t descriptors = take_descriptors(whole_crowd + spare_descriptors);
  if (descriptors < 2 * spare_descriptors)
    GTEST_SKIP() << "SKIPPED: " << descriptors
                 << " descriptors are enough for no crowd (ulimit -Hn)";
  const std::size_t crowd = std::min(whole_crowd, descriptors - spare_descriptors);
  if (crowd < whole_crowd) {
    std::printf("FEWER: %zu clients instead of %zu, for want of descriptors (ulimit -Hn)\n", crowd,
                whole_crowd);
  }
  Server server{{.address = GetParam(), .backlog = 4096, .max_greeting = 64, .silence = 1h}};
  const auto warm = server.connect().unwrap();
  ask(*warm).unwrap();
  const long before = memory();
  const auto* file = std::get_if<UnixAddress>(&server.address());
  passel_test::CopyRun run;
  std::thread clients{[&] {
    run = passel_test::run_copy(
        "Crowd",
        {"TEST_PATH=" + (file != nullptr ? file->path : ""), "TEST_CROWD=" + std::to_string(crowd),
         "TEST_PORT=" + std::to_string(file != nullptr ? 0 : server.port())});
  }};
  server.echo.wait_until_waiting(1);
  EXPECT_EQ(server.server->sessions(), crowd + 1);
  EXPECT_TRUE(ask(*warm));
  const double each =
      static_cast<double>(memory() - before) / static_cast<double>(crowd);  // in KiB
  RecordProperty("kib_each", std::to_string(each));
  std::printf("an idle session: %.1f KiB\n", each);
  // OpenSSL keeps most of it for a connection.
  if (!checked) {
    EXPECT_LT(each, file != nullptr ? 8.0 : 24.0);
  }
  server.server.reset();
  clients.join();
  EXPECT_EQ(run.exitcode, 0) << run.errors;
}

}  // namespace
