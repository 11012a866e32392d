// Circles of threads that wait for each other's locks: found, told, refused.
#include <passel/lock.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/rlock.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "placements.hpp"
#include "support/blocked_thread.hpp"
#include "support/seed.hpp"

#include <unistd.h>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::DeadlockReport;
using passel::Errc;
using passel::Lock;
using passel::OnDeadlock;
using passel::Queue;
using passel::RLock;
using ::testing::HasSubstr;

/// What was reported in this process since it was made.
class Reports {
 public:
  Reports() {
    passel::on_deadlock([this](const DeadlockReport& report) {
      const std::lock_guard lock{mutex_};
      reports_.push_back(report);
    });
  }
  ~Reports() { passel::on_deadlock(nullptr); }
  std::vector<DeadlockReport> all() {
    const std::lock_guard lock{mutex_};
    return reports_;
  }

 private:
  std::mutex mutex_;
  std::vector<DeadlockReport> reports_;
};

char task_state(int tid) {
  std::ifstream file{"/proc/self/task/" + std::to_string(tid) + "/stat"};
  std::string line;
  std::getline(file, line);
  return line[line.rfind(") ") + 2];
}

template <class Placement>
class Fault34Deadlock : public ::testing::Test {};
TYPED_TEST_SUITE(Fault34Deadlock, Placements, PlacementNames);

void hold_and_want(const Lock& mine, const Lock& other, const Queue<int>& ready,
                   const Queue<int>& go) {
  const auto held = mine.acquire().unwrap();
  ready.put(0).unwrap();
  go.get().unwrap();
  const auto wanted = other.acquire().unwrap();
}

/// `parties` hold a lock each and want the next one's; the last one is this thread.
template <class Placement>
void circle_of(int parties) {
  std::vector<Lock> locks;
  for (int i = 0; i < parties; ++i) {
    locks.emplace_back(passel::LockOptions{.reach = Placement::reach,
                                           .name = "lock " + std::to_string(i),
                                           .deadlock = OnDeadlock::refuse});
  }
  const Queue<int> ready{{.reach = Placement::reach}};
  const Queue<int> go{{.reach = Placement::reach}};
  Reports reports;
  Crew<Placement> crew;
  auto mine = locks.back().acquire().unwrap();
  for (std::size_t i = 0; i + 1 < locks.size(); ++i) {
    crew.template start<hold_and_want>(locks[i], locks[i + 1], ready, go);
    ready.get().unwrap();
  }
  for (int i = 0; i + 1 < parties; ++i) go.put(0).unwrap();
  crew.wait_until_blocked();
  EXPECT_TRUE(reports.all().empty());
  const auto refused = locks.front().acquire();
  ASSERT_TRUE(refused.is_err());
  EXPECT_EQ(refused.error().code(), Errc::deadlock);
  EXPECT_THAT(refused.error().what(), HasSubstr("'lock 0'"));
  ASSERT_EQ(reports.all().size(), 1U);
  const DeadlockReport report = reports.all().front();
  ASSERT_EQ(report.waits.size(), static_cast<std::size_t>(parties));
  EXPECT_EQ(report.waits.front().waiting_pid, ::getpid());
  EXPECT_EQ(report.waits.front().lock, "'lock 0'");
  EXPECT_EQ(report.waits.back().lock, "'lock " + std::to_string(parties - 1) + "'");
  EXPECT_EQ(report.waits.back().holding_thread, report.waits.front().waiting_thread);
  EXPECT_THAT(report.to_string(), HasSubstr("which waits for"));
  mine.release().unwrap();  // opens the circle
  crew.join();
}

TYPED_TEST(Fault34Deadlock, OfTwoIsRefusedToWhoClosesIt) { circle_of<TypeParam>(2); }
TYPED_TEST(Fault34Deadlock, OfFiveIsRefusedToWhoClosesIt) { circle_of<TypeParam>(5); }

void close_circle(const Lock& mine, const Lock& other, const Queue<int>& ready,
                  const Queue<int>& go) {
  Reports reports;
  const auto held = mine.acquire().unwrap();
  ready.put(0).unwrap();
  go.get().unwrap();
  const auto refused = other.acquire();
  require(refused.is_err() && refused.error().code() == Errc::deadlock, "not refused");
  require(reports.all().size() == 1, "not reported where the circle was closed");
}

