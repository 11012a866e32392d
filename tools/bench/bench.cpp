// Tools: the benchmark program. See tools/bench/README.md, or `tools/bench/run --help`.
#include "bench.hpp"

#include <passel/runtime.hpp>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <utility>

namespace bench {

namespace {

struct Group {
  std::string_view name;
  void (*rows)(Table&);
};
constexpr Group groups[] = {
    {"actor", actor_rows},     {"channel", channel_rows}, {"queue", queue_rows},
    {"process", process_rows}, {"pool", pool_rows},       {"executor", executor_rows},
    {"lock", lock_rows},       {"event", event_rows},     {"manager", manager_rows}};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// 3 digits and a unit: "27.1 ns".
std::string readable(double ns) {
  const char* unit = "ns";
  for (const char* next : {"us", "ms", "s"}) {
    if (ns < 1000) break;
    ns /= 1000;
    unit = next;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.*f %s", ns < 10 ? 2 : ns < 100 ? 1 : 0, ns, unit);
  return text;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + '"';
}

/// Runs a shell command and returns its first line of output. Throws when it fails.
std::string first_line(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) throw std::runtime_error{"cannot run: " + command};
  char line[256] = "";
  if (std::fgets(line, sizeof line, pipe) == nullptr) line[0] = '\0';
  const int status = pclose(pipe);
  if (status != 0) {
    throw std::runtime_error{"status " + std::to_string(WEXITSTATUS(status)) + " of: " + command};
  }
  std::string text = line;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// The interpreter of the rivals: PASSEL_BENCH_PYTHON, else the system's, else the one in PATH.
std::string find_python() {
  if (const char* const wanted = std::getenv("PASSEL_BENCH_PYTHON")) return wanted;
  if (access("/usr/bin/python3", X_OK) == 0) return "/usr/bin/python3";
  return "python3";
}

int usable_cpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace

/// Keeps the repetitions of all sides of a row; their names are their places in it.
class Table::Collector : public benchmark::BenchmarkReporter {
 public:
  explicit Collector(std::vector<Outcome>& outcomes) : outcomes_{outcomes} {}
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      Outcome& outcome = outcomes_.at(std::stoul(run.run_name.function_name));
      if (run.error_occurred) {
        outcome.error = run.error_message;
        continue;
      }
      const auto rate = run.counters.find("items_per_second");
      outcome.times.push_back(rate != run.counters.end()
                                  ? 1e9 / rate->second.value
                                  : 1e9 * run.real_accumulated_time / double(run.iterations));
    }
  }

 private:
  std::vector<Outcome>& outcomes_;
};

Table::Table(Settings settings) : settings_{std::move(settings)}, python_{find_python()} {
  try {
    python_version_ = first_line(python_ + " -c 'import platform, multiprocessing as m; " +
                                 "print(platform.python_version())' 2>/dev/null");
  } catch (const std::runtime_error&) {
    python_version_.clear();
  }
  double load = 0;
  getloadavg(&load, 1);
#ifndef NDEBUG
  std::printf("A build with assertions: these times mean nothing.\n");
#endif
  std::printf("%d CPU%s usable, load average %.1f%s, medians of %d, CPython %s\n", usable_cpus(),
              usable_cpus() == 1 ? "" : "s", load, load >= 2 ? " (busy: read the ratios only)" : "",
              settings_.repeat, python_version_.empty() ? "not found" : python_version_.c_str());
  std::printf("\n| %-36s | %8s | %-29s | %9s | %8s |\n", "work", "passel", "rival", "its time",
              "ratio");
  std::printf("| %s | -------: | %s | --------: | -------: |\n", std::string(36, '-').c_str(),
              std::string(29, '-').c_str());
}

void Table::group(std::string name) { group_ = std::move(name); }

std::int64_t Table::count(std::int64_t full) const {
  return settings_.smoke ? std::clamp<std::int64_t>(full / 500, 1, 200) : full;
}

Contender Table::python(const std::string& name, const std::string& command) const {
  Contender made{.name = "CPython " + name};
  if (python_version_.empty()) {
    made.missing = "no Python";
    return made;
  }
  made.turns = 1;
  made.body = [line = python_ + " '" PASSEL_BENCH_RIVALS "' " + command](benchmark::State& state) {
    for (auto _ : state) state.SetIterationTime(std::stod(first_line(line)) * 1e-9);
  };
  return made;
}

std::vector<Table::Outcome> Table::measure(const std::vector<Contender>& sides) const {
  std::vector<Outcome> outcomes(sides.size());
  for (std::size_t i = 0; i < sides.size(); ++i) {
    if (!sides[i].missing.empty()) continue;
    const auto run = [&body = sides[i].body](benchmark::State& state) {
      try {
        body(state);
      } catch (const std::exception& e) {
        state.SkipWithError(e.what());
      }
    };
    auto* const made = benchmark::RegisterBenchmark(std::to_string(i).c_str(), run);
    made->Repetitions(settings_.repeat)->Threads(sides[i].threads);
    if (sides[i].turns > 0) {
      made->Iterations(sides[i].turns)->UseManualTime();
    } else {
      made->MinTime(settings_.smoke ? 1e-5 : 0.1)->UseRealTime();
    }
  }
  Collector collector{outcomes};
  benchmark::RunSpecifiedBenchmarks(&collector, ".");
  benchmark::ClearRegisteredBenchmarks();
  return outcomes;
}

void Table::row(const std::string& work, Contender passel, std::vector<Contender> rivals) {
  std::vector<Contender> sides{std::move(passel)};
  for (auto& rival : rivals) sides.push_back(std::move(rival));
  const auto outcomes = measure(sides);
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    const bool failed = !outcome.error.empty() || outcome.times.empty();
    shown.push_back(!sides[i].missing.empty() ? sides[i].missing
                    : failed                  ? "failed"
                                              : readable(median(outcome.times)));
    if (!sides[i].missing.empty()) continue;
    if (failed) {
      all_ran_ = false;
      std::fprintf(stderr, "%s, %s: %s\n", work.c_str(), sides[i].name.c_str(),
                   outcome.error.c_str());
    }
    add_json(group_ + "/" + work + "/" + sides[i].name, outcome);
  }
  for (std::size_t i = 1; i < sides.size(); ++i) {
    char ratio[32] = "";
    if (!outcomes[0].times.empty() && !outcomes[i].times.empty()) {
      const double times = median(outcomes[i].times) / median(outcomes[0].times);
      std::snprintf(ratio, sizeof ratio, times < 10 ? "%.2f" : "%.0f", times);
    }
    const bool first = i == 1;
    std::printf("| %-36s | %8s | %-29s | %9s | %8s |\n",
                first ? (group_ + ": " + work).c_str() : "", first ? shown[0].c_str() : "",
                sides[i].name.c_str(), shown[i].c_str(), ratio);
  }
  std::fflush(stdout);
}

