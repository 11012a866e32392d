// Tool passel: words of a command line that are taken as they are.
#pragma once

#include <CLI/App.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace passel_cli {

inline constexpr std::size_t any_number = 1'000'000;

/// Words that no option takes, as they were given: JSON, addresses, arguments of programs. More
/// than `most` of them is misuse.
CLI::Option* add_words(CLI::App& command, const std::string& name, std::vector<std::string>& words,
                       const std::string& help, std::size_t most = any_number);

}  // namespace passel_cli
