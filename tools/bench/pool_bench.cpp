// Tools: benchmark group pool. What tasks cost in a Pool of two processes, beside CPython's Pool
// and executor and the bare round trip of a socket pair.
#include "bench.hpp"
#include "raw_peer.hpp"

#include <passel/pool.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

namespace {

constexpr int workers = 2;

long twice(long n) { return 2 * n; }
long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
long sleep_a_millisecond(long n) {
  std::this_thread::sleep_for(std::chrono::milliseconds{1});
  return n;
}
std::string give_back(const std::string& text) { return text; }
constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// A pool whose workers have all started.
passel::Pool ready_pool() {
  auto pool = passel::Pool::start({.processes = workers}).unwrap();
  std::vector<long> warm_up(100 * workers);
  pool.map<twice>(warm_up, {.chunksize = 1}).unwrap();
  return pool;
}

void end(passel::Pool& pool) {
  pool.close();
  pool.join().unwrap();
}

Contender mapped(long tasks, std::size_t chunksize) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = ready_pool();
            std::vector<long> items(static_cast<std::size_t>(tasks));
            std::iota(items.begin(), items.end(), 0);
            for (auto _ : state) {
              const auto doubled = pool.map<twice>(items, {.chunksize = chunksize}).unwrap();
              if (doubled.back() != 2 * items.back()) throw std::runtime_error{"wrong result"};
            }
            state.SetItemsProcessed(state.iterations() * tasks);
            end(pool);
          }};
}

Contender submitted(long tasks) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = ready_pool();
            for (auto _ : state) {
              std::vector<passel::Future<long>> futures;
              futures.reserve(static_cast<std::size_t>(tasks));
              for (long i = 0; i < tasks; ++i) futures.push_back(pool.submit<twice>(i));
              for (auto& future : futures) benchmark::DoNotOptimize(future.get().unwrap());
            }
            state.SetItemsProcessed(state.iterations() * tasks);
            end(pool);
          }};
}

void apply(benchmark::State& state) {
  auto pool = ready_pool();
  for (auto _ : state) benchmark::DoNotOptimize(pool.apply<twice>(1).unwrap());
  end(pool);
}

void submit_and_wait(benchmark::State& state) {
  auto pool = ready_pool();
  for (auto _ : state) benchmark::DoNotOptimize(pool.submit<twice>(1).get().unwrap());
  end(pool);
}

void apply_large(benchmark::State& state) {
  auto pool = ready_pool();
  const std::string text(mebibyte, 'x');
  for (auto _ : state) {
    if (pool.apply<give_back>(text).unwrap().size() != mebibyte)
      throw std::runtime_error{"wrong result"};
  }
  end(pool);
}

void count_up(passel::TaskOutput<long>& out, long items) {
  for (long i = 0; i < items && out.send(i); ++i) continue;
}

Contender streamed(long items) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = ready_pool();
            for (auto _ : state) {
              long sum = 0;
              for (auto&& item : pool.stream<count_up>(items).unwrap())
                sum += std::move(item).unwrap();
              if (sum != items * (items - 1) / 2) throw std::runtime_error{"wrong result"};
            }
            state.SetItemsProcessed(state.iterations() * items);
            end(pool);
          }};
}

enum class Order { input, completion };

Contender iterated(long tasks, Order order) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = ready_pool();
            std::vector<long> items(static_cast<std::size_t>(tasks));
            std::iota(items.begin(), items.end(), 0);
            for (auto _ : state) {
              auto results = order == Order::input ? pool.imap<twice>(items).unwrap()
                                                   : pool.imap_unordered<twice>(items).unwrap();
              long sum = 0;
              for (auto& each : results) sum += std::move(each).unwrap();
              if (sum != tasks * (tasks - 1)) throw std::runtime_error{"wrong results"};
            }
            state.SetItemsProcessed(state.iterations() * tasks);
            end(pool);
          }};
}

/// Until every worker has answered, and all have ended.
void start_and_end(benchmark::State& state) {
  for (auto _ : state) {
    auto pool = passel::Pool::start({.processes = workers}).unwrap();
    pool.map<twice>(std::vector<long>(workers), {.chunksize = 1}).unwrap();
    end(pool);
  }
}

/// One task for each number, by map.
Contender called(long (*function)(passel::Pool&, const std::vector<long>&),
                 std::vector<long> numbers) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = ready_pool();
            for (auto _ : state) benchmark::DoNotOptimize(function(pool, numbers));
            state.SetItemsProcessed(state.iterations() * static_cast<long>(numbers.size()));
            end(pool);
          }};
}
template <auto F>
long last_of(passel::Pool& pool, const std::vector<long>& numbers) {
  return pool.map<F>(numbers, {.chunksize = 1}).unwrap().back();
}
void fib_serially(benchmark::State& state, const std::vector<long>& numbers) {
  for (auto _ : state) {
    for (const long n : numbers) benchmark::DoNotOptimize(fib(n));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<long>(numbers.size()));
}

