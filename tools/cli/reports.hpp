// Tool passel: what inspect() told, as tables and as JSON.
#pragma once

#include <passel/inspect.hpp>

#include <nlohmann/json_fwd.hpp>

#include <iosfwd>

namespace passel_cli {

/// What a command shows.
enum class View { processes, queues, locks, workers };

/// As a table, for people.
void print(std::ostream& out, const passel::HostReport& report, View view, bool in_colour);
/// As a list of objects, one for each row, for programs. For locks: {"locks": [...], "circles":
/// [...]}.
[[nodiscard]] nlohmann::json to_json(const passel::HostReport& report, View view);

}  // namespace passel_cli
