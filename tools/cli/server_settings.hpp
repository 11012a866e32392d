// Tool passel: what clients of `passel serve` may have and do, out of its file of options.
#pragma once

#include <passel/manager_options.hpp>
#include <passel/result.hpp>

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <string>
#include <vector>

namespace passel_cli {

/// A passel::ManagerRole whose key is in a file.
struct RoleOptions {
  std::string name;
  std::string key_file;
  std::map<std::string, std::vector<std::string>> types;
};

/// {"sessions": 500, "objects-of-session": 100}: the names of ManagerLimits with hyphens. Errors:
/// malformed, naming what is wrong.
[[nodiscard]] passel::Result<void> read_limits(const nlohmann::json& from,
                                               passel::ManagerLimits& limits);
/// [{"name": "readers", "key-file": "readers.key", "types": {"dict": ["get"], "Event": []}}]: the
/// methods of each type that may be called; without any all of them, and objects can be made.
/// Errors: malformed, naming what is wrong.
[[nodiscard]] passel::Result<void> read_roles(const nlohmann::json& from,
                                              std::vector<RoleOptions>& roles);
/// Reads their keys. Errors: those of AuthKey::load, naming the role.
[[nodiscard]] passel::Result<std::vector<passel::ManagerRole>> with_keys(
    const std::vector<RoleOptions>& roles);

}  // namespace passel_cli
