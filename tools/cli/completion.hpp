// Tool passel: completion for shells.
#pragma once

#include <CLI/App.hpp>

#include <iosfwd>
#include <string>

namespace passel_cli {

/// A script that completes the commands and options of `app` in that shell: bash, zsh or fish.
/// False for another one.
bool print_completion(std::ostream& out, const CLI::App& app, const std::string& shell);

}  // namespace passel_cli
