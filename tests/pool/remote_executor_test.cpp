// Tasks of one program run by others, by name: a server, workers and submitters over sessions.
#include <passel/manager.hpp>
#include <passel/process.hpp>
#include <passel/remote_executor.hpp>
#include <passel/remote_worker.hpp>
#include <passel/this_task.hpp>
#include <passel/wait.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"

#include <unistd.h>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::Errc;
using passel::EventProxy;
using passel::ExposedTasks;
using passel::Future;
using passel::Manager;
using passel::Process;
using passel::QueueProxy;
using passel::RemoteExecutor;
using passel::RemotePoolStats;
using passel::RemoteWorker;
using passel::Result;
using passel::TcpAddress;
using passel_test::ProcessCensus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

struct Page {
  std::string url;
  std::vector<int> links;
};

int square(int n) { return n * n; }
std::string join_words(std::string a, std::string b) { return a + " " + b; }
Page fetch(std::string url, int depth) { return {std::move(url), std::vector<int>(depth, 7)}; }
int fail(std::string why) { throw std::out_of_range{why}; }
int pid_of_worker() { return ::getpid(); }
int die(int signal) {
  ::raise(signal);
  return 0;
}
/// Says that it has begun, and goes on when it is allowed.
int meet(QueueProxy<int> began, EventProxy go, int n) {
  began.put(n).unwrap();
  go.wait().unwrap();
  return n;
}
/// The first to come dies with its whole host; the next one is well.
int kill_host(QueueProxy<int> began, int n) {
  began.put(n).unwrap();
  if (began.qsize().unwrap() > 1) return n;
  ::pause();
  return 0;
}
/// The first of all calls takes its process with it.
int die_first(QueueProxy<int> began, int n) {
  began.put(n).unwrap();
  if (began.qsize().unwrap() == 1) ::raise(SIGKILL);
  return n;
}
/// Works until it is told to stop, and says so.
void until_stopped(QueueProxy<int> events) {
  events.put(1).unwrap();
  while (!passel::this_task::stop_requested()) std::this_thread::sleep_for(1ms);
  events.put(2).unwrap();
}
int not_exposed(int n) { return n; }
std::size_t length(std::vector<std::byte> bytes) { return bytes.size(); }

ExposedTasks all_tasks() {
  return ExposedTasks::of<&square, &join_words, &fetch, &fail, &pid_of_worker, &die, &meet,
                          &kill_host, &die_first, &until_stopped,
                          passel::exposed<"bytes", &length>>();
}

/// A worker program at another host, as a process: what it starts goes with it.
void serve(std::pair<std::string, std::uint16_t> at, std::string name, int processes) {
  auto worker = RemoteWorker::join(all_tasks(), {.address = TcpAddress{at.first, at.second},
                                                 .name = std::move(name),
                                                 .processes = {.processes = processes}})
                    .unwrap();
  worker.wait().unwrap();
}

class RemoteExecutorTest : public ::testing::Test {
 protected:
  [[nodiscard]] TcpAddress at() const { return std::get<TcpAddress>(server_.address()); }
  [[nodiscard]] RemoteExecutor executor(RemoteExecutor::Options options = {}) const {
    options.address = at();
    if (options.tasks.empty()) options.tasks = all_tasks();
    return RemoteExecutor::connect(std::move(options)).unwrap();
  }
  [[nodiscard]] RemoteWorker worker(int processes, std::string name = {}) const {
    return RemoteWorker::join(
               all_tasks(),
               {.address = at(), .name = std::move(name), .processes = {.processes = processes}})
        .unwrap();
  }
  [[nodiscard]] Process host(std::string name, int processes) const {
    return Process::spawn<serve>(std::pair{at().host, at().port}, std::move(name), processes)
        .unwrap();
  }
  static RemotePoolStats settled(const RemoteExecutor& at,
                                 const std::function<bool(const RemotePoolStats&)>& is_right) {
    RemotePoolStats stats = at.stats().unwrap();
    while (!is_right(stats)) {
      std::this_thread::sleep_for(1ms);
      stats = at.stats().unwrap();
    }
    return stats;
  }

