// Pool and ProcessPoolExecutor under mixed work, while their workers are killed and stopped at
// random. A few seconds in the suite; PASSEL_SOAK_SECONDS says how long otherwise, and a round of
// it has at most a minute: new pools, a new history, and nothing left at its end.
#include <passel/pool.hpp>
#include <passel/process_pool_executor.hpp>
#include <passel/this_task.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"
#include "support/watchdog.hpp"

#include "history.hpp"

#include <gtest/gtest.h>

#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Future;
using passel::MapOptions;
using passel::Pool;
using passel::PoolInitializer;
using passel::ProcessPoolExecutor;
using passel::Result;
using passel::TaskOptions;
using passel_test::History;
using passel_test::Outcome;
using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;
using Id = std::uint64_t;
namespace detail = passel::detail;

// What the tasks do. Each answers with its number, so that no answer can pass for another's.

Id work(Id id, unsigned microseconds) {
  History::begin(id);
  const auto end = Clock::now() + std::chrono::microseconds{microseconds};
  while (Clock::now() < end) {
  }
  History::end(id);
  return id;
}
Id quick(Id id) { return work(id, static_cast<unsigned>(id % 64)); }
Id fail(Id id) {
  History::begin(id);
  throw std::runtime_error{std::to_string(id)};
}
Id die(Id id) {
  History::begin(id);
  if (id % 2 == 0) ::_exit(3);
  ::raise(SIGKILL);
  return id;
}
/// Longer than most of its callers allow, and deaf to SIGTERM at times.
Id linger(Id id, unsigned microseconds) {
  History::begin(id);
  std::signal(SIGTERM, id % 4 == 0 ? SIG_IGN : SIG_DFL);
  const auto end = Clock::now() + std::chrono::microseconds{microseconds};
  while (Clock::now() < end && (id % 2 == 0 || !passel::this_task::stop_requested())) {
    std::this_thread::sleep_for(100us);
  }
  std::signal(SIGTERM, SIG_DFL);
  History::end(id);
  return id;
}
/// Has its pool run the next number.
Id ask_own_pool(Id id) {
  History::begin(id);
  auto pool = passel::this_task::pool().unwrap();
  static_cast<void>(pool.submit<quick>(id + 1).get());
  History::end(id);
  return id;
}
std::string grow(const std::string& text) {
  const Id id = std::stoull(text);
  History::begin(id);
  std::string large = text;
  large.resize(large.size() + id % 100'000, 'x');
  History::end(id);
  return large;
}
Id id_of(Id id) { return id; }
Id id_of(const std::string& text) { return std::stoull(text); }

bool one_in(Random& random, unsigned n) { return random() % n == 0; }

/// A worker that was stopped, and when it goes on.
struct Stopped {
  detail::Descriptor process;
  Clock::time_point until;
};

/// Kills and stops workers until it is told to end. Whoever it hits is named by a pidfd that was
/// opened while the pool still had it, so that no stranger is.
class Killer {
 public:
  using Workers = std::function<std::vector<passel::PoolStats::Worker>(bool executor)>;
  Killer(Workers workers, Random::result_type seed, std::chrono::milliseconds pause)
      : workers_{std::move(workers)}, random_{seed}, pause_{pause}, thread_{[this] { run(); }} {}
  ~Killer() {
    over_ = true;
    thread_.join();
  }
  Killer(const Killer&) = delete;
  Killer& operator=(const Killer&) = delete;

  [[nodiscard]] std::uint64_t kills() const { return kills_; }
  [[nodiscard]] std::uint64_t stops() const { return stops_; }

 private:
  void run() {
    auto next = Clock::now();
    while (!over_) {
      std::this_thread::sleep_for(1ms);
      std::erase_if(stopped_,
                    [this](Stopped& each) { return Clock::now() >= each.until && go_on(each); });
      if (Clock::now() < next) continue;
      if (hit()) next = Clock::now() + pause_ / 2 + random_() % pause_.count() * 1ms;
    }
    for (Stopped& each : stopped_) go_on(each);
  }
  static bool go_on(Stopped& each) {
    static_cast<void>(detail::signal_process(each.process, SIGCONT).is_ok());
    return true;
  }
  /// False when nobody was there to be hit.
  bool hit() {
    const bool executor = one_in(random_, 5);
    const auto workers = workers_(executor);
    if (workers.empty()) return false;
    const auto& victim = workers[random_() % workers.size()];
    if (victim.pid == 0) return false;
    // An executor cannot be told to bear more than three deaths of idle workers in five seconds.
    if (executor && victim.task.empty() && !one_in(random_, 10)) return false;
    auto process = detail::open_process(victim.pid);
    if (!process || !is_among(workers_(executor), victim.pid)) return false;
    const bool stop = random_() % 5 < 2;
    if (!detail::signal_process(*process, stop ? SIGSTOP : SIGKILL).is_ok()) return false;
    ++(stop ? stops_ : kills_);
    if (stop) stopped_.push_back({*std::move(process), Clock::now() + random_() % 300 * 1ms});
    return true;
  }
  static bool is_among(const std::vector<passel::PoolStats::Worker>& workers, int pid) {
    return std::any_of(workers.begin(), workers.end(),
                       [pid](const auto& worker) { return worker.pid == pid; });
  }

  Workers workers_;
  Random random_;
  std::chrono::milliseconds pause_;
  std::vector<Stopped> stopped_;
  std::atomic<std::uint64_t> kills_{0};
  std::atomic<std::uint64_t> stops_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

/// Futures that were asked for, with the numbers of their tasks.
template <class T>
struct Asked {
  Future<T> future;
  Id id;
};

/// One round: its pools, its history, and those who give them work.
class Round {
 public:
  Round(Random::result_type seed, std::size_t capacity)
      : random_{seed}, history_{capacity}, pool_{start_pool()}, executor_{start_executor()} {}

  void run(std::chrono::milliseconds time, std::chrono::milliseconds pause);
  /// What is wrong, "" when nothing is.
  [[nodiscard]] std::string complaints();
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] std::uint64_t tasks() const { return history_.tasks(); }

 private:
  Pool start_pool() {
    return Pool::start(
               {.processes = 2 + static_cast<int>(random_() % 3),
                .initializer = PoolInitializer::with<History::open>(history_.memory()),
                .maxtasksperchild = one_in(random_, 2) ? std::optional<int>{300} : std::nullopt,
                // Kills outside of tasks are part of the test and must not fail the pool.
                .max_restarts = 1'000'000,
                .restart_window = 1ms,
                .max_pending = one_in(random_, 2) ? std::size_t{500} : 0})
        .unwrap();
  }
  std::shared_ptr<ProcessPoolExecutor> start_executor() {
    return std::make_shared<ProcessPoolExecutor>(
        ProcessPoolExecutor::start(
            {.max_workers = 2,
             .initializer = PoolInitializer::with<History::open>(history_.memory())})
            .unwrap());
  }
  std::shared_ptr<ProcessPoolExecutor> executor() {
    const std::lock_guard lock{mutex_};
    return executor_;
  }
  std::vector<passel::PoolStats::Worker> workers(bool of_executor) {
    return of_executor ? executor()->stats().workers : pool_.stats().workers;
  }

  [[nodiscard]] bool over() const { return over_ || full_; }
  template <class T>
  void listen(Future<T>& future, Id id) {
    future.on_done([this, id](const Result<T>& result) {
      take(id, result);
      count_loss(result);
    });
  }
  /// Of calls that are one task each, or fail with the first that is lost.
  template <class T>
  void count_loss(const Result<T>& result) {
    if (result.is_err() && result.error() == passel::Errc::worker_lost) ++losses_;
  }
  template <class T>
  void take(Id id, const Result<T>& result) {
    if (result && id_of(*result) != id)
      history_.complain("task " + std::to_string(id) + " has the answer of " +
                        std::to_string(id_of(*result)));
    history_.answered(id, result ? Outcome::done : history_.outcome_of(result.error()));
  }
  template <class T>
  void disturb(Asked<T>& asked, Random& random);
  template <class T>
  void keep(std::deque<Asked<T>>& line, Future<T> future, Id id, Random& random);

  std::optional<Id> numbers(std::size_t count, unsigned attempts = 1) {
    const auto first = history_.add(count, attempts);
    if (!first) full_ = true;
    return first;
  }
  void submit(Random random);
  [[nodiscard]] Future<Id> submit_one(Random& random, Id id);
  void map(Random random);
  void map_whole(Random& random, const std::vector<Id>& ids, const MapOptions& options);
  void imap(Random& random, const std::vector<Id>& ids, const MapOptions& options);
  void imap_unordered(const std::vector<Id>& ids, const MapOptions& options);
  void execute(Random random);

  Random random_;
  History history_;
  Pool pool_;
  std::mutex mutex_;
  std::shared_ptr<ProcessPoolExecutor> executor_;
  std::deque<Asked<Id>> submitted_;
  std::deque<Asked<std::string>> texts_;
  std::deque<Asked<Id>> executed_;
  std::atomic<bool> over_{false};
  std::atomic<bool> full_{false};
  std::atomic<std::uint64_t> losses_{0};
  std::vector<Id> deadly_;
  std::uint64_t kills_ = 0;
  std::uint64_t stops_ = 0;
  std::atomic<unsigned> broken_executors_{0};
};

template <class T>
void Round::disturb(Asked<T>& asked, Random& random) {
  if (one_in(random, 2)) {
    asked.future.request_stop();
  } else if (!asked.future.cancelled() && asked.future.cancel()) {
    history_.never_runs(asked.id);
  }
}

template <class T>
void Round::keep(std::deque<Asked<T>>& line, Future<T> future, Id id, Random& random) {
  listen(future, id);
  line.push_back({std::move(future), id});
  if (one_in(random, 10)) disturb(line[random() % line.size()], random);
  if (line.size() <= 200) return;
  line.front().future.wait();
  line.pop_front();
}

Future<Id> Round::submit_one(Random& random, Id id) {
  const auto microseconds = static_cast<unsigned>(random() % 3'000);
  switch (random() % 16) {
    case 0: return pool_.submit<fail>(id);
    case 1:
      return pool_.submit<linger>({.deadline = random() % 20 * 1ms, .grace = 5ms}, id,
                                  microseconds * 4);
    case 2:
      return pool_.submit<linger>(
          {.priority = 1, .time_limit = (1 + random() % 5) * 1ms, .grace = 5ms}, id, microseconds);
    case 3: return pool_.submit<linger>({.grace = 2ms}, id, microseconds);
    case 4:
      return pool_.submit<work>({.priority = static_cast<int>(random() % 3)}, id, microseconds);
    default: return pool_.submit<quick>(id);
  }
}

/// Calls of submit, with every kind of option.
void Round::submit(Random random) {
  while (!over()) {
    const auto kind = random() % 100;
    const unsigned attempts = kind < 10 ? 3 : 1;
    const auto id = numbers(kind == 10 ? 2 : 1, attempts);
    if (!id) return;
    if (kind < 5) {
      keep(submitted_, pool_.submit<work>({.attempts = 3, .backoff = 1ms}, *id, 500U), *id, random);
    } else if (kind < 10) {
      keep(submitted_,
           pool_.submit<fail>({.attempts = 3, .retry_on = passel::RetryOn::any_error}, *id), *id,
           random);
    } else if (kind == 10) {
      history_.unseen(*id + 1);
      keep(submitted_, pool_.submit<ask_own_pool>(*id), *id, random);
    } else if (kind == 11) {
      deadly_.push_back(*id);
      keep(submitted_, pool_.submit<die>(*id), *id, random);
    } else if (kind < 20) {
      std::string text = std::to_string(*id) + " ";
      text.resize(random() % 100'000 + text.size(), 'y');
      keep(texts_, pool_.submit<grow>(text), *id, random);
    } else {
      keep(submitted_, submit_one(random, *id), *id, random);
    }
  }
}

/// The answer of a map is that of all its items.
void Round::map_whole(Random& random, const std::vector<Id>& ids, const MapOptions& options) {
  auto future = pool_.map_async<quick>(ids, options);
  if (one_in(random, 10)) future.request_stop();
  const auto answers = future.get();
  count_loss(answers);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (answers && answers->at(i) != ids[i]) history_.complain("a map has mixed up its items");
    history_.answered(ids[i], answers ? Outcome::done : history_.outcome_of(answers.error()));
  }
}

void Round::imap(Random& random, const std::vector<Id>& ids, const MapOptions& options) {
  auto results = pool_.imap<quick>(ids, options).unwrap();
  // One in four is let go of before its end.
  const std::size_t enough = one_in(random, 4) ? random() % ids.size() : ids.size();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i >= enough) {
      history_.unseen(ids[i]);
    } else if (const auto next = results.next()) {
      take(ids[i], *next);
    } else {
      history_.complain("imap ended after " + std::to_string(i) + " items");
      return;
    }
  }
}

