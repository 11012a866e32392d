// Tool passel: options of a command out of a JSON file.
#pragma once

#include <passel/result.hpp>

#include <CLI/App.hpp>
#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <map>
#include <string>

namespace passel_cli {

/// What a file may have besides options, and who reads it.
using ConfigSections =
    std::map<std::string, std::function<passel::Result<void>(const nlohmann::json&)>>;

/// Gives the options of `command` that were given neither on the command line nor in the
/// environment the values that the file has for them: {"address": "0.0.0.0:4711", "drain": 30}.
/// Errors: not_found, malformed (neither an option nor a section, a value that it does not take),
/// naming the file.
passel::Result<void> apply_config(CLI::App& command, const std::string& path,
                                  const ConfigSections& sections);

}  // namespace passel_cli
