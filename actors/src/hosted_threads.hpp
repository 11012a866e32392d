// Layer actors: the threads of a manager's server that users' methods run on.
#pragma once

#include <passel/detail/io_loop.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace passel::inline v0::detail {

struct HostedThreadsOptions {
  std::size_t at_once = 64;                 ///< so many are started as soon as there is work
  std::chrono::milliseconds patience{100};  ///< work waits so long before there is one more ...
  std::chrono::milliseconds pause{10};      ///< ... and then another one after each of these
  std::size_t most = 10'000;                ///< further work waits until one is free
  std::chrono::milliseconds idle{10'000};   ///< a thread without work goes after so long
};

/// Threads that come when work waits and none is free, and go after a while without any. Methods
/// may wait for each other, so that no number of threads is enough for sure: beyond some there is
/// one more whenever the next piece of work has waited for a while. Held by shared_ptr.
class HostedThreads : public std::enable_shared_from_this<HostedThreads> {
 public:
  explicit HostedThreads(IoLoop& loop, HostedThreadsOptions options = {})
      : loop_{loop}, options_{options} {}
  ~HostedThreads() { stop(); }
  HostedThreads(const HostedThreads&) = delete;
  HostedThreads& operator=(const HostedThreads&) = delete;

  /// Errors: closed after stop, no_space when there is no thread and none can be started: then the
  /// work is not kept.
  [[nodiscard]] Result<void> run(std::function<void()> work);
  /// Waits for the work that runs; what has not begun is dropped. Idempotent.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    std::function<void()> work;
    Clock::time_point since;
  };

  void work();
  Result<void> start_thread();
  void take_ended(std::vector<std::thread>& out);
  void watch_line(Clock::time_point when);
  void look_at_line();

  IoLoop& loop_;
  const HostedThreadsOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> line_;
  std::vector<std::thread> threads_;
  std::vector<std::thread::id> ended_;
  std::size_t idle_ = 0;
  bool watched_ = false;  // a timer will look at the line
  bool told_ = false;     // that there are many
  bool stop_ = false;
};

}  // namespace passel::inline v0::detail
