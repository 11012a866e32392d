// Tool passel: `passel serve`.
#include "serve.hpp"

#include "config.hpp"
#include "service_manager.hpp"
#include "signals.hpp"

#include <passel/log.hpp>
#include <passel/manager.hpp>
#include <passel/runtime.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <optional>
#include <utility>

namespace passel_cli {

using nlohmann::json;
using passel::Result;
using namespace std::chrono_literals;

namespace {

constexpr int unfinished = 4;

void say(const ServeOptions& options, const std::string& text, const json& same) {
  std::cout << (options.json ? same.dump() : text) << std::endl;
}

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
  const auto told = std::chrono::steady_clock::now();
  const auto until = told + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::duration<double>{seconds});
  while (!passel::Manager::drain_for(50ms)) {
    notify_service_manager("WATCHDOG=1");
    const bool is_meant =
        signals.wait(0ns) && std::chrono::steady_clock::now() >= told + same_signal;
    if (is_meant || std::chrono::steady_clock::now() >= until) return false;
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
  command
      ->add_option("--silence", options.silence,
                   "Seconds without a sign of life after which a client over TCP is lost")
      ->check(CLI::Range(0.01, 86'400.0))
      ->capture_default_str();
  command->add_flag("--json", options.json, "What it does as lines of JSON");
  command->add_option("--config", options.config,
                      "A JSON file with any of these options, {\"drain\": 60}, limits and roles");
  return command;
}

void settle_serve(CLI::App& command, ServeOptions& options) {
  prefer_command_line(command, options.proof);
  const ProofOptions nearer = options.proof;
  if (!options.config.empty()) {
    throw_misuse(apply_config(
        command, options.config,
        {{"limits", [&](const json& from) { return read_limits(from, options.limits); }},
         {"roles", [&](const json& from) { return read_roles(from, options.roles); }}}));
    prefer(nearer, options.proof);
  }
  settle_server(command, options.address, options.proof);
  check_log_level(options.log);
}

Result<int> serve(const ServeOptions& options, int argc, char** argv) {
  PASSEL_TRY(auto settings, manager_at(options.address, options.proof));
  settings.name = options.name;
  settings.limits = options.limits;
  settings.silence = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>{options.silence});
  PASSEL_TRY(settings.roles, with_keys(options.roles));
  passel::Runtime runtime{argc, argv};
  const AwaitedSignals signals{SIGTERM, SIGINT};
  PASSEL_TRY(const auto level, passel::parse_log_level(options.log));
  // A start that fails has its reason to tell, and nothing of beginnings and ends.
  passel::log_to_stderr(std::max(level, passel::LogLevel::warning));
  passel::Manager manager{std::move(settings)};
  PASSEL_TRY(const auto server, manager.get_server());
  passel::get_logger().set_level(level);
  const std::string where = passel::to_string(server.address());
  say(options, "listening at " + where, {{"listening", where}});
  notify_service_manager("READY=1\nSTATUS=listening at " + where);

  serve_until_signal(signals, manager);
  notify_service_manager("STOPPING=1\nSTATUS=finishing tasks");
  const bool is_done = drain(signals, options.drain);
  say(options, is_done ? "drained" : "ended with tasks that are not done", {{"drained", is_done}});
  return is_done ? 0 : unfinished;
}

}  // namespace passel_cli
