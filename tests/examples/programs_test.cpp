// The example programs, run as a reader would run them: what they print is what the Python
// originals print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_program.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using passel_test::index_of;
using passel_test::last_number;
using passel_test::run_program;
using ::testing::ElementsAre;
using ::testing::MatchesRegex;
using ::testing::UnorderedElementsAreArray;

std::vector<std::string> numbers(int from, int to) {
  std::vector<std::string> lines;
  for (int n = from; n < to; ++n) lines.push_back(std::to_string(n));
  return lines;
}

TEST(Programs, HelloProcess) {
  EXPECT_THAT(run_program("hello_process"), ElementsAre("hello bob"));
}

TEST(Programs, RunProc) {
  const auto lines = run_program("run_proc");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_THAT(lines,
              ElementsAre(MatchesRegex("Parent process [0-9]+\\."), "Child process will start.",
                          MatchesRegex("Run child process test \\([0-9]+\\)\\.\\.\\."),
                          "Child process end."));
  EXPECT_NE(last_number(lines[0]), last_number(lines[2]));
}

TEST(Programs, ForkDemo) {
  const auto lines = run_program("fork_demo");
  ASSERT_EQ(lines.size(), 4U);  // the first line once: streams are flushed before a fork
  EXPECT_THAT(lines.front(), MatchesRegex("Process \\([0-9]+\\) start\\.\\.\\."));
  EXPECT_THAT(lines,
              ::testing::Contains(MatchesRegex("I am child process \\([0-9]+\\) and my parent is "
                                               "[0-9]+; counter is 7")));
  EXPECT_THAT(lines, ::testing::Contains(MatchesRegex("I \\([0-9]+\\) just created a child process "
                                                      "\\([0-9]+\\)\\.")));
  EXPECT_EQ(lines.back(), "counter is still 7");
}

TEST(Programs, TenProcesses) {
  const auto lines = run_program("ten_processes");
  std::multiset<std::string> hellos;
  int threads = 0;
  for (const std::string& line : lines) {
    if (line.starts_with("hello bob ")) hellos.insert(line);
    threads += line.starts_with("thread of process ") ? 1 : 0;
  }
  EXPECT_EQ(lines.size(), 20U);
  EXPECT_EQ(std::set<std::string>(hellos.begin(), hellos.end()).size(), 10U);
  EXPECT_EQ(threads, 10);
}

TEST(Programs, ProcessInfo) {
  const auto lines = run_program("process_info");
  ASSERT_EQ(lines.size(), 9U);
  EXPECT_EQ(lines[0], "\033[32;1mmain process line\033[0m");
  EXPECT_EQ(lines[1], "module name: MainProcess");
  EXPECT_EQ(last_number(lines[6]), last_number(lines[3]));  // the child's parent is main
  EXPECT_NE(last_number(lines[7]), last_number(lines[3]));
  EXPECT_EQ(lines[8], "hello bob");
}

TEST(Programs, PipeGreeting) {
  EXPECT_THAT(run_program("pipe_greeting"),
              ElementsAre("来自儿子的问候: 吃了吗", "来自父亲的问候: 嗯"));
}

TEST(Programs, Pipe42) { EXPECT_THAT(run_program("pipe_42"), ElementsAre("[42, None, 'hello']")); }

TEST(Programs, PipeTwoChildren) { EXPECT_THAT(run_program("pipe_two_children"), ElementsAre("a")); }

TEST(Programs, QueueWriteRead) {
  const auto lines = run_program("queue_write_read");
  std::ptrdiff_t last_get = -1;
  for (const std::string item : {"A", "B", "C"}) {
    const auto put = index_of(lines, "Put " + item + " to queue...");
    const auto get = index_of(lines, "Get " + item + " from queue.");
    EXPECT_LT(put, get);
    EXPECT_LT(last_get, get);
    last_get = get;
  }
  EXPECT_EQ(lines.back(), "reader's exitcode: -15");
}

TEST(Programs, JoinableQueue) {
  const auto lines = run_program("joinable_queue");
  ASSERT_EQ(lines.size(), 11U);
  // Each side's lines are in order; which side is quicker is the machine's business.
  for (const std::string who : {"生产者做好了 产品", "消费者拿到了 产品"}) {
    std::ptrdiff_t last = -1;
    for (int i = 0; i < 5; ++i) {
      const auto line = index_of(lines, who + std::to_string(i));
      EXPECT_LT(last, line);
      last = line;
    }
  }
  EXPECT_EQ(lines.back(), "主线程");
}

TEST(Programs, QueueValues) {
  EXPECT_THAT(run_program("queue_values"), ElementsAre("[42, None, 'hello']"));
}

