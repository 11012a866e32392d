// What inspect() tells about queues, locks, workers and circles, of processes that run, that are
// stuck and that are stopped.
#include "support/process_census.hpp"

#include <passel/barrier.hpp>
#include <passel/condition.hpp>
#include <passel/event.hpp>
#include <passel/inspect.hpp>
#include <passel/lock.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/rlock.hpp>
#include <passel/semaphore.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::HostReport;
using passel::Lock;
using passel::LockReport;
using passel::Pool;
using passel::Process;
using passel::Queue;
using passel::QueueReport;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// What there is to see of this process and its children.
HostReport look() { return passel::inspect({.pid = ::getpid()}).unwrap(); }

LockReport lock_named(const HostReport& report, const std::string& name) {
  for (const LockReport& lock : report.locks) {
    if (lock.name == name) return lock;
  }
  return {};
}

/// The same as soon as `ready`.
template <class Ready>
LockReport lock_named(const std::string& name, Ready ready) {
  for (;;) {
    LockReport lock = lock_named(look(), name);
    if (ready(lock)) return lock;
    std::this_thread::yield();
  }
}

const auto is_awaited = [](const LockReport& lock) { return !lock.waiters.empty(); };

void hold(const Lock& lock, const Queue<int>& held, const Queue<int>& release) {
  const auto guard = lock.acquire().unwrap();
  held.put(static_cast<int>(::syscall(SYS_gettid))).unwrap();
  static_cast<void>(release.get());
}

TEST(Inspect, AProcessWithoutTheLibraryIsNotFound) {
  const pid_t plain = ::fork();
  if (plain == 0) {
    ::execl("/bin/sleep", "sleep", "1000", nullptr);
    ::_exit(127);
  }
  // Until it has become that program it shares what this process has.
  for (;;) {
    const auto seen = passel::inspect({.pid = plain});
    if (seen.is_err()) {
      EXPECT_EQ(seen.error().code(), Errc::not_found);
      EXPECT_THAT(seen.error().what(), ::testing::HasSubstr(std::to_string(plain)));
      break;
    }
    std::this_thread::yield();
  }
  ::kill(plain, SIGKILL);
  ::waitpid(plain, nullptr, 0);
}

TEST(Inspect, ProcessesHaveTheirPlaceInTheFamily) {
  Queue<int> held;
  Queue<int> release;
  const Lock lock;
  auto child = Process::spawn<hold>({.name = "fetcher"}, lock, held, release).unwrap();
  held.get().unwrap();
  const HostReport report = look();
  EXPECT_THAT(report.processes, SizeIs(3));
  EXPECT_THAT(report.processes, Contains(AllOf(Field(&passel::ProcessReport::pid, ::getpid()),
                                               Field(&passel::ProcessReport::role, "main"),
                                               Field(&passel::ProcessReport::root, ::getpid()))));
  EXPECT_THAT(report.processes, Contains(Field(&passel::ProcessReport::role, "guardian")));
  const auto found =
      std::find_if(report.processes.begin(), report.processes.end(),
                   [&](const passel::ProcessReport& process) { return process.role == "child"; });
  ASSERT_NE(found, report.processes.end());
  EXPECT_EQ(found->pid, *child.pid());
  EXPECT_EQ(found->root, ::getpid());
  EXPECT_EQ(found->name, "fetcher");
  EXPECT_GE(found->threads, 1U);
  EXPECT_GT(found->descriptors, 3U);
  EXPECT_GT(found->memory, 0U);
  EXPECT_THAT(found->command, ::testing::HasSubstr("inspect_test"));
  release.put(0).unwrap();
  child.join().unwrap();
}

TEST(Inspect, AQueueShowsItsDepthAndWhoWaits) {
  passel::JoinableQueue<std::string> queue{5};
  for (const char* word : {"a", "b", "c"}) queue.put(word).unwrap();
  queue.get().unwrap();
  const auto queues = look().queues;
  ASSERT_THAT(queues, SizeIs(1));
  const QueueReport& seen = queues.front();
  EXPECT_EQ(seen.depth, 2U);
  EXPECT_EQ(seen.maxsize, 5U);
  EXPECT_EQ(seen.puts, 3U);
  EXPECT_TRUE(seen.joinable);
  EXPECT_EQ(seen.unfinished, 3U);
  EXPECT_FALSE(seen.shut_down);
  EXPECT_THAT(seen.pids, ElementsAre(::getpid()));
  EXPECT_THAT(seen.type, ::testing::HasSubstr("string"));

  queue.task_done().unwrap();
  queue.get().unwrap();
  queue.get().unwrap();
  std::thread reader{[&] { EXPECT_EQ(queue.get().unwrap(), "at last"); }};
  while (look().queues.front().getters == 0) std::this_thread::yield();
  EXPECT_EQ(look().queues.front().depth, 0U);
  queue.put("at last").unwrap();
  reader.join();
  queue.shutdown();
  EXPECT_TRUE(look().queues.front().shut_down);
}

