// Tools: the comparison table of the benchmarks; what is measured is said in the files of the
// groups.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// What one side does: a Google Benchmark function. It makes its peers before the loop and ends
/// them after it, and calls SetItemsProcessed when one turn of the loop is more than one item. An
/// exception makes it a failed one.
struct Contender {
  std::string name;
  std::function<void(benchmark::State&)> body{};
  std::int64_t turns = 0;  ///< turns of the loop; 0: as many as fill the time
  int threads = 1;         ///< how many threads run the body at the same time
  std::string missing{};   ///< why it cannot be run here
};

struct Settings {
  int repeat = 5;
  bool smoke = false;
  std::string json{};
};

/// Measures row by row and prints each row when it is done. Every side of a row is run `repeat`
/// times, in random order, so that a change of the machine's load meets all of them; its time is
/// the median.
class Table {
 public:
  explicit Table(Settings settings);

  /// Begins a group of rows.
  void group(std::string name);
  void row(const std::string& work, Contender passel, std::vector<Contender> rivals);

  /// `full`, or a little of it in a smoke run.
  [[nodiscard]] std::int64_t count(std::int64_t full) const;
  [[nodiscard]] bool is_smoke() const noexcept { return settings_.smoke; }
  /// CPython running a command of rivals.py, which prints the nanoseconds of one item.
  [[nodiscard]] Contender python(const std::string& name, const std::string& command) const;

  /// Writes the JSON file when one was asked for.
  void finish() const;
  /// False when a side that is there did not run.
  [[nodiscard]] bool all_ran() const noexcept { return all_ran_; }

 private:
  struct Outcome {
    std::vector<double> times;  ///< nanoseconds of one item, one for each repetition
    std::string error;
  };
  class Collector;

  std::vector<Outcome> measure(const std::vector<Contender>& sides) const;
  void add_json(const std::string& name, const Outcome& outcome);

  Settings settings_;
  std::string group_;
  std::string python_;
  std::string python_version_;
  std::vector<std::string> json_;
  bool all_ran_ = true;
};

/// The smallest and the largest number of the rows with fib.
[[nodiscard]] inline std::pair<long, long> fib_range(const Table& table) {
  return table.is_smoke() ? std::pair{10L, 12L} : std::pair{25L, 34L};
}

void actor_rows(Table& table);
void channel_rows(Table& table);
void queue_rows(Table& table);
void process_rows(Table& table);
void pool_rows(Table& table);
void executor_rows(Table& table);
void lock_rows(Table& table);
void event_rows(Table& table);
void manager_rows(Table& table);

}  // namespace bench
