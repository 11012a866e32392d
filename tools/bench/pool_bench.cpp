// Tools: benchmark group pool. What a trivial task costs in a Pool of two processes, beside
// CPython's Pool and executor and the bare round trip of a socket pair.
#include "bench.hpp"
#include "raw_peer.hpp"

#include <passel/pool.hpp>

#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

namespace {

constexpr int workers = 2;

long twice(long n) { return 2 * n; }

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

void socket_round_trip(benchmark::State& state) {
  const RawPeer peer{Stream::socket, echo<long>};
  for (auto _ : state) {
    long item = 1;
    peer.send(&item, sizeof item);
    peer.receive(&item, sizeof item);
  }
}

}  // namespace

void pool_rows(Table& table) {
  const Contender socket{.name = "socket pair, one at a time", .body = socket_round_trip};
  const auto python = [&](const std::string& name, const std::string& command, long count) {
    return table.python(name, command + " " + std::to_string(table.count(count)));
  };
  const long tasks = table.count(100'000);
  table.row("map of 100k, chunksize 1", mapped(tasks, 1),
            {socket, python("Pool", "pool_map 1", 100'000)});
  table.row("map of 100k, chunksize 100", mapped(tasks, 100),
            {python("Pool", "pool_map 100", 100'000)});
  table.row("map of 100k, chunksize default", mapped(tasks, 0),
            {python("Pool", "pool_map 0", 100'000)});
  table.row("submit, then all results", submitted(table.count(20'000)),
            {python("Pool.apply_async", "pool_submit", 10'000),
             python("ProcessPoolExecutor", "executor_submit", 5'000)});
  table.row("apply, one after the other", {.name = "passel", .body = apply},
            {socket, python("Pool.apply", "pool_apply", 2'000)});
}

}  // namespace bench
