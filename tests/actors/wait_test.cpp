// wait, as_completed and when_all, after CPython's WaitTests.
#include <passel/wait.hpp>

#include "support/blocked_thread.hpp"

#include <gtest/gtest.h>

#include <malloc.h>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
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

TEST(Wait, PollingBesideAnotherWaiterLeavesNothing) {
  Pairs p{4};
  passel_test::BlockedThread sleeper{[&p] { static_cast<void>(wait(p.futures)); }};
  sleeper.wait_until_blocked();
  static_cast<void>(wait_for(p.futures, 0ms));
  const auto before = static_cast<std::ptrdiff_t>(::mallinfo2().uordblks);
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(wait_for(p.futures, 0ms).not_done.size(), 4U);
  EXPECT_LT(static_cast<std::ptrdiff_t>(::mallinfo2().uordblks) - before, 100'000);
  for (auto& promise : p.promises) promise.set(1);
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

TEST(WhenAll, OfFuturesWithoutValues) {
  Promise<void> one;
  Promise<void> other;
  std::vector<Future<void>> futures;
  futures.push_back(one.future());
  futures.push_back(other.future());
  auto all = passel::when_all(std::move(futures));
  other.set(Error{Errc::full, "x"});
  EXPECT_FALSE(all.done());
  one.set();
  EXPECT_TRUE(all.get().error() == Errc::full);
}

TEST(WhenAny, GivesTheFirstAndTheOthers) {
  Pairs p{3};
  auto any = passel::when_any(std::move(p.futures));
  EXPECT_FALSE(any.done());
  p.promises[1].set(7);
  p.promises[0].set(8);
  auto first = any.get().unwrap();
  EXPECT_EQ(first.index, 1U);
  EXPECT_EQ(*first.result, 7);
  EXPECT_FALSE(first.futures[1].valid());
  EXPECT_EQ(*first.futures[0].get(), 8);
  EXPECT_FALSE(first.futures[2].done());
}

TEST(WhenAny, TakesWhatIsDoneAlreadyAndNeedsAtLeastOne) {
  std::vector<Future<int>> futures;
  futures.push_back(Future<int>::of(Error{Errc::full, "x"}));
  futures.push_back(Future<int>::of(4));
  auto first = passel::when_any(std::move(futures)).get().unwrap();
  EXPECT_EQ(first.index, 0U);
  EXPECT_TRUE(first.result.error() == Errc::full);
  EXPECT_EQ(*first.futures[1].get(), 4);
  EXPECT_TRUE(passel::when_any(std::vector<Future<int>>{}).get().error() == Errc::invalid_argument);
}

TEST(WhenAny, MayBeContinuedAndCancelled) {
  Pairs p{2};
  auto sum = passel::when_any(std::move(p.futures)).then([](passel::WhenAny<int> first) {
    return *first.result + static_cast<int>(first.index);
  });
  p.promises[1].set(10);
  EXPECT_EQ(*sum.get(), 11);
  Pairs q{2};
  auto any = passel::when_any(std::move(q.futures));
  EXPECT_TRUE(any.cancel());
  EXPECT_TRUE(q.promises[0].cancelled());
  EXPECT_TRUE(q.promises[1].cancelled());
}

TEST(WhenAny, ManyRaces) {
  for (int round = 0; round < 500; ++round) {
    Pairs p{4};
    std::vector<std::thread> answers;
    for (std::size_t i = 0; i < 4; ++i) {
      answers.emplace_back([&p, i] { p.promises[i].set(static_cast<int>(i)); });
    }
    auto any = passel::when_any(std::move(p.futures));
    const bool cancelled = round % 3 == 0 && any.cancel();
    auto first = any.get();
    EXPECT_EQ(first.is_err(), cancelled);
    EXPECT_TRUE(cancelled || *first->result == static_cast<int>(first->index));
    for (auto& answer : answers) answer.join();
  }
}

// test_correct_timeout_exception_msg, test_future_times_out
TEST(AsCompleted, ATimeLimitCountsFromTheCall) {
  Pairs p{4};
  p.promises[1].set(1);
  p.promises[3].set(3);
  auto futures = as_completed(std::move(p.futures), 10ms);
  int given = 0;
  for (Future<int> future : futures) given += *future.get();
  EXPECT_EQ(given, 4);
  EXPECT_EQ(futures.left(), 2U);
  EXPECT_EQ(futures.next().error().what(), "2 (of 4) futures unfinished");
}

// test_free_reference_yielded_future
TEST(AsCompleted, KeepsNothingOfWhatItHasGivenBack) {
  std::vector<Promise<std::shared_ptr<int>>> promises(3);
  std::vector<Future<std::shared_ptr<int>>> results;
  std::vector<std::weak_ptr<int>> values;
  for (auto& promise : promises) {
    results.push_back(promise.future());
    auto value = std::make_shared<int>(1);
    values.push_back(value);
    promise.set(std::move(value));
  }
  promises.clear();
  auto futures = as_completed(std::move(results));
  for (const auto& value : values) {
    EXPECT_FALSE(value.expired());
    { const auto given = futures.next(); }
    EXPECT_TRUE(value.expired());
  }
}

}  // namespace
