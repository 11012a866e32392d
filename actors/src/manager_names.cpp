// Layer actors: the names under which a manager's server keeps objects.
#include "manager_names.hpp"

#include "proxy_place.hpp"

namespace passel::inline v0::detail {
namespace {

/// Names stay in the server as long as what they name.
constexpr std::size_t longest_name = 1024;

Error no_such_name(std::string_view name) {
  return {Errc::not_found, "no object is published as '" + std::string{name} + "'"};
}

}  // namespace

Result<void> check_manager_name(std::string_view name, std::string_view of_what) {
  if (name.size() > longest_name) {
    return Error{Errc::too_large, "a name of " + std::to_string(name.size()) + " bytes for " +
                                      std::string{of_what} + ", limit " +
                                      std::to_string(longest_name)};
  }
  if (!name.empty() && name.find('\n') == std::string_view::npos) return {};
  return Error{Errc::invalid_argument,
               "'" + std::string{name} + "' is no name of " + std::string{of_what}};
}

Result<void> ManagerNames::bind(std::string_view name, WireValue object) {
  PASSEL_CHECK(check_manager_name(name, "an object"));
  const auto [place, is_new] = names_.try_emplace(std::string{name}, object);
  if (is_new || read_proxy(place->second)->place.object == read_proxy(object)->place.object)
    return {};
  return Error{Errc::invalid_argument,
               "another object is published as '" + std::string{name} + "'"};
}

Result<void> ManagerNames::unbind(std::string_view name) {
  const auto found = names_.find(name);
  if (found == names_.end()) return no_such_name(name);
  // Its end may ask for names.
  const WireValue object = std::move(found->second);
  names_.erase(found);
  return {};
}

Result<WireValue> ManagerNames::find(std::string_view name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return no_such_name(name);
  return found->second;
}

std::vector<std::pair<std::string, std::string>> ManagerNames::list() const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, object] : names_) out.emplace_back(name, read_proxy(object)->place.type);
  return out;
}

}  // namespace passel::inline v0::detail
