// Pool: deadlines, stopping what runs, retries, priorities, and how many calls may wait.
#include <passel/pool.hpp>
#include <passel/queue.hpp>
#include <passel/this_task.hpp>

#include "support/seed.hpp"

#include "small_tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Callbacks;
using passel::Errc;
using passel::Error;
using passel::Future;
using passel::Pool;
using passel::Queue;
using passel::Result;
using passel::RetryOn;
using passel::TaskOptions;
using passel_test::pool_census;
using passel_test::process_id;
using passel_test::square;
using passel_test::wait_for_word;

void begin_and_wait(const Queue<std::string>& begun, const Queue<std::string>& words) {
  begun.put("begun").unwrap();
  words.get().unwrap();
}

/// Ways to run for ever.
void stay(const std::string& how, const Queue<std::string>& words) {
  words.put("begun").unwrap();
  if (how == "heeds") {
    while (!passel::this_task::stop_requested()) std::this_thread::yield();
    return;
  }
  if (how == "token") {
    std::atomic<bool> told{false};
    const std::stop_callback callback{passel::this_task::stop_token(), [&] { told = true; }};
    while (!told) std::this_thread::yield();
    return;
  }
  if (how == "blocked read") {
    int ends[2];
    char byte = 0;
    if (::pipe(ends) == 0) static_cast<void>(::read(ends[0], &byte, 1));
  }
  if (how == "stopped") ::raise(SIGSTOP);
  if (how == "ignores SIGTERM") std::signal(SIGTERM, SIG_IGN);
  for (;;) {
    if (how == "sleep") ::pause();
  }
}

