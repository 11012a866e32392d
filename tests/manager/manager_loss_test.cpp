// Managers that are killed, and hosts that are cut off from them: what their clients are told.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process/executed_copy.hpp"
#include "support/net_namespace.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"
#include "support/stopped_process.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::Errc;
using passel::EventProxy;
using passel::LockProxy;
using passel::Process;
using passel::Queue;
using passel::QueueProxy;
using passel::SyncManager;
using passel::TcpAddress;
using passel::UnixAddress;
using passel::WireValue;
using passel_test::ProcessCensus;
using passel_test::TwoHosts;
using Host = TwoHosts::Host;
using Clock = std::chrono::steady_clock;

void wait_and_tell(const EventProxy& event, const Queue<int>& told) {
  told.put(-1).unwrap();
  told.put(static_cast<int>(event.wait().error().code())).unwrap();
}

template <class T>
std::optional<Errc> end_of(const passel::Result<T>& outcome) {
  if (outcome) return std::nullopt;
  return outcome.error().code();
}

/// One manager, what it hosts, and everybody who is busy with it or waits.
struct Killed {
  explicit Killed(const Address& address)
      : manager{SyncManager::started({.address = address}).unwrap()} {}

  /// Ends when everybody has been told that the manager is gone.
  void kill(std::mt19937_64& random) {
    auto guard = lock.acquire().unwrap();
    const Queue<int> told;
    auto child = Process::spawn<wait_and_tell>(event, told).unwrap();
    auto later = event.call_async<void>("wait");
    std::vector<std::future<std::optional<Errc>>> ends;
    const auto add = [&](auto body) { ends.push_back(std::async(std::launch::async, body)); };
    add([this] { return end_of(event.wait()); });
    add([this] { return end_of(queue.get()); });
    add([this] { return end_of(lock.acquire()); });
    add([this] { return end_of(lock.acquire_for(1h)); });
    add([this] {
      for (int n = 0;; ++n)
        if (const auto done = list.append(n); !done) return end_of(done);
    });
    ASSERT_EQ(told.get().unwrap(), -1);
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 2000});  // any state of it
    ASSERT_EQ(::kill(*manager.pid(), SIGKILL), 0);
    for (auto& end : ends) EXPECT_EQ(end.get(), Errc::peer_lost);
    EXPECT_EQ(later.get().error(), Errc::peer_lost);
    EXPECT_EQ(told.get().unwrap(), static_cast<int>(Errc::peer_lost));
    child.join().unwrap();
    EXPECT_TRUE(guard.lost());
    EXPECT_EQ(guard.release().error(), Errc::peer_lost);
    EXPECT_EQ(list.size().error(), Errc::peer_lost);
  }

  SyncManager manager;
  passel::ListProxy<int> list = manager.list<int>().unwrap();
  LockProxy lock = manager.lock().unwrap();
  EventProxy event = manager.event().unwrap();
  passel::QueueProxy<int> queue = manager.queue<int>().unwrap();
};

class ManagerKilled : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, ManagerKilled,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tcp";
                         });

TEST_P(ManagerKilled, Fault36EverybodyIsToldAndNoOldProxyReachesANewObject) {
  std::mt19937_64 random{passel_test::seed()};
  Queue<int>{}.put(1).unwrap();  // what the first use of a queue opens, stays
  const auto before = ProcessCensus::take();
  for (unsigned round = 0; round < passel_test::rounds(25); ++round) {
    Killed old{GetParam()};
    ASSERT_NO_FATAL_FAILURE(old.kill(random));
    // The next life, at the same place, with objects of the same numbers.
    const Address place = old.manager.address();
    static_cast<void>(old.manager.shutdown().is_ok());
    const Killed next{place};
    EXPECT_EQ(next.manager.address(), place);
    EXPECT_EQ(end_of(old.list.append(-1)), Errc::stale_object);
    EXPECT_EQ(end_of(old.lock.try_acquire()), Errc::stale_object);
    EXPECT_EQ(end_of(old.event.set()), Errc::stale_object);
    EXPECT_EQ(end_of(old.queue.put(-1)), Errc::stale_object);
    EXPECT_EQ(next.list.size().unwrap(), 0U);
    EXPECT_EQ(next.queue.qsize().unwrap(), 0U);
    EXPECT_FALSE(next.event.is_set().unwrap());
    EXPECT_TRUE(next.lock.try_acquire());
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

// ---- lines that break -------------------------------------------------------------------------

/// Ends the connections of this process to that port, as a network would that has had enough.
void break_lines(std::uint16_t port) {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
        peer.sin_family == AF_INET && ntohs(peer.sin_port) == port)
      ::shutdown(fd, SHUT_RDWR);
  }
}