  Manager manager_{{.address = TcpAddress{}}};
  passel::ManagerServer server_ = manager_.get_server().unwrap();
};

TEST_F(RemoteExecutorTest, RunsExposedFunctionsAndGivesTheirResults) {
  const auto worker = this->worker(2);
  auto executor = this->executor();
  EXPECT_EQ(executor.submit<square>(7).get().unwrap(), 49);
  EXPECT_EQ(executor.submit<join_words>("two", std::string{"words"}).get().unwrap(), "two words");
  const Page page = executor.submit<fetch>("http://x", 2).get().unwrap();
  EXPECT_EQ(page.url, "http://x");
  EXPECT_THAT(page.links, ElementsAre(7, 7));
  EXPECT_NE(executor.submit<pid_of_worker>().get().unwrap(), ::getpid());
  const auto failed = executor.submit<fail>("too far").get();
  EXPECT_EQ(failed.error(), Errc::task_failed);
  ASSERT_NE(failed.error().detail<passel::RemoteError>(), nullptr);
  EXPECT_EQ(failed.error().detail<passel::RemoteError>()->type_name, "std::out_of_range");
  EXPECT_THAT(failed.error().what(), HasSubstr("too far"));
}

TEST_F(RemoteExecutorTest, ANameIsEnoughAndTypesAreChecked) {
  const auto worker = this->worker(1);
  auto executor = this->executor();
  EXPECT_EQ(executor.submit_named<int>("square", 9).get().unwrap(), 81);
  EXPECT_EQ(executor.submit_named<long>("square", std::int8_t{5}).get().unwrap(), 25);
  const auto wrong = executor.submit_named<int>("square", "nine").get();
  EXPECT_EQ(wrong.error(), Errc::type_mismatch);
  EXPECT_THAT(wrong.error().what(), HasSubstr("argument 1: expected int, found str 'nine'"));
  const auto few = executor.submit_named<std::string>("join_words", "one").get();
  EXPECT_EQ(few.error(), Errc::type_mismatch);
  EXPECT_THAT(few.error().what(), HasSubstr("expected 2 arguments, found 1"));
  EXPECT_EQ(executor.submit_named<std::string>("square", 3).get().error(), Errc::type_mismatch);
  const auto unknown = executor.submit_named<int>("sqare", 3).get();
  EXPECT_EQ(unknown.error(), Errc::not_found);
  EXPECT_THAT(unknown.error().what(), HasSubstr("'sqare'"));
  EXPECT_THAT(unknown.error().what(), HasSubstr("square(int) -> int"));
  const auto hidden = executor.submit<not_exposed>(1).get();
  EXPECT_EQ(hidden.error(), Errc::invalid_argument);
  EXPECT_THAT(hidden.error().what(), HasSubstr("not_exposed"));
}

TEST_F(RemoteExecutorTest, WhatCannotLeaveTheHostIsRefusedBeforeItIsSent) {
  auto executor = this->executor();
  const auto refused = executor.submit_named<int>("square", passel::Queue<int>{}).get();
  EXPECT_EQ(refused.error(), Errc::unsupported);
}

TEST_F(RemoteExecutorTest, Fault48WhatIsMissingOrOtherwiseIsSaidAtConnect) {
  const auto worker = this->worker(1, "first");
  auto missing = RemoteExecutor::connect(
      {.address = at(), .tasks = ExposedTasks::of<&square, &not_exposed>()});
  EXPECT_EQ(missing.error(), Errc::not_found);
  EXPECT_THAT(missing.error().what(), HasSubstr("'not_exposed'"));
  EXPECT_THAT(missing.error().what(), HasSubstr("fetch(str, int) -> object"));
  EXPECT_TRUE(RemoteExecutor::connect({.address = at(),
                                       .tasks = ExposedTasks::of<&not_exposed>(),
                                       .unknown_task = passel::UnknownTask::waits})
                  .is_ok());

  const auto other = ExposedTasks::of<passel::exposed<"square", &join_words>>();
  const auto mismatch = RemoteExecutor::connect({.address = at(), .tasks = other});
  EXPECT_EQ(mismatch.error(), Errc::type_mismatch);
  EXPECT_THAT(mismatch.error().what(), HasSubstr("square(str, str) -> str of build "));
  EXPECT_THAT(mismatch.error().what(), HasSubstr("square(int) -> int by worker 'first' of build "));
  const auto second = RemoteWorker::join(other, {.address = at(), .processes = {.processes = 1}});
  EXPECT_EQ(second.error(), Errc::type_mismatch);
  EXPECT_EQ(executor().stats().unwrap().workers.size(), 1U);
}