void Round::imap_unordered(const std::vector<Id>& ids, const MapOptions& options) {
  std::vector<Outcome> failures;
  for (Result<Id>& result : pool_.imap_unordered<quick>(ids, options).unwrap()) {
    if (!result) {
      failures.push_back(history_.outcome_of(result.error()));
    } else if (*result < ids.front() || *result > ids.back()) {
      history_.complain("imap_unordered has the answer of " + std::to_string(*result));
    } else {
      history_.answered(*result, Outcome::done);
    }
  }
  // An error does not say whose it is: whoever has no value has one of them.
  std::size_t used = 0;
  for (const Id id : ids) {
    if (!history_.is_answered(id) && used < failures.size())
      history_.answered(id, failures[used++]);
  }
  if (used != failures.size()) history_.complain("imap_unordered has more errors than items");
}

/// Calls with many items, by every way of asking for them.
void Round::map(Random random) {
  while (!over()) {
    const std::size_t count = 1 + random() % 400;
    const unsigned attempts = one_in(random, 4) ? 2 : 1;
    const auto first = numbers(count, attempts);
    if (!first) return;
    std::vector<Id> ids(count);
    std::iota(ids.begin(), ids.end(), *first);
    const MapOptions options{.chunksize = random() % 3 == 0 ? random() % 50 : 1,
                             .attempts = attempts};
    switch (random() % 3) {
      case 0: map_whole(random, ids, options); break;
      case 1: imap(random, ids, options); break;
      default: imap_unordered(ids, options); break;
    }
  }
}

