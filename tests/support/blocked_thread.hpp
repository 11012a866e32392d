// Test support: a thread of which a test can tell that it is waiting.
#pragma once

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include <unistd.h>

namespace passel_test {

/// Runs a callable in a thread. `wait_until_blocked` returns once the kernel says that the thread
/// sleeps (it has reached its futex), or that it has ended; the destructor joins.
class BlockedThread {
 public:
  template <class F>
  explicit BlockedThread(F f)
      : thread_{[this, body = std::move(f)]() mutable {
          tid_.store(::gettid());
          tid_.notify_all();
          body();
          ended_.store(true);
        }} {}
  BlockedThread(const BlockedThread&) = delete;
  BlockedThread& operator=(const BlockedThread&) = delete;
  ~BlockedThread() { join(); }

  void join() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] bool ended() const { return ended_.load(); }

  void wait_until_blocked() {
    tid_.wait(0);
    // Twice in a row: the first sleep may be one on a lock on the way.
    for (int seen = 0; seen < 2 && !ended();) {
      seen = state() == 'S' ? seen + 1 : 0;
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }

 private:
  char state() const {
    std::ifstream file{"/proc/self/task/" + std::to_string(tid_.load()) + "/stat"};
    std::string line;
    std::getline(file, line);
    const auto name_end = line.rfind(") ");
    return name_end == std::string::npos ? '?' : line[name_end + 2];
  }

  std::atomic<int> tid_{0};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace passel_test
