// Tool passel: `passel bench`: what this host, or the way to a server, allows.
#pragma once

#include "client.hpp"

#include <CLI/App.hpp>

namespace passel_cli {

struct BenchOptions {
  ServerOptions server;
  bool json = false;
  double seconds = 0.5;  ///< of each row
};

/// Adds the command; `options` has to outlive it.
void add_bench(CLI::App& app, BenchOptions& options, const Run& run);

}  // namespace passel_cli
