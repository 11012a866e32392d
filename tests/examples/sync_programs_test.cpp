// The example programs about conditions, events and barriers: what they print is what the Python
// originals print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_program.hpp"

#include <string>
#include <vector>

namespace {

using passel_test::index_of;
using passel_test::run_program;
using ::testing::ElementsAre;

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

}  // namespace