TEST_F(RemoteExecutorTest, TasksWaitForWorkersWhoComeAndGo) {
  auto executor = this->executor();
  Future<int> early = executor.submit<square>(3);
  EXPECT_EQ(executor.stats().unwrap().waiting, 1U);
  EXPECT_FALSE(early.done());
  {
    auto first = worker(1, "first");
    EXPECT_EQ(early.get().unwrap(), 9);
    first.leave();
    first.wait().unwrap();
  }
  EXPECT_TRUE(executor.stats().unwrap().workers.empty());
  Future<int> again = executor.submit<square>(4);
  const auto second = worker(1, "second");
  EXPECT_EQ(again.get().unwrap(), 16);
  const auto stats = executor.stats().unwrap();
  ASSERT_EQ(stats.workers.size(), 1U);
  EXPECT_EQ(stats.workers[0].name, "second");
  EXPECT_EQ(stats.workers[0].processes, 1U);
  EXPECT_EQ(stats.done, 2U);
}

TEST_F(RemoteExecutorTest, MapsInOrderInChunksAndWithAWindow) {
  const auto one = worker(1);
  const auto other = worker(1);
  auto executor = this->executor();
  std::vector<int> numbers(500);
  std::iota(numbers.begin(), numbers.end(), 0);
  int next = 0;
  for (auto& n : executor.map<square>(numbers).unwrap()) {
    EXPECT_EQ(*n, next * next);
    ++next;
  }
  EXPECT_EQ(next, 500);
  next = 0;
  for (auto& n : executor.map<square>(numbers, {.chunksize = 64, .buffersize = 3}).unwrap()) {
    EXPECT_EQ(*n, next * next);
    ++next;
  }
  EXPECT_EQ(next, 500);
  std::vector<std::string> joined;
  for (auto& text : executor
                        .map<join_words>(std::vector<std::string>{"a", "b"},
                                         std::vector<std::string>{"x", "y", "z"})
                        .unwrap())
    joined.push_back(*text);
  EXPECT_THAT(joined, ElementsAre("a x", "b y"));
}

TEST_F(RemoteExecutorTest, LargeArgumentsArrive) {
  const auto worker = this->worker(1);
  auto executor = this->executor();
  const std::vector<std::byte> bytes(std::size_t{3} << 20, std::byte{7});
  EXPECT_EQ(executor.submit_named<std::size_t>("bytes", bytes).get().unwrap(), bytes.size());
}

TEST_F(RemoteExecutorTest, AProcessThatDiesCostsItsTaskAlone) {
  const auto worker = this->worker(2);
  auto executor = this->executor();
  Future<int> lost = executor.submit<die>(SIGKILL);
  std::vector<Future<int>> others;
  for (int i = 0; i < 20; ++i) others.push_back(executor.submit<square>(i));
  EXPECT_EQ(lost.get().error(), Errc::worker_lost);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(others[static_cast<std::size_t>(i)].get().unwrap(), i * i);
  const auto twice = executor.submit<die>({.attempts = 2}, SIGKILL).get();
  ASSERT_NE(twice.error().detail<passel::WorkerLost>(), nullptr);
  EXPECT_EQ(twice.error().detail<passel::WorkerLost>()->signal, SIGKILL);
}

