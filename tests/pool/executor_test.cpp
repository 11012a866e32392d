// What all executors have in common, after CPython's ExecutorTest and ExecutorShutdownTest.
#include <passel/process_pool_executor.hpp>
#include <passel/queue.hpp>
#include <passel/serial_executor.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include "support/process_census.hpp"

#include "endless.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::ExecutorMapOptions;
using passel::Future;
using passel::ProcessPoolExecutor;
using passel::Result;
using passel::SerialExecutor;
using passel::ThreadPoolExecutor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

int square(int n) { return n * n; }
int power(int base, int exponent) {
  int result = 1;
  while (exponent-- > 0) result *= base;
  return result;
}
int three_is_bad(int n) {
  if (n == 3) throw std::invalid_argument{"no three"};
  return n;
}
Result<int> half(int n) {
  if (n % 2 != 0) return Error{Errc::invalid_argument, std::to_string(n) + " is odd"};
  return n / 2;
}
std::string wait_for_word(const passel::Queue<std::string>& words) { return words.get().unwrap(); }
void count(const passel::Queue<int>& runs) { runs.put(1).unwrap(); }
int count_and_wait(int n, const passel::Queue<int>& runs, const passel::Queue<std::string>& words) {
  runs.put(n).unwrap();
  static_cast<void>(words.get());
  return n;
}

template <class E>
E make(int workers) {
  if constexpr (std::is_same_v<E, SerialExecutor>) {
    return E{};
  } else {
    return E::start({.max_workers = workers}).unwrap();
  }
}

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

template <class R>
std::vector<R> values(passel::ExecutorResults<R> results) {
  std::vector<R> all;
  for (Result<R>& each : results) all.push_back(std::move(each).unwrap());
  return all;
}

template <class E>
class Executor : public ::testing::Test {};
using All = ::testing::Types<ThreadPoolExecutor, ProcessPoolExecutor, SerialExecutor>;
TYPED_TEST_SUITE(Executor, All);

/// Those that run tasks beside their caller.
template <class E>
class Concurrent : public ::testing::Test {};
using Pools = ::testing::Types<ThreadPoolExecutor, ProcessPoolExecutor>;
TYPED_TEST_SUITE(Concurrent, Pools);

// test_submit, test_submit_keyword
TYPED_TEST(Executor, SubmitGivesAFuture) {
  auto executor = make<TypeParam>(2);
  Future<int> by_name = executor.template submit<power>(2, 8);
  Future<std::string> lambda = executor.submit(
      [](const std::string& text, int n) { return text + std::to_string(n); }, std::string{"x"}, 4);
  EXPECT_EQ(by_name.get().unwrap(), 256);
  EXPECT_EQ(lambda.get().unwrap(), "x4");
  executor.submit([] {}).get().unwrap();
}

// test_run_after_shutdown
TYPED_TEST(Executor, NothingCanBeSubmittedAfterShutdown) {
  auto executor = make<TypeParam>(1);
  executor.shutdown().unwrap();
  auto refused = executor.template submit<square>(2);
  ASSERT_TRUE(refused.done());
  EXPECT_EQ(refused.get().error().to_string(),
            "invalid_state: cannot schedule new futures after shutdown");
  EXPECT_TRUE(executor.template map<square>(numbers(3)).error() == Errc::invalid_state);
  executor.shutdown().unwrap();  // may be repeated
}

TYPED_TEST(Executor, ErrorsAndExceptionsAreTheFuturesError) {
  auto executor = make<TypeParam>(1);
  EXPECT_EQ(executor.template submit<half>(8).get().unwrap(), 4);
  EXPECT_EQ(executor.template submit<half>(3).get().error().what(), "3 is odd");
  const Error thrown = executor.template submit<three_is_bad>(3).get().error();
  EXPECT_TRUE(thrown == Errc::task_failed);
  const auto* remote = thrown.template detail<passel::RemoteError>();
  ASSERT_NE(remote, nullptr);
  EXPECT_EQ(remote->type_name, "std::invalid_argument");
  EXPECT_EQ(remote->what, "no three");
}

// test_map
TYPED_TEST(Executor, MapKeepsTheOrder) {
  auto executor = make<TypeParam>(3);
  EXPECT_THAT(values(executor.template map<square>(numbers(10)).unwrap()),
              ElementsAre(0, 1, 4, 9, 16, 25, 36, 49, 64, 81));
  const std::list<int> items{3, 1, 2};
  EXPECT_THAT(values(executor.map([](int n) { return n + 1; }, items).unwrap()),
              ElementsAre(4, 2, 3));
  EXPECT_TRUE(values(executor.template map<square>(std::vector<int>{}).unwrap()).empty());
  int done = 0;
  for (auto& each : executor.map([](int) {}, numbers(3)).unwrap()) done += each.is_ok() ? 1 : 0;
  EXPECT_EQ(done, 3);
}

