// Futures and promises, after CPython's FutureTests.
#include <passel/future.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::Future;
using passel::Promise;
using passel::RemoteError;
using passel::Result;

TEST(Future, GetMovesTheValueOutOnce) {
  Promise<std::unique_ptr<int>> promise;
  auto future = promise.future();
  EXPECT_FALSE(future.done());
  EXPECT_TRUE(promise.set(std::make_unique<int>(7)));
  EXPECT_TRUE(future.done());
  EXPECT_EQ(**future.get(), 7);
  EXPECT_TRUE(future.get().error() == Errc::invalid_state);
  EXPECT_TRUE(future.result().error() == Errc::invalid_state);
}

TEST(Future, ResultIsRepeatableAndDoesNotMove) {
  Promise<std::string> promise;
  auto future = promise.future();
  promise.set(std::string{"text"});
  EXPECT_EQ(*future.result(), "text");
  EXPECT_EQ(*future.result(), "text");
  EXPECT_FALSE(future.exception().has_value());
  EXPECT_EQ(*future.get(), "text");
}

TEST(Future, ASecondSetKeepsTheFirstValueAndDoesNotMove) {
  Promise<std::string> promise;
  auto future = promise.future();
  EXPECT_TRUE(promise.set(std::string{"first"}));
  Result<std::string> second{std::string{"second, long enough to live on the heap"}};
  EXPECT_FALSE(promise.set(std::move(second)));
  EXPECT_EQ(*second, "second, long enough to live on the heap");
  EXPECT_EQ(*future.get(), "first");
}

TEST(Future, TimeoutLeavesItUsable) {
  Promise<int> promise;
  auto future = promise.future();
  EXPECT_TRUE(future.get_for(1ms).error() == Errc::timeout);
  EXPECT_TRUE(future.try_get().error() == Errc::timeout);
  EXPECT_FALSE(future.wait_for(0ms));
  promise.set(3);
  EXPECT_EQ(*future.get_for(1ms), 3);
}

TEST(Future, AnotherThreadWakesTheWaiter) {
  for (int round = 0; round < 200; ++round) {
    Promise<int> promise;
    auto future = promise.future();
    std::thread answer{[p = std::move(promise), round]() mutable { p.set(round); }};
    EXPECT_EQ(*future.get(), round);
    answer.join();
  }
}

TEST(Future, StatesFollowPython) {
  Promise<int> promise;
  auto future = promise.future();
  EXPECT_FALSE(future.running());
  EXPECT_TRUE(promise.set_running_or_notify_cancel());
  EXPECT_TRUE(future.running());
  EXPECT_FALSE(future.cancel());
  EXPECT_FALSE(promise.set_running_or_notify_cancel());
  promise.set(1);
  EXPECT_TRUE(future.done());
  EXPECT_FALSE(future.running());
  EXPECT_FALSE(future.cancel());
  EXPECT_FALSE(future.cancelled());
}

TEST(Future, CancelOfPendingWorkMeansItNeverRuns) {
  Promise<int> promise;
  auto future = promise.future();
  int hooks = 0;
  promise.on_cancel([&hooks] { ++hooks; });
  EXPECT_TRUE(future.cancel());
  EXPECT_TRUE(future.cancel());
  EXPECT_EQ(hooks, 1);
  EXPECT_TRUE(future.cancelled());
  EXPECT_FALSE(promise.set_running_or_notify_cancel());
  EXPECT_FALSE(promise.set(1));
  EXPECT_TRUE(future.get().error() == Errc::cancelled);
  EXPECT_TRUE(future.get().error() == Errc::cancelled);
  EXPECT_TRUE(future.exception()->code() == Errc::cancelled);
  promise.on_cancel([&hooks] { hooks += 10; });
  EXPECT_EQ(hooks, 11);
}

TEST(Future, CancelWakesAWaiter) {
  Promise<int> promise;
  auto future = promise.future();
  std::thread canceller{[&promise] { promise.cancel(); }};
  EXPECT_TRUE(future.get().error() == Errc::cancelled);
  canceller.join();
}

TEST(Future, OneOfCancelAndRunWins) {
  for (int round = 0; round < 500; ++round) {
    Promise<int> promise;
    auto future = promise.future();
    bool ran = false;
    std::thread worker{[&promise, &ran] { ran = promise.set_running_or_notify_cancel(); }};
    const bool cancelled = future.cancel();
    worker.join();
    ASSERT_NE(cancelled, ran);
  }
}

TEST(Future, StopReachesRunningWork) {
  Promise<int> promise;
  auto future = promise.future();
  int stops = 0;
  promise.on_stop([&stops] { ++stops; });
  ASSERT_TRUE(promise.set_running_or_notify_cancel());
  EXPECT_FALSE(promise.stop_requested());
  future.request_stop();
  future.request_stop();
  EXPECT_TRUE(promise.stop_requested());
  EXPECT_EQ(stops, 1);
}

