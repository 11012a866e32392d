// Pool: making one, and single tasks; after CPython's _TestPool and _TestPoolWorkerLifetime.
#include <passel/process.hpp>

#include "small_tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::PoolInitializer;
using passel::Result;
using passel_test::add;
using passel_test::make_pool;
using passel_test::nothing;
using passel_test::numbers;
using passel_test::process_id;
using passel_test::shout;
using passel_test::square;
using passel_test::squares;
using passel_test::wait_for_word;
using passel_test::walk;

Result<int> half(int n) {
  if (n % 2 != 0) return passel::Error{Errc::invalid_argument, std::to_string(n) + " is odd"};
  return n / 2;
}
struct Page {
  std::string url;
  std::vector<std::string> links;
  friend bool operator==(const Page&, const Page&) = default;
};
Page follow(const Page& page) { return {page.url + "/next", {page.url}}; }

// --- POL-01 to POL-05: making one
// -------------------------------------------------------------------------------------

TEST(Pool, HasExactlyAsManyWorkersAsAsked) {
  Pool pool = make_pool(3);
  const auto stats = pool.stats();
  ASSERT_EQ(stats.workers.size(), 3U);
  EXPECT_EQ(pool.processes(), 3U);
  EXPECT_EQ(stats.workers[0].name, "ForkServerPoolWorker-1");
  EXPECT_EQ(stats.workers[2].name, "ForkServerPoolWorker-3");
}

TEST(Pool, DefaultsToTheUsableProcessors) {
  Pool pool = Pool::start().unwrap();
  EXPECT_EQ(pool.processes(), static_cast<unsigned>(passel::usable_cpu_count()));
}

TEST(Pool, RefusesFewerThanOneProcess) {
  for (const int count : {0, -1}) {
    const auto pool = Pool::start({.processes = count});
    ASSERT_TRUE(pool.is_err());
    EXPECT_EQ(
        pool.error().to_string(),
        "invalid_argument: number of processes must be at least 1, not " + std::to_string(count));
  }
}

TEST(Pool, ManyWorkersAreFine) {
  Pool pool = make_pool(60);
  EXPECT_EQ(pool.map<square>(numbers(500), {.chunksize = 1}).unwrap(), squares(500));
}

TEST(Pool, WorkersAreDaemonsWithTheirName) {
  Pool pool = Pool::start({.processes = 1, .name = "Crawler"}).unwrap();
  const auto [name, daemon] = pool.apply([] {
                                    const auto self = passel::current_process();
                                    return std::pair{self.name, self.daemon};
                                  })
                                  .unwrap();
  EXPECT_EQ(name, "Crawler-1");
  EXPECT_TRUE(daemon);
}

std::string started_with;
void remember(const std::string& word, int number) { started_with = word + std::to_string(number); }
std::string recall() { return started_with; }

TEST(Pool, InitializerRunsInEveryWorkerAlsoInReplacements) {
  Pool pool = Pool::start({.processes = 1,
                           .initializer = PoolInitializer::with<remember>("word", 7),
                           .maxtasksperchild = 1})
                  .unwrap();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pool.apply<recall>().unwrap(), "word7");
  EXPECT_EQ(started_with, "");
}

TEST(Pool, InitializerMayBeALambda) {
  Pool pool =
      Pool::start({.processes = 1, .initializer = [] { started_with = "lambda"; }}).unwrap();
  EXPECT_EQ(pool.apply<recall>().unwrap(), "lambda");
}

TEST(Pool, MaxTasksPerChildReplacesWorkersAndLosesNothing) {
  Pool pool = Pool::start({.processes = 2, .maxtasksperchild = 5}).unwrap();
  std::map<int, int> tasks_of;
  for (const int pid :
       pool.map([](int) { return ::getpid(); }, numbers(100), {.chunksize = 1}).unwrap()) {
    ++tasks_of[pid];
  }
  EXPECT_GE(tasks_of.size(), 20U);
  for (const auto& [pid, tasks] : tasks_of) EXPECT_LE(tasks, 5) << pid;
  pool.close();
  pool.join().unwrap();
}

TEST(Pool, MaxTasksPerChildMustBePositive) {
  for (const int count : {0, -1}) {
    const auto pool = Pool::start({.processes = 1, .maxtasksperchild = count});
    ASSERT_TRUE(pool.is_err());
    EXPECT_TRUE(pool.error() == Errc::invalid_argument);
  }
}

TEST(Pool, CloseWithShortLivedWorkersEnds) {
  Pool pool = Pool::start({.processes = 3, .maxtasksperchild = 1}).unwrap();
  std::vector<Future<int>> futures;
  for (int i = 0; i < 6; ++i) futures.push_back(pool.submit<square>(i));
  pool.close();
  pool.join().unwrap();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get().unwrap(), i * i);
}