TYPED_TEST(Executor, MapOfSeveralRangesEndsWithTheShortest) {
  auto executor = make<TypeParam>(2);
  const std::vector<int> bases{2, 3, 4, 5};
  EXPECT_THAT(values(executor.template map<power>(bases, std::vector{3, 2, 1}).unwrap()),
              ElementsAre(8, 9, 4));
  EXPECT_THAT(values(executor
                         .map([](int a, int b, int c) { return a + b + c; }, bases,
                              std::vector{1, 1, 1, 1}, std::vector{0, 0})
                         .unwrap()),
              ElementsAre(3, 4));
}

// test_map_exception, and what CPython does from 3.16 on (python/cpython#108518)
TYPED_TEST(Executor, MapGoesOnAfterAnError) {
  auto executor = make<TypeParam>(2);
  for (const std::size_t chunksize : {1, 2}) {
    std::string seen;
    for (auto& n :
         executor.template map<three_is_bad>(numbers(6), {.chunksize = chunksize}).unwrap())
      seen += n ? std::to_string(*n) : "!";
    EXPECT_EQ(seen, "012!45");
  }
}

// test_map_chunksize
TYPED_TEST(Executor, ChunksChangeNoResult) {
  auto executor = make<TypeParam>(2);
  const auto expected = values(executor.template map<square>(numbers(40)).unwrap());
  for (const std::size_t chunksize : {6, 40, 50}) {
    EXPECT_EQ(values(executor.template map<square>(numbers(40), {.chunksize = chunksize}).unwrap()),
              expected);
  }
  EXPECT_EQ(executor.template map<square>(numbers(3), {.chunksize = 0}).error().to_string(),
            "invalid_argument: chunksize must be >= 1, not 0");
}

TYPED_TEST(Executor, ChunksOfAnyType) {
  auto executor = make<TypeParam>(2);
  const std::vector<std::string> words{"a", "bb", "ccc"};
  const std::vector<int> times{1, 2, 3};
  EXPECT_THAT(
      values(executor
                 .map([](const std::string& word, int n) { return word + std::to_string(n); },
                      ExecutorMapOptions{.chunksize = 2}, words, times)
                 .unwrap()),
      ElementsAre("a1", "bb2", "ccc3"));
  int done = 0;
  for (auto& each : executor.map([](int) {}, numbers(5), {.chunksize = 2}).unwrap())
    done += each.is_ok() ? 1 : 0;
  EXPECT_EQ(done, 5);
  EXPECT_THAT(
      values(executor.map([](int n) { return n % 2 == 0; }, times, {.chunksize = 2}).unwrap()),
      ElementsAre(false, true, false));
}

// test_map_submits_without_iteration
TYPED_TEST(Executor, MapSubmitsWithoutIteration) {
  auto executor = make<TypeParam>(2);
  const passel::Queue<int> runs;
  const std::vector<passel::Queue<int>> copies(11, runs);
  const auto results = executor.template map<count>(copies).unwrap();
  executor.shutdown().unwrap();
  for (int i = 0; i < 11; ++i) EXPECT_TRUE(runs.get_for(0s).is_ok());
}

// test_map_buffersize_type_validation, _value_validation, test_map_buffersize
TYPED_TEST(Executor, ABufferSizeChangesNoResult) {
  auto executor = make<TypeParam>(2);
  for (const std::size_t size : {1, 2, 4, 8}) {
    EXPECT_THAT(values(executor.template map<square>(numbers(4), {.buffersize = size}).unwrap()),
                ElementsAre(0, 1, 4, 9));
  }
  EXPECT_EQ(executor.template map<square>(numbers(3), {.buffersize = 0}).error().to_string(),
            "invalid_argument: buffersize must be > 0, not 0");
}

// test_map_buffersize_on_infinite_iterable, _when_buffer_is_full, _laziness
TYPED_TEST(Executor, ABufferSizeReadsNoFurther) {
  auto executor = make<TypeParam>(2);
  int read = 0;
  const Endless endless{&read};
  auto results = executor.template map<square>(endless, {.buffersize = 4}).unwrap();
  EXPECT_EQ(read, 4);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(**results.next(), i * i);
    EXPECT_EQ(read, 5 + i);
  }
  // The end of the executor is said, once, and is the end of the results.
  executor.shutdown().unwrap();
  int rest = 0;
  while (auto next = results.next()) {
    if (!*next) {
      EXPECT_EQ(next->error().what(), "cannot schedule new futures after shutdown");
      break;
    }
    ++rest;
  }
  EXPECT_EQ(rest, 4);
  EXPECT_FALSE(results.next().has_value());
}

// test_context_manager_shutdown, test_del_shutdown
TYPED_TEST(Executor, DestructionFinishesWhatWasSubmitted) {
  std::vector<Future<int>> futures;
  {
    auto executor = make<TypeParam>(2);
    for (int i = 0; i < 20; ++i) futures.push_back(executor.template submit<square>(i));
  }
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(futures[static_cast<std::size_t>(i)].try_get().unwrap(), i * i);
}