/// The same for the executor, which is replaced when its idle workers were killed too often.
void Round::execute(Random random) {
  std::uint64_t failures = 0;
  while (!over()) {
    const auto mine = executor();
    const std::size_t count = one_in(random, 20) ? 1 + random() % 200 : 1;
    const auto first = numbers(count);
    if (!first) return;
    if (count == 1) {
      keep(executed_, one_in(random, 20) ? mine->submit<fail>(*first) : mine->submit<quick>(*first),
           *first, random);
    } else {
      std::vector<Id> ids(count);
      std::iota(ids.begin(), ids.end(), *first);
      auto results = mine->map<quick>(ids, {.chunksize = 1 + random() % 20});
      for (const Id id : ids)
        take(id, results ? results->next().value() : Result<Id>{results.error()});
    }
    if (history_.count(Outcome::pool_failed) == failures) continue;
    mine->shutdown().unwrap();  // its other futures are answered, too
    failures = history_.count(Outcome::pool_failed);
    ++broken_executors_;
    auto next = start_executor();
    const std::lock_guard lock{mutex_};
    executor_.swap(next);
  }
}

void Round::run(std::chrono::milliseconds time, std::chrono::milliseconds pause) {
  Killer killer{[this](bool of_executor) { return workers(of_executor); }, random_(), pause};
  {
    std::vector<std::thread> threads;
    threads.emplace_back([this, random = Random{random_()}] { submit(random); });
    threads.emplace_back([this, random = Random{random_()}] { map(random); });
    threads.emplace_back([this, random = Random{random_()}] { execute(random); });
    const auto end = Clock::now() + time;
    while (Clock::now() < end || killer.kills() < 3 || killer.stops() < 1)
      std::this_thread::sleep_for(10ms);
    over_ = true;
    for (auto& thread : threads) thread.join();
  }
  // It ends with what is still to do, and with those who kill and stop.
  switch (random_() % 3) {
    case 0: pool_.close(); break;
    case 1: pool_.terminate(); break;
    default: static_cast<void>(pool_.shutdown_for(50ms)); break;
  }
  pool_.join().unwrap();
  executor_->shutdown({.cancel_futures = one_in(random_, 2)}).unwrap();
  kills_ = killer.kills();
  stops_ = killer.stops();
}