TEST(Programs, QueueOrders) {
  EXPECT_THAT(run_program("queue_orders"),
              ElementsAre("Queue: 2 3 1", "LifoQueue: 1 3 2", "PriorityQueue: 1 2 3"));
}

TEST(Programs, ProducerConsumer) {
  EXPECT_THAT(run_program("producer_consumer"), ElementsAre("a"));
}

TEST(Programs, QueueCrawlerLosesNoUrlAndFetchesNoneTwice) {
  const auto lines = run_program("queue_crawler");
  std::map<std::string, int> started;
  std::map<std::string, int> ended;
  for (const std::string& line : lines) {
    if (line.starts_with("get detail html started: ")) ++started[line.substr(25)];
    if (line.starts_with("get detail html end: ")) ++ended[line.substr(21)];
  }
  ASSERT_EQ(started.size(), 40U);
  for (int i = 0; i < 40; ++i) {
    const std::string url = "http://projectsedu.com/" + std::to_string(i);
    EXPECT_EQ(started[url], 1) << url;
    EXPECT_EQ(ended[url], 1) << url;
  }
  // The first page's urls are handed out in the order they were put.
  EXPECT_LT(index_of(lines, "get detail html started: http://projectsedu.com/0"),
            index_of(lines, "get detail html started: http://projectsedu.com/19"));
}

TEST(Programs, PoolSquares) {
  EXPECT_THAT(run_program("pool_squares"), ElementsAre("1", "4", "9"));
}

TEST(Programs, PoolMapOfAHundred) {
  EXPECT_THAT(run_program("pool_hundred map"), UnorderedElementsAreArray(numbers(0, 100)));
}

TEST(Programs, PoolSubmitOfAHundredDoesNotWait) {
  auto lines = run_program("pool_hundred submit");
  ASSERT_EQ(lines.size(), 101U);
  lines.erase(lines.begin() + index_of(lines, "test"));
  EXPECT_THAT(lines, UnorderedElementsAreArray(numbers(0, 100)));
}

TEST(Programs, PoolApplyOfAHundredIsStrictlyInOrder) {
  auto expected = numbers(0, 100);
  expected.push_back("test");
  EXPECT_EQ(run_program("pool_hundred apply"), expected);
}

TEST(Programs, ValueAndArray) {
  EXPECT_THAT(run_program("value_array"), ElementsAre("3.14", "[5, 1, 2, 3, 4, 5, 6, 7, 8, 9]"));
}

TEST(Programs, ValueAndArrayNegated) {
  EXPECT_THAT(run_program("value_array_negate"),
              ElementsAre("3.1415927", "[0, -1, -2, -3, -4, -5, -6, -7, -8, -9]"));
}

TEST(Programs, PoolCallbacksRunInTheParent) {
  const auto lines = run_program("pool_callback");
  ASSERT_EQ(lines.size(), 22U);
  const int main_pid = last_number(lines.front());
  std::set<int> workers;
  std::set<int> results;
  int ran = 0;
  for (const std::string& line : lines) {
    if (line.starts_with("in process ")) {
      workers.insert(last_number(line));
      ++ran;
    }
    if (line.starts_with("-->exec done: ")) {
      results.insert(std::atoi(line.substr(14).c_str()));
      EXPECT_EQ(last_number(line), main_pid);
      EXPECT_LE(static_cast<int>(results.size()), ran);  // none is told of before it has run
    }
  }
  EXPECT_EQ(workers.size(), 3U);
  EXPECT_FALSE(workers.contains(main_pid));
  EXPECT_EQ(results, (std::set<int>{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}));
  EXPECT_THAT(lines, ::testing::Contains("end"));
}

TEST(Programs, PoolCallbacksOfFiveWorkers) {
  auto lines = run_program("pool_callback five");
  std::vector<std::string> expected{"end"};
  for (int i = 100; i < 110; ++i) expected.push_back("-->exec done: " + std::to_string(i));
  EXPECT_THAT(lines, ::testing::UnorderedElementsAreArray(expected));
}

TEST(Programs, PoolImapYieldsInInputOrder) {
  EXPECT_THAT(run_program("pool_imap"), ElementsAre("1 success", "5 success", "3 success", "done"));
}

TEST(Programs, PoolImapUnorderedYieldsAsTasksFinish) {
  EXPECT_THAT(run_program("pool_imap unordered"),
              ElementsAre("1 sleep success", "3 sleep success", "5 sleep success", "done"));
}

TEST(Programs, PoolStreamYieldsWhileItsTaskRuns) {
  EXPECT_THAT(run_program("pool_stream"),
              ElementsAre("2 is prime", "3 is prime", "5 is prime", "7 is prime", "11 is prime",
                          "13 is prime", "17 is prime", "19 is prime", "2 came", "3 came", "5 came",
                          "the end: the worker is gone", "done"));
}

}  // namespace