TEST(PoolTime, Fault08ATaskOverItsDeadlineEndsAndItsSlotIsFilledAgain) {
  const auto before = pool_census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    for (const std::string how :
         {"busy", "sleep", "blocked read", "ignores SIGTERM", "stopped", "heeds", "token"}) {
      // Who heeds the request keeps the worker, and has the time it takes.
      const bool polite = how == "heeds" || how == "token";
      Queue<std::string> words;
      int pid = 0;
      // A task whose time is up before it could begin costs no worker.
      while (words.empty()) {
        pid = pool.apply<process_id>().unwrap();
        auto late = pool.submit<stay>(
            {.deadline = 200ms, .grace = polite ? std::chrono::milliseconds{1h} : 20ms}, how,
            words);
        const auto answer = late.get();
        ASSERT_TRUE(answer.is_err()) << how;
        EXPECT_TRUE(answer.error() == Errc::timeout) << how << ": " << answer.error().to_string();
        EXPECT_THAT(answer.error().what(), ::testing::HasSubstr("stay")) << how;
      }
      const int next = pool.apply<process_id>().unwrap();
      EXPECT_EQ(next == pid, polite) << how;
    }
    EXPECT_EQ(pool.stats().restarts, 0U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolTime, ADeadlineCountsWhileTheTaskWaits) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  auto blocker = pool.submit<wait_for_word>(words);
  std::vector<Future<int>> late;
  for (int i = 0; i < 100; ++i) late.push_back(pool.submit<square>({.deadline = 30ms}, i));
  auto whole = pool.map_async<square>(std::vector<int>(1'000, 2), {.deadline = 30ms});
  for (auto& future : late) EXPECT_TRUE(future.get().error() == Errc::timeout);
  EXPECT_TRUE(whole.get().error() == Errc::timeout);
  words.put("go on").unwrap();
  EXPECT_EQ(blocker.get().unwrap(), "go on");
  EXPECT_EQ(pool.apply<square>(3).unwrap(), 9);
  EXPECT_TRUE(pool.submit<square>({.deadline = 0ms}, 3).get().error() == Errc::timeout);
}

TEST(PoolTime, ATimeLimitCountsFromTheStart) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  auto long_one = pool.submit<stay>({.time_limit = 1200ms, .grace = 0ms}, "sleep", words);
  // This one waits longer than it may run.
  auto short_one = pool.submit<square>({.time_limit = 1s}, 4);
  const auto over = long_one.get();
  ASSERT_TRUE(over.is_err());
  EXPECT_TRUE(over.error() == Errc::timeout);
  EXPECT_THAT(over.error().what(), ::testing::HasSubstr("1.2 s"));
  EXPECT_EQ(short_one.get().unwrap(), 16);
}

TEST(PoolTime, Fault09ARunningTaskIsStopped) {
  const auto before = pool_census();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    for (const std::string how : {"sleep", "busy", "ignores SIGTERM"}) {
      Queue<std::string> words;
      auto task = pool.submit<stay>({.grace = 10ms}, how, words);
      words.get().unwrap();
      EXPECT_FALSE(task.cancel());
      task.request_stop();
      const auto answer = task.get();
      ASSERT_TRUE(answer.is_err());
      EXPECT_TRUE(answer.error() == Errc::cancelled) << answer.error().to_string();
      EXPECT_EQ(pool.apply<square>(5).unwrap(), 25);
    }
    const int pid = pool.apply<process_id>().unwrap();
    Queue<std::string> words;
    auto heeds = pool.submit<stay>("heeds", words);
    words.get().unwrap();
    heeds.request_stop();
    EXPECT_TRUE(heeds.get().is_ok());
    EXPECT_EQ(pool.apply<process_id>().unwrap(), pid);
    // One that waits is taken out at once.
    auto blocker = pool.submit<wait_for_word>(words);
    auto waiting = pool.submit<square>(1);
    waiting.request_stop();
    EXPECT_TRUE(waiting.get().error() == Errc::cancelled);
    words.put("go").unwrap();
    EXPECT_TRUE(blocker.get().is_ok());
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolTime, Fault09StopRacesCompletionAndNoWorkerDiesForATaskThatHadFinished) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  std::mt19937_64 random{passel_test::seed()};
  const int rounds = static_cast<int>(passel_test::rounds(100'000));
  constexpr int batch = 100;
  std::size_t done = 0;
  std::size_t cancelled = 0;
  for (int round = 0; round < rounds; round += batch) {
    std::vector<Future<int>> futures;
    for (int i = 0; i < batch; ++i) {
      futures.push_back(pool.submit<square>({.grace = 10s}, i));
      // Now the newest, now one that is running or done.
      auto& which = futures[random() % futures.size()];
      if (random() % 2 == 0) {
        which.request_stop();
      } else {
        which.cancel();
      }
    }
    for (int i = 0; i < batch; ++i) {
      const auto answer = futures[static_cast<std::size_t>(i)].get();
      if (answer) {
        ASSERT_EQ(*answer, i * i);
        ++done;
      } else {
        ASSERT_TRUE(answer.error() == Errc::cancelled) << answer.error().to_string();
        ++cancelled;
      }
    }
  }
  EXPECT_EQ(done + cancelled, static_cast<std::size_t>(rounds));
  EXPECT_GT(done, 0U);
  EXPECT_GT(cancelled, 0U);
  // Only deaths are restarts, and workers that were made to leave are replaced: there were none.
  EXPECT_EQ(pool.stats().restarts, 0U);
  for (const auto& worker : pool.stats().workers)
    EXPECT_TRUE(worker.name.ends_with("Worker-1") || worker.name.ends_with("Worker-2"));
}

int die_at_first(const Queue<int>& tries, int deaths) {
  tries.put(static_cast<int>(passel::this_task::attempt())).unwrap();
  if (static_cast<int>(passel::this_task::attempt()) <= deaths) ::raise(SIGKILL);
  return 42;
}
int throw_at_first(const Queue<int>& tries, int failures) {
  tries.put(static_cast<int>(passel::this_task::attempt())).unwrap();
  if (static_cast<int>(passel::this_task::attempt()) <= failures)
    throw std::runtime_error{"not yet"};
  return 43;
}

TEST(PoolTime, RetriesPauseAndCountTheirAttempts) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  Queue<int> tries;
  const auto start = std::chrono::steady_clock::now();
  auto task = pool.submit<die_at_first>({.attempts = 4, .backoff = 20ms}, tries, 3);
  EXPECT_EQ(task.get().unwrap(), 42);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms + 40ms + 80ms);
  for (int attempt = 1; attempt <= 4; ++attempt) EXPECT_EQ(tries.get().unwrap(), attempt);
}

TEST(PoolTime, ErrorsAreTriedAgainOnRequest) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<int> tries;
  const int pid = pool.apply<process_id>().unwrap();
  EXPECT_TRUE(pool.submit<throw_at_first>({.attempts = 3}, tries, 1).get().is_err());
  EXPECT_EQ(tries.qsize(), 1U);
  const TaskOptions again{.attempts = 3, .backoff = 1ms, .retry_on = RetryOn::any_error};
  EXPECT_EQ(pool.submit<throw_at_first>(again, tries, 2).get().unwrap(), 43);
  EXPECT_EQ(tries.qsize(), 4U);
  const auto last = pool.submit<throw_at_first>(again, tries, 3).get();
  ASSERT_TRUE(last.is_err());
  EXPECT_THAT(last.error().what(), ::testing::HasSubstr("not yet"));
  EXPECT_EQ(tries.qsize(), 7U);
  EXPECT_EQ(pool.apply<process_id>().unwrap(), pid);
}

