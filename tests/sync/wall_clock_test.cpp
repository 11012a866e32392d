// Fault row 33: the wall clock jumps by a year, there and back, while threads and processes wait.
#include <passel/barrier.hpp>
#include <passel/condition.hpp>
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>
#include <passel/thread.hpp>
#include <passel/timer.hpp>

#include <gtest/gtest.h>

#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "placements.hpp"

// What a program sees of the wall clock goes through these, here, in the libraries and in every
// worker, which is the same program. The kernel's own wall clock stays as it is: a limit that is
// reckoned with a jumped clock and waited for by the kernel's is a year late, or over at once, just
// as when somebody sets the clock in between.

namespace {

constexpr std::chrono::seconds year{365 * 24 * 3600};
std::atomic<std::int64_t> jumped{0};  // seconds

int read_clock(clockid_t clock, timespec* time) noexcept {
  const long result = ::syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    time->tv_sec += jumped.load(std::memory_order_relaxed);
  }
  return static_cast<int>(result);
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, timespec* time) noexcept {
  return read_clock(clock, time);
}

__attribute__((visibility("default"))) int gettimeofday(timeval* time, void*) noexcept {
  timespec now{};
  const int result = read_clock(CLOCK_REALTIME, &now);
  *time = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return result;
}

__attribute__((visibility("default"))) time_t time(time_t* time) noexcept {
  timespec now{};
  static_cast<void>(read_clock(CLOCK_REALTIME, &now));
  if (time != nullptr) *time = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel_test::require;

using Steady = std::chrono::steady_clock;

/// Has the wall clock jump a year ahead and a year back, time after time, from its beginning on.
class Jumps {
 public:
  Jumps() : thread_{[this] { run(); }} {}
  Jumps(const Jumps&) = delete;
  Jumps& operator=(const Jumps&) = delete;
  ~Jumps() {
    ends_.store(true);
    thread_.join();
    jumped.store(0);
  }

  /// Calls `what` once, when there have been five more of them.
  void then(std::function<void()> what) {
    const std::lock_guard lock{mutex_};
    is_over_.store(false);
    due_ = count_ + 5;
    what_ = std::move(what);
  }
  /// Returns when that call is over.
  void wait_for_it() { is_over_.wait(false); }

 private:
  void run() {
    while (!ends_.load()) {
      std::function<void()> now;
      {
        const std::lock_guard lock{mutex_};
        jumped.store(++count_ % 2 == 0 ? year.count() : -year.count());
        if (count_ >= due_) now = std::exchange(what_, nullptr);
      }
      if (now) {
        now();
        is_over_.store(true);
        is_over_.notify_all();
      }
      std::this_thread::sleep_for(1ms);
    }
  }

  std::atomic<bool> ends_{false};
  std::atomic<bool> is_over_{true};
  std::mutex mutex_;
  int count_ = 0;
  int due_ = 0;
  std::function<void()> what_;
  std::thread thread_;
};

constexpr std::chrono::milliseconds limit{20};

/// A wait of `limit` that nobody ends: not over before, and over at all.
template <class F>
void is_over_in_time(const char* what, F wait) {
  const auto begin = Steady::now();
  const bool timed_out = wait();
  require(timed_out, what);
  require(Steady::now() - begin >= limit, what);
}

template <class T>
bool is(const passel::Result<T>& result, Errc code) {
  return result.is_err() && result.error() == code;
}

/// A wait of an hour that ends after some jumps, as it should: not because the time were up.
template <class F>
void goes_on(Jumps& jumps, const char* what, std::function<void()> end, F wait) {
  jumps.then(std::move(end));
  const bool was_good = wait();
  jumps.wait_for_it();
  require(was_good, what);
}

void short_waits(passel::Reach reach) {
  const passel::Lock lock{{.reach = reach}};
  const auto held = lock.acquire().unwrap();
  is_over_in_time("Lock", [&] { return is(lock.acquire_for(limit), Errc::timeout); });
  is_over_in_time("try_lock_for", [&] { return !lock.try_lock_for(limit); });
  const passel::Semaphore none{{.value = 0, .reach = reach}};
  is_over_in_time("Semaphore", [&] { return is(none.acquire_for(limit), Errc::timeout); });
  is_over_in_time("acquire_async", [&] { return !none.acquire_async().wait_for(limit); });
  const passel::Condition condition{{.reach = reach}};
  const auto guard = condition.acquire().unwrap();
  is_over_in_time("Condition", [&] { return is(condition.wait_for(limit), Errc::timeout); });
  is_over_in_time("Condition with a predicate", [&] {
    return is(condition.wait_for(limit, [] { return false; }), Errc::timeout);
  });
  const passel::Event event{{.reach = reach}};
  is_over_in_time("Event", [&] { return !event.wait_for(limit); });
  const passel::Barrier barrier{{.parties = 2, .reach = reach}};
  is_over_in_time("Barrier", [&] { return is(barrier.wait_for(limit), Errc::broken); });
  const passel::Barrier own{{.parties = 2, .timeout = limit, .reach = reach}};
  is_over_in_time("Barrier with a limit of its own", [&] { return is(own.wait(), Errc::broken); });
  const passel::Queue<int> queue{{.maxsize = 1, .reach = reach}};
  is_over_in_time("Queue::get_for", [&] { return is(queue.get_for(limit), Errc::empty); });
  queue.put(1).unwrap();
  is_over_in_time("Queue::put_for", [&] { return is(queue.put_for(2, limit), Errc::full); });
}

void long_waits(Jumps& jumps, passel::Reach reach) {
  const passel::Lock lock{{.reach = reach}};
  lock.acquire().unwrap().detach();
  goes_on(
      jumps, "Lock", [&] { lock.release().unwrap(); },
      [&] { return lock.acquire_for(1h).is_ok(); });
  const passel::Semaphore none{{.value = 0, .reach = reach}};
  goes_on(
      jumps, "Semaphore", [&] { none.release().unwrap(); },
      [&] { return none.acquire_for(1h).is_ok(); });
  const passel::Condition condition{{.reach = reach}};
  const auto guard = condition.acquire().unwrap();
  goes_on(
      jumps, "Condition",
      [&] {
        const auto other = condition.acquire().unwrap();
        condition.notify().unwrap();
      },
      [&] { return condition.wait_for(1h).is_ok(); });
  const passel::Event event{{.reach = reach}};
  goes_on(
      jumps, "Event", [&] { event.set(); }, [&] { return event.wait_for(1h); });
  const passel::Barrier barrier{{.parties = 2, .reach = reach}};
  goes_on(
      jumps, "Barrier", [&] { static_cast<void>(barrier.wait_for(1h)); },
      [&] { return barrier.wait_for(1h).is_ok(); });
  const passel::Queue<int> queue{{.maxsize = 1, .reach = reach}};
  goes_on(
      jumps, "Queue::get_for", [&] { queue.put(1).unwrap(); },
      [&] { return queue.get_for(1h).is_ok(); });
  queue.put(1).unwrap();
  goes_on(
      jumps, "Queue::put_for", [&] { static_cast<void>(queue.get().unwrap()); },
      [&] { return queue.put_for(2, 1h).is_ok(); });
}

void timers(Jumps& jumps) {
  std::atomic<bool> rang{false};
  const auto begin = Steady::now();
  const auto timer = passel::Timer::spawn(limit, [&rang] { rang.store(true); }).unwrap();
  timer.join().unwrap();
  require(rang.load() && Steady::now() - begin >= limit, "Timer");
  std::atomic<bool> is_cancelled{false};
  const auto late = passel::Timer::spawn(1h, [] {}).unwrap();
  goes_on(
      jumps, "Timer of an hour", [&] { is_cancelled.store(late.cancel()); },
      [&] { return late.join_for(1h).is_ok(); });
  require(is_cancelled.load(), "Timer of an hour");
}

void worker(int reach) {
  Jumps jumps;
  short_waits(static_cast<passel::Reach>(reach));
  long_waits(jumps, static_cast<passel::Reach>(reach));
  timers(jumps);
}

template <class P>
class Fault33WallClock : public ::testing::Test {};
TYPED_TEST_SUITE(Fault33WallClock, passel_test::Placements, passel_test::PlacementNames);

TYPED_TEST(Fault33WallClock, JumpsByAYearMoveNoTimeLimit) {
  passel_test::Crew<TypeParam> crew;
  crew.template start<worker>(static_cast<int>(TypeParam::reach));
  crew.join();
}

TEST(Fault33WallClock, JumpsDoNotShortenAJoin) {
  Jumps jumps;
  const passel::Event end;
  const auto thread = passel::Thread::spawn([end] { end.wait(); }).unwrap();
  const auto process =
      passel::Process::spawn([](const passel::Event& until) { until.wait(); }, end).unwrap();
  is_over_in_time("Thread", [&] { return is(thread.join_for(limit), Errc::timeout); });
  is_over_in_time("Process", [&] { return is(process.join_for(limit), Errc::timeout); });
  goes_on(
      jumps, "Thread", [&] { end.set(); }, [&] { return thread.join_for(1h).is_ok(); });
  EXPECT_TRUE(process.join_for(1h).is_ok());
}

TEST(Fault33WallClock, AWaitOnTheWallClockItselfIsMoved) {
  // That the jumps above are seen by all, and are jumps: what the library does not do is hit.
  const auto here = std::chrono::system_clock::now();
  jumped.store(-year.count());
  EXPECT_LT(std::chrono::system_clock::now(), here - year / 2);
  EXPECT_LT(std::time(nullptr), std::chrono::system_clock::to_time_t(here - year / 2));
  std::mutex mutex;
  std::unique_lock lock{mutex};
  std::condition_variable never;
  const auto begin = Steady::now();
  // Half a year is over at once: for the kernel it lies in the past.
  never.wait_until(lock, std::chrono::system_clock::now() + year / 2);
  jumped.store(0);
  EXPECT_LT(Steady::now() - begin, year / 2);
}

}  // namespace
