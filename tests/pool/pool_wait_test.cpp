// Pool: threads that wait for an answer read it by themselves, whatever happens to the worker.
#include <passel/pool.hpp>
#include <passel/process_pool_executor.hpp>
#include <passel/queue.hpp>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gtest/gtest.h>

#include <unistd.h>
#include <atomic>
#include <csignal>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::Queue;
using passel::Result;
using passel_test::BlockedThread;

int square(int n) { return n * n; }
/// A task that is as long as the test wants it to be.
std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }
/// Every way in which a worker can answer, or not.
int misbehave(int n) {
  switch (n % 8) {
    case 0: ::raise(SIGKILL); return 0;
    case 1: ::_exit(3);
    case 2: std::this_thread::sleep_for(1ms); return n;
    case 3: throw std::invalid_argument{"three"};
    default: return n;
  }
}

/// What this process owns, once it has had a pool.
passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

Pool restless_pool(int processes) {
  return Pool::start({.processes = processes, .max_restarts = 1'000'000, .restart_window = 1ms})
      .unwrap();
}

/// A worker that dies earlier costs no attempt.
void wait_until_it_runs(const Pool& pool) {
  for (;;) {
    const auto workers = pool.stats().workers;
    if (!workers.empty() && workers[0].running) return;
    std::this_thread::sleep_for(1ms);
  }
}

/// Runs `body(thread)` in so many threads.
template <class F>
void in_threads(int count, F body) {
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) threads.emplace_back([&body, t] { body(t); });
  for (auto& thread : threads) thread.join();
}

TEST(PoolWait, EveryWaiterGetsItsOwnAnswer) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    in_threads(3, [&](int thread) {
      for (int i = 0; i < 500; ++i) {
        const int n = thread * 1'000 + i;
        ASSERT_EQ(pool.apply<square>(n).unwrap(), n * n);
        auto one = pool.submit<square>(n + 1);
        auto other = pool.submit<square>(n + 2);
        ASSERT_EQ(other.get().unwrap(), (n + 2) * (n + 2));
        ASSERT_EQ(one.get().unwrap(), (n + 1) * (n + 1));
      }
    });
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolWait, EveryWaiterComesBackWhateverBecomesOfTheWorker) {
  const auto before = census();
  std::atomic<unsigned> ends{0};
  const std::uint64_t seed = passel_test::seed();
  {
    Pool pool = restless_pool(2);
    in_threads(4, [&](int thread) {
      std::mt19937_64 random{seed + static_cast<unsigned>(thread)};
      for (unsigned i = 0; i < passel_test::rounds(15); ++i) {
        const int n = static_cast<int>(random() % 1'000);
        auto future = pool.submit<misbehave>({.attempts = 1 + static_cast<unsigned>(n) % 2}, n);
        if (random() % 4 == 0) future.request_stop();
        if (random() % 2 == 0)
          static_cast<void>(future.wait_for(std::chrono::microseconds{random() % 200}));
        const Result<int> result = future.get();
        if (result) {
          EXPECT_EQ(*result, n);
        } else {
          EXPECT_TRUE(result.error() == Errc::worker_lost || result.error() == Errc::cancelled ||
                      result.error() == Errc::task_failed)
              << result.error().to_string();
        }
        ++ends;
      }
    });
    EXPECT_EQ(pool.apply<square>(7).unwrap(), 49);
  }
  EXPECT_EQ(ends, 4 * passel_test::rounds(15));
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolWait, AWaiterLearnsOfTheDeathOfItsWorkerAndOfTheNextAttempt) {
  const auto before = census();
  {
    Pool pool = restless_pool(1);
    Queue<std::string> words;
    auto lost = pool.submit<wait_for_word>(words);
    BlockedThread waiter{[&] { EXPECT_TRUE(lost.get().error() == Errc::worker_lost); }};
    wait_until_it_runs(pool);
    waiter.wait_until_blocked();
    ASSERT_EQ(::kill(pool.stats().workers.at(0).pid, SIGKILL), 0);
    waiter.join();
    auto again = pool.submit<wait_for_word>({.attempts = 2}, words);
    BlockedThread patient{[&] { EXPECT_EQ(again.get().unwrap(), "second"); }};
    wait_until_it_runs(pool);
    patient.wait_until_blocked();
    ASSERT_EQ(::kill(pool.stats().workers.at(0).pid, SIGKILL), 0);
    words.put("second").unwrap();
    patient.join();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolWait, AWaiterThatGivesUpLeavesTheReadingToOthers) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  for (int i = 0; i < 20; ++i) {
    auto slow = pool.submit<wait_for_word>(words);
    EXPECT_FALSE(slow.wait_for(1ms));
    auto behind = pool.submit<square>(i);
    words.put("go").unwrap();
    // Nobody waits for the first: the pool has to read it.
    EXPECT_EQ(behind.get().unwrap(), i * i);
    EXPECT_EQ(slow.get().unwrap(), "go");
  }
}

TEST(PoolWait, TwoThreadsMayWaitForOneAnswer) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  for (int i = 0; i < 20; ++i) {
    Queue<std::string> words;
    const auto slow = pool.submit<wait_for_word>(words);
    BlockedThread one{[&] { slow.wait(); }};
    BlockedThread two{[&] { slow.wait(); }};
    one.wait_until_blocked();
    two.wait_until_blocked();
    words.put("both").unwrap();
  }
}

TEST(PoolWait, AWaiterOutlivesThePool) {
  const auto before = census();
  {
    Queue<std::string> words;
    auto pool = std::make_optional(Pool::start({.processes = 1}).unwrap());
    auto future = pool->submit<wait_for_word>(words);
    BlockedThread waiter{[&] { EXPECT_TRUE(future.get().error() == Errc::cancelled); }};
    waiter.wait_until_blocked();
    pool.reset();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// A thread that submits may hold a lock that callbacks take.
TEST(PoolWait, CallbacksOfOthersNeverRunOnAThreadThatSubmitsOrWaits) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  std::mutex mutex;
  std::set<std::thread::id> callers;
  std::set<std::thread::id> called_on;
  int calls = 0;
  constexpr int each = 300;
  const auto called = [&](int) {
    const std::lock_guard lock{mutex};
    called_on.insert(std::this_thread::get_id());
    ++calls;
  };
  in_threads(3, [&](int) {
    for (int i = 0; i < each; ++i) {
      {
        const std::lock_guard lock{mutex};
        callers.insert(std::this_thread::get_id());
        static_cast<void>(pool.apply_async<square>(passel::Callbacks{called}, i));
      }
      EXPECT_EQ(pool.apply<square>(i).unwrap(), i * i);
    }
  });
  pool.close();
  pool.join().unwrap();
  EXPECT_EQ(calls, 3 * each);
  for (const auto& thread : called_on) EXPECT_EQ(callers.count(thread), 0U);
}

TEST(PoolWait, AnExecutorsWaitersReadTheirAnswersToo) {
  auto executor = passel::ProcessPoolExecutor::start({.max_workers = 2}).unwrap();
  in_threads(2, [&](int thread) {
    for (int i = 0; i < 500; ++i) {
      const auto future = executor.submit<square>(thread + i);
      ASSERT_EQ(*future.result(), (thread + i) * (thread + i));
    }
  });
  auto slow = executor.submit<square>(3);
  executor.shutdown({.cancel_futures = true}).unwrap();
  EXPECT_TRUE(slow.done());
}

}  // namespace