int poison(int n, const std::string&) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  if (n >= 0) ::raise(SIGKILL);
  return n;
}

/// A storm of deaths is slowed down: few of many are tried again.
unsigned attempts_of(int n) { return n % 10 == 0 ? 2 : 1; }

TEST(PoolTime, Fault05PoisonEndsInTheDeadLettersAndAllGoodTasksFinish) {
  Pool pool = Pool::start({.processes = 2, .max_dead_letters = 20}).unwrap();
  std::vector<Future<int>> bad;
  std::vector<Future<int>> good;
  const int poisons = static_cast<int>(passel_test::rounds(100));
  for (int i = 0; i < 10 * poisons; ++i) {
    if (i % 10 == 0)
      bad.push_back(pool.submit<poison>({.attempts = attempts_of(i / 10), .name = "venom"}, i / 10,
                                        "letter"));
    good.push_back(pool.submit<square>(i));
  }
  for (int i = 0; i < 10 * poisons; ++i)
    ASSERT_EQ(good[static_cast<std::size_t>(i)].get().unwrap(), i * i);
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const auto lost = bad[i].get();
    ASSERT_TRUE(lost.error() == Errc::worker_lost) << lost.error().to_string();
    const auto* facts = lost.error().detail<passel::WorkerLost>();
    EXPECT_EQ(facts->attempt, attempts_of(static_cast<int>(i)));
    EXPECT_EQ(facts->cause, passel::LossCause::killed);
    EXPECT_GT(facts->peak_rss, 0U);
    EXPECT_EQ(facts->task, "venom");
  }
  const auto letters = pool.dead_letters();
  ASSERT_EQ(letters.size(), std::min<std::size_t>(20, bad.size()));
  for (const auto& letter : letters) {
    EXPECT_EQ(letter.task, "venom");
    const auto calls = letter.arguments<int, std::string>().unwrap();
    ASSERT_EQ(calls.size(), 1U);
    EXPECT_EQ(letter.attempts, attempts_of(std::get<0>(calls[0])));
    EXPECT_EQ(std::get<1>(calls[0]), "letter");
  }
  EXPECT_EQ(pool.apply<square>(3).unwrap(), 9) << "the pool has not failed";
}

TEST(PoolTime, HigherPrioritiesGoFirst) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  Queue<int> order;
  auto blocker = pool.submit<wait_for_word>(words);
  while (!pool.stats().workers.at(0).running) std::this_thread::yield();
  std::vector<Future<void>> all;
  for (const int priority : {0, -5, 7, 0, 7, 3}) {
    all.push_back(pool.submit(
        {.priority = priority}, [](const Queue<int>& out, int n) { out.put(n).unwrap(); }, order,
        priority));
  }
  // Behind all of them on the way to the pool.
  const passel::PoolStats stats = pool.stats();
  EXPECT_EQ(stats.queued + stats.workers.at(0).waiting, 7U);
  words.put("go").unwrap();
  for (auto& future : all) future.get().unwrap();
  std::vector<int> seen;
  while (auto n = order.try_get()) seen.push_back(*n);
  // The first of them may have been with the worker already.
  if (seen.front() == 0) {
    EXPECT_THAT(seen, ::testing::ElementsAre(0, 7, 7, 3, 0, -5));
  } else {
    EXPECT_THAT(seen, ::testing::ElementsAre(7, 7, 3, 0, 0, -5));
  }
}

TEST(PoolTime, ABoundedPoolMakesSubmitWait) {
  Pool pool = Pool::start({.processes = 1, .max_pending = 3}).unwrap();
  Queue<std::string> words;
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < 3; ++i) futures.push_back(pool.submit<wait_for_word>(words));
  auto refused = pool.try_submit<square>(2);
  ASSERT_TRUE(refused.is_err());
  EXPECT_TRUE(refused.error() == Errc::full);
  EXPECT_THAT(refused.error().what(), ::testing::HasSubstr("3 of 3"));
  EXPECT_TRUE(pool.submit_for<square>(10ms, 2).error() == Errc::timeout);
  std::atomic<bool> through{false};
  std::thread waits{[&] {
    auto fourth = pool.submit<square>(6);
    through = true;
    EXPECT_EQ(fourth.get().unwrap(), 36);
  }};
  for (int i = 0; i < 3; ++i) words.put("go").unwrap();
  waits.join();
  EXPECT_TRUE(through);
  for (auto& future : futures) EXPECT_EQ(future.get().unwrap(), "go");
  EXPECT_EQ((*pool.try_submit<square>(3)).get().unwrap(), 9);
}

