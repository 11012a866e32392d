// Tool passel: looks at the processes that use the library, makes keys, serves, and keeps workers.
//
//   main: options -> inspect() -> reports (tables, JSON) | metrics (Prometheus) | top
//                 -> serve | worker | ping, call, get, put (client) | bench
#include "bench.hpp"
#include "client.hpp"
#include "completion.hpp"
#include "metrics.hpp"
#include "output.hpp"
#include "reports.hpp"
#include "serve.hpp"
#include "top.hpp"
#include "worker.hpp"

#include <passel/authkey.hpp>
#include <passel/inspect.hpp>
#include <passel/runtime.hpp>
#include <passel/version.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <unistd.h>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

using passel::Result;
using passel_cli::View;

/// Exit codes: 0 done, 1 it failed, 2 called in the wrong way, 3 `--check` found a deadlock, 4
/// `serve` ended with tasks that were not done.
constexpr int failed = 1;
constexpr int misused = 2;
constexpr int deadlocked = 3;

struct Options {
  int pid = 0;
  bool json = false;
  bool check = false;
  std::string colour = "auto";
  passel_cli::TopOptions top;
  double every = 1.0;
  std::string key_file;
  std::string shell = "bash";
  passel_cli::ServeOptions serve;
  passel_cli::WorkerOptions worker;
  passel_cli::ClientCommands client;
  passel_cli::BenchOptions bench;
};

bool in_colour(const Options& options) {
  if (options.colour != "auto") return options.colour == "always";
  return ::isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
}

Result<int> show(const Options& options, View view) {
  PASSEL_TRY(const passel::HostReport report, passel::inspect({.pid = options.pid}));
  if (options.json) {
    // Names come from other programs and may be no UTF-8.
    std::cout << to_json(report, view).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  } else {
    print(std::cout, report, view, in_colour(options));
  }
  return options.check && !report.circles.empty() ? deadlocked : 0;
}

Result<int> show_metrics(const Options& options) {
  PASSEL_TRY(const passel::HostReport report, passel::inspect({.pid = options.pid}));
  const auto metrics = passel_cli::metrics_of(report);
  if (options.json) {
    std::cout << to_json(metrics).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  } else {
    passel_cli::print(std::cout, metrics);
  }
  return 0;
}

Result<int> show_top(Options& options) {
  options.top.pid = options.pid;
  options.top.json = options.json;
  options.top.every = std::chrono::milliseconds{static_cast<long>(options.every * 1000)};
  PASSEL_CHECK(passel_cli::run_top(options.top, in_colour(options)));
  return 0;
}

Result<int> make_key(const Options& options) {
  PASSEL_CHECK(passel::AuthKey::generate().save(options.key_file));
  if (options.json) {
    std::cout << nlohmann::json{{"key_file", options.key_file}}.dump() << '\n';
  } else {
    std::cout << "a new key is in " << options.key_file << " (mode 0600)\n";
  }
  return 0;
}

CLI::App* add_view(CLI::App& app, Options& options, const std::string& name,
                   const std::string& help) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("--pid", options.pid, "Only the family of this process")
      ->check(CLI::PositiveNumber);
  command->add_option("--colour,--color", options.colour, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  return command;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Looks at processes that use passel, serves them and keeps workers", "passel"};
  app.set_version_flag("--version", std::string{"passel "} + passel::version);
  app.require_subcommand(1);
  int code = 0;
  Result<int> outcome{0};
  const auto add_table = [&](const std::string& name, const std::string& help, View view) {
    CLI::App* command = add_view(app, options, name, help);
    command->add_flag("--json", options.json, "JSON in place of a table");
    command->callback([&outcome, &options, view] { outcome = show(options, view); });
    return command;
  };
  add_table("ps", "Processes, their role, state and memory", View::processes);
  add_table("queues", "Queues between processes: depth, limits, who waits", View::queues);
  add_table("locks", "Locks and the like: holders, waiters, deadlocks", View::locks)
      ->add_flag("--check", options.check,
                 "Exit code 3 when threads wait for each other in a circle");
  add_table("pool", "Workers of pools: what they do and have done", View::workers);
  CLI::App* top = add_view(app, options, "top", "All of it, again and again");
  top->add_option("--every", options.every, "Seconds between two looks")
      ->check(CLI::Range(0.05, 3600.0));
  top->add_option("--rounds", options.top.rounds, "How many looks (0: until interrupted)");
  top->add_flag("--json", options.json, "A line of JSON for each look");
  top->callback([&] { outcome = show_top(options); });
  CLI::App* metrics = add_view(app, options, "metrics", "Figures in the text format of Prometheus");
  metrics->add_flag("--json", options.json, "The same figures as JSON");
  metrics->callback([&] { outcome = show_metrics(options); });
  CLI::App* serve = passel_cli::add_serve(app, options.serve);
  serve->callback([&] {
    passel_cli::settle_serve(*serve, options.serve);
    outcome = passel_cli::serve(options.serve, argc, argv);
  });
  CLI::App* worker = passel_cli::add_worker(app, options.worker);
  worker->callback([&] {
    passel_cli::settle_worker(*worker, options.worker);
    outcome = passel_cli::supervise_worker(options.worker);
  });
  const passel_cli::Run run_client = [&](const auto& command) {
    passel::Runtime runtime{argc, argv};
    outcome = command();
  };
  passel_cli::add_client_commands(app, options.client, run_client);
  passel_cli::add_bench(app, options.bench, run_client);
  CLI::App* keygen = app.add_subcommand("keygen", "Makes a file with a random authkey");
  keygen->add_option("FILE", options.key_file, "The new file; there must be none yet")->required();
  keygen->add_flag("--json", options.json, "Says where it is as JSON");
  keygen->callback([&] { outcome = make_key(options); });
  CLI::App* completion = app.add_subcommand("completion", "A completion script for a shell");
  completion->add_option("SHELL", options.shell, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback(
      [&] { code = passel_cli::print_completion(std::cout, app, options.shell) ? 0 : misused; });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int shown = app.exit(error);
    return shown == 0 ? 0 : misused;
  }
  if (auto written = passel_cli::flush_output(); outcome && !written) outcome = written.error();
  if (!outcome) {
    std::cerr << "passel: " << outcome.error().to_string() << '\n';
    return failed;
  }
  return code != 0 ? code : *outcome;
}
