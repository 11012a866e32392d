// Pool: how it ends, and what becomes of tasks that fail, are cancelled or say too much; after
// CPython's _TestPool and _TestPoolWorkerErrors.
#include <passel/process.hpp>

#include "small_tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::Result;
using passel_test::make_pool;
using passel_test::numbers;
using passel_test::pool_census;
using passel_test::process_id;
using passel_test::shout;
using passel_test::square;
using passel_test::squares;
using passel_test::three_is_bad;
using passel_test::wait_for_word;

TEST(Pool, CloseFinishesWhatWasSubmitted) {
  Pool pool = make_pool(2);
  auto future = pool.map_async<square>(numbers(1'000), {.chunksize = 1});
  pool.close();
  EXPECT_EQ(future.get().unwrap(), squares(1'000));
  const auto late = pool.submit<square>(1).get();
  ASSERT_TRUE(late.is_err());
  EXPECT_EQ(late.error().to_string(), "invalid_state: Pool not running");
  EXPECT_TRUE(pool.imap<square>(numbers(1)).is_err());
  pool.join().unwrap();
  pool.join().unwrap();
  EXPECT_TRUE(pool.stats().workers.empty());
}

TEST(Pool, JoinNeedsCloseFirst) {
  Pool pool = make_pool(1);
  const auto joined = pool.join();
  ASSERT_TRUE(joined.is_err());
  EXPECT_EQ(joined.error().to_string(), "invalid_state: Pool is still running");
}

TEST(Pool, JoinForGivesUpInTime) {
  Pool pool = make_pool(1);
  passel::Queue<std::string> words;
  auto waiting = pool.submit<wait_for_word>(words);
  pool.close();
  EXPECT_TRUE(pool.join_for(20ms).error() == Errc::timeout);
  words.put("done").unwrap();
  pool.join().unwrap();
  EXPECT_EQ(waiting.get().unwrap(), "done");
}

TEST(Pool, TerminateEndsQueuedAndRunningTasksAtOnce) {
  Pool pool = make_pool(2);
  passel::Queue<std::string> never;
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < 1'000; ++i) futures.push_back(pool.submit<wait_for_word>(never));
  pool.terminate();
  pool.join().unwrap();
  for (auto& future : futures) ASSERT_TRUE(future.get().error() == Errc::cancelled);
}

TEST(Pool, DestructionTerminates) {
  passel::Queue<std::string> never;
  const auto before = pool_census();
  Future<std::string> future;
  {
    Pool pool = make_pool(2);
    future = pool.submit<wait_for_word>(never);
  }
  EXPECT_TRUE(future.get().error() == Errc::cancelled);
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Pool, ResultsAreGoodAfterThePoolIsGone) {
  Future<int> future;
  {
    Pool pool = make_pool(1);
    future = pool.submit<square>(6);
    pool.close();
    pool.join().unwrap();
  }
  EXPECT_EQ(future.get().unwrap(), 36);
}

TEST(Pool, ACancelledTaskNeverRuns) {
  Pool pool = make_pool(1);
  passel::Queue<std::string> words;
  passel::Queue<int> ran;
  auto blocker = pool.submit<wait_for_word>(words);
  auto later = pool.submit([](const passel::Queue<int>& seen) { seen.put(1).unwrap(); }, ran);
  EXPECT_TRUE(later.cancel());
  words.put("go").unwrap();
  EXPECT_TRUE(blocker.get().is_ok());
  EXPECT_TRUE(later.get().error() == Errc::cancelled);
  EXPECT_EQ(pool.apply<square>(2).unwrap(), 4);
  EXPECT_EQ(ran.qsize(), 0U);
  EXPECT_FALSE(blocker.cancel());
}

TEST(Pool, CancelTellsTheTruthAlsoWhenItRacesTheStart) {
  Pool pool = make_pool(2);
  passel::Queue<int> ran;
  std::vector<Future<void>> futures;
  std::set<int> cancelled;
  constexpr int tasks = 3'000;
  for (int i = 0; i < tasks; ++i) {
    futures.push_back(
        pool.submit([](int n, const passel::Queue<int>& out) { out.put(n).unwrap(); }, i, ran));
    // Now the task that was just submitted, now one that is about to start.
    const int which = i % 3 == 0 ? i : std::max(0, i - i % 70);
    if (i % 3 != 2 && futures[static_cast<std::size_t>(which)].cancel()) cancelled.insert(which);
  }
  std::size_t done = 0;
  for (auto& future : futures) {
    const auto result = future.get();
    if (result) {
      ++done;
    } else {
      ASSERT_TRUE(result.error() == Errc::cancelled) << result.error().to_string();
    }
  }
  EXPECT_EQ(done + cancelled.size(), std::size_t{tasks});
  EXPECT_EQ(ran.qsize(), done);
  while (auto n = ran.try_get()) EXPECT_FALSE(cancelled.contains(*n)) << *n;
}

struct NoStandardException {
  int code;
};
struct HugeException : std::exception {
  [[nodiscard]] const char* what() const noexcept override {
    static const std::string text(std::size_t{4} << 20, 'x');
    return text.c_str();
  }
};

TEST(Pool, ExceptionsComeBackWithTypeAndText) {
  Pool pool = make_pool(1);
  const auto failed = pool.apply<three_is_bad>(3);
  ASSERT_TRUE(failed.is_err());
  EXPECT_TRUE(failed.error() == Errc::task_failed);
  const auto* remote = failed.error().detail<passel::RemoteError>();
  ASSERT_NE(remote, nullptr);
  EXPECT_EQ(remote->type_name, "std::invalid_argument");
  EXPECT_EQ(remote->what, "no three");
}

TEST(Pool, AnyExceptionLeavesTheWorkerAlive) {
  Pool pool = make_pool(1);
  const int pid = pool.apply<process_id>().unwrap();
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(pool.apply([] { throw NoStandardException{7}; }).error() == Errc::task_failed);
    EXPECT_TRUE(pool.apply([] { throw HugeException{}; }).error() == Errc::task_failed);
    EXPECT_TRUE(pool.apply([] { throw 42; }).error() == Errc::task_failed);
  }
  EXPECT_EQ(pool.apply<process_id>().unwrap(), pid);
}

TEST(Pool, AResultOverTheLimitFailsAlone) {
  Pool pool = Pool::start({.processes = 1, .max_message = 100'000}).unwrap();
  auto exact = pool.submit([](std::size_t n) { return std::string(n, 'x'); }, std::size_t{90'000});
  auto large = pool.submit([](std::size_t n) { return std::string(n, 'x'); }, std::size_t{100'001});
  EXPECT_EQ(exact.get().unwrap().size(), 90'000U);
  const auto failed = large.get();
  ASSERT_TRUE(failed.is_err());
  EXPECT_TRUE(failed.error() == Errc::too_large);
  EXPECT_THAT(failed.error().what(), ::testing::HasSubstr("100000"));
  const auto sent = pool.apply<shout>(std::string(100'001, 'x'));
  ASSERT_TRUE(sent.is_err());
  EXPECT_TRUE(sent.error() == Errc::too_large);
  EXPECT_EQ(pool.apply<square>(2).unwrap(), 4);
}

TEST(Pool, LargePayloadsTravelBothWays) {
  Pool pool = make_pool(2);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 24; ++i)
    texts.emplace_back(std::size_t{1} << i, static_cast<char>('a' + i));
  const auto back = pool.map<shout>(texts, {.chunksize = 1}).unwrap();
  for (std::size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(back[i], texts[i] + "!") << i;
}

// Results of 64 KiB and more are written where the pool reads them.
TEST(Pool, LargeResultsOfEveryKindComeBackWhole) {
  Pool pool = make_pool(1);
  const std::string text(std::size_t{3} << 20, 'x');
  for (int i = 0; i < 20; ++i) ASSERT_EQ(pool.apply<shout>(text).unwrap(), text + "!");
  EXPECT_EQ(pool.map<shout>(std::vector{text, text, text}, {.chunksize = 3}).unwrap(),
            (std::vector{text + "!", text + "!", text + "!"}));
  const std::vector<double> halves(100'000, 0.5);
  EXPECT_EQ(pool.apply([](std::vector<double> all) { return all; }, halves).unwrap(), halves);
  EXPECT_EQ(
      pool.apply([](std::vector<double> all) -> Result<std::vector<double>> { return all; }, halves)
          .unwrap(),
      halves);
  std::vector<Future<std::string>> many;
  for (int i = 0; i < 40; ++i) many.push_back(pool.submit<shout>(text));
  for (auto& one : many) ASSERT_EQ(one.get().unwrap().size(), text.size() + 1);
}

TEST(Pool, ADaemonMayNotHaveAPool) {
  Pool pool = make_pool(1);
  auto inner = pool.apply([] {
    const auto started = Pool::start({.processes = 1});
    return started ? std::string{"started"} : started.error().to_string();
  });
  EXPECT_THAT(std::move(inner).unwrap(),
              ::testing::HasSubstr("daemonic processes are not allowed to have children"));
}

TEST(Pool, AnOrdinaryChildMayHaveAPool) {
  passel::Queue<int> answer;
  auto child = passel::Process::spawn(
                   [](const passel::Queue<int>& out) {
                     Pool pool = Pool::start({.processes = 2}).unwrap();
                     out.put(pool.apply<square>(9).unwrap()).unwrap();
                   },
                   answer)
                   .unwrap();
  EXPECT_EQ(answer.get().unwrap(), 81);
  EXPECT_EQ(child.join().unwrap(), 0);
}

TEST(Pool, SeveralPoolsLiveBesideEachOther) {
  const auto before = pool_census();
  {
    Pool one = make_pool(1);
    Pool two = make_pool(2);
    EXPECT_EQ(one.apply<square>(2).unwrap() + two.apply<square>(3).unwrap(), 13);
    one = std::move(two);
    EXPECT_EQ(one.apply<square>(4).unwrap(), 16);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
