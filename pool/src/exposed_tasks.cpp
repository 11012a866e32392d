// Layer pool: the functions of a program that others may ask for by name.
#include <passel/exposed_tasks.hpp>

#include <algorithm>

namespace passel::inline v0 {
namespace detail {
namespace {

/// Whether a value of the one type may be one of the other: those of which only the codec knows are
/// found out when they come.
bool may_be(const std::string& one, const std::string& other) {
  const auto vague = [](const std::string& name) {
    return name.find("object") != std::string::npos || name.ends_with('?');
  };
  const auto is_number = [](const std::string& name) { return name == "int" || name == "float"; };
  return one == other || vague(one) || vague(other) || (is_number(one) && is_number(other));
}

}  // namespace

bool is_compatible(const TaskSign& asked, const TaskSign& offered) {
  return std::equal(asked.takes.begin(), asked.takes.end(), offered.takes.begin(),
                    offered.takes.end(), may_be) &&
         may_be(asked.gives, offered.gives);
}

}  // namespace detail

Error ExposedTasks::exposed_already(std::string_view name) {
  return {Errc::invalid_argument, "a task '" + std::string{name} + "' is exposed already"};
}

Result<void> ExposedTasks::add(const ExposedTasks& others) {
  for (const Entry& entry : others.entries_)
    if (find(entry.sign.name) != nullptr) return exposed_already(entry.sign.name);
  entries_.insert(entries_.end(), others.entries_.begin(), others.entries_.end());
  return {};
}

std::vector<std::string> ExposedTasks::signatures() const {
  std::vector<std::string> all;
  for (const Entry& entry : entries_) all.push_back(entry.sign.to_string());
  std::sort(all.begin(), all.end());
  return all;
}

const ExposedTasks::Entry* ExposedTasks::find(std::string_view name) const noexcept {
  for (const Entry& entry : entries_)
    if (entry.sign.name == name) return &entry;
  return nullptr;
}

const ExposedTasks::Entry* ExposedTasks::find(detail::TaskId task) const noexcept {
  for (const Entry& entry : entries_)
    if (entry.task == task) return &entry;
  return nullptr;
}

}  // namespace passel::inline v0
