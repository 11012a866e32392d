// Layer pool: the names of tasks at a broker.
#include "offered_tasks.hpp"

#include <passel/detail/brief_text.hpp>

#include <algorithm>
#include <utility>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t most_named = 20;  // in one error

std::string brief_sign(const TaskSign& sign) {
  constexpr std::size_t most = 300;
  std::string text = sign.to_string();
  if (text.size() <= most) return text;
  text.resize(most);
  return text + "...";
}

}  // namespace

std::optional<Error> OfferedTasks::mismatch(const TaskSign& asked, const std::string& build) const {
  const auto found = offers_.find(asked.name);
  if (found == offers_.end()) return std::nullopt;
  const Offer& offer = found->second;
  if (is_compatible(asked, offer.sign)) return std::nullopt;
  return Error{Errc::type_mismatch, "task " + brief_sign(asked) + " of build " + build +
                                        " is offered as " + brief_sign(offer.sign) +
                                        " by worker '" + offer.worker + "' of build " +
                                        offer.build};
}

std::optional<Error> OfferedTasks::unknown(const std::string& name) const {
  if (offers_.empty() || offers_.contains(name)) return std::nullopt;
  std::string known;
  std::size_t named = 0;
  for (const auto& [other, offer] : offers_) {
    if (++named > most_named) break;
    known += (known.empty() ? "" : ", ") + brief_sign(offer.sign);
  }
  if (offers_.size() > most_named)
    known += " and " + std::to_string(offers_.size() - most_named) + " more";
  return Error{Errc::not_found,
               "no worker offers task " + brief_text(WireValue{name}) + "; there are: " + known};
}

Result<void> OfferedTasks::check_room(std::size_t fresh) const {
  if (names_.size() + fresh <= most_names) return {};
  return Error{Errc::full,
               "names of tasks at the server: " + std::to_string(names_.size() + fresh) +
                   ", limit " + std::to_string(most_names)};
}
Result<void> OfferedTasks::check_room(std::span<const TaskSign> tasks) const {
  return check_room(static_cast<std::size_t>(
      std::count_if(tasks.begin(), tasks.end(),
                    [this](const TaskSign& sign) { return !names_.contains(sign.name); })));
}
Result<void> OfferedTasks::check_room(const std::string& name) const {
  return check_room(names_.contains(name) ? 0U : 1U);
}

BrokerName OfferedTasks::hold(const std::string& name) {
  const auto [found, fresh] = names_.try_emplace(name);
  if (fresh) found->second.number = ++last_;
  ++found->second.times;
  return found->second.number;
}

void OfferedTasks::let_go(const std::string& name) {
  const auto found = names_.find(name);
  if (found != names_.end() && --found->second.times == 0) names_.erase(found);
}

void OfferedTasks::offer(const TaskSign& sign, const std::string& build,
                         const std::string& worker) {
  const auto [found, fresh] = offers_.try_emplace(sign.name, Offer{sign, build, worker});
  ++found->second.times;
}

void OfferedTasks::withdraw(const std::string& name) {
  const auto found = offers_.find(name);
  if (found != offers_.end() && --found->second.times == 0) offers_.erase(found);
}

std::vector<std::string> OfferedTasks::signatures() const {
  std::vector<std::string> all;
  for (const auto& [name, offer] : offers_) all.push_back(offer.sign.to_string());
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace passel::inline v0::detail