TYPED_TEST(Fault34Deadlock, IsRefusedToAWorkerThatClosesIt) {
  const Lock a{{.reach = TypeParam::reach, .deadlock = OnDeadlock::refuse}};
  const Lock b{{.reach = TypeParam::reach, .deadlock = OnDeadlock::refuse}};
  const Queue<int> ready{{.reach = TypeParam::reach}};
  const Queue<int> go{{.reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start<close_circle>(b, a, ready, go);
  ready.get().unwrap();
  const auto mine = a.acquire().unwrap();
  BlockedThread starter{[&, tid = ::gettid()] {
    while (task_state(tid) != 'S') std::this_thread::sleep_for(1ms);
    go.put(0).unwrap();
  }};
  EXPECT_TRUE(b.acquire().is_ok());  // the refused one gives it back
}

/// Each party holds a lock and wants the next one's, all at the same moment: any of them may be the
/// one who closes the circle, and several may come to see it.
void close_at_once(OnDeadlock deadlock, std::size_t parties) {
  Reports reports;
  std::vector<Lock> locks;
  for (std::size_t i = 0; i < parties; ++i) {
    locks.emplace_back(passel::LockOptions{.reach = passel::Reach::threads, .deadlock = deadlock});
  }
  std::atomic<int> refused{0};
  std::barrier<> all_hold{static_cast<std::ptrdiff_t>(parties)};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < parties; ++i) {
    threads.emplace_back([&, i] {
      const auto held = locks[i].acquire().unwrap();
      all_hold.arrive_and_wait();
      const auto wanted = locks[(i + 1) % parties].acquire();
      if (!wanted) ++refused;
    });
  }
  if (deadlock == OnDeadlock::report) {
    while (reports.all().empty()) std::this_thread::yield();
    locks[0]
        .release()
        .unwrap();  // its holder has an error of its own at the end, which is nobody's
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(reports.all().size(), 1U);
  EXPECT_EQ(refused.load(), deadlock == OnDeadlock::refuse ? 1 : 0);
}

TEST(Deadlock, ThatSeveralCloseAtOnceIsRefusedToOneOfThem) {
  for (unsigned i = 0; i < rounds(150); ++i) close_at_once(OnDeadlock::refuse, 2 + i % 3);
}

TEST(Deadlock, ThatSeveralCloseAtOnceIsToldOnce) {
  for (unsigned i = 0; i < rounds(150); ++i) close_at_once(OnDeadlock::report, 2 + i % 3);
}

TEST(Deadlock, ATimedWaitOpensTheCircle) {
  const Lock a{{.reach = passel::Reach::threads}};
  const Lock b{{.reach = passel::Reach::threads}};
  Reports reports;
  auto mine = a.acquire().unwrap();
  {
    BlockedThread other{[&] {
      const auto held = b.acquire().unwrap();
      const auto wanted = a.acquire().unwrap();
    }};
    other.wait_until_blocked();
    const auto late = b.acquire_for(10ms);  // reported, waited for, given up
    EXPECT_EQ(late.error().code(), Errc::timeout);
    EXPECT_EQ(reports.all().size(), 1U);
    mine.release().unwrap();
  }
  EXPECT_TRUE(a.try_acquire().is_ok() && b.try_acquire().is_ok());
}

TEST(Deadlock, WithOneself) {
  const Lock lock{{.reach = passel::Reach::threads, .deadlock = OnDeadlock::refuse}};
  const Reports reports;
  const auto guard = lock.acquire().unwrap();
  const auto again = lock.acquire();
  EXPECT_EQ(again.error().code(), Errc::deadlock);
  EXPECT_THAT(again.error().what(), HasSubstr("held by thread " + std::to_string(::gettid())));
  const RLock reentrant{{.deadlock = OnDeadlock::refuse}};
  const auto outer = reentrant.acquire().unwrap();
  EXPECT_TRUE(reentrant.acquire().is_ok());
}

TEST(Deadlock, AHandlerThatThrowsLeavesNobodyInLine) {
  Lock lock{{.reach = passel::Reach::threads}};
  passel::on_deadlock([](const DeadlockReport&) { throw std::runtime_error{"no"}; });
  auto guard = lock.acquire().unwrap();
  EXPECT_THROW(static_cast<void>(lock.acquire()), std::runtime_error);
  passel::on_deadlock(nullptr);
  guard.release().unwrap();
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.try_acquire().is_ok());
}

TEST(Deadlock, WaitingInAChainIsNone) {
  const Lock a{{.reach = passel::Reach::threads}};
  const Lock b{{.reach = passel::Reach::threads}};
  Reports reports;
  auto mine = a.acquire().unwrap();
  BlockedThread second{[&] {
    const auto held = b.acquire().unwrap();
    const auto wanted = a.acquire().unwrap();
  }};
  second.wait_until_blocked();
  BlockedThread third{[&] { const auto wanted = b.acquire().unwrap(); }};
  third.wait_until_blocked();
  EXPECT_TRUE(reports.all().empty());
  mine.release().unwrap();
}

}  // namespace
