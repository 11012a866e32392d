// Tools: benchmark group executor. What a call that does nothing costs in a ThreadPoolExecutor of
// two threads, beside Asio's thread_pool, a pool of the kind people write themselves, and CPython.
#include "bench.hpp"

#include <passel/thread_pool.hpp>
#include <passel/thread_pool_executor.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

namespace {

constexpr int workers = 2;

/// A mutex, a condition variable, a deque of std::function; futures by std::packaged_task.
class PlainPool {
 public:
  PlainPool() {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
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

struct PasselPool {
  passel::ThreadPoolExecutor executor =
      passel::ThreadPoolExecutor::start({.max_workers = workers}).unwrap();
  template <class F>
  passel::Future<long> submit(F function) {
    return executor.submit(std::move(function));
  }
};
long result(passel::Future<long>& future) { return future.get().unwrap(); }
long result(std::future<long>& future) { return future.get(); }

template <class Pool>
Contender submitted(const std::string& name, long tasks) {
  return {.name = name, .body = [=](benchmark::State& state) {
            Pool pool;
            std::vector<decltype(pool.submit([] { return 1L; }))> futures;
            futures.reserve(static_cast<std::size_t>(tasks));
            for (auto _ : state) {
              for (long i = 0; i < tasks; ++i) futures.push_back(pool.submit([i] { return i; }));
              for (auto& future : futures) benchmark::DoNotOptimize(result(future));
              futures.clear();
            }
            state.SetItemsProcessed(state.iterations() * tasks);
          }};
}

template <class Pool>
Contender round_trips(const std::string& name) {
  return {.name = name, .body = [](benchmark::State& state) {
            Pool pool;
            for (auto _ : state) {
              auto future = pool.submit([] { return 1L; });
              benchmark::DoNotOptimize(result(future));
            }
          }};
}

Contender mapped(long items) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = passel::ThreadPool::start({.processes = workers}).unwrap();
            std::vector<long> numbers(static_cast<std::size_t>(items));
            std::iota(numbers.begin(), numbers.end(), 0);
            for (auto _ : state) {
              benchmark::DoNotOptimize(pool.map([](long n) { return 2 * n; }, numbers).unwrap());
            }
            state.SetItemsProcessed(state.iterations() * items);
          }};
}

}  // namespace

void executor_rows(Table& table) {
  const auto python = [&](const std::string& name, const std::string& command, long count) {
    return table.python(name, command + " " + std::to_string(table.count(count)));
  };
  const long tasks = table.count(100'000);
  table.row("submit, then all results", submitted<PasselPool>("passel", tasks),
            {submitted<PlainPool>("mutex, condvar, packaged_task", tasks),
             python("ThreadPoolExecutor", "thread_submit", 20'000)});
  table.row("submit and wait, one after the other", round_trips<PasselPool>("passel"),
            {round_trips<PlainPool>("mutex, condvar, packaged_task"),
             python("ThreadPoolExecutor", "thread_apply", 10'000)});
  table.row("ThreadPool.map of 1M, chunksize default", mapped(table.count(1'000'000)),
            {python("ThreadPool", "thread_map", 200'000)});
}

}  // namespace bench