TEST(PoolTime, ClosingTellsThoseWhoWaitForRoom) {
  Pool pool = Pool::start({.processes = 1, .max_pending = 1}).unwrap();
  Queue<std::string> words;
  auto blocker = pool.submit<wait_for_word>(words);
  std::thread waits{
      [&] { EXPECT_TRUE(pool.submit<square>(6).get().error() == Errc::invalid_state); }};
  pool.close();
  waits.join();
  words.put("go").unwrap();
  EXPECT_TRUE(blocker.get().is_ok());
}

TEST(PoolTime, AWaitThatWasTooShortNamesTheTask) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  Queue<std::string> begun;
  auto running = pool.submit<begin_and_wait>(begun, words);
  auto waiting = pool.submit<square>({.name = "the second"}, 3);
  auto mapped = pool.map_async<square>(std::vector{1, 2});
  begun.get().unwrap();
  const Error first = running.get_for(1ms).error();
  EXPECT_TRUE(first == Errc::timeout);
  EXPECT_THAT(first.what(),
              ::testing::MatchesRegex(
                  "no result within 1 ms: .*begin_and_wait \\(task [0-9]+\\) is running"));
  const Error second = waiting.get_for(1ms).error();
  ASSERT_NE(second.detail<passel::LateAnswer>(), nullptr);
  EXPECT_THAT(second.detail<passel::LateAnswer>()->work,
              ::testing::MatchesRegex("the second \\(task [0-9]+\\)"));
  EXPECT_THAT(mapped.get_for(1ms).error().what(), ::testing::HasSubstr("square (task "));
  words.put("go").unwrap();
  EXPECT_TRUE(running.get().is_ok());
  EXPECT_EQ(waiting.get().unwrap(), 9);
  EXPECT_THAT(mapped.get().unwrap(), ::testing::ElementsAre(1, 4));
}

TEST(PoolTime, CallbacksRunBeforeTheResultIsReady) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  std::atomic<int> value{0};
  std::atomic<bool> ready_then{true};
  passel::AsyncResult<int>* self = nullptr;
  auto gate = pool.submit<wait_for_word>(words);
  auto result = pool.apply_async<square>(Callbacks{[&](int n) {
                                           ready_then = self->ready();
                                           value = n;
                                         }},
                                         6);
  self = &result;
  EXPECT_TRUE(result.successful().error() == Errc::invalid_state);
  words.put("go").unwrap();
  result.wait();
  EXPECT_EQ(value, 36);
  EXPECT_FALSE(ready_then);
  EXPECT_TRUE(*result.successful());
  std::string text;
  auto failed = pool.apply_async(Callbacks{[](int) { FAIL() << "no value"; },
                                           [&](const Error& error) { text = error.what(); }},
                                 []() -> int { throw std::runtime_error{"bad"}; });
  failed.wait();
  EXPECT_THAT(text, ::testing::HasSubstr("bad"));
  EXPECT_FALSE(*failed.successful());
  std::size_t size = 0;
  auto all = pool.map_async<square>(std::vector{1, 2, 3},
                                    Callbacks{[&](const std::vector<int>& v) { size = v.size(); }});
  EXPECT_EQ(all.get().unwrap().size(), 3U);
  EXPECT_EQ(size, 3U);
}

TEST(PoolTime, ACallbackThatThrowsHarmsNobody) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  static std::atomic<int> reported;
  reported = 0;
  const auto before =
      passel::set_background_error_handler([](const Error&) noexcept { ++reported; });
  auto result = pool.apply_async<square>(
      Callbacks{[](int) { throw std::runtime_error{"in a callback"}; }}, 4);
  EXPECT_EQ(result.get().unwrap(), 16);
  EXPECT_EQ(pool.apply<square>(5).unwrap(), 25);
  EXPECT_EQ(reported, 1);
  passel::set_background_error_handler(before);
}

TEST(PoolTime, ProgressIsToldForEachItem) {
  Pool pool = Pool::start({.processes = 2}).unwrap();
  std::vector<std::size_t> seen;
  const auto answer = pool.map<square>(
      std::vector<int>(50, 3), {.chunksize = 7, .progress = [&](passel::PoolProgress progress) {
                                  EXPECT_EQ(progress.total, 50U);
                                  seen.push_back(progress.done);
                                }});
  EXPECT_EQ(answer->size(), 50U);
  ASSERT_EQ(seen.size(), 50U);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(seen[i], i + 1);
}

}  // namespace
