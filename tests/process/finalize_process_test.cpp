// The end of a process, as others see it: finalizers, daemons, children, finalizers.
#include <passel/finalize.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "executed_copy.hpp"

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using passel::Finalizer;
using passel::Process;
using passel::Queue;
using passel::StartMethod;
using passel_test::run_copy;

/// One write, so that the steps of several processes stand in the order in which they were taken.
void say(const std::string& step) {
  const std::string line = step + "\n";
  EXPECT_EQ(::write(STDERR_FILENO, line.data(), line.size()), static_cast<ssize_t>(line.size()));
}

void register_steps() {
  Finalizer::add([] { say("last"); }, {.priority = -100});
  Finalizer::add([] { say("after the children"); }, {.priority = -1});
  Finalizer::add([] { say("older"); });
  Finalizer::add([] { say("newer"); });
  Finalizer::add([] { say("first"); }, {.priority = 10});
}

TEST(DISABLED_ExecutedCopy, EndsInOrder) {
  Queue<int> ready;
  Queue<int> go;
  // Outlive the Runtime: its end, not their destructors, is to end the processes.
  static std::vector<Process> kept;
  const auto wait_for_sigterm = [](const Queue<int>& out) {
    ::signal(SIGTERM, [](int) {
      constexpr std::string_view text = "daemon terminated\n";
      ::_exit(::write(STDERR_FILENO, text.data(), text.size()) < 0 ? 1 : 0);
    });
    out.put(1).unwrap();
    for (;;) ::pause();
  };
  const auto wait_for_go = [](const Queue<int>& in) {
    in.get().unwrap();
    say("child ends");
  };
  kept.push_back(Process::spawn({.daemon = true}, wait_for_sigterm, ready).unwrap());
  kept.push_back(Process::spawn(wait_for_go, go).unwrap());
  ready.get().unwrap();
  register_steps();
  Finalizer::add([go] { go.put(1).unwrap(); });
}

TEST(FinalizeProcess, TheRootEndsInOrder) {
  const auto run = run_copy("EndsInOrder");
  EXPECT_EQ(run.exitcode, 0);
  // The daemon and the child end beside each other, but between the two groups of finalizers.
  const std::string head = "first\n";
  EXPECT_EQ(run.errors.substr(0, head.size()), head);
  const std::string tail = "after the children\nlast\n";
  ASSERT_GT(run.errors.size(), tail.size());
  EXPECT_EQ(run.errors.substr(run.errors.size() - tail.size()), tail);
  const auto at = [&](const char* step) { return run.errors.find(step); };
  EXPECT_NE(at("newer"), std::string::npos);
  EXPECT_LT(at("newer"), at("older"));
  EXPECT_LT(at("older"), at("daemon terminated"));
  EXPECT_NE(at("child ends"), std::string::npos);
}

/// A child with a child of its own, which ends by returning or by exit.
void middle(bool by_exit) {
  Process::spawn([] { say("grandchild ends"); }).unwrap().join().unwrap();
  register_steps();
  if (by_exit) std::exit(5);
}

void run_middle(StartMethod method, bool by_exit) {
  Finalizer::add([] { say("the parent's"); });
  auto child = Process::spawn<middle>({.method = method}, by_exit).unwrap();
  EXPECT_EQ(child.join().unwrap(), by_exit ? 5 : 0);
  say("joined");
}

TEST(DISABLED_ExecutedCopy, AForkserverChild) { run_middle(StartMethod::forkserver, false); }
TEST(DISABLED_ExecutedCopy, AChildThatExits) { run_middle(StartMethod::forkserver, true); }
TEST(DISABLED_ExecutedCopy, ASpawnedChild) { run_middle(StartMethod::spawn, false); }

/// A fork of a process that has registered something has a copy of it.
TEST(DISABLED_ExecutedCopy, AForkedGrandchild) {
  auto child = Process::spawn([] { run_middle(StartMethod::fork, false); }).unwrap();
  EXPECT_EQ(child.join().unwrap(), 0);
}

class ChildEnds : public ::testing::TestWithParam<const char*> {};

TEST_P(ChildEnds, WithItsOwnFinalizersOnly) {
  const auto run = run_copy(GetParam());
  EXPECT_EQ(run.exitcode, 0);
  EXPECT_EQ(
      run.errors,
      "grandchild ends\nfirst\nnewer\nolder\nafter the children\nlast\njoined\nthe parent's\n");
}

INSTANTIATE_TEST_SUITE_P(Ways, ChildEnds,
                         ::testing::Values("AForkserverChild", "AChildThatExits", "ASpawnedChild",
                                           "AForkedGrandchild"));

TEST(DISABLED_ExecutedCopy, ATerminatedChild) {
  Queue<int> ready;
  auto child = Process::spawn(
                   [](const Queue<int>& out) {
                     register_steps();
                     out.put(1).unwrap();
                     for (;;) ::pause();
                   },
                   ready)
                   .unwrap();
  ready.get().unwrap();
  child.terminate().unwrap();
  EXPECT_EQ(child.join().unwrap(), -SIGTERM);
  say("terminated");
}

TEST(FinalizeProcess, ATerminatedChildRunsNone) {
  const auto run = run_copy("ATerminatedChild");
  EXPECT_EQ(run.exitcode, 0);
  EXPECT_EQ(run.errors, "terminated\n");
}

TEST(DISABLED_ExecutedCopy, AFinalizerStartsAProcess) {
  Finalizer::add([] {
    auto child = Process::spawn([] { say("child"); });
    say(child ? "started" : child.error().what());
  });
  Finalizer::add(
      [] {
        auto child = Process::spawn([] { say("never"); });
        say(child ? "started" : child.error().what());
      },
      {.priority = -1});
}

TEST(FinalizeProcess, TheFirstGroupMayStillStartProcesses) {
  const auto run = run_copy("AFinalizerStartsAProcess");
  EXPECT_EQ(run.exitcode, 0);
  EXPECT_THAT(run.errors, ::testing::HasSubstr("child\n"));
  EXPECT_THAT(run.errors, ::testing::EndsWith("the Runtime has been shut down\n"));
}

}  // namespace
