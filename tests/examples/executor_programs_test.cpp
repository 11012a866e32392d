// The example programs with pools and executors: what they print is what the Python originals
// print.
#include "run_program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using passel_test::index_of;
using passel_test::run_program;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;
using ::testing::MatchesRegex;
using ::testing::UnorderedElementsAre;

TEST(ExecutorPrograms, OneCallInAThread) {
  EXPECT_THAT(run_program("executor_one_worker"), ElementsAre(MatchesRegex("\\(... ... .*, 1\\)")));
  EXPECT_THAT(
      run_program("executor_one_worker map"),
      ElementsAre(MatchesRegex(".*, 1\\)"), MatchesRegex(".*, 2\\)"), MatchesRegex(".*, 3\\)")));
}

TEST(ExecutorPrograms, AsCompletedYieldsEachOnce) {
  auto lines = run_program("as_completed_random");
  ASSERT_EQ(lines.size(), 7U);
  EXPECT_EQ(lines.front(), "1");
  EXPECT_EQ(lines.back(), "2");
  EXPECT_THAT(std::vector(lines.begin() + 1, lines.end() - 1),
              UnorderedElementsAre("Return of 0", "Return of 1", "Return of 2", "Return of 3",
                                   "Return of 4"));
}

TEST(ExecutorPrograms, DoneAndResult) {
  EXPECT_THAT(
      run_program("executor_done_result", 100),
      ElementsAre("False", "use 1 to success", "use 2 to success", "True", "运行的时间是2秒"));
}

std::string result_of(int times) { return "我运行的时间是" + std::to_string(times) + "秒"; }
std::string use_of(int times) { return "use " + std::to_string(times) + " to success"; }

TEST(ExecutorPrograms, AsCompletedAndMapDifferInTheOrderOfResults) {
  for (const std::string way : {"as_completed", "map", "wait"}) {
    const auto lines = run_program("executor_three_ways " + way, 100);
    ASSERT_EQ(lines.size(), way == "wait" ? 9U : 8U) << way;
    std::vector<std::string> results;
    for (const std::string& line : lines)
      if (line.starts_with("我")) results.push_back(line);
    if (way == "map") {
      EXPECT_THAT(results, ElementsAre(result_of(3), result_of(4), result_of(9), result_of(7)));
    } else {
      EXPECT_THAT(results, ElementsAre(result_of(3), result_of(4), result_of(7), result_of(9)));
    }
    for (const int times : {3, 4, 7, 9})
      EXPECT_LT(index_of(lines, use_of(times)), index_of(lines, result_of(times)));
    if (way == "wait") {
      EXPECT_LT(index_of(lines, use_of(3)), index_of(lines, "main"));
      EXPECT_LT(index_of(lines, "main"), index_of(lines, result_of(3)));
    }
  }
}

TEST(ExecutorPrograms, FibInThreadsAndProcesses) {
  const auto lines = run_program("fib_pools");
  const long sum =
      75025 + 121393 + 196418 + 317811 + 514229 + 832040 + 1346269 + 2178309 + 3524578 + 5702887;
  const std::string total = "sum " + std::to_string(sum);
  EXPECT_THAT(lines, ElementsAre(MatchesRegex("多线程用时:[0-9.]+"), total,
                                 MatchesRegex("多进程用时:[0-9.]+"), total));
}

TEST(ExecutorPrograms, ThirtySleepsInThreeWorkersTakeTenSeconds) {
  const auto lines = run_program("sleep_pools", 20);
  ASSERT_EQ(lines.size(), 2U);
  for (const std::string& line : lines) {
    // No less; how much more depends on the machine.
    EXPECT_GE(std::stod(line.substr(line.rfind(':') + 1)), 10.0) << line;
  }
  EXPECT_TRUE(lines[0].starts_with("多进程"));
  EXPECT_TRUE(lines[1].starts_with("多线程"));
}

TEST(ExecutorPrograms, AThreadPoolRunsTheSameHundred) {
  auto lines = run_program("thread_pool_hundred");
  ASSERT_EQ(lines.size(), 101U);
  EXPECT_EQ(lines.back(), "100 lines");
  std::set<int> numbers;
  for (std::size_t i = 0; i < 100; ++i) numbers.insert(std::stoi(lines[i]));
  EXPECT_EQ(numbers.size(), 100U);
  EXPECT_EQ(*numbers.begin(), 0);
  EXPECT_EQ(*numbers.rbegin(), 99);
}

TEST(ExecutorPrograms, AResultOutlivesItsPool) {
  EXPECT_THAT(run_program("pool_late_result"), ElementsAre("sub_progress sucess", "3"));
}

TEST(ExecutorPrograms, AQueueTravelsToTheTasksOfAPool) {
  EXPECT_THAT(run_program("queue_in_pool"), ElementsAre("a"));
}

}  // namespace
