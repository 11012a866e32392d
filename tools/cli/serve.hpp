// Tool passel: `passel serve`, a server of shared objects and of pools that span hosts.
#pragma once

#include "proof.hpp"
#include "server_settings.hpp"

#include <passel/result.hpp>

#include <CLI/App.hpp>

#include <string>
#include <vector>

namespace passel_cli {

struct ServeOptions {
  std::string address = "127.0.0.1:4711";
  ProofOptions proof;
  std::string name = "passel";
  std::string log = "info";
  double drain = 30.0;   ///< seconds that tasks have to come to their ends
  double silence = 6.0;  ///< seconds after which a client over TCP is lost
  bool json = false;
  std::string config;
  passel::ManagerLimits limits{};  ///< these two from the file alone
  std::vector<RoleOptions> roles{};
};

/// Adds the command; `options` has to outlive it.
CLI::App* add_serve(CLI::App& app, ServeOptions& options);

/// What the command line and the environment leave open is as the file of options has it. For the
/// command's callback: what is wrong in any of them is misuse.
void settle_serve(CLI::App& command, ServeOptions& options);

/// Serves until SIGTERM or SIGINT; then the tasks that are there are finished. 0: they were; 4: not
/// in time. A second signal ends it at once.
passel::Result<int> serve(const ServeOptions& options, int argc, char** argv);

}  // namespace passel_cli
