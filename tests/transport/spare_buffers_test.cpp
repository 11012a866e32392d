// Layer transport, tests: memory of large messages that is used again.
#include <passel/detail/spare_buffers.hpp>

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace passel::detail;

constexpr std::size_t large = std::size_t{1} << 20;

TEST(SpareBuffers, WhatWasGivenIsTakenAgainAndIsEmpty) {
  auto first = take_buffer(large);
  EXPECT_TRUE(first.empty());
  first.assign(large, std::byte{7});
  const auto* const memory = first.data();
  give_buffer(std::move(first));
  const auto smaller = take_buffer(large / 2);
  EXPECT_EQ(smaller.data(), memory);
  EXPECT_TRUE(smaller.empty());
  EXPECT_GE(take_buffer(2 * large).capacity(), 2 * large) << "no kept one is large enough";
}

TEST(SpareBuffers, AUsedOneHasItsSizeAndAnotherOneIsMadeToHaveIt) {
  auto used = take_buffer(large);
  used.assign(large, std::byte{7});
  give_buffer(std::move(used));
  const auto again = take_used_buffer(large / 4);
  EXPECT_EQ(again.size(), large);
  EXPECT_EQ(again[large - 1], std::byte{7});
  EXPECT_EQ(take_used_buffer(3 * large).size(), 3 * large);
  EXPECT_EQ(take_used_buffer(10).size(), 10U);
}

TEST(SpareBuffers, MoreRoomKeepsWhatIsThere) {
  std::vector<std::byte> buffer(1000, std::byte{3});
  make_room(buffer, large);
  EXPECT_GE(buffer.capacity() - buffer.size(), large);
  EXPECT_EQ(buffer, std::vector<std::byte>(1000, std::byte{3}));
  const auto* const memory = buffer.data();
  make_room(buffer, large);
  EXPECT_EQ(buffer.data(), memory);
}

TEST(SpareBuffers, AnyThreadGivesAndTakes) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      for (int round = 0; round < 200; ++round) {
        auto buffer = take_buffer(large / 4);
        buffer.assign(large / 4, static_cast<std::byte>(i));
        for (const std::byte byte : {buffer.front(), buffer[buffer.size() / 2], buffer.back()})
          EXPECT_EQ(byte, static_cast<std::byte>(i)) << "nobody else has it";
        give_buffer(std::move(buffer));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
