// Results that come while their task still runs: TaskOutput and TaskStream, over everything that
// runs tasks, and over worker processes that die in the middle.
#include <passel/event.hpp>
#include <passel/pool.hpp>
#include <passel/process_pool_executor.hpp>
#include <passel/serial_executor.hpp>
#include <passel/this_task.hpp>
#include <passel/thread_pool.hpp>
#include <passel/thread_pool_executor.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <chrono>
#include <csignal>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::Event;
using passel::Pool;
using passel::ProcessPoolExecutor;
using passel::Result;
using passel::RetryOn;
using passel::SerialExecutor;
using passel::TaskOutput;
using passel::TaskStream;
using passel::ThreadPool;
using passel::ThreadPoolExecutor;
using passel_test::ProcessCensus;
using testing::ElementsAre;
using testing::HasSubstr;

void count_up(TaskOutput<int>& out, int from, int to) {
  for (int n = from; n < to; ++n) out.send(n).unwrap();
}
void nothing(TaskOutput<std::string>&) {}
Result<void> words(TaskOutput<std::string>& out, const char* prefix, std::vector<int> numbers) {
  for (const int n : numbers) {
    const std::string word = prefix + std::to_string(n);
    if (auto sent = out.send(word); !sent) return sent.error();
  }
  return Error{Errc::not_found, "no more numbers"};
}
void one_by_one(TaskOutput<int>& out, const Event& go_on) {
  out.send(1).unwrap();
  go_on.wait();
  out.send(2).unwrap();
}
/// Sends as much as fits, says so, then sends -1.
void fill(TaskOutput<int>& out, const Event& full) {
  int sent = 0;
  for (;;) {
    const Result<void> done = out.try_send(sent);
    if (done.is_err()) {
      if (done.error() != Errc::full) throw std::logic_error{done.error().to_string()};
      break;
    }
    ++sent;
  }
  if (out.send_for(sent, 1ms).error() != Errc::timeout) throw std::logic_error{"no time limit"};
  full.set();
  out.send(-1).unwrap();
}
void endless(TaskOutput<int>& out, const Event& ended) {
  for (int n = 0;; ++n) {
    const auto sent = out.send(n);
    if (!sent.is_err()) continue;
    if (sent.error() == Errc::cancelled) ended.set();
    return;
  }
}
void fail_after(TaskOutput<int>& out, int items) {
  count_up(out, 0, items);
  throw std::runtime_error{"out of numbers"};
}

template <class T>
struct Read {
  std::vector<T> items{};
  std::vector<Error> errors{};
};
template <class T>
Read<T> read(TaskStream<T>& stream) {
  Read<T> all;
  for (Result<T>& item : stream) {
    if (item) {
      EXPECT_TRUE(all.errors.empty()) << "an item behind an error";
      all.items.push_back(*std::move(item));
    } else {
      all.errors.push_back(item.error());
    }
  }
  return all;
}
std::vector<int> numbers(int to) {
  std::vector<int> all;
  for (int n = 0; n < to; ++n) all.push_back(n);
  return all;
}

template <class E>
E start() {
  if constexpr (std::is_same_v<E, SerialExecutor>) {
    return E{};
  } else if constexpr (std::is_same_v<E, Pool> || std::is_same_v<E, ThreadPool>) {
    return E::start({.processes = 2}).unwrap();
  } else {
    return E::start({.max_workers = 2}).unwrap();
  }
}

template <class E>
class Streams : public testing::Test {
 protected:
  E pool = start<E>();
};
using Everybody =
    testing::Types<Pool, ThreadPool, ProcessPoolExecutor, ThreadPoolExecutor, SerialExecutor>;
TYPED_TEST_SUITE(Streams, Everybody);

