// Test support: the same body of work in threads and in processes.
#pragma once

#include <passel/process.hpp>
#include <passel/reach.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <fstream>
#include <functional>
#include <list>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace passel_test {

/// Where the workers of a test run, and with which reach its objects are made for that.
struct InThreads {
  static constexpr const char* name = "Threads";
  static constexpr passel::Reach reach = passel::Reach::threads;
  static constexpr bool processes = false;
  static constexpr bool managed = false;
};
struct InThreadsAtHost {
  static constexpr const char* name = "ThreadsAtHost";
  static constexpr passel::Reach reach = passel::Reach::host;
  static constexpr bool processes = false;
  static constexpr bool managed = false;
};
struct InProcesses {
  static constexpr const char* name = "Processes";
  static constexpr passel::Reach reach = passel::Reach::host;
  static constexpr bool processes = true;
  static constexpr bool managed = false;
};

/// A body over all of them; objects are made with `TypeParam::reach`, workers are hired by a Crew:
///
///     template <class P> class LockAt : public ::testing::Test {};
///     TYPED_TEST_SUITE(LockAt, Placements, PlacementNames);
///
///     void count(Lock lock, Queue<int> done) { auto guard = lock.acquire().unwrap(); ... }
///     TYPED_TEST(LockAt, CountsRight) {
///       Lock lock{{.reach = TypeParam::reach}};
///       Crew<TypeParam> crew;
///       for (int i = 0; i < 5; ++i) crew.template start<count>(lock, done);
///       crew.join();
///     }
using Placements = ::testing::Types<InThreads, InThreadsAtHost, InProcesses>;
struct PlacementNames {
  template <class P>
  static std::string GetName(int) {
    return P::name;
  }
};

/// For workers: googletest's macros are not heard from another process, an exception is.
inline void require(bool good, const char* what) {
  if (!good) throw std::runtime_error{what};
}

/// The workers of one test. Each runs a function with copies of the arguments, in a thread or in a
/// process of its own. A worker that throws (an `unwrap`, a `require`) fails the test when it is
/// joined.
template <class Placement>
class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() { join(); }

  template <auto F, class... A>
  void start(const A&... args) {
    if constexpr (Placement::processes) {
      processes_.push_back(passel::Process::spawn<F>(args...).unwrap());
    } else {
      Hand& hand = threads_.emplace_back();
      hand.thread =
          std::thread{[&hand, body = std::function<void()>{[=] { F(args...); }}]() mutable {
            hand.tid.store(::gettid());
            hand.tid.notify_all();
            try {
              body();
            } catch (const std::exception& failure) {
              ADD_FAILURE() << "a worker failed: " << failure.what();
            }
            body = nullptr;
          }};
    }
  }
  template <auto F, class... A>
  void start_many(int count, const A&... args) {
    for (int i = 0; i < count; ++i) start<F>(args...);
  }

  /// Returns when every worker sleeps, or has ended. Have the workers say first that they have
  /// begun, or this may see the sleep of a beginning.
  void wait_until_blocked() {
    for (Hand& hand : threads_) {
      hand.tid.wait(0);
      wait_for_sleep("/proc/self/task/" + std::to_string(hand.tid.load()));
    }
    for (const auto& process : processes_) {
      wait_for_sleep("/proc/" + std::to_string(*process.pid()));
    }
  }

  void join() {
    for (Hand& hand : threads_) hand.thread.join();
    threads_.clear();
    for (auto& process : processes_) EXPECT_EQ(process.join().unwrap(), 0) << "a worker failed";
    processes_.clear();
  }

  /// Of InProcesses, in the order of their start.
  [[nodiscard]] std::vector<passel::Process>& processes() { return processes_; }

 private:
  struct Hand {
    std::atomic<int> tid{0};
    std::thread thread;
  };

  static char state_of(const std::string& directory) {
    std::ifstream file{directory + "/stat"};
    std::string line;
    std::getline(file, line);
    const auto name_end = line.rfind(") ");
    return name_end == std::string::npos ? 'X' : line[name_end + 2];
  }

  static void wait_for_sleep(const std::string& directory) {
    // Twice in a row: the first sleep may be one on the way.
    for (int seen = 0; seen < 2;) {
      const char state = state_of(directory);
      if (state == 'X' || state == 'Z') return;
      seen = state == 'S' ? seen + 1 : 0;
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }

  std::list<Hand> threads_;
  std::vector<passel::Process> processes_;
};

}  // namespace passel_test
