// Tool passel: `passel serve`.
#include "serve.hpp"

#include "config.hpp"
#include "service_manager.hpp"
#include "signals.hpp"

#include <passel/log.hpp>
#include <passel/manager.hpp>
#include <passel/runtime.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <csignal>
#include <iostream>
#include <optional>
#include <utility>

namespace passel_cli {

using passel::Result;
using namespace std::chrono_literals;

namespace {

constexpr int unfinished = 4;

/// Waits for a signal, and meanwhile shows the service manager that the server answers.
void serve_until_signal(const AwaitedSignals& signals, const passel::Manager& manager) {
  const auto interval = watchdog_interval();
  if (!interval) {
    static_cast<void>(signals.wait());
    return;
  }
  do {
    if (manager.number_of_objects()) notify_service_manager("WATCHDOG=1");
  } while (!signals.wait(*interval / 2));
}

/// Waits until no task is left. False when the time was up, or at another signal.
bool drain(const AwaitedSignals& signals, double seconds) {
  const auto until =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>{seconds});
  while (!passel::Manager::drain_for(50ms)) {
    notify_service_manager("WATCHDOG=1");
    if (signals.wait(0ns) || std::chrono::steady_clock::now() >= until) return false;
  }
  return true;
}

}  // namespace

CLI::App* add_serve(CLI::App& app, ServeOptions& options) {
  CLI::App* const command =
      app.add_subcommand("serve", "Serves queues, locks and the like, and pools that span hosts");
  command->add_option("--address", options.address, "HOST:PORT, or the path of a socket")
      ->envname("PASSEL_ADDRESS")
      ->capture_default_str();
  add_proof_options(*command, options.proof);
  command->add_option("--name", options.name, "How it calls itself")->capture_default_str();
  command
      ->add_option("--log", options.log, "What is written to stderr: debug, info, warning, error")
      ->envname("PASSEL_LOG")
      ->capture_default_str();
  command
      ->add_option("--drain", options.drain, "Seconds that tasks have to be finished after SIGTERM")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
  command->add_option("--config", options.config,
                      "A JSON file with any of these options, {\"drain\": 60}");
  return command;
}

Result<int> serve(CLI::App& command, ServeOptions& options, int argc, char** argv) {
  if (!options.config.empty()) PASSEL_CHECK(apply_config(command, options.config));
  PASSEL_TRY(auto settings, manager_at(options.address, options.proof));
  settings.name = options.name;
  passel::Runtime runtime{argc, argv};
  const AwaitedSignals signals{SIGTERM, SIGINT};
  PASSEL_TRY(const auto level, passel::parse_log_level(options.log));
  passel::log_to_stderr(level);
  passel::Manager manager{std::move(settings)};
  PASSEL_TRY(const auto server, manager.get_server());
  const std::string where = passel::to_string(server.address());
  std::cout << "listening at " << where << std::endl;
  notify_service_manager("READY=1\nSTATUS=listening at " + where);

  serve_until_signal(signals, manager);
  notify_service_manager("STOPPING=1\nSTATUS=finishing tasks");
  const bool is_done = drain(signals, options.drain);
  std::cout << (is_done ? "drained" : "ended with tasks that are not done") << std::endl;
  return is_done ? 0 : unfinished;
}

}  // namespace passel_cli
