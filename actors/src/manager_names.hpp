// Layer actors: the names under which a manager's server keeps objects.
#pragma once

#include <passel/result.hpp>
#include <passel/wire_value.hpp>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// invalid_argument for what is no name of a type or an object: empty, or with a line break.
[[nodiscard]] Result<void> check_manager_name(std::string_view name, std::string_view of_what);

/// Handles of hosted objects, which hold them, by name. I/O thread.
class ManagerNames {
 public:
  /// Errors: invalid_argument for no name, and when it stands for something else.
  Result<void> bind(std::string_view name, WireValue object);
  /// Errors: not_found.
  Result<void> unbind(std::string_view name);
  /// Errors: not_found.
  [[nodiscard]] Result<WireValue> find(std::string_view name) const;
  [[nodiscard]] bool contains(std::string_view name) const { return names_.contains(name); }
  /// Names with the types of their objects, sorted.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> list() const;
  void clear() { names_.clear(); }

 private:
  std::map<std::string, WireValue, std::less<>> names_;
};

}  // namespace passel::inline v0::detail
