// Pool: the rest of the surface of Python's Pool.
#include <passel/pool.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using passel::Errc;
using passel::Pool;

int add(int a, int b) { return a + b; }

/// A type that refuses to travel when it is negative.
struct Shy {
  int value = 0;
};

}  // namespace

template <>
struct passel::codec<Shy> {
  static passel::WireValue encode(const Shy& shy) {
    if (shy.value < 0) throw std::invalid_argument{"shy"};
    return passel::to_value(shy.value);
  }
  static passel::Result<Shy> decode(const passel::WireValue& value) {
    PASSEL_TRY(const int number, passel::from_value<int>(value));
    return Shy{number};
  }
};

namespace {

Shy turn(const Shy& shy) { return {-shy.value}; }

TEST(PoolSurface, StarmapAsyncAnswersLater) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  auto future = pool.starmap_async<add>(std::vector{std::pair{1, 2}, std::pair{3, 4}});
  EXPECT_THAT(future.get().unwrap(), ::testing::ElementsAre(3, 7));
  std::size_t size = 0;
  auto told = pool.starmap_async<add>(
      std::vector{std::pair{1, 2}},
      passel::Callbacks{[&](const std::vector<int>& sums) { size = sums.size(); }});
  EXPECT_TRUE(told.get().is_ok());
  EXPECT_EQ(size, 1U);
}

TEST(PoolSurface, CancelledTasksDoNotHoldUpTheLine) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  std::vector<passel::Future<int>> futures;
  for (int i = 0; i < 200; ++i) futures.push_back(pool.submit<add>(i, 1));
  // The last is behind more cancelled ones than the pool looks at in one go.
  for (std::size_t i = 0; i + 1 < futures.size(); ++i) futures[i].cancel();
  EXPECT_EQ(futures.back().get().unwrap(), 200);
  pool.close();
  pool.join().unwrap();
  for (const auto& future : futures) EXPECT_TRUE(future.done());
}

TEST(PoolSurface, WhatCannotBeEncodedIsAnErrorAndTheWorkerLives) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const int pid = pool.apply([] { return ::getpid(); }).unwrap();
  for (int i = 0; i < 20; ++i) {
    const auto back = pool.apply<turn>(Shy{1});
    ASSERT_TRUE(back.is_err());
    EXPECT_THAT(back.error().what(), ::testing::HasSubstr("shy"));
  }
  const auto unsent = pool.submit<turn>(Shy{-1}).get();
  ASSERT_TRUE(unsent.is_err());
  EXPECT_THAT(unsent.error().what(), ::testing::HasSubstr("shy"));
  EXPECT_EQ(pool.apply<turn>(Shy{0})->value, 0);
  EXPECT_EQ(pool.apply([] { return ::getpid(); }).unwrap(), pid);
}

}  // namespace