std::string Round::complaints() {
  const auto all_done = [this](const auto& line, const char* whose) {
    for (const auto& asked : line) {
      if (!asked.future.done())
        history_.complain("a future of " + std::string{whose} + " outlives it: task " +
                          std::to_string(asked.id));
    }
  };
  all_done(submitted_, "the pool");
  all_done(texts_, "the pool");
  all_done(executed_, "the executor");
  std::uint64_t own_deaths = 0;
  for (const Id id : deadly_) own_deaths += history_.begun(id);
  if (losses_ > kills_ + own_deaths) {
    history_.complain(std::to_string(losses_) + " tasks lost by " + std::to_string(kills_) +
                      " kills and " + std::to_string(own_deaths) + " deaths of their own");
  }
  return history_.complaints();
}

std::string Round::summary() const {
  std::string text = std::to_string(history_.tasks()) + " tasks:";
  constexpr std::array names{"unexpected", "done",      "failed",     "lost",
                             "cancelled",  "timed out", "pool failed"};
  for (std::size_t i = 0; i < names.size(); ++i)
    text += " " + std::to_string(history_.count(static_cast<Outcome>(i))) + " " + names[i];
  text += " " + std::to_string(history_.unseen()) + " let go of";
  return text + "; " + std::to_string(kills_) + " kills, " + std::to_string(stops_) + " stops, " +
         std::to_string(losses_) + " calls lost, " + std::to_string(broken_executors_) +
         " executors replaced";
}

