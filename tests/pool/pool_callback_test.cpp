// Where callbacks of a pool's futures run, and what may be done in them.
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/this_task.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::Result;
using passel_test::rounds;

int same(int n) { return n; }
std::string wait_for_word(const passel::Queue<std::string>& words) { return words.get().unwrap(); }

/// Says that this thread holds a lock which callbacks take.
thread_local bool holds_lock = false;
class Held {
 public:
  Held() { holds_lock = true; }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { holds_lock = false; }
};

/// Counts the callbacks that run on a thread that holds the lock: they would wait for ever.
struct Witness {
  std::atomic<int> told{0};
  std::atomic<int> stuck{0};
  auto callback() {
    return [this](const auto&) {
      if (holds_lock) ++stuck;
      ++told;
    };
  }
};

TEST(PoolCallback, NeverRunsInsideSomebodyElsesSubmit) {
  auto pool = Pool::start({.processes = 2}).unwrap();
  Witness witness;
  std::vector<Future<int>> futures;
  const int count = static_cast<int>(rounds(4000));
  for (int i = 0; i < count; ++i) {
    {
      const Held lock;
      futures.push_back(pool.submit<same>(i));
    }
    futures.back().on_done(witness.callback());
  }
  for (int i = 0; i < count; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get().unwrap(), i);
  EXPECT_EQ(witness.told, count);
  EXPECT_EQ(witness.stuck, 0) << "a callback ran under the lock of a thread that submitted";
}

TEST(PoolCallback, NeverRunsInsideOtherCallsToThePool) {
  auto pool = Pool::start({.processes = 2}).unwrap();
  Witness witness;
  std::vector<Future<int>> futures;
  const int count = static_cast<int>(rounds(1000));
  for (int i = 0; i < count; ++i) {
    futures.push_back(pool.submit<same>(i));
    futures.back().on_done(witness.callback());
    const Held lock;
    static_cast<void>(pool.stats());
    static_cast<void>(pool.dead_letters());
  }
  for (auto& future : futures) EXPECT_TRUE(future.get().is_ok());
  EXPECT_EQ(witness.told, count);
  EXPECT_EQ(witness.stuck, 0);
}

TEST(PoolCallback, NeverRunsInsideTheTerminateThatCancelsItsTask) {
  auto words = passel::Queue<std::string>::create().unwrap();
  auto pool = Pool::start({.processes = 1}).unwrap();
  Witness witness;
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < 5; ++i) {
    futures.push_back(pool.submit<wait_for_word>(words));
    futures.back().on_done(witness.callback());
  }
  {
    const Held lock;
    pool.terminate();
  }
  for (auto& future : futures) EXPECT_EQ(future.get().error(), Errc::cancelled);
  ASSERT_TRUE(pool.join());
  EXPECT_EQ(witness.told, 5);
  EXPECT_EQ(witness.stuck, 0);
}

TEST(PoolCallback, WaitingForTheEndOfItsPoolIsADeadlock) {
  auto words = passel::Queue<std::string>::create().unwrap();
  auto pool = Pool::start({.processes = 1}).unwrap();
  auto other = Pool::start({.processes = 1}).unwrap();
  other.close();
  ASSERT_TRUE(other.join());
  auto future = pool.submit<wait_for_word>(words);
  passel::Result<void> own;
  passel::Result<void> others;
  future.on_done([&] {
    own = pool.join();
    others = other.join();
  });
  pool.close();
  ASSERT_TRUE(words.put("go"));
  EXPECT_EQ(future.get().unwrap(), "go");
  EXPECT_EQ(own.error(), Errc::deadlock);
  EXPECT_TRUE(others) << "which is over";
  EXPECT_TRUE(pool.join());
}

TEST(PoolCallback, MayHoldItsPoolLast) {
  auto other = Pool::start({.processes = 1}).unwrap();
  const auto before = passel_test::ProcessCensus::take();
  {
    auto words = passel::Queue<std::string>::create().unwrap();
    auto pool = std::make_shared<Pool>(Pool::start({.processes = 1}).unwrap());
    auto future = pool->submit<wait_for_word>(words);
    auto never = pool->submit<wait_for_word>(words);
    future.on_done([held = pool] {});
    pool.reset();
    ASSERT_TRUE(words.put("go"));
    EXPECT_EQ(future.get().unwrap(), "go");
    EXPECT_EQ(never.get().error(), Errc::cancelled);
  }
  EXPECT_EQ(other.apply<same>(7).unwrap(), 7) << "the thread that reads goes on";
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

/// Asks for its token where the token's own callbacks run.
bool until_stopped() {
  const std::stop_callback again{passel::this_task::stop_token(), [] {
                                   static_cast<void>(passel::this_task::stop_token());
                                   static_cast<void>(passel::this_task::pool());
                                 }};
  while (!passel::this_task::stop_token().stop_requested()) {
  }
  return true;
}

TEST(PoolCallback, AStopCallbackMayAskForTheTokenAndThePool) {
  auto pool = Pool::start({.processes = 1}).unwrap();
  for (unsigned i = 0; i < rounds(100); ++i) {
    auto future = pool.submit<until_stopped>();
    while (!future.running()) std::this_thread::yield();
    future.request_stop();
    // Cancelled when it had not begun.
    const auto result = future.get();
    EXPECT_TRUE(result.is_ok() || result.error() == Errc::cancelled) << result.error().what();
  }
}

}  // namespace
