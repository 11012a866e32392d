// Finalizers within one process: order, once, cancelled, from many threads.
#include <passel/finalize.hpp>
#include <passel/log.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::Finalizer;
using passel::detail::Deadline;
using passel::detail::run_finalizers;
using ::testing::ElementsAre;

void end_of_process() {
  run_finalizers(0, Deadline::never());
  run_finalizers(std::nullopt, Deadline::never());
}

TEST(Finalize, RunsAtMostOnce) {
  int runs = 0;
  const auto finalizer = Finalizer::add([&] { ++runs; });
  const Finalizer copy = finalizer;
  EXPECT_TRUE(finalizer.still_active());
  EXPECT_TRUE(copy());
  EXPECT_FALSE(finalizer.still_active());
  EXPECT_FALSE(finalizer.run_now());
  end_of_process();
  EXPECT_EQ(runs, 1);
}

TEST(Finalize, HigherPrioritiesFirstThenTheNewest) {
  std::vector<std::string> order;
  const auto note = [&](const char* name) { return [&order, name] { order.emplace_back(name); }; };
  Finalizer::add(note("a"), {.priority = 1});
  Finalizer::add(note("b"));
  Finalizer::add(note("c"), {.priority = 10});
  Finalizer::add(note("d01"), {.priority = 1});
  Finalizer::add(note("d02"), {.priority = 1});
  Finalizer::add(note("e"), {.priority = -10});
  Finalizer::add(note("f"), {.priority = -1});
  run_finalizers(0, Deadline::never());
  EXPECT_THAT(order, ElementsAre("c", "d02", "d01", "a", "b"));
  order.clear();
  run_finalizers(std::nullopt, Deadline::never());
  EXPECT_THAT(order, ElementsAre("f", "e"));
}

TEST(Finalize, ACancelledOneIsDestroyedAndNeverRuns) {
  auto held = std::make_shared<int>(0);
  const auto finalizer = Finalizer::add([held] { ++*held; });
  EXPECT_EQ(held.use_count(), 2);
  EXPECT_TRUE(finalizer.cancel());
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(finalizer.cancel());
  EXPECT_FALSE(finalizer.still_active());
  EXPECT_FALSE(finalizer.run_now());
  end_of_process();
  EXPECT_EQ(*held, 0);
}

TEST(Finalize, WhatACallbackHoldsGoesWithIt) {
  auto held = std::make_shared<int>(0);
  Finalizer::add([held] { ++*held; });
  end_of_process();
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Finalize, AHandleOfNothingIsNotActive) {
  const Finalizer none;
  EXPECT_FALSE(none.still_active());
  EXPECT_FALSE(none.run_now());
  EXPECT_FALSE(none.cancel());
  EXPECT_FALSE(Finalizer::add(nullptr).still_active());
}

TEST(Finalize, AnExceptionIsLoggedAndTheOthersRun) {
  std::vector<std::string> errors;
  passel::set_log_sink([&](const passel::LogRecord& record) {
    if (record.level == passel::LogLevel::error) errors.push_back(record.text);
  });
  bool ran = false;
  Finalizer::add([&] { ran = true; });
  Finalizer::add([] { throw std::runtime_error{"no disk"}; }, {.priority = 5});
  end_of_process();
  passel::set_log_sink(nullptr);
  EXPECT_TRUE(ran);
  EXPECT_THAT(errors, ElementsAre("a finalizer failed: std::runtime_error: no disk"));
}

TEST(Finalize, RunNowLetsTheExceptionThrough) {
  const auto finalizer = Finalizer::add([] { throw std::runtime_error{"no disk"}; });
  EXPECT_THROW(finalizer.run_now(), std::runtime_error);
  EXPECT_FALSE(finalizer.still_active());
}

