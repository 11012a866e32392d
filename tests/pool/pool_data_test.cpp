// Pool: what tasks are given beside plain values: answers of other tasks, shared memory, seeds.
#include <passel/array.hpp>
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/shared_memory.hpp>
#include <passel/this_task.hpp>

#include "support/process_census.hpp"

#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>
#include <cstddef>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace {

using passel::Array;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::PoolInitializer;
using passel::Queue;
using passel::SharedMemory;

int wait_for_number(const Queue<int>& numbers) { return numbers.get().unwrap(); }
int add(int a, int b) { return a + b; }

passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

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
  const auto before = census();
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
