// Time limits: any duration of the standard library, however large.
#include <passel/barrier.hpp>
#include <passel/condition.hpp>
#include <passel/event.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>
#include <passel/thread.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <ratio>

namespace {

using namespace std::chrono_literals;
using passel::Errc;

using Minutes = std::chrono::duration<long double, std::ratio<60>>;

template <class Duration>
void wait_everywhere(Duration limit) {
  const passel::Lock lock{{.reach = passel::Reach::threads}};
  const auto guard = lock.acquire().unwrap();
  EXPECT_EQ(lock.acquire_for(limit).error().code(), Errc::timeout);
  EXPECT_FALSE(lock.try_lock_for(limit));
  const passel::Semaphore semaphore{{.value = 0, .reach = passel::Reach::threads}};
  EXPECT_EQ(semaphore.acquire_for(limit).error().code(), Errc::timeout);
  const passel::Condition condition;
  const auto held = condition.acquire().unwrap();
  EXPECT_EQ(condition.wait_for(limit).error().code(), Errc::timeout);
  const passel::Event event;
  EXPECT_FALSE(event.wait_for(limit));
  const passel::Queue<int> queue;
  EXPECT_EQ(queue.get_for(limit).error().code(), Errc::empty);
  const passel::Barrier barrier{2};
  EXPECT_EQ(barrier.wait_for(limit).error().code(), Errc::broken);
}

TEST(Timeouts, MayBeOfAnyUnitAndOfFractions) {
  wait_everywhere(2ms);
  wait_everywhere(std::chrono::duration<double>{0.002});
  wait_everywhere(Minutes{0.00003L});
  wait_everywhere(std::chrono::duration<int, std::nano>{700});
}

template <class Duration>
void wait_without_end(Duration limit) {
  const passel::Lock lock;
  EXPECT_TRUE(lock.acquire_for(limit).is_ok());
  const passel::Event event;
  const auto setter = passel::Thread::spawn([event] { event.set(); }).unwrap();
  EXPECT_TRUE(event.wait_for(limit));
  EXPECT_TRUE(setter.join_for(limit).is_ok());
  const passel::Condition condition;
  const auto guard = condition.acquire().unwrap();
  const auto notifier = passel::Thread::spawn([condition] {
                          const auto held = condition.acquire().unwrap();
                          condition.notify().unwrap();
                        }).unwrap();
  EXPECT_TRUE(condition.wait_for(limit).is_ok());
  EXPECT_TRUE(notifier.join().is_ok());
}

TEST(Timeouts, ThatTheClockCannotHoldAreForEver) {
  // BaseLockTests.test_timeout has an OverflowError there
  wait_without_end(std::chrono::hours::max());
  wait_without_end(std::chrono::duration<double>{1e300});
  wait_without_end(std::chrono::nanoseconds::max());
}

}  // namespace