TEST(Finalize, CallbacksMayRegisterCancelAndRunOthers) {
  std::vector<std::string> order;
  Finalizer late;
  const auto cancelled = Finalizer::add([&] { order.emplace_back("cancelled"); });
  const auto pulled = Finalizer::add([&] { order.emplace_back("pulled"); });
  Finalizer::add(
      [&] {
        order.emplace_back("first");
        EXPECT_TRUE(cancelled.cancel());
        EXPECT_TRUE(pulled.run_now());
        late = Finalizer::add([&] { order.emplace_back("late"); }, {.priority = 7});
      },
      {.priority = 3});
  run_finalizers(0, Deadline::never());
  EXPECT_THAT(order, ElementsAre("first", "pulled"));
  EXPECT_TRUE(late.still_active());
  run_finalizers(std::nullopt, Deadline::never());
  EXPECT_THAT(order, ElementsAre("first", "pulled", "late"));
}

TEST(Finalize, OneThatAlwaysRegistersAgainDoesNotHoldUpTheEnd) {
  struct Again {
    int* runs;
    Finalizer* last;
    void operator()() const {
      ++*runs;
      *last = Finalizer::add(*this);
    }
  };
  int runs = 0;
  Finalizer last;
  Finalizer::add(Again{&runs, &last});
  end_of_process();
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(last.cancel());
}

TEST(Finalize, NothingRunsAfterTheDeadline) {
  std::vector<std::string> warnings;
  passel::set_log_sink([&](const passel::LogRecord& record) { warnings.push_back(record.text); });
  int runs = 0;
  const auto first = Finalizer::add([&] { ++runs; });
  const auto second = Finalizer::add([&] { ++runs; }, {.priority = -1});
  run_finalizers(0, Deadline::now_or_never());
  run_finalizers(std::nullopt, Deadline::now_or_never());
  passel::set_log_sink(nullptr);
  EXPECT_EQ(runs, 0);
  EXPECT_THAT(warnings, ElementsAre("the time for the end was up before 1 finalizers had run",
                                    "the time for the end was up before 2 finalizers had run"));
  EXPECT_TRUE(first.cancel());
  EXPECT_TRUE(second.cancel());
}

TEST(Finalize, EachRunsOnceWhateverThreadsDo) {
  constexpr int threads = 4;
  constexpr int each = 500;
  std::atomic<int> runs{0};
  std::atomic<int> cancelled{0};
  std::atomic<int> busy{threads};
  {
    std::vector<std::jthread> users;
    for (int i = 0; i < threads; ++i)
      users.emplace_back([&] {
        for (int n = 0; n < each; ++n) {
          const auto finalizer = Finalizer::add([&] { ++runs; }, {.priority = n % 5 - 2});
          if (n % 3 == 0) cancelled += finalizer.cancel() ? 1 : 0;
          if (n % 3 == 1) finalizer.run_now();
        }
        --busy;
      });
    while (busy.load() != 0) end_of_process();
  }
  end_of_process();
  EXPECT_EQ(runs.load() + cancelled.load(), threads * each);
}

TEST(Finalize, AForkedProcessHasNoneOfThem) {
  std::atomic<bool> stop{false};
  std::jthread busy{[&] {
    while (!stop.load()) Finalizer::add([] {}).cancel();
  }};
  auto runs = std::make_shared<int>(0);
  const auto finalizer = Finalizer::add([runs] { ++*runs; });
  for (int round = 0; round < 20; ++round) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (finalizer.still_active() || finalizer.run_now() || finalizer.cancel()) ::_exit(1);
      end_of_process();
      if (*runs != 0 || runs.use_count() != 2) ::_exit(2);
      const auto own = Finalizer::add([runs] { ++*runs; });
      end_of_process();
      ::_exit(*runs == 1 && !own.still_active() ? 0 : 3);
    }
    ASSERT_GT(pid, 0);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  stop.store(true);
  EXPECT_TRUE(finalizer.cancel());
  EXPECT_EQ(*runs, 0);
}

}  // namespace