TEST_F(RemoteExecutorTest, OptionsOfTheExecutorAreThoseOfItsMaps) {
  const auto worker = this->worker(2);
  auto executor = this->executor({.task = {.attempts = 2}});
  auto began = manager_.queue<int>().unwrap();
  const std::vector queues(3, began);
  const std::vector<int> numbers{1, 2, 3};
  int sum = 0;
  for (auto& n : executor.map<die_first>(queues, numbers).unwrap()) sum += *n;
  EXPECT_EQ(sum, 6);
}

TEST_F(RemoteExecutorTest, TheLossOfAHostIsTheLossOfWhatRunsThere) {
  auto executor = this->executor();
  auto began = manager_.queue<int>().unwrap();
  const auto before = ProcessCensus::take();
  {
    const Process first = host("first", 1);
    settled(executor, [](const auto& stats) { return stats.workers.size() == 1; });
    Future<int> once = executor.submit<kill_host>(began, 1);
    ASSERT_TRUE(began.get().is_ok());
    first.kill().unwrap();
    const auto lost = once.get();
    EXPECT_EQ(lost.error(), Errc::worker_lost);
    EXPECT_THAT(lost.error().what(), HasSubstr("'first'"));
    EXPECT_THAT(lost.error().what(), HasSubstr("attempt 1 of 1"));

    const Process second = host("second", 1);
    settled(executor, [](const auto& stats) { return stats.workers.size() == 1; });
    Future<int> twice = executor.submit<kill_host>({.attempts = 2}, began, 2);
    while (began.qsize().unwrap() == 0) std::this_thread::yield();
    const Process third = host("third", 1);
    settled(executor, [](const auto& stats) { return stats.workers.size() == 2; });
    second.kill().unwrap();
    EXPECT_EQ(twice.get().unwrap(), 2);
    third.kill().unwrap();
    static_cast<void>(first.join());
    static_cast<void>(second.join());
    static_cast<void>(third.join());
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

/// All threads of a process have stopped.
bool has_stopped(int pid) {
  for (const auto& thread :
       std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/task"}) {
    std::string stat;
    std::getline(std::ifstream{thread.path() / "stat"}, stat);
    if (stat.find(") T") == std::string::npos) return false;
  }
  return true;
}

TEST_F(RemoteExecutorTest, WhatALostHostHadNotBeenToldOfCostsNoAttempt) {
  auto executor = this->executor();
  const Process first = host("first", 4);
  // It has said by then how many it wants.
  EXPECT_EQ(executor.submit<square>(7).get().unwrap(), 49);
  ASSERT_EQ(::kill(*first.pid(), SIGSTOP), 0);
  while (!has_stopped(*first.pid())) std::this_thread::yield();
  // It has asked for tasks twice at most, and does not ask again.
  std::vector<Future<int>> squares;
  for (int n = 1; n <= 4; ++n) {
    squares.push_back(executor.submit<square>(n));
    settled(executor, [n](const auto& stats) {
      return stats.workers.empty() || stats.workers[0].has == static_cast<std::size_t>(n);
    });
  }
  first.kill().unwrap();
  const Process second = host("second", 1);
  EXPECT_EQ(squares[2].get().unwrap(), 9);
  EXPECT_EQ(squares[3].get().unwrap(), 16);
  second.kill().unwrap();
  static_cast<void>(first.join());
  static_cast<void>(second.join());
}

TEST_F(RemoteExecutorTest, ATaskThatNobodyWaitsForIsStopped) {
  const auto worker = this->worker(1);
  auto executor = this->executor();
  auto events = manager_.queue<int>().unwrap();
  Future<void> stopped = executor.submit<until_stopped>({.grace = 60s}, events);
  Future<int> queued = executor.submit<square>(2);
  EXPECT_EQ(events.get().unwrap(), 1);
  EXPECT_TRUE(queued.cancel());
  EXPECT_TRUE(stopped.cancel());
  EXPECT_EQ(stopped.get().error(), Errc::cancelled);
  EXPECT_EQ(events.get().unwrap(), 2) << "it was told";
  EXPECT_EQ(executor.submit<square>(3).get().unwrap(), 9);
}

void submit_and_wait(std::pair<std::string, std::uint16_t> at, QueueProxy<int> events) {
  auto executor =
      RemoteExecutor::connect({.address = TcpAddress{at.first, at.second}, .tasks = all_tasks()})
          .unwrap();
  static_cast<void>(executor.submit<until_stopped>({.grace = 60s}, events).get());
}

TEST_F(RemoteExecutorTest, TheTasksOfASubmitterWhoDiesAreStopped) {
  const auto worker = this->worker(1);
  auto executor = this->executor();
  auto events = manager_.queue<int>().unwrap();
  const Process submitter =
      Process::spawn<submit_and_wait>(std::pair{at().host, at().port}, events).unwrap();
  EXPECT_EQ(events.get().unwrap(), 1);
  submitter.kill().unwrap();
  EXPECT_EQ(events.get().unwrap(), 2);
  settled(executor, [](const auto& stats) { return stats.workers.at(0).has == 0; });
  static_cast<void>(submitter.join());
}

TEST_F(RemoteExecutorTest, TimeLimitsCountWithAndWithoutAWorker) {
  auto executor = this->executor();
  const auto waiting = executor.submit<square>({.deadline = 5ms}, 2).get();
  EXPECT_EQ(waiting.error(), Errc::timeout);
  EXPECT_THAT(waiting.error().what(), HasSubstr("'square'"));
  const auto worker = this->worker(1);
  auto events = manager_.queue<int>().unwrap();
  Future<void> running = executor.submit<until_stopped>({.time_limit = 5ms, .grace = 60s}, events);
  EXPECT_EQ(running.get().error(), Errc::timeout);
  EXPECT_EQ(events.get().unwrap(), 1);
  EXPECT_EQ(events.get().unwrap(), 2);
}

TEST_F(RemoteExecutorTest, ADeadlineBeyondTheClockIsNone) {
  const auto worker = this->worker(1);
  auto executor = this->executor();
  EXPECT_EQ(
      executor.submit<square>({.deadline = std::chrono::nanoseconds::max()}, 2).get().unwrap(), 4);
  EXPECT_EQ(executor.submit<square>({.deadline = -1h}, 2).get().error(), Errc::timeout);
}

TEST_F(RemoteExecutorTest, WhoLeavesFinishesWhatRunsAndGivesBackTheRest) {
  auto executor = this->executor();
  auto began = manager_.queue<int>().unwrap();
  auto go = manager_.event().unwrap();
  auto first = worker(1, "first");
  Future<int> running = executor.submit<meet>(began, go, 1);
  EXPECT_EQ(began.get().unwrap(), 1);
  Future<int> next = executor.submit<square>(5);
  first.leave();
  const auto second = worker(1, "second");
  EXPECT_EQ(next.get().unwrap(), 25);
  EXPECT_EQ(first.wait_for(0ms).error(), Errc::timeout);
  go.set().unwrap();
  EXPECT_EQ(running.get().unwrap(), 1);
  first.wait().unwrap();
}

TEST_F(RemoteExecutorTest, WhoHasTheAnswerHasRoomForTheNextCall) {
  auto executor = this->executor({.max_pending = 1});
  const auto worker = this->worker(1);
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(executor.try_submit<square>(i).unwrap().get().unwrap(), i * i);
}

TEST_F(RemoteExecutorTest, CallsThatMayBeUnansweredAreBounded) {
  auto executor = this->executor({.max_pending = 2});
  Future<int> one = executor.submit<square>(1);
  Future<int> two = executor.submit<square>(2);
  std::atomic<bool> submitted{false};
  std::thread third{[&] {
    EXPECT_EQ(executor.submit<square>(3).get().unwrap(), 9);
    submitted = true;
  }};
  EXPECT_EQ(executor.stats().unwrap().waiting, 2U);
  EXPECT_FALSE(submitted);
  const auto worker = this->worker(1);
  third.join();
  EXPECT_EQ(one.get().unwrap() + two.get().unwrap(), 5);
}

TEST_F(RemoteExecutorTest, ShutdownWaitsForWhatWasSubmittedOrGivesItUp) {
  auto executor = this->executor();
  Future<int> waiting = executor.submit<square>(1);
  EXPECT_EQ(executor.shutdown_for(0ms).error(), Errc::timeout);
  EXPECT_EQ(executor.submit<square>(1).get().error(), Errc::invalid_state);
  executor.shutdown({.cancel_futures = true}).unwrap();
  EXPECT_EQ(waiting.get().error(), Errc::cancelled);
}

TEST_F(RemoteExecutorTest, AServerThatIsDrainedFinishesWhatItHas) {
  auto executor = this->executor();
  Future<int> waiting = executor.submit<square>(6);
  EXPECT_EQ(executor.stats().unwrap().waiting, 1U);
  EXPECT_FALSE(Manager::drain_for(0ms));
  EXPECT_EQ(executor.submit<square>(1).get().error(), Errc::invalid_state);
  const auto worker = this->worker(1);
  EXPECT_TRUE(Manager::drain_for(60s));
  EXPECT_EQ(waiting.get().unwrap(), 36);
}

TEST(RemoteServer, WorkersAndSubmittersFindTheNextServerAtItsAddress) {
  const auto key = passel::AuthKey::generate();
  std::optional<passel::ManagerServer> server;
  const auto serve_at = [&](TcpAddress address) {
    Manager manager{{.address = std::move(address), .authkey = key}};
    server = manager.get_server().unwrap();
    return std::get<TcpAddress>(server->address());
  };
  const TcpAddress at = serve_at({});
  auto worker = RemoteWorker::join(all_tasks(),
                                   {.address = at, .authkey = key, .processes = {.processes = 1}})
                    .unwrap();
  auto executor =
      RemoteExecutor::connect({.address = at, .authkey = key, .tasks = all_tasks()}).unwrap();
  EXPECT_EQ(executor.submit<square>(2).get().unwrap(), 4);
  server.reset();
  while (worker.stats().connected) std::this_thread::yield();
  serve_at(at);
  Result<int> again = executor.submit<square>(3).get();
  while (!again) {
    EXPECT_THAT(again.error().code(), ::testing::AnyOf(Errc::peer_lost, Errc::stale_object,
                                                       Errc::refused, Errc::not_found));
    again = executor.submit<square>(3).get();
  }
  EXPECT_EQ(*again, 9);
  EXPECT_EQ(worker.stats().reconnects, 1U);
}

TEST(RemoteServer, WhoHasAnotherKeyOrNoServerIsTold) {
  Manager manager{{.address = TcpAddress{}, .authkey = passel::AuthKey::generate()}};
  const auto server = manager.get_server().unwrap();
  const auto key = passel::AuthKey{"another key, and a long one"};
  EXPECT_EQ(RemoteExecutor::connect({.address = server.address(), .authkey = key}).error(),
            Errc::auth_failed);
  EXPECT_EQ(RemoteWorker::join(all_tasks(), {.address = server.address(), .authkey = key}).error(),
            Errc::auth_failed);
  EXPECT_EQ(RemoteWorker::join({}, {.address = server.address()}).error(), Errc::invalid_argument);
}

TEST(ExposedTasks, KnowTheirNamesAndTypes) {
  EXPECT_THAT(
      (ExposedTasks::of<&fetch, passel::exposed<"size", &length>, &until_stopped>()).signatures(),
      ElementsAre("fetch(str, int) -> object", "size(bytes) -> int",
                  "until_stopped(object) -> none"));
  ExposedTasks tasks = ExposedTasks::of<&square>();
  EXPECT_EQ((tasks.add<passel::exposed<"square", &length>>()).error(), Errc::invalid_argument);
  EXPECT_TRUE((tasks.add<&fetch>()).is_ok());
  EXPECT_EQ(tasks.signatures().size(), 2U);
}

}  // namespace
