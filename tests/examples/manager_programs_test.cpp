// The example programs that use managers: what they print is what the Python originals print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_program.hpp"

#include <set>
#include <string>

namespace {

using passel_test::run_program;
using ::testing::ElementsAre;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

TEST(ManagerPrograms, AChildChangesOneOfEverything) {
  EXPECT_THAT(run_program("manager_types"),
              ElementsAre("3.14", "array('i', [5, 1, 2, 3, 4, 5, 6, 7, 8, 9])", "['Hello']",
                          "{1: 2}", "Namespace(a=10)"));
}

TEST(ManagerPrograms, TenChildrenWriteIntoADictAndAList) {
  const auto lines = run_program("manager_dict_list");
  ASSERT_EQ(lines.size(), 12U);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_THAT(lines[i], StartsWith("[0, 1, 2, 3, 4, "));
  EXPECT_EQ(lines[10], "{1: '1', '2': 2, 0.25: None}");
  const std::string& last = lines[11];
  ASSERT_THAT(last, MatchesRegex("\\[0, 1, 2, 3, 4(, [0-9]+)+\\]"));
  std::set<std::string> pids;
  for (std::size_t at = last.find("4, ") + 3; at < last.size();) {
    const std::size_t end = last.find_first_of(",]", at);
    pids.insert(last.substr(at, end - at));
    at = end + 2;
  }
  EXPECT_EQ(pids.size(), 10U);
}

TEST(ManagerPrograms, TasksOfAPoolShareAQueue) {
  EXPECT_THAT(run_program("manager_queue_in_pool"), ElementsAre("a"));
}

}  // namespace
