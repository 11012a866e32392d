// Behaviour of Pool, after CPython's _TestPool, _TestPoolWorkerErrors, _TestPoolWorkerLifetime.
#include <passel/pool.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <functional>
#include <list>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::Pool;
using passel::PoolInitializer;
using passel::Result;

int square(int n) { return n * n; }
int add(int a, int b) { return a + b; }
int process_id() { return ::getpid(); }
std::string shout(const std::string& text) { return text + "!"; }
void nothing(int) {}
int three_is_bad(int n) {
  if (n == 3) throw std::invalid_argument{"no three"};
  return n;
}
Result<int> half(int n) {
  if (n % 2 != 0) return passel::Error{Errc::invalid_argument, std::to_string(n) + " is odd"};
  return n / 2;
}
/// Waits until the queue gives it a word: a task that is as long as the test wants it to be.
std::string wait_for_word(const passel::Queue<std::string>& words) { return words.get().unwrap(); }

struct Page {
  std::string url;
  std::vector<std::string> links;
  friend bool operator==(const Page&, const Page&) = default;
};
Page follow(const Page& page) { return {page.url + "/next", {page.url}}; }

/// A type without a default constructor, as a result.
class Meters {
 public:
  explicit Meters(double value) : value_{value} {}
  [[nodiscard]] double value() const { return value_; }

 private:
  double value_;
};
Meters walk(int steps) { return Meters{steps * 0.75}; }

/// What this process owns, once it has had a pool: the first one starts the threads that all actors
/// share.
passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

Pool make_pool(int processes) { return Pool::start({.processes = processes}).unwrap(); }

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}
std::vector<int> squares(int count) {
  std::vector<int> all = numbers(count);
  for (int& n : all) n *= n;
  return all;
}

}  // namespace

template <>
struct passel::codec<Meters> {
  static passel::WireValue encode(const Meters& meters) { return passel::to_value(meters.value()); }
  static passel::Result<Meters> decode(const passel::WireValue& value) {
    PASSEL_TRY(const double number, passel::from_value<double>(value));
    return Meters{number};
  }
};

