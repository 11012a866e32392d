// Tool passel: `passel serve`, a server of shared objects and of pools that span hosts.
#pragma once

#include "proof.hpp"

#include <passel/result.hpp>

#include <CLI/App.hpp>

#include <string>

namespace passel_cli {

struct ServeOptions {
  std::string address = "127.0.0.1:4711";
  ProofOptions proof;
  std::string name = "passel";
  std::string log = "info";
  double drain = 30.0;  ///< seconds that tasks have to come to their ends
  std::string config;
};

/// Adds the command; `options` has to outlive it.
CLI::App* add_serve(CLI::App& app, ServeOptions& options);

/// Serves until SIGTERM or SIGINT; then the tasks that are there are finished. 0: they were; 4: not
/// in time. A second signal ends it at once.
passel::Result<int> serve(CLI::App& command, ServeOptions& options, int argc, char** argv);

}  // namespace passel_cli
