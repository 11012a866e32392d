// Example: the pool of pool_hundred with threads (Python: from multiprocessing.dummy import Pool as
// ThreadPool). One type name makes the difference, and the task may share what it likes.
#include <passel/runtime.hpp>
#include <passel/thread_pool.hpp>

#include <atomic>
#include <cstdio>
#include <numeric>
#include <vector>

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto pool = passel::ThreadPool::start({.processes = 8}).unwrap();
  std::vector<int> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::atomic<int> printed{0};
  pool.map(
          [&printed](int n) {
            std::printf("%d\n", n);
            ++printed;
          },
          numbers)
      .unwrap();
  pool.close();
  pool.join().unwrap();
  std::printf("%d lines\n", printed.load());
}
