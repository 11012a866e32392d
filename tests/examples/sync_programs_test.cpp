// The example programs about conditions, events and barriers: what they print is what the Python
// originals print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_program.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using passel_test::index_of;
using passel_test::run_program;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

TEST(ConditionPrograms, Stages) {
  const auto lines = run_program("condition_stages");
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0], "Starting stage_2[1]");
  EXPECT_EQ(lines[1], "Starting stage_2[2]");
  EXPECT_EQ(lines[2], "Starting s1");
  EXPECT_EQ(lines[3], "s1 done and ready for stage 2");
  EXPECT_GE(index_of(lines, "stage_2[1] running"), 4);
  EXPECT_GE(index_of(lines, "stage_2[2] running"), 4);
}

TEST(ConditionPrograms, RobotsPoem) {
  EXPECT_THAT(
      run_program("robots_poem"),
      ElementsAre("天猫精灵 : 小爱同学 ", "小爱 : 在 ", "天猫精灵 : 我们来对古诗吧 ",
                  "小爱 : 好啊 ", "天猫精灵 : 我住长江头 ", "小爱 : 君住长江尾 ",
                  "天猫精灵 : 日日思君不见君 ", "小爱 : 共饮长江水 ", "天猫精灵 : 此水几时休 ",
                  "小爱 : 此恨何时已 ", "天猫精灵 : 只愿君心似我心 ", "小爱 : 定不负相思意 "));
}

TEST(EventPrograms, OneWaitsWithALimit) {
  const auto lines = run_program("event_wait", 300);
  ASSERT_EQ(lines.size(), 6U);
  const auto given_up = index_of(lines, "wait_for_event_timeout: e.is_set()-> False");
  const auto set = index_of(lines, "main: event is set");
  EXPECT_GE(given_up, 0);
  EXPECT_LT(given_up, set);
  EXPECT_LT(set, index_of(lines, "wait_for_event: e.is_set()-> True"));
}

TEST(BarrierPrograms, Tour) {
  EXPECT_THAT(
      run_program("barrier_tour"),
      ElementsAre("all here", "indices: {0, 1, 2}", "broken", "broken", "broken: True",
                  "late: BrokenBarrierError", "broken after reset: False, waiting: 0 of 3"));
}

TEST(LockPrograms, TotalIsExactWithALock) {
  EXPECT_THAT(run_program("total lock"), ElementsAre("0"));
  EXPECT_THAT(run_program("total rlock"), ElementsAre("0"));
}

TEST(LockPrograms, TotalOfARaceIsWhateverIsLeft) {
  // The number may be anything, 0 too; it is one number within what can be lost.
  const auto lines = run_program("total race");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_LE(std::abs(std::stol(lines.front())), 1'000'000);
}

TEST(LockPrograms, ASecondAcquireByTheSameThread) {
  EXPECT_THAT(run_program("two_locks twice"),
              ElementsAre("Lock acquired twice: no", "RLock acquired twice: yes"));
}

TEST(LockPrograms, TwoLocksInOppositeOrder) {
  const auto lines = run_program("two_locks order");
  EXPECT_EQ(lines.front(), "A backs off");
  EXPECT_LT(index_of(lines, "B has both"), index_of(lines, "A has both"));
  EXPECT_GE(index_of(lines, "A took both a thousand times"), 0);
  EXPECT_GE(index_of(lines, "B took both a thousand times"), 0);
}

std::vector<std::string> numbered(const std::string& text, int count) {
  std::vector<std::string> lines;
  for (int i = 0; i < count; ++i) lines.push_back(text + std::to_string(i));
  return lines;
}

TEST(LockPrograms, LinesOfManyProcessesAreWhole) {
  EXPECT_THAT(run_program("lock_printing hello"),
              UnorderedElementsAreArray(numbered("Hello Num: ", 20)));
  EXPECT_THAT(run_program("lock_printing locked"),
              UnorderedElementsAreArray(numbered("hello world ", 10)));
  EXPECT_THAT(run_program("lock_printing unlocked"),
              UnorderedElementsAreArray(numbered("hello world ", 10)));
}

TEST(SemaphorePrograms, NoMoreThanTwoUsersAtATime) {
  const auto lines = run_program("semaphore_toilet");
  ASSERT_EQ(lines.size(), 10U);
  int inside = 0;
  for (const std::string& line : lines) {
    const bool comes = line.ends_with(" 占到一个茅坑");
    EXPECT_TRUE(comes || line.ends_with(" OK")) << line;
    inside += comes ? 1 : -1;
    // "OK" is printed after the place was given back: one more may be in by then, for each place.
    EXPECT_LE(inside, 4);
  }
  for (int i = 0; i < 5; ++i) {
    const std::string user = "user" + std::to_string(i);
    EXPECT_LT(index_of(lines, user + " 占到一个茅坑"), index_of(lines, user + " OK"));
  }
  EXPECT_EQ(inside, 0);
}

TEST(SemaphorePrograms, TenSpidersInWavesOfThree) {
  const auto lines = run_program("semaphore_spiders");
  EXPECT_EQ(lines, std::vector<std::string>(10, "success"));
}

}  // namespace