TEST(Future, ADroppedPromiseIsBroken) {
  Future<int> future;
  EXPECT_FALSE(future.valid());
  EXPECT_TRUE(future.get().error() == Errc::invalid_state);
  {
    Promise<int> promise;
    future = promise.future();
    EXPECT_FALSE(promise.future().valid());
  }
  EXPECT_TRUE(future.get().error() == Errc::broken);
}

TEST(Future, ADroppedFutureGivesUpItsPlace) {
  int given_up = 0;
  Promise<int> promise;
  promise.on_abandoned([&given_up] { ++given_up; });
  { auto future = promise.future(); }
  EXPECT_EQ(given_up, 1);
  EXPECT_TRUE(promise.set(1));

  Promise<int> watched;
  watched.on_abandoned([&given_up] { ++given_up; });
  int seen = 0;
  watched.future().on_done([&seen](const Result<int>& r) { seen = *r; });
  EXPECT_EQ(given_up, 1);
  watched.set(5);
  EXPECT_EQ(seen, 5);
}

TEST(Future, CallbacksRunOnceInAddingOrderAndSurviveAThrow) {
  static std::atomic<int> reported;
  reported = 0;
  const auto before = passel::set_background_error_handler(
      [](const Error& e) noexcept { reported += e == Errc::task_failed; });
  Promise<int> promise;
  auto future = promise.future();
  std::string order;
  future.on_done([&order](const Result<int>& r) { order += "a" + std::to_string(*r); });
  future.on_done([&order] {
    order += "b";
    throw std::runtime_error{"in a callback"};
  });
  future.on_done([&order] { order += "c"; });
  promise.set(1);
  EXPECT_EQ(order, "a1bc");
  EXPECT_EQ(reported, 1);
  future.on_done([&order] { order += "d"; });
  EXPECT_EQ(order, "a1bcd");
  passel::set_background_error_handler(before);
}

TEST(Future, CallbacksHearOfErrorsAndCancels) {
  Promise<int> failed;
  auto f = failed.future();
  Errc code{};
  f.on_done([&code](const Result<int>& r) { code = r.error().code(); });
  failed.set(Error{Errc::too_large, "x"});
  EXPECT_EQ(code, Errc::too_large);
  Promise<int> cancelled;
  auto g = cancelled.future();
  g.on_done([&code](const Result<int>& r) { code = r.error().code(); });
  g.cancel();
  EXPECT_EQ(code, Errc::cancelled);
}

TEST(Future, GetWaitsUntilCallbacksHaveReadTheValue) {
  for (int round = 0; round < 200; ++round) {
    Promise<std::string> promise;
    auto future = promise.future();
    std::string copy;
    future.on_done([&copy](const Result<std::string>& r) { copy = *r; });
    std::thread answer{[&promise] { promise.set(std::string(100, 'x')); }};
    const std::string value = future.get().unwrap();
    EXPECT_EQ(value, copy);
    answer.join();
  }
}

TEST(Future, ThenMapsFlattensAndSkipsOnError) {
  Promise<int> promise;
  Future<std::string> text = promise.future()
                                 .then([](int n) { return n + 1; })
                                 .then([](int n) -> Result<int> { return n * 2; })
                                 .then([](int n) { return Future<int>::of(n + 1); })
                                 .then([](int n) { return std::to_string(n); });
  promise.set(1);
  EXPECT_EQ(*text.get(), "5");

  int called = 0;
  Promise<int> failing;
  auto none = failing.future().then([&called](int) { ++called; });
  failing.set(Error{Errc::full, "no room"});
  EXPECT_TRUE(none.get().error() == Errc::full);
  EXPECT_EQ(called, 0);

  auto thrown = Future<int>::of(1).then([](int) -> int { throw std::out_of_range{"nine"}; });
  const Error error = thrown.get().error();
  EXPECT_TRUE(error == Errc::task_failed);
  ASSERT_NE(error.detail<RemoteError>(), nullptr);
  EXPECT_EQ(error.detail<RemoteError>()->type_name, "std::out_of_range");
  EXPECT_EQ(error.detail<RemoteError>()->what, "nine");
}

TEST(Future, CancelFlowsUpAndDown) {
  Promise<int> promise;
  bool ran = false;
  auto next = promise.future().then([&ran](int) { ran = true; });
  EXPECT_TRUE(next.cancel());
  EXPECT_TRUE(promise.cancelled());

  Promise<int> down;
  auto child = down.future().then([&ran](int) { ran = true; });
  down.cancel();
  EXPECT_TRUE(child.cancelled());
  EXPECT_FALSE(ran);

  Promise<int> running;
  ASSERT_TRUE(running.set_running_or_notify_cancel());
  auto late = running.future().then([&ran](int) { ran = true; });
  EXPECT_TRUE(late.cancel());
  running.set(1);
  EXPECT_FALSE(ran);
}

TEST(Future, ThenOfADroppedFutureStillRuns) {
  Promise<int> promise;
  int seen = 0;
  {
    auto dropped = promise.future().then([&seen](int n) { seen = n; });
  }
  promise.set(9);
  EXPECT_EQ(seen, 9);
}

