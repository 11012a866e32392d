// Layer pool: what the environment says about where a program works.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace passel::inline v0::detail {

/// The variable; empty when it is not set, or to nothing.
[[nodiscard]] inline std::optional<std::string> variable(const char* name) {
  const char* const text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return text;
}

}  // namespace passel::inline v0::detail
