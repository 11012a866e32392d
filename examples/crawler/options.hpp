// Example crawler: the command line.
#pragma once

#include "frontier.hpp"
#include "messages.hpp"

#include <string>
#include <vector>

namespace crawler {

/// How the program ends; also in --help.
enum ExitCode : int {
  exit_ok = 0,
  exit_internal = 1,
  exit_usage = 2,
  exit_no_start = 3,
  exit_verify = 4,
  exit_file = 5,
  exit_port = 6,
  exit_broken = 7,
  exit_interrupted = 130,
};

enum class Reach { processes, threads };

/// Fetchers on other hosts than the list of pages.
struct FarOptions {
  std::string listen;    ///< where they come to; empty: they are here
  std::string connect;   ///< where this program fetches for another one; empty: it does not
  std::string key_file;  ///< which both sides know
};

struct Options {
  std::vector<std::string> seeds;  ///< canonical
  std::string serve;               ///< directory, empty: none
  int port = 0;
  bool verify = false;
  Reach reach = Reach::processes;
  FarOptions far;
  std::size_t fetchers = 4;
  FrontierOptions frontier;
  FetchOptions fetch;
  std::string state;
  std::string output;
  std::string report;
  bool strict = false;
  bool quiet = false;
};

/// Reads the command line. When the program shall not go on (--help, a mistake) that has been said,
/// and `exit_code` is set.
struct CommandLine {
  Options options;
  int exit_code = -1;
};
CommandLine read_command_line(int argc, char** argv);

}  // namespace crawler
