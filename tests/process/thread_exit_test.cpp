// Threads at the end of a process and across a fork, seen from outside: each case runs a program of
// its own.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/thread.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <sys/wait.h>
#include <array>
#include <atomic>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

namespace {

using passel::Process;
using passel::Queue;
using passel::StartMethod;
using passel::Thread;
using passel_test::ProcessCensus;
using ::testing::ElementsAre;

struct Ran {
  int code = -1;
  std::vector<std::string> lines;
};

Ran run(const std::string& arguments) {
  Ran ran;
  // A process that ends without waiting for its daemons has threads that nobody joined.
  const std::string command = "TSAN_OPTIONS=\"$TSAN_OPTIONS report_thread_leaks=0\" " THREAD_PROBE
                              " " +
                              arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return ran;
  std::string text;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) ran.lines.push_back(line);
  return ran;
}

/// With a Runtime, whose destructor waits, and without, where a handler of exit does.
class ThreadExit : public ::testing::TestWithParam<std::string> {
 protected:
  static Ran probe(const std::string& mode) { return run(mode + " " + GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Ways, ThreadExit, ::testing::Values("runtime", "none"),
                         [](const auto& way) { return way.param; });

TEST_P(ThreadExit, TheEndOfMainWaitsForThreads) {
  // ThreadJoinOnShutdown.test_1_join_on_shutdown
  const Ran ran = probe("returns");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("end of main", "end of thread"));
}

// ExecutorShutdownTest.test_interpreter_shutdown
TEST_P(ThreadExit, TheEndOfMainWaitsForTheTasksOfAnExecutor) {
  const Ran ran = probe("executor");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("end of main", "end of thread", "the next one"));
}

TEST_P(ThreadExit, ButNotForThoseOfADaemon) {
  for (unsigned i = 0; i < passel_test::rounds(10); ++i) {
    const Ran ran = probe("daemon_executors");
    ASSERT_EQ(ran.code, 0);
    ASSERT_THAT(ran.lines, ElementsAre("end of main", ::testing::StartsWith("cancelled: ")));
  }
}

TEST_P(ThreadExit, SoDoesAnEndByExceptionOrExit) {
  const Ran thrown = probe("throws");
  EXPECT_EQ(thrown.code, 1);
  EXPECT_THAT(thrown.lines, ElementsAre("end of main", "end of thread"));
  const Ran exited = probe("exits");
  EXPECT_EQ(exited.code, 3);
  EXPECT_THAT(exited.lines, ElementsAre("end of main", "end of thread"));
}

TEST_P(ThreadExit, AnExitInAThreadWaitsForTheOthers) {
  const Ran ran = probe("thread_exits");
  EXPECT_EQ(ran.code, 4);
  EXPECT_THAT(ran.lines, ElementsAre("exit in a thread", "end of thread"));
}

TEST_P(ThreadExit, ThreadsMayStartThreadsWhileTheProcessEnds) {
  // ThreadTests.test_join_nondaemon_on_shutdown
  EXPECT_THAT(probe("starts_more").lines,
              ElementsAre("end of main", "first", "second", "end of thread"));
}

TEST_P(ThreadExit, AThreadCanWaitForTheEndOfMain) {
  // ThreadTests.test_main_thread_during_shutdown
  EXPECT_THAT(probe("joins_main").lines, ElementsAre("end of main", "main has ended"));
}

TEST_P(ThreadExit, ATimerIsWaitedFor) {
  EXPECT_THAT(probe("timer").lines, ElementsAre("end of main", "timer"));
}

TEST_P(ThreadExit, DaemonsAreLeftAndDoNotCrash) {
  // ThreadJoinOnShutdown.test_4_daemon_threads
  for (unsigned i = 0; i < passel_test::rounds(10); ++i) {
    const Ran ran = probe("daemons");
    ASSERT_EQ(ran.code, 0);
    ASSERT_THAT(ran.lines, ElementsAre("end of main"));
  }
}

TEST_P(ThreadExit, CallbacksThenThreadsThenFinalizers) {
  // AtexitTests.test_atexit_output, test_atexit_called_once, test_atexit_after_shutdown
  const std::string refused = "can't register atexit after shutdown";
  const Ran ran = probe("hooks");
  EXPECT_EQ(ran.code, 0);
  std::vector<std::string> expected{"newer callback", "in a callback: " + refused, "thread",
                                    "in a thread: " + refused};
  if (GetParam() == "runtime") expected.emplace_back("finalizer");
  EXPECT_EQ(ran.lines, expected);
}

TEST(ThreadShutdown, ALimitLeavesThreadsBehindAndNamesThem) {
  const Ran ran = run("limit runtime");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("left thread stuck"));
}