TEST(Pool, StartMethodSpawnWorksToo) {
  Pool pool = Pool::start({.processes = 1, .method = passel::StartMethod::spawn}).unwrap();
  EXPECT_EQ(pool.apply<square>(5).unwrap(), 25);
  EXPECT_EQ(pool.stats().workers.at(0).name, "SpawnPoolWorker-1");
}

// --- POL-06, POL-07: single tasks
// -------------------------------------------------------------------------------------

TEST(Pool, ApplyWaitsForTheResult) {
  Pool pool = make_pool(2);
  EXPECT_EQ(pool.apply<square>(5).unwrap(), 25);
  EXPECT_EQ(pool.apply<add>(2, 3).unwrap(), 5);
  EXPECT_EQ(pool.apply<shout>("hey").unwrap(), "hey!");
  EXPECT_TRUE(pool.apply<nothing>(1).is_ok());
  EXPECT_NE(pool.apply<process_id>().unwrap(), ::getpid());
}

TEST(Pool, SubmitTakesFunctionsAndLambdas) {
  Pool pool = make_pool(2);
  Future<int> one = pool.submit<square>(7);
  Future<double> two = pool.submit([](int n, double x) { return n * x; }, 3, 1.5);
  EXPECT_EQ(one.get().unwrap(), 49);
  EXPECT_EQ(two.get().unwrap(), 4.5);
}

TEST(Pool, ValuesOfAnyCodecTravel) {
  Pool pool = make_pool(1);
  const Page page{"http://a", {"x", "y"}};
  EXPECT_EQ(pool.apply<follow>(page).unwrap(), (Page{"http://a/next", {"http://a"}}));
  EXPECT_EQ(pool.apply<walk>(4).unwrap().value(), 3.0);
}

TEST(Pool, AReturnedResultIsFlattened) {
  Pool pool = make_pool(1);
  EXPECT_EQ(pool.apply<half>(8).unwrap(), 4);
  const auto odd = pool.apply<half>(3);
  ASSERT_TRUE(odd.is_err());
  EXPECT_EQ(odd.error().to_string(), "invalid_argument: 3 is odd");
}

TEST(Pool, CallbackRunsBeforeGetReturnsAndNotInTheCaller) {
  Pool pool = make_pool(1);
  std::atomic<int> seen{0};
  std::thread::id where;
  passel::Queue<std::string> words;
  auto future = pool.submit<wait_for_word>(words);
  future.on_done([&](const Result<std::string>& result) {
    where = std::this_thread::get_id();
    seen = static_cast<int>(result->size());
  });
  words.put("four").unwrap();
  EXPECT_EQ(future.get().unwrap(), "four");
  EXPECT_EQ(seen, 4);
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(Pool, ACallbackMaySubmitAndClose) {
  Pool pool = make_pool(1);
  passel::Promise<int> promise;
  auto chained = promise.future();
  auto first = pool.submit<square>(3);
  first.on_done([&](const Result<int>& result) {
    pool.submit<square>(*result).forward_to(std::move(promise));
    static_cast<void>(pool.stats());
    pool.close();
  });
  EXPECT_EQ(chained.get().unwrap(), 81);
  pool.join().unwrap();
}

TEST(Pool, HandlesWorkInsideOfTasks) {
  Pool pool = make_pool(2);
  passel::Queue<std::string> words;
  auto waiting = pool.submit<wait_for_word>(words);
  pool.submit([](const passel::Queue<std::string>& out) { out.put("from a task").unwrap(); }, words)
      .get()
      .unwrap();
  EXPECT_EQ(waiting.get().unwrap(), "from a task");
}

TEST(Pool, ManySubmitsKeepTheirResults) {
  Pool pool = make_pool(2);
  std::vector<Future<int>> futures;
  for (int i = 0; i < 5'000; ++i) futures.push_back(pool.submit<square>(i));
  for (int i = 0; i < 5'000; ++i)
    ASSERT_EQ(futures[static_cast<std::size_t>(i)].get().unwrap(), i * i);
}

TEST(Pool, ThreadsMaySubmitAtOnce) {
  Pool pool = make_pool(2);
  std::atomic<long> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) sum += pool.apply<square>(i).unwrap();
    });
  }
  for (auto& thread : threads) thread.join();
  long expected = 0;
  for (long i = 0; i < 300; ++i) expected += 4 * i * i;
  EXPECT_EQ(sum, expected);
}

}  // namespace