namespace {

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

// --- POL-08 to POL-14: many tasks
// -------------------------------------------------------------------------------------

TEST(Pool, MapKeepsTheOrder) {
  Pool pool = make_pool(2);
  for (const unsigned chunk : {0U, 1U, 7U, 1'000U}) {
    EXPECT_EQ(pool.map<square>(numbers(100), {.chunksize = chunk}).unwrap(), squares(100)) << chunk;
  }
}

TEST(Pool, MapOfNothingIsNothing) {
  Pool pool = make_pool(1);
  EXPECT_TRUE(pool.map<square>(std::vector<int>{}).unwrap().empty());
}

TEST(Pool, MapTakesAnyRangeAndConvertsItems) {
  Pool pool = make_pool(2);
  const std::list<const char*> words{"a", "bc"};
  EXPECT_THAT(pool.map<shout>(words).unwrap(), ::testing::ElementsAre("a!", "bc!"));
  EXPECT_THAT(pool.map([](long n) { return n > 1; }, std::set<int>{1, 2}).unwrap(),
              ::testing::ElementsAre(false, true));
  EXPECT_TRUE(pool.map<nothing>(numbers(10)).is_ok());
  std::vector<double> far;
  for (const Meters& meters : pool.map<walk>(numbers(3)).unwrap()) far.push_back(meters.value());
  EXPECT_THAT(far, ::testing::ElementsAre(0.0, 0.75, 1.5));
}

TEST(Pool, MapFailsOnlyAfterAllTasksHaveRun) {
  Pool pool = make_pool(2);
  passel::Queue<int> ran;
  std::vector<std::tuple<int, passel::Queue<int>>> items;
  for (int i = 0; i < 10; ++i) items.emplace_back(i, ran);
  const auto result = pool.starmap(
      [](int n, const passel::Queue<int>& seen) {
        seen.put(n).unwrap();
        if (n % 3 == 2) throw std::runtime_error{"bad " + std::to_string(n)};
        return n;
      },
      items, {.chunksize = 4});
  ASSERT_TRUE(result.is_err());
  EXPECT_TRUE(result.error() == Errc::task_failed);
  EXPECT_THAT(result.error().what(), ::testing::HasSubstr("bad 2"));
  EXPECT_EQ(ran.qsize(), 10U);
  EXPECT_EQ(pool.map<square>(numbers(10)).unwrap(), squares(10));
}

TEST(Pool, MapAsyncAnswersLater) {
  Pool pool = make_pool(1);
  auto future = pool.map_async<square>(numbers(20), {.chunksize = 3});
  std::size_t count = 0;
  future.on_done([&](const Result<std::vector<int>>& all) { count = all->size(); });
  EXPECT_EQ(future.get().unwrap(), squares(20));
  EXPECT_EQ(count, 20U);
}

TEST(Pool, StarmapUnpacksTuplesAndPairs) {
  Pool pool = make_pool(2);
  EXPECT_THAT(pool.starmap<add>(std::vector{std::pair{1, 2}, std::pair{3, 4}}).unwrap(),
              ::testing::ElementsAre(3, 7));
  EXPECT_THAT(pool.starmap([](int a, const std::string& b) { return b + std::to_string(a); },
                           std::vector{std::tuple{1, std::string{"x"}}})
                  .unwrap(),
              ::testing::ElementsAre("x1"));
}

TEST(Pool, ImapYieldsInOrderAndImapUnorderedAll) {
  Pool pool = make_pool(2);
  for (const unsigned chunk : {1U, 7U}) {
    std::vector<int> ordered;
    for (Result<int>& result : pool.imap<square>(numbers(500), {.chunksize = chunk}).unwrap()) {
      ordered.push_back(*result);
    }
    EXPECT_EQ(ordered, squares(500));
    std::multiset<int> all;
    for (Result<int>& result :
         pool.imap_unordered<square>(numbers(500), {.chunksize = chunk}).unwrap()) {
      all.insert(*result);
    }
    const auto expected = squares(500);
    EXPECT_EQ(all, (std::multiset<int>{expected.begin(), expected.end()}));
  }
}

TEST(Pool, ImapGoesOnAfterAnError) {
  Pool pool = make_pool(2);
  std::vector<std::string> seen;
  for (Result<int>& result : pool.imap<three_is_bad>(numbers(6)).unwrap()) {
    seen.push_back(result ? std::to_string(*result)
                          : std::string{to_string(result.error().code())});
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("0", "1", "2", "task_failed", "4", "5"));
}

TEST(Pool, ImapReadsItsInputLazily) {
  Pool pool = make_pool(2);
  struct Endless {
    struct Iterator {
      int* read;
      int operator*() const { return *read; }
      Iterator& operator++() {
        ++*read;
        return *this;
      }
      bool operator==(const Iterator&) const { return false; }
    };
    int* read;
    [[nodiscard]] Iterator begin() const { return {read}; }
    [[nodiscard]] Iterator end() const { return {read}; }
  };
  int read = 0;
  {
    auto results = pool.imap<square>(Endless{&read}).unwrap();
    EXPECT_EQ(read, 0);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(**results.next(), i * i);
    // At most the window of both workers, twice, is read ahead.
    EXPECT_LE(read, 10 + 2 * 2 * 256);
  }
  EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
}

TEST(Pool, ImapNextWaitsNoLongerThanTold) {
  Pool pool = make_pool(1);
  passel::Queue<std::string> words;
  auto results = pool.imap<wait_for_word>(std::vector{words}).unwrap();
  const auto early = results.next_for(10ms);
  ASSERT_TRUE(early.has_value());
  EXPECT_TRUE(early->error() == Errc::timeout);
  words.put("now").unwrap();
  EXPECT_EQ(**results.next(), "now");
  EXPECT_FALSE(results.next().has_value());
}

TEST(Pool, AnExceptionOfTheInputComesOut) {
  Pool pool = make_pool(1);
  struct Broken {
    struct Iterator {
      int at = 0;
      int operator*() const {
        if (at == 2) throw std::logic_error{"no more"};
        return at;
      }
      Iterator& operator++() {
        ++at;
        return *this;
      }
      bool operator==(const Iterator& other) const { return at == other.at; }
    };
    [[nodiscard]] Iterator begin() const { return {}; }
    [[nodiscard]] Iterator end() const { return {100}; }
  };
  std::vector<std::string> seen;
  for (Result<int>& result : pool.imap<square>(Broken{}).unwrap()) {
    seen.push_back(result ? std::to_string(*result)
                          : std::string{to_string(result.error().code())});
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("0", "1", "task_failed"));
  EXPECT_THROW(static_cast<void>(pool.map<square>(Broken{}, {.chunksize = 1})), std::logic_error);
  EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
}

// --- POL-15 to POL-19, N-08, N-09
// -------------------------------------------------------------------------------------

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
  const auto before = census();
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
  const auto before = census();
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
