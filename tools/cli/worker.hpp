// Tool passel: `passel worker`, a program that works for a pool, and is started again when it dies.
#pragma once

#include "proof.hpp"

#include <passel/result.hpp>

#include <CLI/App.hpp>

#include <string>
#include <vector>

namespace passel_cli {

struct WorkerOptions {
  std::string connect;
  ProofOptions proof;
  std::string pool;
  std::string name;
  unsigned processes = 0;  ///< 0: as the program has it
  unsigned restarts = 5;   ///< within a minute
  std::string log = "warning";
  std::vector<std::string> program;
};

/// Adds the command; `options` has to outlive it.
CLI::App* add_worker(CLI::App& app, WorkerOptions& options);

/// For the command's callback: what is wrong in its options is misuse. The command line counts
/// most.
void settle_worker(const CLI::App& command, WorkerOptions& options);

/// Runs the program until it ends with exit code 0, or has been told to by SIGTERM or SIGINT; its
/// exit code. It is started again when it ends otherwise. Errors: the program cannot be run; it
/// fails again and again.
passel::Result<int> supervise_worker(const WorkerOptions& options);

}  // namespace passel_cli