Contender large(long tasks) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto pool = ready_pool();
            const std::vector<std::string> items(static_cast<std::size_t>(tasks),
                                                 std::string(mebibyte, 'x'));
            for (auto _ : state) {
              const auto back = pool.map<give_back>(items, {.chunksize = 1}).unwrap();
              if (back.back().size() != mebibyte) throw std::runtime_error{"wrong result"};
            }
            state.SetItemsProcessed(state.iterations() * tasks);
            end(pool);
          }};
}

template <class T>
void socket_round_trip(benchmark::State& state) {
  const RawPeer peer{Stream::socket, echo<T>};
  const auto item = std::make_unique<T>();
  for (auto _ : state) {
    peer.send(item.get(), sizeof *item);
    peer.receive(item.get(), sizeof *item);
  }
}

void large_rows(Table& table) {
  const auto python = [&](const std::string& name, const std::string& command, long count) {
    return table.python(name, command + " " + std::to_string(table.count(count)));
  };
  const auto [first, last] = fib_range(table);
  std::vector<long> fibs(static_cast<std::size_t>(last - first + 1));
  std::iota(fibs.begin(), fibs.end(), first);
  const std::string range = " " + std::to_string(first) + " " + std::to_string(last);
  table.row("fib(25) .. fib(34), each", called(last_of<fib>, fibs),
            {{.name = "the same without a pool",
              .body = [fibs](benchmark::State& state) { fib_serially(state, fibs); }},
             table.python("Pool", "pool_fib" + range)});
  std::vector<long> thousand(static_cast<std::size_t>(table.count(1'000)));
  table.row("1,000 tasks that sleep 1 ms", called(last_of<sleep_a_millisecond>, thousand),
            {python("Pool", "pool_sleep", 1'000)});
  const Contender socket{.name = "socket pair, one at a time",
                         .body = socket_round_trip<std::array<char, mebibyte>>};
  table.row("apply of 1 MiB there and back", {.name = "passel", .body = apply_large},
            {socket, python("Pool.apply", "pool_apply_large 1048576", 64)});
  table.row("map of 1 MiB there and back", large(table.count(64)),
            {socket, python("Pool", "pool_large 1048576", 64)});
}

}  // namespace

void pool_rows(Table& table) {
  const Contender socket{.name = "socket pair, one at a time", .body = socket_round_trip<long>};
  const auto python = [&](const std::string& name, const std::string& command, long count) {
    return table.python(name, command + " " + std::to_string(table.count(count)));
  };
  const long tasks = table.count(100'000);
  table.row("map of 100k, chunksize 1", mapped(tasks, 1),
            {socket, python("Pool", "pool_map 1", 100'000),
             python("ProcessPoolExecutor", "executor_map 1", 5'000)});
  table.row("map of 100k, chunksize 100", mapped(tasks, 100),
            {python("Pool", "pool_map 100", 100'000),
             python("ProcessPoolExecutor", "executor_map 100", 100'000)});
  table.row("map of 100k, chunksize default", mapped(tasks, 0),
            {python("Pool", "pool_map 0", 100'000)});
  table.row("imap of 100k, chunksize 1", iterated(tasks, Order::input),
            {python("Pool", "pool_imap imap", 20'000)});
  table.row("imap_unordered of 100k, chunksize 1", iterated(tasks, Order::completion),
            {python("Pool", "pool_imap imap_unordered", 20'000)});
  table.row("submit, then all results", submitted(table.count(20'000)),
            {python("Pool.apply_async", "pool_submit", 10'000),
             python("ProcessPoolExecutor", "executor_submit", 5'000)});
  table.row("apply, one after the other", {.name = "passel", .body = apply},
            {socket, python("Pool.apply", "pool_apply", 2'000),
             python("ProcessPoolExecutor", "executor_apply", 2'000)});
  table.row("submit and wait, one after the other", {.name = "passel", .body = submit_and_wait},
            {socket, python("Pool.apply", "pool_apply", 2'000),
             python("ProcessPoolExecutor", "executor_apply", 2'000)});
  table.row("stream of 100k results of one task", streamed(tasks),
            {python("a Queue", "queue 8 0", 20'000)});
  table.row(
      "Pool of 2, from start to end", {.name = "passel", .body = start_and_end},
      {python("Pool", "pool_start", 20), python("ProcessPoolExecutor", "executor_start", 20)});
  large_rows(table);
}

}  // namespace bench
