// A queue that nobody takes from: who puts waits as long as he said, and nothing grows.
#include <passel/queue.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Queue;

/// Resident memory of this process, shared memory included.
std::size_t resident_bytes() {
  std::ifstream file{"/proc/self/statm"};
  std::size_t total = 0;
  std::size_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::size_t>(::getpagesize());
}

TEST(QueueFull, Fault30PutsEndInTimeOrWithTheQueueAndNothingGrows) {
  constexpr int producers = 200;
  constexpr int limit = 10;
  const Queue<std::string> queue{limit};
  const std::string item(100'000, 'x');
  for (int i = 0; i < limit; ++i) queue.put(item).unwrap();

  std::atomic<int> early{0};
  std::atomic<int> wrong{0};
  std::atomic<int> waiting{0};
  std::atomic<int> closed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < producers; ++i) {
    threads.emplace_back([&] {
      const auto begin = std::chrono::steady_clock::now();
      const auto put = queue.put_for(item, 30ms);
      if (put.is_ok() || put.error() != Errc::full) ++wrong;
      if (std::chrono::steady_clock::now() - begin < 30ms) ++early;
      ++waiting;
      const auto forever = queue.put(item);
      if (!forever && forever.error() == Errc::closed) ++closed;
    });
  }
  while (waiting != producers) std::this_thread::yield();
  const std::size_t before = resident_bytes();
  for (int round = 0; round < 300; ++round) {
    if (queue.put_for(item, 1ms).is_ok()) ++wrong;
  }
  const std::size_t after = resident_bytes();
  // 500 refused items of 100 kB would be 50 MB.
  EXPECT_LT(after, before + 8'000'000);
  EXPECT_EQ(queue.qsize(), static_cast<std::size_t>(limit));
  queue.shutdown();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(early, 0);
  EXPECT_EQ(closed, producers);
}

}  // namespace
