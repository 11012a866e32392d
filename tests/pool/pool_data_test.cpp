// Pool: what tasks are given beside plain values: answers of other tasks, shared memory, seeds.
#include <passel/array.hpp>
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/shared_memory.hpp>
#include <passel/this_task.hpp>

#include "small_tasks.hpp"

#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>
#include <cstddef>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace {

using passel::Array;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::PoolInitializer;
using passel::Queue;
using passel::SharedMemory;
using passel_test::add;

int wait_for_number(const Queue<int>& numbers) { return numbers.get().unwrap(); }

// --- F-31: the answer of one task is the argument of the next

TEST(PoolData, ATaskThatNeedsAnAnswerOccupiesNoWorkerBeforeThatIsThere) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<int> numbers;
  auto first = pool.submit<wait_for_number>(numbers);
  auto sum =
      std::move(first).then([&pool](int n) { return pool.submit<add>(n, 2); }).then([&pool](int n) {
        return pool.submit<add>(n, 3);
      });
  EXPECT_FALSE(sum.done());
  numbers.put(1).unwrap();
  EXPECT_EQ(sum.get().unwrap(), 6);
}

TEST(PoolData, ATaskIsNotBegunWhenWhatItNeedsHasFailed) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  bool begun = false;
  auto next =
      pool.submit([](int) -> int { throw std::runtime_error{"no answer"}; }, 1).then([&](int n) {
        begun = true;
        return pool.submit<add>(n, 1);
      });
  EXPECT_EQ(next.get().error(), Errc::task_failed);
  EXPECT_FALSE(begun);
}

// --- N-45: large arrays are not copied

long sum_of(const SharedMemory& memory, std::size_t count) {
  const auto* const numbers = reinterpret_cast<const int*>(memory.buf().data());
  return std::accumulate(numbers, numbers + count, 0L);
}
int die_with(const SharedMemory& memory, int signal) {
  memory.buf()[0] = std::byte{7};
  return ::raise(signal);
}

TEST(PoolData, TasksWorkInPlaceOnSharedMemoryThatIsGoneWithItsLastUser) {
  const auto before = passel_test::pool_census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    constexpr std::size_t count = std::size_t{1} << 20;
    SharedMemory memory = SharedMemory::create(count * sizeof(int)).unwrap();
    const std::span numbers{reinterpret_cast<int*>(memory.buf().data()), count};
    std::iota(numbers.begin(), numbers.end(), 0);
    const long expected = std::accumulate(numbers.begin(), numbers.end(), 0L);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(pool.apply<sum_of>(memory, count).unwrap(), expected);
    EXPECT_EQ(pool.apply<die_with>(memory, SIGKILL).error(), Errc::worker_lost);
    // What the dead one wrote is there, and nobody else lost the memory.
    EXPECT_EQ(memory.buf()[0], std::byte{7});
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

void double_part(const Array<double>& values, std::ptrdiff_t from, std::ptrdiff_t to) {
  for (std::ptrdiff_t i = from; i < to; ++i) values.set(i, 2 * values.at(i).unwrap()).unwrap();
}

TEST(PoolData, TasksFillPartsOfOneArray) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  const std::vector<double> ones(1'000, 1.0);
  const Array<double> values{ones};
  std::vector<Future<void>> parts;
  for (std::ptrdiff_t from = 0; from < 1'000; from += 100)
    parts.push_back(pool.submit<double_part>(values, from, from + 100));
  for (auto& part : parts) part.get().unwrap();
  for (std::ptrdiff_t i = 0; i < 1'000; ++i) EXPECT_EQ(values.at(i).unwrap(), 2.0);
}

// --- large arguments, which an apply leaves where they are until they are sent

std::string tagged(int n, const std::string& text) { return std::to_string(n) + text; }
std::size_t size_and(const std::string& text, std::size_t n) { return text.size() + n; }
double sum_up(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0);
}
std::string tagged_inside(int n, const std::string& text) {
  return passel::this_task::pool().unwrap().apply<tagged>(n, text).unwrap();
}
int die_of(int signal, const std::string&) { return ::raise(signal); }

std::string text_of(std::size_t size) {
  std::string text(size, ' ');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 1000) % 26);
  return text;
}

TEST(PoolData, AppliedArgumentsArriveWholeWhereverTheyStand) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  for (const std::size_t size : {65'535U, 65'536U, 1U << 20, 3'000'001U}) {
    const std::string text = text_of(size);
    EXPECT_EQ(pool.apply<tagged>(7, text).unwrap(), "7" + text);
    EXPECT_EQ(pool.apply<tagged>(8, std::string{text}).unwrap(), "8" + text);
    EXPECT_EQ(pool.apply<tagged>(9, text.c_str()).unwrap(), "9" + text);
    EXPECT_EQ(pool.apply<size_and>(text, 2U).unwrap(), size + 2);
    EXPECT_EQ(pool.apply<tagged_inside>(3, text).unwrap(), "3" + text);
  }
  EXPECT_EQ(pool.apply<sum_up>(std::vector<double>(100'000, 0.5)).unwrap(), 50'000.0);
}

TEST(PoolData, WhatATaskDiedOfIsKeptAsAWhole) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const std::string text = text_of(200'000);
  EXPECT_EQ(pool.apply<die_of>(SIGKILL, text).error(), Errc::worker_lost);
  const auto letters = pool.dead_letters();
  ASSERT_EQ(letters.size(), 1U);
  const auto calls = letters.front().arguments<int, std::string>().unwrap();
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(std::get<0>(calls.front()), SIGKILL);
  EXPECT_EQ(std::get<1>(calls.front()), text);
}

TEST(PoolData, AnAppliedArgumentOverTheLimitNamesItsSize) {
  Pool pool = Pool::start({.processes = 1, .max_message = 100'000}).unwrap();
  const auto refused = pool.apply<size_and>(text_of(100'001), 0U).error();
  EXPECT_EQ(refused, Errc::too_large);
  const auto as_tail = pool.apply<tagged>(1, text_of(100'001)).error();
  EXPECT_EQ(as_tail, Errc::too_large);
  EXPECT_EQ(as_tail.what(), "arguments of 100013 bytes are over the limit of 100000 bytes");
  EXPECT_EQ(pool.apply<tagged>(1, std::string{"x"}).unwrap(), "1x");
}

// --- N-21: random numbers

std::mt19937_64 generator;
void seed_generator() {
  std::random_device device;
  generator.seed((std::uint64_t{device()} << 32U) ^ static_cast<std::uint64_t>(::getpid()));
}
std::uint64_t draw(int) { return generator(); }

TEST(PoolData, AnInitializerSeedsTheGeneratorOfEachWorker) {
  Pool pool = Pool::start({.processes = 3,
                           .initializer = PoolInitializer::with<seed_generator>(),
                           .maxtasksperchild = 1})
                  .unwrap();
  const auto drawn = pool.map<draw>(std::vector<int>(30), {.chunksize = 1}).unwrap();
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), drawn.size());
}

}  // namespace
