// Layer actors: the threads of a manager's server that users' methods run on.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace passel::inline v0::detail {

/// Threads that come when work waits and none is free, up to a limit, and go after a while without
/// any. Work beyond the limit waits in order.
class HostedThreads {
 public:
  explicit HostedThreads(std::size_t limit) : limit_{limit} {}
  ~HostedThreads() { stop(); }
  HostedThreads(const HostedThreads&) = delete;
  HostedThreads& operator=(const HostedThreads&) = delete;

  void run(std::function<void()> work);
  /// Waits for the work that runs; what has not begun is dropped. Idempotent.
  void stop();

 private:
  void work();
  void start_thread();

  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> line_;
  std::vector<std::thread> threads_;
  std::vector<std::thread::id> ended_;
  std::size_t idle_ = 0;
  bool stop_ = false;
};

}  // namespace passel::inline v0::detail