TEST(Inspect, ALockOfAStoppedProcessShowsItsHolderAndWhoWaits) {
  const auto before = passel_test::ProcessCensus::take();
  {
    const Lock lock{{.name = "printer"}};
    Queue<int> held;
    Queue<int> release;
    auto child = Process::spawn<hold>(lock, held, release).unwrap();
    const int holding_thread = held.get().unwrap();
    // Nobody needs to answer.
    ::kill(*child.pid(), SIGSTOP);
    int waiting_thread = 0;
    std::thread waiter{[&] {
      waiting_thread = static_cast<int>(::syscall(SYS_gettid));
      lock.acquire().unwrap();
    }};
    const LockReport seen = lock_named("printer", is_awaited);
    EXPECT_EQ(seen.kind, "lock");
    ASSERT_THAT(seen.holders, SizeIs(1));
    EXPECT_EQ(seen.holders[0].pid, *child.pid());
    EXPECT_EQ(seen.holders[0].thread, holding_thread);
    EXPECT_EQ(seen.waiters[0].pid, ::getpid());
    EXPECT_EQ(seen.waiters[0].thread, waiting_thread);
    EXPECT_EQ(seen.token, 1U);
    EXPECT_EQ(seen.pids.size(), 2U);
    EXPECT_THAT(look().circles, IsEmpty());
    for (const auto& process : look().processes) {
      if (process.pid == *child.pid()) {
        EXPECT_EQ(process.state, 'T');
      }
    }
    ::kill(*child.pid(), SIGCONT);
    release.put(0).unwrap();
    waiter.join();
    child.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Inspect, TheOtherObjectsShowTheirState) {
  const passel::RLock rlock{{.name = "twice"}};
  const auto one = rlock.acquire().unwrap();
  const auto two = rlock.acquire().unwrap();
  EXPECT_EQ(lock_named(look(), "twice").depth, 2U);
  EXPECT_EQ(lock_named(look(), "twice").kind, "rlock");

  const passel::Semaphore spiders{{.value = 3, .name = "spiders"}};
  const auto permit = spiders.acquire().unwrap();
  EXPECT_EQ(lock_named(look(), "spiders").available, 2U);

  const passel::Event event{{.name = "go"}};
  EXPECT_FALSE(lock_named(look(), "go").is_set);
  event.set();
  EXPECT_TRUE(lock_named(look(), "go").is_set);

  const passel::Condition condition{{.name = "news"}};
  EXPECT_EQ(lock_named(look(), "news").kind, "condition");
  const std::string lock = lock_named(look(), "news").lock;
  EXPECT_THAT(look().locks, Contains(Field(&LockReport::id, lock)));

  const passel::Barrier barrier{{.parties = 2, .name = "start"}};
  EXPECT_EQ(lock_named(look(), "start").parties, 2U);
  EXPECT_FALSE(lock_named(look(), "start").is_broken);
  std::thread party{[&] { static_cast<void>(barrier.wait()); }};
  EXPECT_THAT(lock_named("start", is_awaited).waiters, SizeIs(1));
  barrier.abort();
  party.join();
  EXPECT_TRUE(lock_named(look(), "start").is_broken);
}

TEST(Inspect, ACircleOfWaitersIsShownWithItsNames) {
  const Lock first{{.name = "first"}};
  const Lock second{{.name = "second"}};
  // In a process of its own, so that it can be ended.
  const auto stuck = Process::spawn(
                         [](const Lock& one, const Lock& other) {
                           const auto guard = one.acquire().unwrap();
                           std::thread peer{[&] {
                             const auto mine = other.acquire().unwrap();
                             static_cast<void>(one.acquire());
                           }};
                           while (!other.locked()) std::this_thread::yield();
                           static_cast<void>(other.acquire());
                         },
                         first, second)
                         .unwrap();
  HostReport report;
  do {
    report = look();
  } while (report.circles.empty());
  ASSERT_THAT(report.circles, SizeIs(1));
  const passel::DeadlockReport& circle = report.circles[0];
  ASSERT_THAT(circle.waits, SizeIs(2));
  EXPECT_EQ(circle.waits[0].waiting_pid, *stuck.pid());
  EXPECT_EQ(circle.waits[0].holding_thread, circle.waits[1].waiting_thread);
  EXPECT_EQ(circle.waits[1].holding_thread, circle.waits[0].waiting_thread);
  EXPECT_THAT(circle.to_string(), ::testing::HasSubstr("waits for 'first', held by"));
  EXPECT_THAT(circle.to_string(), ::testing::HasSubstr("waits for 'second', held by"));
  stuck.kill().unwrap();
  static_cast<void>(stuck.join());
}

TEST(Inspect, WorkersShowWhetherTheyWork) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  Queue<std::string> words;
  EXPECT_EQ(pool.apply([](int n) { return n + 1; }, 1).unwrap(), 2);
  auto running =
      pool.submit([](const Queue<std::string>& from) { return from.get().unwrap(); }, words);
  HostReport report;
  do {
    report = look();
    ASSERT_THAT(report.workers, SizeIs(1));
  } while (report.workers[0].state != "busy");
  EXPECT_EQ(report.workers[0].owner, ::getpid());
  EXPECT_EQ(report.workers[0].pid, pool.stats().workers.at(0).pid);
  EXPECT_EQ(report.workers[0].given, 2U);
  EXPECT_EQ(report.workers[0].done, 1U);
  words.put("enough").unwrap();
  EXPECT_EQ(running.get().unwrap(), "enough");
  do {
    report = look();
  } while (report.workers[0].state != "idle");
  EXPECT_EQ(report.workers[0].done, 2U);
}

TEST(Inspect, ReadsWhatManyAreChangingAtTheSameTime) {
  Queue<int> busy;
  const Lock lock{{.name = "busy"}};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        busy.put(1).unwrap();
        const auto guard = lock.acquire().unwrap();
        busy.get().unwrap();
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const HostReport report = look();
    EXPECT_THAT(report.queues, SizeIs(1));
    for (const QueueReport& queue : report.queues) EXPECT_LE(queue.depth, queue.puts);
    EXPECT_EQ(lock_named(report, "busy").name, "busy");
    EXPECT_THAT(report.circles, IsEmpty());
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
