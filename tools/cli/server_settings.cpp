// Tool passel: what clients of `passel serve` may have and do, out of its file of options.
#include "server_settings.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

namespace passel_cli {

using nlohmann::json;
using passel::Errc;
using passel::Error;
using passel::ManagerLimits;
using passel::Result;

namespace {

Error malformed(const std::string& what) { return {Errc::malformed, what}; }

Result<std::string> text_in(const json& object, const std::string& name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string() || found->get<std::string>().empty())
    return malformed("'roles': each needs a '" + name + "', a text");
  return found->get<std::string>();
}

/// Types and their methods.
Result<decltype(RoleOptions::types)> types_in(const json& object, const std::string& role) {
  const auto found = object.find("types");
  if (found == object.end() || !found->is_object())
    return malformed("role '" + role + R"(' needs "types": {"dict": ["get"], "Event": []})");
  decltype(RoleOptions::types) types;
  for (const auto& [type, methods] : found->items()) {
    if (!methods.is_array()) return malformed("role '" + role + "': '" + type + "' needs a list");
    auto& names = types[type];
    for (const json& method : methods) {
      if (!method.is_string())
        return malformed("role '" + role + "': methods of '" + type + "' are texts, not " +
                         method.dump());
      names.push_back(method.get<std::string>());
    }
  }
  return types;
}

}  // namespace

Result<void> read_limits(const json& from, ManagerLimits& limits) {
  if (!from.is_object()) return malformed("'limits' has to be an object");
  const std::pair<const char*, std::size_t ManagerLimits::*> known[] = {
      {"sessions", &ManagerLimits::sessions},
      {"sessions-of-host", &ManagerLimits::sessions_of_host},
      {"objects", &ManagerLimits::objects},
      {"objects-of-session", &ManagerLimits::objects_of_session},
      {"calls-of-session", &ManagerLimits::calls_of_session},
      {"call-bytes-of-session", &ManagerLimits::call_bytes_of_session},
      {"items-of-session", &ManagerLimits::items_of_session},
      {"item-bytes-of-session", &ManagerLimits::item_bytes_of_session},
      {"processes", &ManagerLimits::processes}};
  for (const auto& [name, value] : from.items()) {
    const auto* const limit = std::find_if(std::begin(known), std::end(known),
                                           [&](const auto& one) { return one.first == name; });
    if (limit == std::end(known)) return malformed("'" + name + "' is none of the limits");
    if (!value.is_number_unsigned() || value.get<std::size_t>() == 0)
      return malformed("limit '" + name + "' has to be a number from 1, not " + value.dump());
    limits.*limit->second = value.get<std::size_t>();
  }
  return {};
}

Result<void> read_roles(const json& from, std::vector<RoleOptions>& roles) {
  if (!from.is_array()) return malformed("'roles' has to be a list of objects");
  for (const json& one : from) {
    if (!one.is_object()) return malformed("'roles' has to be a list of objects");
    RoleOptions role;
    PASSEL_TRY(role.name, text_in(one, "name"));
    PASSEL_TRY(role.key_file, text_in(one, "key-file"));
    PASSEL_TRY(role.types, types_in(one, role.name));
    for (const auto& [name, value] : one.items())
      if (name != "name" && name != "key-file" && name != "types")
        return malformed("role '" + role.name + "': there is no '" + name + "'");
    roles.push_back(std::move(role));
  }
  return {};
}

Result<std::vector<passel::ManagerRole>> with_keys(const std::vector<RoleOptions>& roles) {
  std::vector<passel::ManagerRole> out;
  for (const RoleOptions& role : roles) {
    auto key = passel::AuthKey::load(role.key_file);
    if (!key) return Error{key.error().code(), "role '" + role.name + "': " + key.error().what()};
    out.push_back({.name = role.name, .authkey = std::move(*key), .types = role.types});
  }
  return out;
}

}  // namespace passel_cli