/// Bytes of memory that this process has.
std::size_t resident() {
  std::size_t pages = 0;
  std::ifstream{"/proc/self/statm"} >> pages >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(PoolSoak, EveryTaskEndsOnceWhileWorkersAreKilledAndStopped) {
  const char* const wanted = std::getenv("PASSEL_SOAK_SECONDS");
  const std::chrono::seconds time{wanted != nullptr ? std::atoi(wanted) : 2};
  // In the suite they come faster, so that there are some.
  const auto pause = wanted != nullptr ? 200ms : 50ms;
  if (wanted != nullptr) passel_test::Watchdog::limit(2 * time + 300s);
  Random random{passel_test::seed()};
  ASSERT_TRUE(Pool::start({.processes = 1}).is_ok()) << "the threads that all actors share";
  const auto before = passel_test::ProcessCensus::take();
  const auto end = Clock::now() + time;
  std::uint64_t tasks = 0;
  do {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    {
      Round round{random(), std::size_t{1} << (wanted != nullptr ? 22 : 18)};
      round.run(std::min<std::chrono::milliseconds>(left, 60s), pause);
      EXPECT_EQ(round.complaints(), "");
      std::printf("%s\n", round.summary().c_str());
      tasks += round.tasks();
    }
    EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
    std::printf("%zu KiB resident\n", resident() >> 10);
    std::fflush(stdout);
  } while (Clock::now() < end && !HasFailure());
  std::printf("%llu tasks in all\n", static_cast<unsigned long long>(tasks));
}

}  // namespace
