// Tool passel: `passel ping`, `call`, `get`, `put` and `unpublish`: clients of a manager.
#pragma once

#include "proof.hpp"

#include <passel/result.hpp>
#include <passel/sync_manager.hpp>

#include <CLI/App.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace passel_cli {

/// Where a server is, and how long it has for an answer.
struct ServerOptions {
  std::string connect;
  ProofOptions proof;
  double timeout = 10.0;  ///< seconds
};

/// --connect, what proves who one is, and --timeout.
void add_server_options(CLI::App& command, ServerOptions& options);
/// Errors: those of manager_at and of BaseManager::connect.
[[nodiscard]] passel::Result<passel::SyncManager> connect_to(const ServerOptions& options);

struct ClientOptions {
  ServerOptions server;
  bool json = false;
  long count = 4;  ///< of pings
  double every = 1.0;
  std::string name;
  std::string method;
  std::vector<std::string> words;
};

/// Runs a command when it has been chosen, with a Runtime.
using Run = std::function<void(const std::function<passel::Result<int>()>&)>;

/// Options of each command. CLI11 gives what the environment says to all commands, also to those
/// that were not chosen: with options in common that would count more than the command line.
struct ClientCommands {
  ClientOptions ping, call, get, put, unpublish;
};

/// Adds the commands; their options have to outlive them.
void add_client_commands(CLI::App& app, ClientCommands& commands, const Run& run);

}  // namespace passel_cli
