// Guarded: a value that is reached through its lock.
#include <passel/guarded.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "placements.hpp"

#include <map>
#include <memory>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::Errc;
using passel::Guarded;
using passel::Queue;
using passel::Reach;
using ::testing::HasSubstr;

struct Account {
  long balance = 0;
  int entries = 0;
};

void deposit(const Guarded<Account>& account, int times) {
  for (int i = 0; i < times; ++i) {
    auto held = account.acquire().unwrap();
    held->balance += 2;
    ++held->entries;
  }
}

template <class Placement>
class GuardedAt : public ::testing::Test {};
TYPED_TEST_SUITE(GuardedAt, Placements, PlacementNames);

TYPED_TEST(GuardedAt, NothingIsLostBetweenManyHolders) {
  const Guarded<Account> account{Account{.balance = 5}, {.reach = TypeParam::reach}};
  {
    Crew<TypeParam> crew;
    crew.template start_many<deposit>(3, account, 2000);
  }
  const auto held = account.acquire().unwrap();
  EXPECT_EQ(held->balance, 5 + 3 * 2000 * 2);
  EXPECT_EQ(held->entries, 3 * 2000);
}

TEST(Guarded, HoldsAnythingBetweenThreads) {
  const Guarded<std::map<std::string, std::unique_ptr<int>>> things;
  things.with([](auto& map) { map["a"] = std::make_unique<int>(7); }).unwrap();
  EXPECT_EQ(things.with([](auto& map) { return *map.at("a"); }).unwrap(), 7);
  const auto copy = things;
  EXPECT_TRUE(copy == things);
  EXPECT_EQ(copy.with([](auto& map) { return map.size(); }).unwrap(), 1U);
}

TEST(Guarded, IsOutOfReachWhileAnotherHoldsIt) {
  const Guarded<int> number{3};
  auto held = number.acquire().unwrap();
  EXPECT_EQ(number.try_acquire().error().code(), Errc::timeout);
  EXPECT_EQ(number.acquire_for(1ms).error().code(), Errc::timeout);
  EXPECT_EQ(number.acquire_for(-1ms).error().code(), Errc::invalid_argument);
  auto later = number.acquire_async();
  EXPECT_FALSE(later.done());
  *held = 4;
  held.release().unwrap();
  EXPECT_EQ(*later.get().unwrap(), 4);
}

TEST(Guarded, WhatCannotLieInSharedMemoryStaysInTheProcess) {
  const auto text = Guarded<std::string>::create("x", {.reach = Reach::host});
  EXPECT_EQ(text.error().code(), Errc::invalid_argument);
  EXPECT_THAT(text.error().what(), HasSubstr("std::string"));
}

void die_inside(const Guarded<Account>& account, const Queue<int>& news) {
  auto held = account.acquire().unwrap();
  held->balance = -1;
  news.put(0).unwrap();
  ::pause();
}

TEST(Guarded, WhoComesAfterADeathIsTold) {
  const Guarded<Account> account{Account{}, {.reach = Reach::host}};
  const Queue<int> news;
  auto child = passel::Process::spawn<die_inside>(account, news).unwrap();
  news.get().unwrap();
  child.kill().unwrap();
  auto held = account.acquire().unwrap();
  EXPECT_TRUE(held.abandoned());
  EXPECT_EQ(held->balance, -1);
  child.join().unwrap();
}

}  // namespace
