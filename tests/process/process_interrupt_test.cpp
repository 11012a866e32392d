// Process::interrupt, after CPython's _TestProcess.test_interrupt and its kin.
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <string>

namespace {

using passel::Errc;
using passel::Process;
using passel::ProcessOptions;
using passel::Queue;
using passel::StartMethod;

volatile std::sig_atomic_t interrupted = 0;

/// Says that it is there, and waits for SIGINT: from then on `interrupted` is set.
void await_interrupt(const Queue<std::string>& words) {
  sigset_t interrupt;
  sigset_t before;
  ::sigemptyset(&interrupt);
  ::sigaddset(&interrupt, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &interrupt, &before);
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigaction(SIGINT, &action, nullptr);
  words.put("waiting").unwrap();
  while (interrupted == 0) ::sigsuspend(&before);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

struct CleansUp {
  const Queue<std::string>& words;
  ~CleansUp() { words.put("cleaned up").unwrap(); }
};

void end_in_order(const Queue<std::string>& words) {
  {
    const CleansUp cleans_up{words};
    await_interrupt(words);
  }
  std::exit(7);
}

void wait_by_default(const Queue<std::string>& words) {
  std::signal(SIGINT, SIG_DFL);  // it is ignored where the suite runs in the background of a script
  words.put("waiting").unwrap();
  for (;;) ::pause();
}

void ignore_it(const Queue<std::string>& words, const Queue<std::string>& orders) {
  std::signal(SIGINT, SIG_IGN);
  words.put("waiting").unwrap();
  words.put("told to " + orders.get().unwrap()).unwrap();
}

class Interrupt : public ::testing::TestWithParam<StartMethod> {
 protected:
  static ProcessOptions options() { return {.method = GetParam()}; }
  Queue<std::string> words_;
};
INSTANTIATE_TEST_SUITE_P(Methods, Interrupt, ::testing::ValuesIn(passel::all_start_methods()),
                         [](const auto& method) { return to_string(method.param); });

TEST_P(Interrupt, AHandlerDecidesHowTheProcessEnds) {
  auto p = Process::spawn<end_in_order>(options(), words_).unwrap();
  EXPECT_EQ(words_.get().unwrap(), "waiting");
  p.interrupt().unwrap();
  EXPECT_EQ(words_.get().unwrap(), "cleaned up");
  EXPECT_EQ(p.join().unwrap(), 7);
}

TEST_P(Interrupt, WithoutAHandlerItEndsTheProcess) {
  auto p = Process::spawn<wait_by_default>(options(), words_).unwrap();
  EXPECT_EQ(words_.get().unwrap(), "waiting");
  p.interrupt().unwrap();
  EXPECT_EQ(p.join().unwrap(), -SIGINT);
}

TEST_P(Interrupt, WhoIgnoresItGoesOn) {
  Queue<std::string> orders;
  auto p = Process::spawn<ignore_it>(options(), words_, orders).unwrap();
  EXPECT_EQ(words_.get().unwrap(), "waiting");
  p.interrupt().unwrap();
  orders.put("end").unwrap();
  EXPECT_EQ(words_.get().unwrap(), "told to end");
  EXPECT_EQ(p.join().unwrap(), 0);
}

TEST(Process, InterruptObeysTheRulesOfTerminate) {
  auto p = Process::make(ProcessOptions{}, [] {});
  EXPECT_EQ(p.interrupt().error().what(), "process not started");
  p.start().unwrap();
  p.join().unwrap();
  EXPECT_TRUE(p.interrupt().is_ok());
  EXPECT_EQ(p.exitcode(), 0);
  p.close().unwrap();
  EXPECT_EQ(p.interrupt().error(), Errc::invalid_state);
}

}  // namespace
