// Tools: benchmark group executor. What a call costs in a ThreadPoolExecutor of two threads, beside
// Asio's and oneTBB's pools, one of the kind people write themselves, and CPython.
#include "bench.hpp"
#include "thread_rivals.hpp"

#include <passel/thread_pool.hpp>
#include <passel/thread_pool_executor.hpp>

#include <chrono>
#include <future>
#include <numeric>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace bench {

namespace {

long twice(long n) { return 2 * n; }
long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
long sleep_a_millisecond(long n) {
  std::this_thread::sleep_for(std::chrono::milliseconds{1});
  return n;
}

struct PasselPool {
  passel::ThreadPoolExecutor executor =
      passel::ThreadPoolExecutor::start({.max_workers = thread_count}).unwrap();
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

/// One task for each of these numbers, then all results.
template <class Pool>
Contender called(const std::string& name, long (*function)(long), std::vector<long> numbers) {
  return {.name = name, .body = [=](benchmark::State& state) {
            Pool pool;
            for (auto _ : state) {
              std::vector<decltype(pool.submit([] { return 1L; }))> futures;
              for (const long n : numbers)
                futures.push_back(pool.submit([function, n] { return function(n); }));
              for (auto& future : futures) benchmark::DoNotOptimize(result(future));
            }
            state.SetItemsProcessed(state.iterations() * static_cast<long>(numbers.size()));
          }};
}

/// All rivals of C++ at the same work: `made` is called with a type's tag and its name.
template <class Made>
std::vector<Contender> cpp_rivals(Made made) {
  std::vector<Contender> all;
  all.push_back(made(std::type_identity<PlainPool>{}, "mutex, condvar, packaged_task"));
#if PASSEL_BENCH_ASIO
  all.push_back(made(std::type_identity<AsioPool>{}, "asio::thread_pool"));
#else
  all.push_back({.name = "asio::thread_pool", .missing = "no Asio"});
#endif
#if PASSEL_BENCH_TBB
  all.push_back(made(std::type_identity<TbbPool>{}, "oneTBB task_arena"));
#else
  all.push_back({.name = "oneTBB task_arena", .missing = "no oneTBB"});
#endif
  return all;
}

std::vector<long> numbers_to(long count) {
  std::vector<long> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

Contender mapped(long items) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = passel::ThreadPool::start({.processes = thread_count}).unwrap();
            const auto numbers = numbers_to(items);
            for (auto _ : state) benchmark::DoNotOptimize(pool.map<twice>(numbers).unwrap());
            state.SetItemsProcessed(state.iterations() * items);
          }};
}
template <class Pool>
Contender mapped_by(const std::string& name, long items) {
  return {.name = name, .body = [=](benchmark::State& state) {
            Pool pool;
            const auto numbers = numbers_to(items);
            for (auto _ : state) {
              std::vector<long> results(numbers.size());
              if constexpr (requires { pool.map(numbers, twice, results); }) {
                pool.map(numbers, twice, results);
              } else {
                map_by_chunks(pool, numbers, numbers.size() / (4 * thread_count) + 1, twice,
                              results);
              }
              benchmark::DoNotOptimize(results.data());
            }
            state.SetItemsProcessed(state.iterations() * items);
          }};
}

std::vector<Contender> with(std::vector<Contender> rivals, Contender last) {
  rivals.push_back(std::move(last));
  return rivals;
}

}  // namespace

void executor_rows(Table& table) {
  const auto python = [&](const std::string& name, const std::string& command, long count) {
    return table.python(name, command + " " + std::to_string(table.count(count)));
  };
  const long tasks = table.count(100'000);
  table.row("submit, then all results", submitted<PasselPool>("passel", tasks),
            with(cpp_rivals([&]<class Pool>(std::type_identity<Pool>, const char* name) {
                   return submitted<Pool>(name, tasks);
                 }),
                 python("ThreadPoolExecutor", "thread_submit", 20'000)));
  table.row("submit and wait, one after the other", round_trips<PasselPool>("passel"),
            with(cpp_rivals([]<class Pool>(std::type_identity<Pool>, const char* name) {
                   return round_trips<Pool>(name);
                 }),
                 python("ThreadPoolExecutor", "thread_apply", 10'000)));
  const long items = table.count(1'000'000);
  table.row("ThreadPool.map of 1M, chunksize default", mapped(items),
            with(cpp_rivals([&]<class Pool>(std::type_identity<Pool>, const char* name) {
                   return mapped_by<Pool>(name, items);
                 }),
                 python("ThreadPool", "thread_map", 200'000)));
  const auto calls_row = [&](const std::string& work, long (*function)(long),
                             const std::vector<long>& numbers, Contender slow) {
    table.row(work, called<PasselPool>("passel", function, numbers),
              with(cpp_rivals([&]<class Pool>(std::type_identity<Pool>, const char* name) {
                     return called<Pool>(name, function, numbers);
                   }),
                   std::move(slow)));
  };
  const auto [first, last] = fib_range(table);
  std::vector<long> fibs(static_cast<std::size_t>(last - first + 1));
  std::iota(fibs.begin(), fibs.end(), first);
  calls_row("fib(25) .. fib(34), each", fib, fibs,
            table.python("ThreadPool",
                         "thread_fib " + std::to_string(first) + " " + std::to_string(last)));
  calls_row("1,000 tasks that sleep 1 ms", sleep_a_millisecond, numbers_to(table.count(1'000)),
            python("ThreadPoolExecutor", "thread_sleep", 1'000));
}

}  // namespace bench