void Table::add_json(const std::string& name, const Outcome& outcome) {
  char line[256];
  for (std::size_t i = 0; i < outcome.times.size(); ++i) {
    std::snprintf(line, sizeof line,
                  ", \"run_type\": \"iteration\", \"repetitions\": %zu, \"repetition_index\": %zu, "
                  "\"threads\": 1, \"iterations\": 1, \"real_time\": %.3f, \"cpu_time\": %.3f, "
                  "\"time_unit\": \"ns\"}",
                  outcome.times.size(), i, outcome.times[i], outcome.times[i]);
    json_.push_back("{\"name\": " + quoted(name) + ", \"run_name\": " + quoted(name) + line);
  }
}

void Table::finish() const {
  if (settings_.json.empty()) return;
  std::ofstream file{settings_.json};
  file << "{\"context\": {\"num_cpus\": " << usable_cpus()
       << ", \"cpython\": " << quoted(python_version_) << "},\n \"benchmarks\": [";
  for (std::size_t i = 0; i < json_.size(); ++i) file << (i == 0 ? "\n  " : ",\n  ") << json_[i];
  file << "\n ]}\n";
  file.flush();
  if (!file) throw std::runtime_error{"cannot write " + settings_.json};
}

}  // namespace bench

namespace {

int usage() {
  std::fprintf(stderr,
               "usage: passel_bench [GROUP...] [--repeat N] [--json FILE] [--smoke]\ngroups:");
  for (const auto& group : bench::groups) std::fprintf(stderr, " %s", group.name.data());
  std::fprintf(stderr, "\n");
  return 2;
}

int run(const std::vector<std::string>& arguments) {
  bench::Settings settings;
  std::vector<std::string> wanted;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool has_value = i + 1 < arguments.size();
    if (arguments[i] == "--smoke") {
      settings.smoke = true;
      settings.repeat = 1;
    } else if (arguments[i] == "--repeat" && has_value) {
      settings.repeat = std::atoi(arguments[++i].c_str());
      if (settings.repeat < 1) return usage();
    } else if (arguments[i] == "--json" && has_value) {
      settings.json = arguments[++i];
    } else if (std::none_of(std::begin(bench::groups), std::end(bench::groups),
                            [&](const auto& group) { return group.name == arguments[i]; })) {
      return usage();
    } else {
      wanted.push_back(arguments[i]);
    }
  }
  char program[] = "passel_bench";
  char interleaved[] = "--benchmark_enable_random_interleaving=true";
  char* options[] = {program, interleaved, nullptr};
  int count = 2;
  benchmark::Initialize(&count, options);
  bench::Table table{settings};
  for (const auto& group : bench::groups) {
    if (!wanted.empty() && std::count(wanted.begin(), wanted.end(), group.name) == 0) continue;
    table.group(std::string{group.name});
    group.rows(table);
  }
  table.finish();
  return table.all_ran() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "passel_bench: %s\n", e.what());
    return 1;
  }
}