struct BrokenLine : testing::Test {
  void break_it() { break_lines(std::get<TcpAddress>(manager.address()).port); }
  static constexpr auto silence = 2000ms;
  SyncManager manager =
      SyncManager::started({.address = TcpAddress{}, .silence = silence}).unwrap();
  passel::ListProxy<int> used = manager.list<int>({1}).unwrap();
  passel::ListProxy<int> idle = manager.list<int>({1, 2}).unwrap();
  LockProxy lock = manager.lock().unwrap();
};

TEST_F(BrokenLine, Fault38WhoConnectsAgainInTimeGoesOnWithHisObjectsButNotWithHisLocks) {
  auto guard = lock.acquire().unwrap();
  break_it();
  // A call may be the one that learns of it; the next one connects again.
  while (const auto failed = end_of(used.append(2))) EXPECT_EQ(failed, Errc::peer_lost);
  EXPECT_TRUE(guard.lost());
  // What is tested is what is left when the server has given up the first session.
  std::this_thread::sleep_for(2 * silence);
  EXPECT_EQ(idle.size().unwrap(), 2U);
  const auto next = lock.acquire().unwrap();
  EXPECT_TRUE(next.abandoned());
  EXPECT_GT(next.token(), guard.token());
  EXPECT_FALSE(guard.release());
  EXPECT_FALSE(next.lost());
}

TEST_F(BrokenLine, Fault38WhoseNextCallIsOfTheManagerGoesOnWithHisObjects) {
  break_it();
  while (const auto failed = end_of(manager.number_of_objects()))
    EXPECT_EQ(failed, Errc::peer_lost);
  std::this_thread::sleep_for(2 * silence);
  EXPECT_EQ(idle.size().unwrap(), 2U);
}

TEST_F(BrokenLine, Fault38WhatBecameOfAnAnswerIsSaidToTheSessionThatGaveIt) {
  using namespace passel::detail;
  const auto queue = manager.queue<int>().unwrap();
  queue.put_many({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}).unwrap();
  const auto get = [&queue] {
    const auto reply =
        queue.core()->call("get", encode_pack(true, true).unwrap(), Deadline::never());
    const auto handed = decode<std::tuple<std::uint64_t, std::uint64_t, int>>(reply->bytes);
    return std::tuple{std::get<0>(*handed), std::get<2>(*handed), reply->lease};
  };
  const auto [number, item, lease] = get();
  break_it();
  while (const auto failed = end_of(used.append(2))) EXPECT_EQ(failed, Errc::peer_lost);
  // The new session numbers its calls anew.
  auto [same_number, again, its_lease] = get();
  while (same_number != number) {
    queue.core()->tell("kept", same_number, its_lease);
    ASSERT_LT(same_number, number);
    std::tie(same_number, again, its_lease) = get();
  }
  queue.core()->tell("back", number, lease);
  EXPECT_NE(queue.get().unwrap(), again);
  queue.core()->tell("back", number, its_lease);
  EXPECT_THAT(queue.get_many(20).unwrap(), testing::Contains(again));
}

void take_and_wait(const QueueProxy<int>& jobs, const Queue<int>& told) {
  told.put(jobs.get().unwrap()).unwrap();
  jobs.join().unwrap();
}