TEST(ThreadShutdown, ARuntimeMayEndWhileDaemonsUseIt) {
  for (int i = 0; i < 5; ++i) {
    const Ran ran = run("ends_under_daemons");
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.lines, ElementsAre("end of main"));
  }
}

TEST(ThreadShutdown, EachRuntimeWaitsForItsThreads) {
  const Ran ran = run("two_runtimes");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines,
              ElementsAre("callback 0", "thread 0", "callback 1", "thread 1", "main is alive"));
}

/// Forks of a process with threads, which start threads in turn.
class ThreadFork : public ::testing::Test {
 protected:
#if defined(__SANITIZE_THREAD__)
  void SetUp() override {
    GTEST_SKIP() << "the thread sanitizer takes the child's threads for the parent's";
  }
#endif
};

TEST_F(ThreadFork, TheForkingThreadIsTheMainThreadOfTheChild) {
  // ThreadTests.test_main_thread_after_fork, test_main_thread_after_fork_from_nonmain_thread,
  // test_main_thread_after_fork_from_foreign_thread, test_main_thread_after_fork_from_dummy_thread,
  // test_is_alive_after_fork, test_dummy_thread_after_fork,
  // ThreadJoinOnShutdown.test_clear_threads_states_after_fork
  const Ran ran = run("forks");
  EXPECT_EQ(ran.code, 0);
  const std::string fits = ", is current, ident fits, native id fits, alive, 1 active";
  EXPECT_THAT(ran.lines,
              ElementsAre("from main: MainThread" + fits, "other is not alive", "a new thread",
                          "from a child's main: MainThread" + fits, "from a thread: forker" + fits,
                          "from a foreign thread: MainThread" + fits,
                          "from a stand-in: MainThread" + fits));
}

TEST_F(ThreadFork, TheChildWaitsForItsOwnThreads) {
  // ThreadJoinOnShutdown.test_2_join_in_forked_process, test_3_join_in_forked_from_thread
  const Ran ran = run("forked_ends");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("end of main", "end of thread", "end of main", "end of thread",
                                     "the parent's"));
}

TEST_F(ThreadFork, WorksWhileOtherThreadsUseTheLibrary) {
  // ThreadJoinOnShutdown.test_reinit_tls_after_fork
  const Ran ran = run("forks_under_load");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("done"));
}

// --- child processes

void start_threads(const Queue<std::string>& out) {
  const auto daemon = Thread::spawn({.daemon = true}, [] {
                        static std::atomic<bool> for_ever{false};
                        for_ever.wait(false);
                      }).unwrap();
  Thread::spawn([out] {
    passel::main_thread().join().unwrap();  // until the child is about to end
    Thread::spawn([out] { out.put("thread of a thread").unwrap(); }).unwrap();
    out.put("thread").unwrap();
  }).unwrap();
  out.put("target").unwrap();
}

class ChildThreads : public ::testing::TestWithParam<StartMethod> {};
INSTANTIATE_TEST_SUITE_P(Methods, ChildThreads,
                         ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& method) { return passel::to_string(method.param); });

TEST_P(ChildThreads, AreWaitedForUnlessTheyAreDaemons) {
  // mp: _TestProcess.test_wait_for_threads
  const auto before = ProcessCensus::take();
  {
    const Queue<std::string> out;
    auto child = Process::spawn<start_threads>({.method = GetParam()}, out).unwrap();
    EXPECT_EQ(child.join().unwrap(), 0);
    std::vector<std::string> got;
    for (int i = 0; i < 3; ++i) got.push_back(out.try_get().unwrap());
    EXPECT_EQ(got.front(), "target");
    EXPECT_THAT(got, ::testing::UnorderedElementsAre("target", "thread", "thread of a thread"));
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(ChildThread, AreWaitedForInAForkedChild) {
  const Queue<std::string> out;
  auto middle = Process::spawn(
                    [](const Queue<std::string>& to) {
                      auto child =
                          Process::spawn<start_threads>({.method = StartMethod::fork}, to).unwrap();
                      if (child.join().unwrap() != 0) throw std::runtime_error{"forked child"};
                    },
                    out)
                    .unwrap();
  EXPECT_EQ(middle.join().unwrap(), 0);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(out.try_get().is_ok());
}

TEST(ChildThread, NativeIdsDifferFromTheParents) {
  // mp: _TestProcess.test_process_mainthread_native_id
  const Queue<int> out;
  auto child =
      Process::spawn(
          [](const Queue<int>& to) { to.put(passel::main_thread().native_id().value()).unwrap(); },
          out)
          .unwrap();
  EXPECT_EQ(out.get().unwrap(), child.pid());
  EXPECT_EQ(child.join().unwrap(), 0);
  EXPECT_EQ(passel::main_thread().native_id(), ::getpid());
}

}  // namespace