TYPED_TEST(Executor, AnotherOneCanBeAssigned) {
  auto executor = make<TypeParam>(1);
  auto early = executor.template submit<square>(3);
  executor = make<TypeParam>(1);
  EXPECT_TRUE(early.done());
  EXPECT_EQ(executor.template submit<square>(4).get().unwrap(), 16);
}

// test_max_workers_negative
TYPED_TEST(Concurrent, NeedsAtLeastOneWorker) {
  for (const int workers : {0, -1}) {
    EXPECT_EQ(
        TypeParam::start({.max_workers = workers}).error().to_string(),
        "invalid_argument: max_workers must be greater than 0, not " + std::to_string(workers));
  }
}

// test_map_timeout
TYPED_TEST(Concurrent, MapGivesTheResultsThatAreThereInTime) {
  auto executor = make<TypeParam>(3);
  const std::vector<passel::Queue<std::string>> words(3);
  words[0].put("in time").unwrap();
  auto results = executor.template map<wait_for_word>(words, {.timeout = 500ms}).unwrap();
  EXPECT_EQ(**results.next(), "in time");
  const auto late = results.next();
  ASSERT_TRUE(late.has_value());
  EXPECT_TRUE(late->error() == Errc::timeout) << late->error().to_string();
  EXPECT_FALSE(results.next().has_value());
  for (const auto& each : words) each.put("late").unwrap();
}

TYPED_TEST(Concurrent, NextForMayBeRepeated) {
  auto executor = make<TypeParam>(1);
  passel::Queue<std::string> words;
  auto results = executor.template map<wait_for_word>(std::vector{words}).unwrap();
  EXPECT_TRUE(results.next_for(1ms)->error() == Errc::timeout);
  words.put("there").unwrap();
  EXPECT_EQ(**results.next_for(60s), "there");
  EXPECT_FALSE(results.next_for(1ms).has_value());
}

// test_shutdown_no_wait
TYPED_TEST(Concurrent, ShutdownWithoutWaitReturnsAtOnceAndTheWorkGoesOn) {
  auto executor = make<TypeParam>(1);
  passel::Queue<std::string> words;
  auto first = executor.template submit<wait_for_word>(words);
  auto second = executor.template submit<square>(5);
  executor.shutdown({.wait = false}).unwrap();
  EXPECT_FALSE(first.done());
  EXPECT_TRUE(executor.template submit<square>(1).get().error() == Errc::invalid_state);
  EXPECT_TRUE(executor.shutdown_for(1ms).error() == Errc::timeout);
  words.put("go on").unwrap();
  executor.shutdown().unwrap();
  EXPECT_EQ(first.try_get().unwrap(), "go on");
  EXPECT_EQ(second.try_get().unwrap(), 25);
}

// test_cancel_futures, test_cancel_futures_wait_false
TYPED_TEST(Concurrent, ShutdownMayCancelWhatHasNotStarted) {
  auto executor = make<TypeParam>(2);
  passel::Queue<int> runs;
  passel::Queue<std::string> words;
  std::vector<Future<int>> futures;
  for (int i = 0; i < 50; ++i)
    futures.push_back(executor.template submit<count_and_wait>(i, runs, words));
  runs.get().unwrap();
  executor.shutdown({.wait = false, .cancel_futures = true}).unwrap();
  // At once, not when a worker comes to them.
  int cancelled = 0;
  for (const auto& future : futures) cancelled += future.cancelled() ? 1 : 0;
  EXPECT_GE(cancelled, 40);
  for (int i = cancelled; i < 50; ++i) words.put("go on").unwrap();
  executor.shutdown().unwrap();
  int finished = 0;
  for (auto& future : futures) finished += future.get().is_ok() ? 1 : 0;
  EXPECT_EQ(finished + cancelled, 50);
}

// test_hang_gh94440: a future that was cancelled just before
TYPED_TEST(Concurrent, ShutdownBehindACancelEnds) {
  auto executor = make<TypeParam>(1);
  passel::Queue<std::string> words;
  auto running = executor.template submit<wait_for_word>(words);
  auto waiting = executor.template submit<square>(1);
  waiting.cancel();
  words.put("x").unwrap();
  executor.shutdown().unwrap();
  EXPECT_TRUE(running.done());
  EXPECT_TRUE(waiting.done());
}

TYPED_TEST(Concurrent, FuturesOfDifferentExecutorsCanBeWaitedForTogether) {
  auto one = make<TypeParam>(1);
  auto other = make<ThreadPoolExecutor>(1);
  std::vector<Future<int>> futures;
  futures.push_back(one.template submit<square>(2));
  futures.push_back(other.submit([] { return 3; }));
  EXPECT_TRUE(passel::wait(futures).not_done.empty());
  int sum = 0;
  for (Future<int> each : passel::as_completed(std::move(futures))) sum += each.get().unwrap();
  EXPECT_EQ(sum, 7);
}

}  // namespace
