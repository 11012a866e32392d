// The example programs about threads: what they print is what the Python originals print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_program.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using passel_test::index_of;
using passel_test::run_program;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Not;
using ::testing::StartsWith;

/// A second that is so long that nothing which takes one is seen to end.
constexpr int an_hour = 3'600'000;

double last_time(const std::string& line) {
  return std::atof(line.substr(line.find_last_of(' ') + 1).c_str());
}

TEST(ThreadPrograms, TenInARow) {
  const auto lines = run_program("ten_threads serial");
  ASSERT_EQ(lines.size(), 21U);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(lines[2 * i], "run thread... " + std::to_string(i));
    EXPECT_EQ(lines[2 * i + 1], "thread " + std::to_string(i) + " is done");
  }
  EXPECT_GE(std::atof(lines.back().substr(8).c_str()), 5.0);  // the sum of their times
}

TEST(ThreadPrograms, TenAtOnce) {
  const auto lines = run_program("ten_threads parallel");
  ASSERT_EQ(lines.size(), 21U);
  for (int i = 0; i < 10; ++i)
    EXPECT_LT(index_of(lines, "run thread... " + std::to_string(i)),
              index_of(lines, "thread " + std::to_string(i) + " is done"));
  EXPECT_THAT(lines.back(), StartsWith("parallel: "));
}

TEST(ThreadPrograms, TenDaemonsAreNotWaitedFor) {
  const auto lines = run_program("ten_threads daemon", an_hour);
  EXPECT_THAT(lines, Contains("master is done..."));
  EXPECT_THAT(lines, Not(Contains(EndsWith("is done"))));
}

TEST(ThreadPrograms, EachProcessWaitsForItsThread) {
  const auto lines = run_program("process_with_thread");
  ASSERT_EQ(lines.size(), 20U);
  std::set<std::string> hellos;
  int idents = 0;
  for (const std::string& line : lines) {
    if (line.starts_with("hello bob ")) hellos.insert(line);
    idents += !line.empty() && line.find_first_not_of("0123456789") == std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(hellos.size(), 10U);
  EXPECT_EQ(idents, 10);
}

TEST(ThreadPrograms, EatAndDrinkOutliveMain) {
  const auto lines = run_program("eat_drink");
  ASSERT_EQ(lines.size(), 5U);
  const auto time =
      std::find_if(lines.begin(), lines.end(),
                   [](const std::string& line) { return line.starts_with("last time: "); }) -
      lines.begin();
  ASSERT_LT(time, 5);
  EXPECT_LT(index_of(lines, "start eat"), index_of(lines, "end eat"));
  EXPECT_LT(index_of(lines, "start drink"), index_of(lines, "end drink"));
}

TEST(ThreadPrograms, EatAndDrinkAsDaemonsEndWithMain) {
  const auto lines = run_program("eat_drink daemon", an_hour);
  EXPECT_THAT(lines, Contains(StartsWith("last time: ")));
  EXPECT_THAT(lines, Not(Contains(StartsWith("end "))));
}

TEST(ThreadPrograms, EatAndDrinkJoined) {
  const auto lines = run_program("eat_drink join");
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_THAT(lines.back(), StartsWith("last time: "));
  EXPECT_GE(last_time(lines.back()), 2.0);
}

TEST(ThreadPrograms, ObjectsInPlaceOfSubclasses) {
  const auto lines = run_program("thread_subclasses");
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_LT(index_of(lines, "get detail html started in get_detail_html"),
            index_of(lines, "get detail html end"));
  EXPECT_LT(index_of(lines, "get detail url started in get_detail_url"),
            index_of(lines, "get detail url end"));
  EXPECT_EQ(lines[4], "20 urls");
  EXPECT_GE(last_time(lines[5]), 4.0);
}

TEST(ThreadPrograms, CrawlerWithASharedList) {
  const auto lines = run_program("crawler_shared_list");
  ASSERT_EQ(lines.size(), 43U);
  EXPECT_THAT(lines, Contains(StartsWith("last time: ")));
  const auto found = index_of(lines, "get detail url end");
  EXPECT_LT(index_of(lines, "get detail url started"), found);
  for (int i = 0; i < 20; ++i) {
    const std::string url = "http://projectsedu.com/" + std::to_string(i);
    EXPECT_LT(index_of(lines, "get detail html started: " + url),
              index_of(lines, "get detail html end: " + url));
  }
  EXPECT_THAT(lines.back(), StartsWith("get detail html end: "));  // main was waiting for them
}

TEST(ThreadPrograms, TimerTour) {
  EXPECT_THAT(run_program("timer_tour"),
              ElementsAre("cancelled: it will not fire", "hello, world", "fires: too late"));
}

}  // namespace
