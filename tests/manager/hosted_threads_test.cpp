// The threads of a manager's server.
#include <gtest/gtest.h>

#include "hosted_threads.hpp"

#include <pthread.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::detail::HostedThreads;
using passel::detail::IoLoop;

/// While it lives no thread can be started: its stack would be larger than any memory.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_attr_init(&huge);
    ::pthread_attr_setstacksize(&huge, std::size_t{1} << 50);
    EXPECT_EQ(::pthread_setattr_default_np(&huge), 0);
    ::pthread_attr_destroy(&huge);
  }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;
  ~NoMoreThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

/// Runs one piece of work, and waits until its thread has ended for want of more.
void run_and_wait_for_the_end(HostedThreads& threads) {
  std::atomic<::pid_t> thread{0};
  ASSERT_TRUE(threads.run([&] {
    thread = ::gettid();
    thread.notify_one();
  }));
  thread.wait(0);
  const std::string entry = "/proc/self/task/" + std::to_string(thread.load());
  while (std::filesystem::exists(entry)) std::this_thread::yield();
}

TEST(HostedThreads, AThreadThatCannotBeStartedBehindOneThatHasEndedIsAnError) {
  IoLoop loop;
  const auto threads =
      std::make_shared<HostedThreads>(loop, passel::detail::HostedThreadsOptions{.idle = 0ms});
  run_and_wait_for_the_end(*threads);
  {
    const NoMoreThreads none;
    EXPECT_EQ(threads->run([] {}).error(), Errc::no_space);
  }
  run_and_wait_for_the_end(*threads);
  threads->stop();
}

}  // namespace
