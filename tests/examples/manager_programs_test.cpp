// The example programs that use managers: what they print is what the Python originals print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_program.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace {

using passel_test::run_program;
using ::testing::AnyOf;
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

/// The numbers in a line.
std::vector<int> numbers_in(const std::string& line) {
  std::vector<int> out;
  for (std::size_t at = 0; (at = line.find_first_of("0123456789", at)) != line.npos;) {
    const std::size_t end = std::min(line.find_first_not_of("0123456789", at), line.size());
    out.push_back(std::stoi(line.substr(at, end - at)));
    at = end;
  }
  return out;
}

TEST(ManagerPrograms, TenChildrenSignADictAndAList) {
  const auto lines = run_program("manager_dict_list_b");
  ASSERT_EQ(lines.size(), 2U);
  const auto entries = numbers_in(lines[0]);
  const auto list = numbers_in(lines[1]);
  ASSERT_EQ(entries.size(), 20U);
  ASSERT_EQ(list.size(), 15U);
  std::set<int> keys;
  for (std::size_t i = 0; i < 20; i += 2) {
    EXPECT_EQ(entries[i], entries[i + 1]);
    keys.insert(entries[i]);
  }
  EXPECT_EQ(keys, (std::set<int>{list.begin() + 5, list.end()}));
}

TEST(ManagerPrograms, TwoChildrenWriteIntoOneDict) {
  EXPECT_THAT(run_program("manager_dict_two"),
              ElementsAre(AnyOf("{'jack': 22, 'hong': 34}", "{'hong': 34, 'jack': 22}")));
}

TEST(ManagerPrograms, QueuesAreReachedByAddressAndKey) {
  auto lines = run_program("remote_queue_manager");
  ASSERT_EQ(std::count(lines.begin(), lines.end(), "refused: auth_failed"), 1);
  lines.erase(std::find(lines.begin(), lines.end(), "refused: auth_failed"));
  ASSERT_EQ(lines.size(), 10U);
  for (int n = 0; n < 10; ++n) {
    const std::string text = std::to_string(n);
    EXPECT_EQ(lines[static_cast<std::size_t>(n)],
              text + " * " + text + " = " + std::to_string(n * n));
  }
}

TEST(ManagerPrograms, TasksOfAPoolShareAQueue) {
  EXPECT_THAT(run_program("manager_queue_in_pool"), ElementsAre("a"));
}

}  // namespace