TEST_F(BrokenLine, Fault38WhoComesBackFinishesNoItemOfOthers) {
  Queue<int>{}.put(1).unwrap();  // what the first use of a queue opens, stays
  const auto before = ProcessCensus::take();
  {
    const auto jobs = manager.joinable_queue<int>().unwrap();
    const Queue<int> told;
    jobs.put_many({1, 2}).unwrap();
    EXPECT_EQ(jobs.get().unwrap(), 1);
    auto other = Process::spawn<take_and_wait>(jobs, told).unwrap();
    EXPECT_EQ(told.get().unwrap(), 2);
    break_it();
    while (const auto failed = end_of(used.append(2))) EXPECT_EQ(failed, Errc::peer_lost);
    EXPECT_EQ(jobs.task_done().error(), Errc::invalid_argument);
    other.kill().unwrap();
    other.join().unwrap();
    const std::vector<int> again{jobs.get().unwrap(), jobs.get().unwrap()};
    EXPECT_THAT(again, testing::UnorderedElementsAre(1, 2));
    jobs.task_done().unwrap();
    jobs.task_done().unwrap();
    jobs.join().unwrap();
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_F(BrokenLine, Fault37ConnectingEndsWithTheCall) {
  const auto queue = manager.queue<int>().unwrap();
  passel_test::stop_all_of(*manager.pid());
  break_it();
  const auto failed = [&] {
    for (;;)
      if (const auto end = end_of(queue.get_for(1ms)); end != Errc::peer_lost) return end;
  }();
  EXPECT_EQ(failed, Errc::timeout);
  ::kill(*manager.pid(), SIGCONT);
  EXPECT_TRUE(manager.list<int>());
}

TEST_F(BrokenLine, Fault38WhoConnectsAgainTooLateIsToldThatHisObjectsAreGone) {
  break_it();
  std::this_thread::sleep_for(2 * silence);
  const auto failed = [&] {
    for (;;)
      if (const auto end = end_of(idle.size()); end != Errc::peer_lost) return end;
  }();
  EXPECT_EQ(failed, Errc::stale_object);
  EXPECT_TRUE(manager.list<int>());
}

// ---- hosts -------------------------------------------------------------------------------------

/// Somebody held the lock: from when he had been told, to when he last acted on it.
struct Held {
  std::uint64_t token = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
};

std::int64_t now_ns() { return Clock::now().time_since_epoch().count(); }

/// Takes the lock again and again, and acts as long as its guard says that it is not lost.
void hold_again_and_again(const std::string& place, const WireValue& travelling,
                          const Queue<Held>& history, std::int64_t until) {
  if (!place.empty()) TwoHosts::enter(place);
  const auto lock = passel::from_value<LockProxy>(travelling).unwrap();
  while (now_ns() < until) {
    auto guard = lock.acquire_for(500ms);
    if (!guard) {
      std::this_thread::sleep_for(1ms);
      continue;
    }
    Held held{guard->token(), now_ns(), 0};
    // The far one for longer than a silence lasts.
    const std::int64_t enough = held.first + (place.empty() ? 20'000'000 : 3'000'000'000);
    for (std::int64_t now = held.first; now < enough; now = now_ns()) {
      if (guard->lost()) break;
      held.last = now;
      std::this_thread::sleep_for(100us);
    }
    history.put(held).unwrap();
    static_cast<void>(guard->release().is_ok());
  }
}

constexpr auto fault_time = 12s;

// The server and one client are on one host, the other client is on another one.
TEST(DISABLED_ExecutedCopy, LockOfTwoHosts) {
  const std::string right = std::getenv("TEST_RIGHT_HOST");
  auto manager = SyncManager::started(
                     {.address = TcpAddress{TwoHosts::address(Host::left), 0}, .silence = 1000ms})
                     .unwrap();
  const auto lock = manager.lock().unwrap();
  const Queue<Held> history;
  const std::int64_t until = now_ns() + std::chrono::nanoseconds{fault_time}.count();
  auto near =
      Process::spawn<hold_again_and_again>(std::string{}, passel::to_value(lock), history, until)
          .unwrap();
  auto far =
      Process::spawn<hold_again_and_again>(right, passel::to_value(lock), history, until).unwrap();
  near.join().unwrap();
  far.join().unwrap();
  EXPECT_EQ(near.exitcode(), 0);
  EXPECT_EQ(far.exitcode(), 0);
  std::vector<Held> all;
  while (const auto held = history.try_get()) all.push_back(*held);
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.token < b.token; });
  EXPECT_GT(all.size(), 2U);
  std::int64_t last = 0;
  for (const Held& held : all) {
    EXPECT_GE(held.first, last) << "two acted on it at once, the second with token " << held.token;
    last = std::max(last, held.last);
  }
}

TEST(ManagerOfTwoHosts, Fault38WhileTheCableComesAndGoesOneSideAtMostActsOnALock) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  std::mt19937_64 random{passel_test::seed()};
  TwoHosts hosts;
  passel_test::CopyRun run;
  std::atomic<bool> over = false;
  std::thread copy{[&] {
    hosts.on(Host::left, [&] {
      run =
          passel_test::run_copy("LockOfTwoHosts", {"TEST_RIGHT_HOST=" + hosts.place(Host::right)});
    });
    over = true;
  }};
  while (!over) {
    std::this_thread::sleep_for(std::chrono::milliseconds{200 + random() % 500});
    const auto fault = random() % 3;
    if (fault == 0) hosts.cut();
    if (fault == 1) hosts.mute(Host::left);
    if (fault == 2) hosts.mute(Host::right);
    std::this_thread::sleep_for(std::chrono::milliseconds{500 + random() % 1500});
    if (fault == 0) hosts.mend();
    if (fault == 1) hosts.unmute(Host::left);
    if (fault == 2) hosts.unmute(Host::right);
  }
  copy.join();
  EXPECT_EQ(run.exitcode, 0) << run.errors;
}

}  // namespace