TYPED_TEST(Streams, ItemsComeInOrderAndThenTheEnd) {
  auto stream = this->pool.template stream<count_up>(0, 10'000).unwrap();
  const auto all = read(stream);
  EXPECT_EQ(all.items, numbers(10'000));
  EXPECT_TRUE(all.errors.empty());
  EXPECT_FALSE(stream.next().has_value());
}

TYPED_TEST(Streams, ATaskMaySendNothingOrReturnAnErrorOrThrow) {
  auto none = this->pool.template stream<nothing>().unwrap();
  EXPECT_FALSE(none.next().has_value());
  auto stream = this->pool.template stream<words>("n", std::vector{3, 5}).unwrap();
  const auto some = read(stream);
  EXPECT_THAT(some.items, ElementsAre("n3", "n5"));
  ASSERT_EQ(some.errors.size(), 1U);
  EXPECT_EQ(some.errors[0], Errc::not_found);
  auto thrown = this->pool.template stream<fail_after>({.window = 1}, 3);
  if constexpr (!std::is_same_v<TypeParam, SerialExecutor>) {
    const auto last = read(*thrown);
    EXPECT_EQ(last.items, numbers(3));
    ASSERT_EQ(last.errors.size(), 1U);
    EXPECT_EQ(last.errors[0], Errc::task_failed);
    EXPECT_THAT(last.errors[0].what(), HasSubstr("out of numbers"));
  }
}

TYPED_TEST(Streams, ALambdaStreamsAsWell) {
  auto stream = this->pool
                    .stream(
                        {.window = 2},
                        [](TaskOutput<std::string>& out, const std::string& word) {
                          for (std::size_t n = 1; n <= word.size(); ++n)
                            out.send(word.substr(0, n)).unwrap();
                        },
                        "abc")
                    .unwrap();
  EXPECT_THAT(read(stream).items, ElementsAre("a", "ab", "abc"));
}

TYPED_TEST(Streams, AWindowMustBeOneOfThoseAllowed) {
  for (const std::size_t window : {std::size_t{0}, std::size_t{129}}) {
    const auto stream = this->pool.template stream<count_up>({.window = window}, 0, 1);
    ASSERT_TRUE(stream.is_err());
    EXPECT_EQ(stream.error(), Errc::invalid_argument);
    EXPECT_THAT(stream.error().what(), HasSubstr("1 to 128 items, not " + std::to_string(window)));
  }
}

/// However late a task comes to see that it should end, it is not made to.
const passel::TaskOptions patient{.grace = 60s};

template <class E>
class RunningStreams : public Streams<E> {};
using Concurrent = testing::Types<Pool, ThreadPool, ProcessPoolExecutor, ThreadPoolExecutor>;
TYPED_TEST_SUITE(RunningStreams, Concurrent);

TYPED_TEST(RunningStreams, AnItemIsThereWhileTheTaskRuns) {
  const Event go_on;
  auto stream = this->pool.template stream<one_by_one>(go_on).unwrap();
  EXPECT_EQ(stream.next().value().unwrap(), 1);
  EXPECT_EQ(stream.try_next().value().error(), Errc::timeout);
  EXPECT_EQ(stream.next_for(1ms).value().error(), Errc::timeout);
  go_on.set();
  EXPECT_EQ(stream.next().value().unwrap(), 2);
  EXPECT_FALSE(stream.next().has_value());
}

TYPED_TEST(RunningStreams, ATaskIsNoMoreThanAWindowAhead) {
  for (const int window : {1, 5, 128}) {
    const Event full;
    auto stream =
        this->pool.template stream<fill>({.window = static_cast<std::size_t>(window)}, full)
            .unwrap();
    full.wait();
    auto expected = numbers(window);
    expected.push_back(-1);
    EXPECT_EQ(read(stream).items, expected);
  }
}

TYPED_TEST(RunningStreams, WhoDropsTheStreamEndsTheTask) {
  const Event ended;
  {
    auto stream = this->pool.template stream<endless>({.task = patient}, ended).unwrap();
    EXPECT_EQ(stream.next().value().unwrap(), 0);
    EXPECT_EQ(stream.next().value().unwrap(), 1);
  }
  EXPECT_TRUE(ended.wait());
}

TYPED_TEST(RunningStreams, WhatWasSentBeforeStopCanBeRead) {
  const Event ended;
  auto stream = this->pool.template stream<endless>({.window = 3, .task = patient}, ended).unwrap();
  EXPECT_EQ(stream.next().value().unwrap(), 0);
  stream.stop();
  EXPECT_TRUE(ended.wait());
  const auto rest = read(stream);
  EXPECT_LE(rest.items.size(), 4U);
  for (std::size_t n = 0; n < rest.items.size(); ++n)
    EXPECT_EQ(rest.items[n], static_cast<int>(n) + 1);
}

TYPED_TEST(RunningStreams, SeveralAreReadSideBySide) {
  auto low = this->pool.template stream<count_up>({.window = 2}, 0, 300).unwrap();
  auto high = this->pool.template stream<count_up>({.window = 2}, 1000, 1300).unwrap();
  for (int n = 0; n < 300; ++n) {
    EXPECT_EQ(low.next().value().unwrap(), n);
    EXPECT_EQ(high.next().value().unwrap(), 1000 + n);
  }
  EXPECT_FALSE(low.next().has_value());
  EXPECT_FALSE(high.next().has_value());
}

TEST(ThreadStream, ItemsNeedNotTravel) {
  auto pool = ThreadPool::start({.processes = 1}).unwrap();
  int offset = 40;
  auto stream = pool.stream([&offset](TaskOutput<std::unique_ptr<int>>& out) {
                      out.send(std::make_unique<int>(offset + 2)).unwrap();
                    })
                    .unwrap();
  EXPECT_EQ(*stream.next().value().unwrap(), 42);
}

TEST(ThreadStream, AClosedPoolTakesNone) {
  auto pool = ThreadPool::start({.processes = 1}).unwrap();
  pool.close();
  EXPECT_EQ((pool.stream<count_up>(0, 1).error()), Errc::invalid_state);
}

// --- worker processes

class PoolStream : public testing::Test {
 protected:
  static Pool start(int processes) { return Pool::start({.processes = processes}).unwrap(); }
};

void pid_and_then(TaskOutput<int>& out, int more) {
  out.send(::getpid()).unwrap();
  count_up(out, 1, more + 1);
  for (;;) ::pause();
}

TEST_F(PoolStream, AKilledWorkerEndsTheStreamBehindWhatItHadSent) {
  static_cast<void>(start(1));
  const auto before = ProcessCensus::take();
  {
    Pool pool = start(2);
    auto stream = pool.stream<pid_and_then>(5).unwrap();
    const int pid = stream.next().value().unwrap();
    // All six are in memory that outlives it.
    for (int n = 1; n <= 5; ++n) EXPECT_EQ(stream.next().value().unwrap(), n);
    ::kill(pid, SIGKILL);
    const auto last = stream.next();
    ASSERT_TRUE(last.has_value());
    ASSERT_TRUE(last->is_err());
    EXPECT_EQ(last->error(), Errc::worker_lost);
    const auto* const lost = last->error().detail<passel::WorkerLost>();
    ASSERT_NE(lost, nullptr);
    EXPECT_EQ(lost->pid, pid);
    EXPECT_EQ(lost->signal, SIGKILL);
    EXPECT_FALSE(stream.next().has_value());
    auto again = pool.stream<count_up>(0, 10).unwrap();
    EXPECT_EQ(read(again).items, numbers(10));
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

/// Dies with unread items behind it.
void send_and_die(TaskOutput<int>& out, int items) {
  count_up(out, 0, items);
  ::raise(SIGKILL);
}

TEST_F(PoolStream, WhatAWorkerSentBeforeItDiedArrives) {
  Pool pool = start(1);
  auto stream = pool.stream<send_and_die>(40).unwrap();
  const auto all = read(stream);
  EXPECT_EQ(all.items, numbers(40));
  ASSERT_EQ(all.errors.size(), 1U);
  EXPECT_EQ(all.errors[0], Errc::worker_lost);
}

TEST_F(PoolStream, ItemsOfAWorkerKilledAtRandomAreABeginning) {
  static_cast<void>(start(1));
  const auto before = ProcessCensus::take();
  {
    std::minstd_rand random{passel_test::seed()};
    Pool pool = start(2);
    for (unsigned round = 0; round < passel_test::rounds(30); ++round) {
      const Event ended;
      auto stream = pool.stream<pid_and_then>(1'000'000).unwrap();
      const int pid = stream.next().value().unwrap();
      std::thread killer{[pid, pause = random() % 2'000] {
        std::this_thread::sleep_for(std::chrono::microseconds{pause});
        ::kill(pid, SIGKILL);
      }};
      const auto all = read(stream);
      killer.join();
      for (std::size_t n = 0; n < all.items.size(); ++n)
        ASSERT_EQ(all.items[n], static_cast<int>(n) + 1);
      ASSERT_EQ(all.errors.size(), 1U);
      EXPECT_EQ(all.errors[0], Errc::worker_lost) << all.errors[0].to_string();
    }
    EXPECT_EQ(pool.apply([](int n) { return n; }, 7).unwrap(), 7);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

void die_at_first(TaskOutput<unsigned>& out, int items_before) {
  for (int n = 0; n < items_before; ++n) out.send(0U).unwrap();
  if (passel::this_task::attempt() < 3) ::raise(SIGKILL);
  out.send(passel::this_task::attempt()).unwrap();
}

TEST_F(PoolStream, IsTriedAgainOnlyWhileNothingHasArrived) {
  Pool pool = start(1);
  auto silent = pool.stream<die_at_first>({.task = {.attempts = 3}}, 0).unwrap();
  EXPECT_THAT(read(silent).items, ElementsAre(3U));
  auto heard = pool.stream<die_at_first>({.task = {.attempts = 3}}, 1).unwrap();
  const auto all = read(heard);
  EXPECT_THAT(all.items, ElementsAre(0U));
  ASSERT_EQ(all.errors.size(), 1U);
  EXPECT_EQ(all.errors[0], Errc::worker_lost);
}

void throw_at_first(TaskOutput<unsigned>& out, int items_before) {
  for (int n = 0; n < items_before; ++n) out.send(0U).unwrap();
  if (passel::this_task::attempt() < 3) throw std::runtime_error{"not yet"};
  out.send(passel::this_task::attempt()).unwrap();
}

TEST_F(PoolStream, AnErrorIsTriedAgainOnlyWhileNothingHasArrived) {
  Pool pool = start(1);
  const passel::TaskOptions thrice{.attempts = 3, .retry_on = RetryOn::any_error};
  auto silent = pool.stream<throw_at_first>({.task = thrice}, 0).unwrap();
  EXPECT_THAT(read(silent).items, ElementsAre(3U));
  auto heard = pool.stream<throw_at_first>({.task = thrice}, 1).unwrap();
  const auto all = read(heard);
  EXPECT_THAT(all.items, ElementsAre(0U));
  ASSERT_EQ(all.errors.size(), 1U);
  EXPECT_THAT(all.errors[0].what(), HasSubstr("not yet"));
}

void send_and_linger(TaskOutput<int>& out) {
  out.send(1).unwrap();
  while (!passel::this_task::stop_requested()) std::this_thread::sleep_for(1ms);
  // Over its time: nobody takes this any more.
  if (out.send(2).error() != Errc::cancelled) ::abort();
}

TEST_F(PoolStream, ATaskOverItsTimeEndsTheStreamByTimeout) {
  Pool pool = start(1);
  auto stream = pool.stream<send_and_linger>({.task = {.time_limit = 50ms}}).unwrap();
  const auto all = read(stream);
  // None, when it was late to begin.
  EXPECT_LE(all.items.size(), 1U);
  ASSERT_EQ(all.errors.size(), 1U);
  EXPECT_EQ(all.errors[0], Errc::timeout);
  EXPECT_EQ(pool.apply([](int n) { return n; }, 7).unwrap(), 7);
}

TEST_F(PoolStream, ATaskThatWaitsForItsReaderCanBeOverItsTime) {
  Pool pool = start(1);
  const Event ended;
  passel::TaskOptions limited = patient;
  limited.time_limit = 50ms;
  auto stream = pool.stream<endless>({.window = 2, .task = limited}, ended).unwrap();
  EXPECT_TRUE(ended.wait());
  const auto all = read(stream);
  ASSERT_LE(all.items.size(), 2U);
  EXPECT_EQ(all.items, numbers(static_cast<int>(all.items.size())));
  ASSERT_EQ(all.errors.size(), 1U);
  EXPECT_EQ(all.errors[0], Errc::timeout);
}

void two_sizes(TaskOutput<std::string>& out, std::size_t small, std::size_t large) {
  out.send(std::string(small, 's')).unwrap();
  const Result<void> refused = out.send(std::string(large, 'l'));
  out.send(refused.error().what()).unwrap();
}

TEST_F(PoolStream, LargeItemsTravelAndTooLargeOnesAreAnErrorOfTheirSend) {
  Pool pool = Pool::start({.processes = 1, .max_message = std::size_t{1} << 20}).unwrap();
  auto stream = pool.stream<two_sizes>(std::size_t{1'000'000}, std::size_t{2'000'000}).unwrap();
  EXPECT_EQ(stream.next().value().unwrap().size(), 1'000'000U);
  EXPECT_THAT(stream.next().value().unwrap(), HasSubstr("is over the limit of 1048576 bytes"));
  EXPECT_FALSE(stream.next().has_value());
}

TEST_F(PoolStream, LargeItemsAreNoLongerInTheWay) {
  Pool pool = Pool::start({.processes = 1, .max_message = std::size_t{1} << 20}).unwrap();
  auto stream =
      pool.stream(
              [](TaskOutput<std::string>& out, int count) {
                for (int n = 0; n < count; ++n)
                  out.send(std::string(900'000, static_cast<char>('a' + n % 26))).unwrap();
              },
              100)
          .unwrap();
  int count = 0;
  for (auto& item : stream) {
    ASSERT_EQ(*item, std::string(900'000, static_cast<char>('a' + count % 26)));
    ++count;
  }
  EXPECT_EQ(count, 100);
}

TEST_F(PoolStream, ATerminatedPoolEndsItsStreams) {
  Pool pool = start(1);
  auto stream = pool.stream<pid_and_then>(2).unwrap();
  static_cast<void>(stream.next().value().unwrap());
  EXPECT_EQ(stream.next().value().unwrap(), 1);
  EXPECT_EQ(stream.next().value().unwrap(), 2);
  pool.terminate();
  const auto last = stream.next();
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->error(), Errc::cancelled);
  EXPECT_FALSE(stream.next().has_value());
  EXPECT_EQ((pool.stream<count_up>(0, 1).error()), Errc::invalid_state);
  pool.join().unwrap();
}

TEST_F(PoolStream, OutlivesThePoolThatItCameFrom) {
  auto stream = [] {
    Pool pool = start(1);
    auto one = pool.stream<count_up>(0, 3).unwrap();
    pool.close();
    pool.join().unwrap();
    return one;
  }();
  EXPECT_EQ(read(stream).items, numbers(3));
  stream.stop();
}

long sum_of_stream(int to) {
  Pool pool = passel::this_task::pool().unwrap();
  auto stream = pool.stream<count_up>({.window = 3}, 0, to).unwrap();
  long sum = 0;
  for (auto& item : stream) sum += std::move(item).unwrap();
  return sum;
}

TEST_F(PoolStream, ATaskReadsAStreamOfItsOwnPoolOfOne) {
  Pool pool = start(1);
  EXPECT_EQ(pool.apply<sum_of_stream>(1000).unwrap(), 499'500);
}

long sum_with_calls(int to) {
  Pool pool = passel::this_task::pool().unwrap();
  auto stream = pool.stream<count_up>({.window = 3}, 0, to).unwrap();
  long sum = 0;
  for (auto& item : stream)
    sum += pool.apply([](int n) { return n; }, std::move(item).unwrap()).unwrap();
  return sum;
}

TEST_F(PoolStream, ATaskMakesMoreCallsThanItsLineHasPlacesWhileAStreamIsOpen) {
  Pool pool = start(1);
  EXPECT_EQ(pool.apply<sum_with_calls>(600).unwrap(), 179'700);
}

TEST_F(PoolStream, ATaskThatWaitsForItsReaderHoldsUpNobody) {
  Pool pool = start(1);
  auto stream = pool.stream<count_up>({.window = 1}, 0, 5).unwrap();
  for (int n = 0; n < 5; ++n) {
    EXPECT_EQ(pool.apply([](int number) { return number; }, n).unwrap(), n);
    EXPECT_EQ(stream.next().value().unwrap(), n);
  }
  EXPECT_FALSE(stream.next().has_value());
}

void relay(TaskOutput<int>& out, int to) {
  Pool pool = passel::this_task::pool().unwrap();
  auto stream = pool.stream<count_up>({.window = 3}, 0, to).unwrap();
  for (auto& item : stream) {
    if (!out.send(std::move(item).unwrap())) return;
  }
}

TEST_F(PoolStream, ATaskPassesAStreamOn) {
  Pool pool = start(1);
  auto stream = pool.stream<relay>(500).unwrap();
  EXPECT_EQ(read(stream).items, numbers(500));
  // Whoever stops the outer one stops the inner one.
  auto short_one = pool.stream<relay>({.window = 4}, 1'000'000).unwrap();
  EXPECT_EQ(short_one.next().value().unwrap(), 0);
}

TEST_F(PoolStream, ATaskOutsideOfItsPoolCannotSend) {
  EXPECT_EQ(passel::detail::stream_item({}, 1, passel::detail::Deadline::never()).error(),
            Errc::invalid_state);
}

}  // namespace
