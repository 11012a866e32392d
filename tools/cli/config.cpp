// Tool passel: options of a command out of a JSON file.
#include "config.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fstream>

namespace passel_cli {

using nlohmann::json;
using passel::Errc;
using passel::Error;
using passel::Result;

namespace {

Result<void> set_option(CLI::App& command, const std::string& name, const json& value) {
  CLI::Option* const option = command.get_option_no_throw("--" + name);
  if (option == nullptr || name == "config" || name == "help")
    return Error{Errc::malformed, "'" + name + "' is no option of passel " + command.get_name()};
  if (option->count() > 0) return {};
  if (!value.is_string() && !value.is_number() && !value.is_boolean())
    return Error{Errc::malformed, "'" + name + "' has to be text, a number, true or false"};
  try {
    option->add_result(value.is_string() ? value.get<std::string>() : value.dump());
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    return Error{Errc::malformed, error.what()};
  }
  return {};
}

}  // namespace

Result<void> apply_config(CLI::App& command, const std::string& path,
                          const ConfigSections& sections) {
  std::ifstream file{path};
  if (!file) return Error{Errc::not_found, "cannot read " + path};
  const json config = json::parse(file, nullptr, false, true);  // comments are fine
  if (!config.is_object()) return Error{Errc::malformed, path + " holds no JSON object"};
  for (const auto& [name, value] : config.items()) {
    const auto section = sections.find(name);
    const auto set =
        section == sections.end() ? set_option(command, name, value) : section->second(value);
    if (!set) return Error{set.error().code(), path + ": " + set.error().what()};
  }
  return {};
}

}  // namespace passel_cli