Future<int> add(Future<int> a, Future<int> b) {
  Result<int> x = co_await a;
  Result<int> y = co_await b;
  if (!x) co_return x.error();
  if (!y) co_return y.error();
  co_return *x + *y;
}

Future<void> fails(Future<int> a) {
  static_cast<void>(co_await std::move(a));
  throw std::runtime_error{"after the wait"};
}

TEST(Future, CoroutinesAwaitAndReturnFutures) {
  Promise<int> a;
  Promise<int> b;
  auto sum = add(a.future(), b.future());
  EXPECT_FALSE(sum.done());
  a.set(1);
  std::thread other{[&b] { b.set(2); }};
  EXPECT_EQ(*sum.get(), 3);
  other.join();
  EXPECT_TRUE(add(Future<int>::of(1), Future<int>::of(Error{Errc::empty, "x"})).get().error() ==
              Errc::empty);
  EXPECT_TRUE(fails(Future<int>::of(1)).get().error() == Errc::task_failed);
}

TEST(Future, VoidFuturesWork) {
  Promise<void> promise;
  auto future = promise.future();
  auto next = std::move(future).then([] { return 4; });
  EXPECT_TRUE(promise.set());
  EXPECT_EQ(*next.get(), 4);
}

TEST(Future, ManyWaitersAllWake) {
  Promise<int> promise;
  const auto future = promise.future();
  std::vector<std::thread> waiters;
  std::atomic<int> sum{0};
  for (int i = 0; i < 4; ++i) waiters.emplace_back([&] { sum += *future.result(); });
  promise.set(5);
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(sum, 20);
}

TEST(Future, AWaitThatWasTooShortNamesWhatItWasFor) {
  Promise<int> promise;
  Future<int> future = promise.future();
  const auto unnamed = future.get_for(2ms);
  EXPECT_EQ(unnamed.error().what(), "no result within 2 ms");
  EXPECT_EQ(unnamed.error().detail<passel::LateAnswer>()->work, "");
  promise.describe("the weather");
  const auto pending = future.get_for(3ms);
  EXPECT_EQ(pending.error().what(), "no result within 3 ms: the weather has not begun");
  promise.set_running_or_notify_cancel();
  const auto running = future.exception_for(4ms);
  EXPECT_EQ(running.error().what(), "no result within 4 ms: the weather is running");
  const auto* late = running.error().detail<passel::LateAnswer>();
  ASSERT_NE(late, nullptr);
  EXPECT_EQ(late->waited, 4ms);
  EXPECT_EQ(late->work, "the weather");
  EXPECT_TRUE(late->running);
}

// test_exception_with_timeout, test_exception_with_success
TEST(Future, ExceptionWaitsAndTellsTheErrorOrNone) {
  Promise<int> promise;
  Future<int> future = promise.future();
  const auto late = future.exception_for(1ms);
  EXPECT_TRUE(late.is_err() && late.error() == Errc::timeout);
  std::thread answer{[&promise] { promise.set(Error{Errc::full, "x"}); }};
  const auto error = future.exception_for(60s);
  answer.join();
  ASSERT_TRUE(error.is_ok() && error->has_value());
  EXPECT_TRUE(**error == Errc::full);
  EXPECT_TRUE(*future.exception() == Errc::full);  // repeatable
  EXPECT_FALSE(Future<int>::of(1).exception().has_value());
  Promise<int> dropped;
  Future<int> cancelled = dropped.future();
  cancelled.cancel();
  EXPECT_TRUE(*cancelled.exception() == Errc::cancelled);
}

// test_repr
TEST(Future, TellsItsStateAsText) {
  Promise<int> promise;
  Future<int> future = promise.future();
  EXPECT_EQ(future.to_string(), "<Future state=pending>");
  promise.set_running_or_notify_cancel();
  EXPECT_EQ(future.to_string(), "<Future state=running>");
  promise.set(4);
  EXPECT_EQ(future.to_string(), "<Future state=finished returned int>");
  EXPECT_EQ(Future<int>::of(Error{Errc::full, "x"}).to_string(),
            "<Future state=finished raised full>");
  Promise<void> other;
  Future<void> cancelled = other.future();
  cancelled.cancel();
  EXPECT_EQ(cancelled.to_string(), "<Future state=cancelled>");
}

Future<int> adds_unwrapped(Future<int> a, Future<int> b) {
  co_return (co_await std::move(a)).unwrap() + (co_await std::move(b)).unwrap();
}

TEST(Future, AnErrorUnwrappedInACoroutineIsItsError) {
  EXPECT_EQ(adds_unwrapped(Future<int>::of(1), Future<int>::of(2)).get().unwrap(), 3);
  const auto failed =
      adds_unwrapped(Future<int>::of(1), Future<int>::of(Error{Errc::empty, "none"})).get();
  EXPECT_TRUE(failed.error() == Errc::empty);
}

}  // namespace
