// Pool: tasks that call the pool they run in; while they wait, their slot is lent.
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/this_task.hpp>

#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>
#include <numeric>
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

/// What this process owns, once it has had a pool: the first one starts the threads that all actors
/// share.
passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

int square(int n) { return n * n; }
std::string shout(const std::string& text) { return text + "!"; }
std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }

int sum_of_squares(int count) {
  Pool pool = passel::this_task::pool().unwrap();
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  const auto squares = pool.map<square>(numbers, {.chunksize = 1}).unwrap();
  return std::accumulate(squares.begin(), squares.end(), 0);
}

/// A tree of calls, each of which waits for two others.
int count_leaves(int depth) {
  if (depth == 0) return 1;
  Pool pool = passel::this_task::pool().unwrap();
  auto left = pool.submit<count_leaves>(depth - 1);
  auto right = pool.submit<count_leaves>(depth - 1);
  return left.get().unwrap() + right.get().unwrap();
}

TEST(PoolNested, AMapInATaskOfAPoolOfOneDoesNotDeadlock) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    EXPECT_EQ(pool.apply<sum_of_squares>(10).unwrap(), 285);
    for (int i = 0; i < 20; ++i) ASSERT_EQ(pool.apply<sum_of_squares>(4).unwrap(), 14);
    std::vector<Future<int>> many;
    for (int i = 0; i < 10; ++i) many.push_back(pool.submit<sum_of_squares>(5));
    for (auto& future : many) EXPECT_EQ(future.get().unwrap(), 30);
    EXPECT_EQ(pool.stats().restarts, 0U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolNested, DeepTreesOfCallsEnd) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    EXPECT_EQ(pool.apply<count_leaves>(5).unwrap(), 32);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolNested, AllKindsOfCallsWorkFromATask) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const auto seen = pool.apply(
      [](int n) {
        Pool mine = passel::this_task::pool().unwrap();
        std::vector<std::string> out;
        out.push_back(mine.apply<shout>("one").unwrap());
        for (auto& result : mine.imap<square>(std::vector{1, 2, n}).unwrap())
          out.push_back(std::to_string(*result));
        const std::string large(300'000, 'x');
        out.push_back(std::to_string(mine.apply<shout>(large)->size()));
        const auto failed = mine.apply([]() -> int { throw std::runtime_error{"inside"}; });
        out.push_back(failed.error().to_string());
        mine.close();
        out.push_back(mine.join().error().to_string());
        return out;
      },
      3);
  ASSERT_TRUE(seen.is_ok()) << seen.error().to_string();
  ASSERT_EQ(seen->size(), 7U);
  EXPECT_EQ(seen->at(0), "one!");
  EXPECT_EQ(seen->at(3), "9");
  EXPECT_EQ(seen->at(4), "300001");
  EXPECT_THAT(seen->at(5), ::testing::HasSubstr("inside"));
  EXPECT_THAT(seen->at(6), ::testing::HasSubstr("cannot join"));
  EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
}

TEST(PoolNested, ManyCallsOfOneTask) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  const auto sum = pool.apply(
      [](int count) {
        Pool mine = passel::this_task::pool().unwrap();
        std::vector<Future<int>> futures;
        for (int i = 0; i < count; ++i) futures.push_back(mine.submit<square>(1));
        int total = 0;
        for (auto& future : futures) total += future.get().unwrap();
        return total;
      },
      2'000);
  EXPECT_EQ(*sum, 2'000);
}

TEST(PoolNested, CloseLetsCallsOfTasksFinish) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  auto outer = pool.submit<sum_of_squares>(20);
  pool.close();
  EXPECT_EQ(outer.get().unwrap(), 2'470);
  pool.join().unwrap();
}

TEST(PoolNested, ADeadCallIsToldToItsCaller) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const auto told = pool.apply(
      [](int signal) {
        Pool mine = passel::this_task::pool().unwrap();
        const auto lost = mine.apply([](int number) { return ::raise(number); }, signal);
        return lost.is_err() ? std::string{to_string(lost.error().code())} : std::string{"done"};
      },
      SIGKILL);
  ASSERT_TRUE(told.is_ok()) << told.error().to_string();
  EXPECT_EQ(*told, "worker_lost");
  EXPECT_EQ(pool.apply<square>(3).unwrap(), 9);
}

TEST(PoolNested, ACallerThatDiesLeavesThePoolUsable) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    Queue<std::string> words;
    const auto lost = pool.apply(
        [](const Queue<std::string>& in) {
          Pool mine = passel::this_task::pool().unwrap();
          auto inner = mine.submit<wait_for_word>(in);
          auto behind = mine.submit<wait_for_word>(in);
          while (!inner.done()) {
            if (inner.get_for(50ms).is_err()) ::raise(SIGKILL);
          }
        },
        words);
    EXPECT_TRUE(lost.error() == Errc::worker_lost);
    words.put("the one that runs already").unwrap();
    EXPECT_EQ(pool.apply<square>(3).unwrap(), 9);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolNested, TerminateEndsTasksThatWaitForOthers) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    Queue<std::string> never;
    Queue<std::string> begun;
    auto outer = pool.submit(
        [](const Queue<std::string>& in, const Queue<std::string>& out) {
          Pool mine = passel::this_task::pool().unwrap();
          auto inner = mine.submit(
              [](const Queue<std::string>& i, const Queue<std::string>& o) {
                o.put("begun").unwrap();
                return i.get().unwrap();
              },
              in, out);
          return inner.get().unwrap();
        },
        never, begun);
    EXPECT_EQ(begun.get().unwrap(), "begun");
    pool.terminate();
    EXPECT_TRUE(outer.get().error() == Errc::cancelled);
    pool.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolNested, OutsideOfATaskThereIsNoPool) {
  EXPECT_TRUE(passel::this_task::pool().error() == Errc::invalid_state);
  EXPECT_FALSE(passel::this_task::stop_requested());
  EXPECT_FALSE(passel::this_task::stop_token().stop_possible());
  EXPECT_EQ(passel::this_task::attempt(), 0U);
}

}  // namespace
