// What a program may hang into the life of its threads.
#include <passel/thread_hooks.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::current_thread;
using passel::Errc;
using passel::set_thread_excepthook;
using passel::set_thread_hook;
using passel::set_thread_hook_all_threads;
using passel::Thread;
using passel::ThreadExceptArgs;
using passel::ThreadMoment;
using passel::ThreadOptions;

void run_to_end(const Thread& t) {
  t.start().unwrap();
  t.join().unwrap();
}

template <class F>
std::string errors_of(F f) {
  ::testing::internal::CaptureStderr();
  f();
  return ::testing::internal::GetCapturedStderr();
}

TEST(ThreadExcepthook, TheDefaultReportsOnStderr) {
  // ExceptHookTests.test_excepthook, ThreadingExceptionTests.test_print_exception,
  // test_bare_raise_in_brand_new_thread
  EXPECT_EQ(errors_of([] {
              run_to_end(Thread{{.name = "excepthook thread"},
                                [] { throw std::out_of_range{"excepthook failed"}; }});
            }),
            "Exception in thread excepthook thread:\nstd::out_of_range: excepthook failed\n");
  EXPECT_EQ(errors_of([] {
              run_to_end(Thread{{.name = "odd"}, [] { throw 7; }});
            }),
            "Exception in thread odd:\nint: no text: not a std::exception\n");
}

