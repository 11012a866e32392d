// Tool passel: the same tables again and again.
#pragma once

#include <passel/result.hpp>

#include <chrono>

namespace passel_cli {

struct TopOptions {
  int pid = 0;                            ///< only this process's family; 0: all
  std::chrono::milliseconds every{1000};  ///< time between two looks
  unsigned rounds = 0;                    ///< how many looks; 0: until interrupted
  bool json = false;                      ///< a line for each look
};

/// Shows processes, workers, queues and locks that are in use, on a terminal in place.
passel::Result<void> run_top(const TopOptions& options, bool in_colour);

}  // namespace passel_cli
