// wait, as_completed and when_all, after CPython's WaitTests.
#include <passel/wait.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::as_completed;
using passel::Errc;
using passel::Error;
using passel::Future;
using passel::Promise;
using passel::wait;
using passel::wait_for;
using passel::WaitFor;
using Positions = std::vector<std::size_t>;

struct Pairs {
  explicit Pairs(std::size_t count) : promises(count) {
    for (auto& promise : promises) futures.push_back(promise.future());
  }
  std::vector<Promise<int>> promises;
  std::vector<Future<int>> futures;
};

TEST(Wait, AllCompletedWaitsForTheLast) {
  Pairs p{3};
  std::thread answer{[&p] {
    p.promises[1].set(1);
    p.promises[0].set(Error{Errc::full, "x"});
    p.promises[2].cancel();
  }};
  const auto result = wait(p.futures);
  EXPECT_EQ(result.done, (Positions{0, 1, 2}));
  EXPECT_TRUE(result.not_done.empty());
  answer.join();
}

TEST(Wait, FirstCompletedReturnsWithWhatThereIs) {
  Pairs p{3};
  p.promises[2].set(1);
  const auto result = wait(p.futures, WaitFor::first_completed);
  EXPECT_EQ(result.done, Positions{2});
  EXPECT_EQ(result.not_done, (Positions{0, 1}));
  EXPECT_EQ(*p.futures[2].get(), 1);
}

TEST(Wait, FirstExceptionIgnoresValuesAndCancels) {
  Pairs p{4};
  p.promises[0].set(1);
  p.promises[1].cancel();
  EXPECT_EQ(wait_for(p.futures, 1ms, WaitFor::first_exception).not_done, (Positions{2, 3}));
  std::thread answer{[&p] { p.promises[3].set(Error{Errc::full, "x"}); }};
  const auto result = wait(p.futures, WaitFor::first_exception);
  answer.join();
  EXPECT_EQ(result.not_done, Positions{2});
}

TEST(Wait, ATimeoutMayBeRepeatedAndEmptyRangesReturnAtOnce) {
  Pairs p{2};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(wait_for(p.futures, 0ms).not_done.size(), 2U);
  EXPECT_TRUE(wait(std::vector<Future<int>>{}).done.empty());
  std::vector<Future<int>> empty(1);
  EXPECT_EQ(wait(empty).done, Positions{0});
}

TEST(Wait, SeveralThreadsMayWaitForTheSameFutures) {
  for (int round = 0; round < 100; ++round) {
    Pairs p{4};
    std::vector<std::thread> waiters;
    std::atomic<int> woken{0};
    for (int i = 0; i < 3; ++i) {
      waiters.emplace_back([&] {
        while (!wait_for(p.futures, 100us).not_done.empty()) {
        }
        ++woken;
      });
    }
    for (auto& promise : p.promises) promise.set(1);
    for (auto& waiter : waiters) waiter.join();
    EXPECT_EQ(woken, 3);
  }
}

TEST(AsCompleted, GivesBackInTheOrderOfCompletion) {
  Pairs p{3};
  auto futures = as_completed(std::move(p.futures));
  p.promises[2].set(2);
  p.promises[0].set(0);
  EXPECT_EQ(*futures.next().unwrap().get(), 2);
  EXPECT_EQ(*futures.next().unwrap().get(), 0);
  EXPECT_TRUE(futures.next_for(1ms).error() == Errc::timeout);
  EXPECT_EQ(futures.left(), 1U);
  p.promises[1].set(1);
  EXPECT_EQ(*futures.next_for(10s).unwrap().get(), 1);
  EXPECT_TRUE(futures.next().error() == Errc::closed);
}

TEST(AsCompleted, IsARangeAcrossThreads) {
  Pairs p{200};
  auto completed = as_completed(std::move(p.futures));
  std::thread answer{[&p] {
    for (std::size_t i = 0; i < p.promises.size(); ++i)
      p.promises[(i * 7) % 200].set(static_cast<int>(i));
  }};
  int sum = 0;
  int last = -1;
  for (Future<int> future : completed) {
    const int value = future.get().unwrap();
    EXPECT_EQ(value, last + 1);
    last = value;
    sum += value;
  }
  answer.join();
  EXPECT_EQ(sum, 199 * 200 / 2);
}

TEST(AsCompleted, MayBeDroppedBeforeTheEnd) {
  Pairs p{2};
  {
    auto futures = as_completed(std::move(p.futures));
    p.promises[0].set(1);
    EXPECT_TRUE(futures.next().is_ok());
  }
  EXPECT_TRUE(p.promises[1].set(1));
}

TEST(WhenAll, CollectsValuesOrTheFirstFailure) {
  Pairs p{2};
  auto all = passel::when_all(std::move(p.futures));
  p.promises[1].set(2);
  EXPECT_FALSE(all.done());
  p.promises[0].set(1);
  EXPECT_EQ(*all.get(), (std::vector<int>{1, 2}));
  Pairs q{2};
  auto failed = passel::when_all(std::move(q.futures));
  q.promises[0].set(Error{Errc::empty, "x"});
  EXPECT_TRUE(failed.get().error() == Errc::empty);
}

}  // namespace
