// Layer actors: which hosted objects are wanted.
#include "manager_registry.hpp"

#include <limits>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t most_early = 10'000;

}  // namespace

void ManagerRegistry::step(RegistryEvent event, Time now, std::vector<Action>& actions) {
  std::visit([&](const auto& one) { on(one, now, actions); }, event);
}

std::optional<ManagerRegistry::Time> ManagerRegistry::next_wakeup() const {
  if (ends_.empty()) return std::nullopt;
  return ends_.begin()->first;
}

std::size_t ManagerRegistry::references(std::uint64_t object) const {
  const auto found = objects_.find(object);
  return found == objects_.end() ? 0 : found->second;
}

void ManagerRegistry::release(std::uint64_t object, std::size_t count,
                              std::vector<Action>& actions) {
  const auto found = objects_.find(object);
  if (found == objects_.end() || count == 0) return;
  found->second -= count;
  if (found->second != 0) return;
  objects_.erase(found);
  actions.push_back({object});
}

bool ManagerRegistry::take_lease(const Key& key) {
  const auto found = leases_.find(key);
  if (found == leases_.end()) return false;
  ends_.erase({found->second.ends, key});
  leases_.erase(found);
  return true;
}

void ManagerRegistry::on(const registry_event::Created& event, Time, std::vector<Action>&) {
  ++objects_[event.object];
  ++held_[{event.session, event.object}];
}

void ManagerRegistry::on(const registry_event::Hold& event, Time, std::vector<Action>&) {
  const auto found = objects_.find(event.object);
  if (found == objects_.end()) return;
  ++held_[{event.session, event.object}];
  const Key key{event.object, event.ticket};
  if (take_lease(key)) return;  // its reference is the session's now
  ++found->second;
  if (event.ticket == 0) return;
  early_.insert(key);
  early_order_.push_back(key);
  if (early_order_.size() <= most_early) return;
  early_.erase(early_order_.front());
  early_order_.pop_front();
}

void ManagerRegistry::on(const registry_event::Drop& event, Time, std::vector<Action>& actions) {
  const auto found = held_.find({event.session, event.object});
  if (found == held_.end()) return;
  if (--found->second == 0) held_.erase(found);
  release(event.object, 1, actions);
}

void ManagerRegistry::on(const registry_event::Lend& event, Time now,
                         std::vector<Action>& actions) {
  const Key key{event.object, event.ticket};
  if (event.session != 0 && !holds(event.session, event.object)) return;
  if (!objects_.contains(event.object) || event.ticket == 0 || leases_.contains(key)) return;
  if (early_.erase(key) != 0) {
    std::erase(early_order_, key);
    return;
  }
  ++objects_[event.object];
  const Lease lease{event.session, now + options_.lease};
  leases_.emplace(key, lease);
  ends_.insert({lease.ends, key});
  auto& lent = lent_[event.session];
  lent.push_back(key);
  // Those that have arrived are forgotten here when they come to the front.
  while (!lent.empty() && (!leases_.contains(lent.front()) || lent.size() > options_.max_leases)) {
    const Key oldest = lent.front();
    lent.pop_front();
    if (take_lease(oldest)) release(oldest.first, 1, actions);
  }
}

void ManagerRegistry::on(const registry_event::Keep& event, Time, std::vector<Action>&) {
  ++objects_[event.object];
}

void ManagerRegistry::on(const registry_event::Unkeep& event, Time, std::vector<Action>& actions) {
  release(event.object, 1, actions);
}

void ManagerRegistry::on(const registry_event::Ended& event, Time now,
                         std::vector<Action>& actions) {
  // What it had sent may still arrive, but not for ever.
  if (const auto lent = lent_.extract(event.session)) {
    for (const Key& key : lent.mapped()) {
      const auto found = leases_.find(key);
      if (found == leases_.end() || found->second.ends <= now + options_.orphan_lease) continue;
      ends_.erase({found->second.ends, key});
      found->second.ends = now + options_.orphan_lease;
      ends_.insert({found->second.ends, key});
    }
  }
  const auto first = held_.lower_bound({event.session, 0});
  const auto last = held_.upper_bound({event.session, std::numeric_limits<std::uint64_t>::max()});
  const std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> held{first, last};
  held_.erase(first, last);
  for (const auto& [key, count] : held) release(key.second, count, actions);
}

void ManagerRegistry::on(const registry_event::Tick&, Time now, std::vector<Action>& actions) {
  while (!ends_.empty() && ends_.begin()->first <= now) {
    const Key key = ends_.begin()->second;
    take_lease(key);
    release(key.first, 1, actions);
  }
}

}  // namespace passel::inline v0::detail
