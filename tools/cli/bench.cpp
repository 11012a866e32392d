// Tool passel: `passel bench`.
#include "bench.hpp"

#include "table.hpp"

#include <passel/lock.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <deque>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace passel_cli {

using passel::Result;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

namespace {

struct Row {
  std::string work;
  double seconds_each;
};

/// Runs `once` until the time is up. A row with what one took.
template <class F>
Result<Row> measure(std::string work, double seconds, F once) {
  PASSEL_CHECK(once());  // whatever is done the first time only
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(Seconds{seconds});
  long count = 0;
  auto now = begin;
  // The clock is read every so often: some of this takes less than reading it.
  for (long some = 1; now < end; some = std::min(2 * some, 1'000L)) {
    for (long i = 0; i < some; ++i) PASSEL_CHECK(once());
    count += some;
    now = Clock::now();
  }
  return Row{std::move(work), Seconds{now - begin}.count() / static_cast<double>(count)};
}

void nothing() {}
int echo(int n) { return n; }
void answer(const passel::Queue<int>& questions, const passel::Queue<int>& answers) {
  for (int n = questions.get().unwrap(); n >= 0; n = questions.get().unwrap())
    answers.put(n).unwrap();
}

Result<std::vector<Row>> measure_host(double seconds) {
  std::vector<Row> rows;
  const auto add = [&rows](Result<Row> row) -> Result<void> {
    if (!row) return row.error();
    rows.push_back(*std::move(row));
    return {};
  };
  const passel::Lock lock;
  PASSEL_CHECK(add(measure("lock: acquire and release", seconds,
                           [&] { return lock.acquire().map([](const passel::Guard&) {}); })));
  const passel::Queue<int> questions;
  const passel::Queue<int> answers;
  PASSEL_TRY(const passel::Process other, passel::Process::spawn<answer>(questions, answers));
  const auto ask = [&]() -> Result<void> {
    PASSEL_CHECK(questions.put(1));
    return answers.get().map([](int) {});
  };
  PASSEL_CHECK(add(measure("queue: to another process and back", seconds, ask)));
  PASSEL_CHECK(questions.put(-1));
  PASSEL_CHECK(other.join());
  const auto start_and_join = []() -> Result<void> {
    PASSEL_TRY(const passel::Process child, passel::Process::spawn<nothing>());
    return child.join().map([](int) {});
  };
  PASSEL_CHECK(add(measure("process: start and join", seconds, start_and_join)));
  PASSEL_TRY(passel::Pool pool, passel::Pool::start());
  PASSEL_CHECK(
      add(measure("pool: a call", seconds, [&] { return pool.apply<echo>(1).map([](int) {}); })));
  const std::vector<int> many(10'000, 1);
  PASSEL_TRY(Row tasks, measure("pool: one of many calls", seconds,
                                [&] { return pool.map<echo>(many).map([](const auto&) {}); }));
  tasks.seconds_each /= static_cast<double>(many.size());
  rows.push_back(std::move(tasks));
  return rows;
}

Result<std::vector<Row>> measure_server(const ServerOptions& server, double seconds) {
  std::vector<Row> rows;
  const auto begin = Clock::now();
  PASSEL_TRY(passel::SyncManager manager, connect_to(server));
  rows.push_back({"connect and authenticate", Seconds{Clock::now() - begin}.count()});
  PASSEL_TRY(const auto dict, (manager.dict<int, int>()));
  PASSEL_CHECK(dict.set(1, 1));
  PASSEL_TRY(Row call,
             measure("a call (dict)", seconds, [&] { return dict.at(1).map([](int) {}); }));
  rows.push_back(std::move(call));
  PASSEL_TRY(const auto lock, manager.lock());
  PASSEL_TRY(Row grant, measure("lock: acquire and release", seconds, [&]() -> Result<void> {
               PASSEL_TRY(auto guard, lock.acquire());
               return guard.release();
             }));
  rows.push_back(std::move(grant));
  PASSEL_TRY(const auto queue, manager.queue<int>());
  constexpr std::size_t in_flight = 64;
  std::deque<passel::Future<void>> puts;
  PASSEL_TRY(Row put, measure("queue: a put, 64 at a time", seconds, [&]() -> Result<void> {
               puts.push_back(queue.put_async(1));
               if (puts.size() < in_flight) return {};
               auto oldest = puts.front().get();
               puts.pop_front();
               return oldest;
             }));
  for (auto& one : puts) PASSEL_CHECK(one.get());
  rows.push_back(std::move(put));
  return rows;
}

std::string text_of(double seconds) {
  std::ostringstream out;
  out << std::setprecision(3);
  if (seconds < 1e-6) {
    out << seconds * 1e9 << " ns";
  } else if (seconds < 1e-3) {
    out << seconds * 1e6 << " us";
  } else {
    out << seconds * 1e3 << " ms";
  }
  return out.str();
}

Result<int> bench(const BenchOptions& options) {
  PASSEL_TRY(const auto rows, options.server.connect.empty()
                                  ? measure_host(options.seconds)
                                  : measure_server(options.server, options.seconds));
  if (options.json) {
    nlohmann::json out = nlohmann::json::object();
    for (const Row& row : rows) out[row.work] = row.seconds_each;
    std::cout << out.dump(2) << '\n';
    return 0;
  }
  Table table{{"WORK", "TIME", "A SECOND"}};
  for (const Row& row : rows) {
    table.add({{row.work},
               {text_of(row.seconds_each)},
               {std::to_string(static_cast<long>(1.0 / row.seconds_each))}});
  }
  table.print(std::cout, false);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, BenchOptions& options, const Run& run) {
  CLI::App* const command = app.add_subcommand(
      "bench", "Measures this host, or with --connect what a server answers to this client");
  // Not from the environment: without the option it is this host.
  command->add_option("--connect", options.server.connect, "HOST:PORT or path of a server");
  add_proof_options(*command, options.server.proof);
  command->add_option("--seconds", options.seconds, "For each row")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  command->add_flag("--json", options.json, "Seconds of each as JSON");
  command->callback([&options, run, command] {
    if (!options.server.connect.empty())
      settle_server(*command, options.server.connect, options.server.proof);
    run([&] { return bench(options); });
  });
}

}  // namespace passel_cli
