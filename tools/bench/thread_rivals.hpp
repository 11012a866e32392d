// Tools: thread pools to compare with: the kind people write themselves, Asio's, oneTBB's. Those
// that are not installed are missing from the table.
#pragma once

#include "bench.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#if PASSEL_BENCH_ASIO
#include <asio/packaged_task.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#endif
#if PASSEL_BENCH_TBB
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#endif

namespace bench {

inline constexpr int thread_count = 2;

/// A mutex, a condition variable, a deque of std::function; futures by std::packaged_task.
class PlainPool {
 public:
  PlainPool() {
    for (int i = 0; i < thread_count; ++i) threads_.emplace_back([this] { work(); });
  }
  PlainPool(const PlainPool&) = delete;
  PlainPool& operator=(const PlainPool&) = delete;
  ~PlainPool() {
    {
      const std::lock_guard lock{mutex_};
      closed_ = true;
    }
    wake_.notify_all();
    for (std::thread& each : threads_) each.join();
  }
  template <class F>
  std::future<long> submit(F function) {
    auto task = std::make_shared<std::packaged_task<long()>>(std::move(function));
    auto future = task->get_future();
    {
      const std::lock_guard lock{mutex_};
      line_.emplace_back([task] { (*task)(); });
    }
    wake_.notify_one();
    return future;
  }

 private:
  void work() {
    std::unique_lock lock{mutex_};
    for (;;) {
      wake_.wait(lock, [this] { return closed_ || !line_.empty(); });
      if (line_.empty()) return;
      auto task = std::move(line_.front());
      line_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> line_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

/// The results of `function` for all items, a chunk for a task.
template <class Pool, class F>
void map_by_chunks(Pool& pool, const std::vector<long>& items, std::size_t chunk, F function,
                   std::vector<long>& results) {
  std::vector<std::future<long>> parts;
  for (std::size_t first = 0; first < items.size(); first += chunk) {
    const std::size_t last = std::min(items.size(), first + chunk);
    parts.push_back(pool.submit([&items, &results, function, first, last] {
      for (std::size_t i = first; i < last; ++i) results[i] = function(items[i]);
      return 0L;
    }));
  }
  for (auto& part : parts) part.get();
}

#if PASSEL_BENCH_ASIO
/// asio::thread_pool, and std::packaged_task as the token that makes the future.
class AsioPool {
 public:
  ~AsioPool() { pool_.join(); }
  template <class F>
  std::future<long> submit(F function) {
    return asio::post(pool_, std::packaged_task<long()>(std::move(function)));
  }

 private:
  asio::thread_pool pool_{thread_count};
};
#endif

#if PASSEL_BENCH_TBB
/// A task_arena of oneTBB, with as many worker threads: the one that waits here is not among them.
class TbbPool {
 public:
  template <class F>
  std::future<long> submit(F function) {
    auto task = std::make_shared<std::packaged_task<long()>>(std::move(function));
    auto future = task->get_future();
    arena_.enqueue([task] { (*task)(); });
    return future;
  }
  template <class F>
  void map(const std::vector<long>& items, F function, std::vector<long>& results) {
    arena_.execute([&] {
      oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::size_t>(0, items.size()),
                                [&](const auto& range) {
                                  for (std::size_t i = range.begin(); i != range.end(); ++i)
                                    results[i] = function(items[i]);
                                });
    });
  }

 private:
  oneapi::tbb::global_control threads_{oneapi::tbb::global_control::max_allowed_parallelism,
                                       thread_count + 1};
  oneapi::tbb::task_arena arena_{thread_count, 0};
};
#endif

}  // namespace bench