TEST(ThreadExcepthook, ACustomOneGetsTypeValueAndThread) {
  // ExceptHookTests.test_custom_excepthook
  std::optional<ThreadExceptArgs> got;
  bool alive = false;
  const auto before = set_thread_excepthook([&](const ThreadExceptArgs& args) {
    got = args;
    alive = args.thread->is_alive() && current_thread() == args.thread;
  });
  EXPECT_FALSE(before);
  const Thread t{[] { throw std::runtime_error{"threading_hook"}; }};
  EXPECT_EQ(errors_of([&] { run_to_end(t); }), "");
  EXPECT_TRUE(set_thread_excepthook({}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->type_name, "std::runtime_error");
  EXPECT_EQ(got->what, "threading_hook");
  EXPECT_EQ(got->thread, t);
  EXPECT_TRUE(alive);
  EXPECT_THROW(std::rethrow_exception(got->exception), std::runtime_error);
}

TEST(ThreadExcepthook, AThrowingOneIsItselfReported) {
  // ExceptHookTests.test_custom_excepthook_fail
  set_thread_excepthook(
      [](const ThreadExceptArgs&) { throw std::logic_error{"threading_hook failed"}; });
  const auto errors = errors_of([] {
    run_to_end(Thread{{.name = "t"}, [] { throw std::runtime_error{"exc"}; }});
  });
  set_thread_excepthook({});
  EXPECT_EQ(errors,
            "Exception in the thread excepthook:\nstd::logic_error: threading_hook failed\n"
            "Exception in thread t:\nstd::runtime_error: exc\n");
}

TEST(ThreadExcepthook, TheDefaultCanBeRestored) {
  // ExceptHookTests.test_original_excepthook
  const auto thrower = [] {
    run_to_end(Thread{{.name = "t"}, [] { throw std::runtime_error{"x"}; }});
  };
  set_thread_excepthook(
      [](const ThreadExceptArgs&) { std::fputs("Running a thread failed", stderr); });
  EXPECT_EQ(errors_of(thrower), "Running a thread failed");
  set_thread_excepthook(&passel::default_thread_excepthook);
  EXPECT_EQ(errors_of(thrower), "Exception in thread t:\nstd::runtime_error: x\n");
  EXPECT_TRUE(set_thread_excepthook({}));
  EXPECT_EQ(errors_of(thrower), "Exception in thread t:\nstd::runtime_error: x\n");
}

TEST(ThreadExcepthook, AnExitIsSilent) {
  // ExceptHookTests.test_system_exit
  EXPECT_EQ(errors_of([] {
              run_to_end(Thread{[] { passel::exit_thread(); }});
              run_to_end(Thread{[] { throw passel::ThreadExit{}; }});
            }),
            "");
}

TEST(ThreadExcepthook, WithoutAThreadTheIdentIsNamed) {
  // ExceptHookTests.test_excepthook_thread_None
  EXPECT_EQ(
      errors_of([] { passel::default_thread_excepthook({.type_name = "Type", .what = "text"}); }),
      "Exception in thread " + std::to_string(passel::get_ident()) + ":\nType: text\n");
}

/// Who called the hook, and when.
struct Calls {
  void operator()(const Thread& thread, ThreadMoment moment) {
    EXPECT_EQ(thread, current_thread());
    EXPECT_TRUE(thread.is_alive());
    text += thread.name() + (moment == ThreadMoment::begin ? " begins\n" : " ends\n");
  }
  std::string text;
};

TEST(ThreadHook, IsCalledAtBeginAndEnd) {
  // ThreadTests.test_gettrace, test_getprofile, test_frame_tstate_tracing
  EXPECT_FALSE(passel::thread_hook());
  Calls calls;
  set_thread_hook(std::ref(calls));
  EXPECT_TRUE(passel::thread_hook());
  run_to_end(Thread{{.name = "a"}, [&] { calls.text += "a runs\n"; }});
  run_to_end(Thread{{.name = "b"}, [] { passel::exit_thread(); }});
  set_thread_hook({});
  EXPECT_FALSE(passel::thread_hook());
  run_to_end(Thread{{.name = "c"}, [] {}});
  EXPECT_EQ(calls.text, "a begins\na runs\na ends\nb begins\nb ends\n");
}

TEST(ThreadHook, StaysWithTheThreadThatBeganWithIt) {
  Calls calls;
  set_thread_hook(std::ref(calls));
  run_to_end(Thread{{.name = "a"}, [] { set_thread_hook({}); }});
  EXPECT_EQ(calls.text, "a begins\na ends\n");
}

TEST(ThreadHook, ReachesRunningThreadsWhenAskedTo) {
  // ThreadTests.test_gettrace_all_threads, test_getprofile_all_threads
  Calls calls;
  std::atomic<bool> go{false};
  const Thread t{{.name = "early"}, [&] { go.wait(false); }};
  t.start().unwrap();
  static_cast<void>(t.native_id());
  while (passel::active_count() < 2) std::this_thread::yield();
  set_thread_hook_all_threads(std::ref(calls));
  go = true;
  go.notify_one();
  t.join().unwrap();
  // It may just have been coming up, and then begins with it, too.
  EXPECT_THAT(calls.text, ::testing::EndsWith("early ends\n"));
  calls.text.clear();
  run_to_end(Thread{{.name = "late"}, [] {}});
  set_thread_hook_all_threads({});
  EXPECT_EQ(calls.text, "late begins\nlate ends\n");
}

TEST(ThreadHook, WhatItThrowsIsReported) {
  set_thread_hook([](const Thread&, ThreadMoment) { throw std::runtime_error{"hook"}; });
  bool ran = false;
  const auto errors = errors_of([&] { run_to_end(Thread{[&] { ran = true; }}); });
  set_thread_hook({});
  EXPECT_TRUE(ran);
  const std::string once = "Exception in the thread hook:\nstd::runtime_error: hook\n";
  EXPECT_EQ(errors, once + once);
}

std::atomic<int> signals_in_main{0};
std::atomic<int> signals_elsewhere{0};
void count_signal(int) { ++(::gettid() == ::getpid() ? signals_in_main : signals_elsewhere); }

class InterruptMain : public ::testing::Test {
 protected:
  void SetUp() override {
    signals_in_main = 0;
    signals_elsewhere = 0;
    ::sigaction(SIGUSR1, nullptr, &before_);
  }
  void TearDown() override { ::sigaction(SIGUSR1, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

TEST_F(InterruptMain, RunsTheHandlerInTheMainThread) {
  // InterruptMainTests.test_interrupt_main_subthread, test_interrupt_main_mainthread,
  // test_interrupt_main_with_signal_handler
  ::signal(SIGUSR1, &count_signal);
  run_to_end(Thread{[] { passel::interrupt_main(SIGUSR1).unwrap(); }});
  while (signals_in_main < 1) std::this_thread::yield();
  passel::interrupt_main(SIGUSR1).unwrap();
  EXPECT_EQ(signals_in_main, 2);
  EXPECT_EQ(signals_elsewhere, 0);
}

TEST_F(InterruptMain, LeavesSignalsWithoutAHandlerAlone) {
  // InterruptMainTests.test_interrupt_main_noerror
  for (const auto action : {SIG_IGN, SIG_DFL}) {
    ::signal(SIGUSR1, action);
    passel::interrupt_main(SIGUSR1).unwrap();
  }
}

TEST_F(InterruptMain, RefusesWhatIsNoSignal) {
  // InterruptMainTests.test_interrupt_main_invalid_signal
  for (const int number : {-1, 0, NSIG, 1000000}) {
    const auto refused = passel::interrupt_main(number);
    ASSERT_TRUE(refused.is_err()) << number;
    EXPECT_EQ(refused.error().code(), Errc::invalid_argument);
    EXPECT_THAT(refused.error().what(), ::testing::HasSubstr(std::to_string(number)));
  }
}

}  // namespace
