// Layer pool: what errors and statistics call a task.
#pragma once

#include <passel/detail/type_name.hpp>

#include <string>

namespace passel::inline v0::detail {

/// "square", "main()::<lambda(int)>".
template <class Target>
[[nodiscard]] std::string task_name() {
  std::string name{compiler_type_name<Target>()};
  if (const auto open = name.find("FunctionTarget<"); open != std::string::npos) {
    name = name.substr(open + 15, name.size() - open - 16);
  }
  return name.starts_with("&") ? name.substr(1) : name;
}

}  // namespace passel::inline v0::detail
