// Layer sync: a set that lives in a manager's server.
#include "hosted_set.hpp"

#include <passel/detail/brief_text.hpp>

#include "hosted_values.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace passel::inline v0::detail {

Result<ValueSet> ValueSet::of(const Items& items) {
  ValueSet out;
  for (const WireValue& item : items) {
    if (!item.is_hashable()) return unhashable(item);
    out.add(item);
  }
  return out;
}

void ValueSet::add(const WireValue& item) {
  if (contains(item)) return;
  items_.push_back(item);
  places_.emplace(item, std::prev(items_.end()));
}

bool ValueSet::erase(const WireValue& item) {
  const auto found = places_.extract(item);
  if (!found) return false;
  items_.erase(found.mapped());
  return true;
}

Result<std::shared_ptr<HostedObject>> make_hosted_set(const HostedCall& call) {
  ValueSet set;
  const auto args = call.arguments<WireValue>();
  if (args) {
    PASSEL_TRY(const auto items, items_of(call, std::get<0>(*args)));
    PASSEL_TRY(set, ValueSet::of(items));
  } else if (!call.arguments<>()) {
    return args.error();
  }
  return std::shared_ptr<HostedObject>{std::make_shared<HostedSet>(std::move(set))};
}

std::span<const HostedMethod<HostedSet>> HostedSet::table() {
  using S = HostedSet;
  static constexpr HostedMethod<S> methods[] = {
      hosted_method<&S::add>{"add"},
      hosted_method<&S::discard>{"discard"},
      hosted_method<&S::remove>{"remove"},
      hosted_method<&S::pop>{"pop"},
      hosted_method<&S::clear>{"clear"},
      hosted_method<&S::contains>{"contains"},
      hosted_method<&S::size>{"size"},
      hosted_method<&S::values>{"values"},
      hosted_method<&with_items<&S::update, S>>{"update"},
      hosted_method<&with_items<&S::intersection_update, S>>{"intersection_update"},
      hosted_method<&with_items<&S::difference_update, S>>{"difference_update"},
      hosted_method<&with_items<&S::symmetric_difference_update, S>>{"symmetric_difference_update"},
      hosted_method<&with_items<&S::united, S>>{"union"},
      hosted_method<&with_items<&S::intersection, S>>{"intersection"},
      hosted_method<&with_items<&S::difference, S>>{"difference"},
      hosted_method<&with_items<&S::symmetric_difference, S>>{"symmetric_difference"},
      hosted_method<&with_items<&S::isdisjoint, S>>{"isdisjoint"},
      hosted_method<&with_items<&S::issubset, S>>{"issubset"},
      hosted_method<&with_items<&S::issuperset, S>>{"issuperset"},
  };
  return methods;
}

std::string HostedSet::text_up_to(std::size_t most) const {
  if (set_.items().empty()) return "set()";
  return text_of_items("{", set_.items(), "}", most);
}

Result<void> HostedSet::add(const WireValue& item) {
  if (!item.is_hashable()) return unhashable(item);
  set_.add(item);
  return {};
}

Result<void> HostedSet::discard(const WireValue& item) {
  if (!item.is_hashable()) return unhashable(item);
  set_.erase(item);
  return {};
}

Result<void> HostedSet::remove(const WireValue& item) {
  if (!item.is_hashable()) return unhashable(item);
  if (!set_.erase(item)) return Error{Errc::not_found, brief_text(item) + " is not in the set"};
  return {};
}

Result<WireValue> HostedSet::pop() {
  if (set_.items().empty()) return Error{Errc::not_found, "pop from an empty set"};
  WireValue first = set_.items().front();
  set_.erase(first);
  return first;
}

Result<bool> HostedSet::contains(const WireValue& item) const {
  if (!item.is_hashable()) return unhashable(item);
  return set_.contains(item);
}

HostedSet::Items HostedSet::those(const ValueSet& other, bool shared) const {
  Items out;
  for (const WireValue& item : set_.items())
    if (other.contains(item) == shared) out.push_back(item);
  return out;
}

Result<void> HostedSet::update(Items other) {
  PASSEL_TRY(const ValueSet more, ValueSet::of(other));
  for (const WireValue& item : more.items()) set_.add(item);
  return {};
}

Result<void> HostedSet::intersection_update(Items other) {
  PASSEL_TRY(const ValueSet kept, ValueSet::of(other));
  for (const WireValue& item : those(kept, false)) set_.erase(item);
  return {};
}

Result<void> HostedSet::difference_update(Items other) {
  PASSEL_TRY(const ValueSet less, ValueSet::of(other));
  for (const WireValue& item : less.items()) set_.erase(item);
  return {};
}

Result<void> HostedSet::symmetric_difference_update(Items other) {
  PASSEL_TRY(const ValueSet flipped, ValueSet::of(other));
  for (const WireValue& item : flipped.items())
    if (!set_.erase(item)) set_.add(item);
  return {};
}

Result<HostedSet::Items> HostedSet::united(Items other) const {
  HostedSet out{set_};
  PASSEL_CHECK(out.update(std::move(other)));
  return out.values();
}

Result<HostedSet::Items> HostedSet::intersection(Items other) const {
  PASSEL_TRY(const ValueSet kept, ValueSet::of(other));
  return those(kept, true);
}

Result<HostedSet::Items> HostedSet::difference(Items other) const {
  PASSEL_TRY(const ValueSet less, ValueSet::of(other));
  return those(less, false);
}

Result<HostedSet::Items> HostedSet::symmetric_difference(Items other) const {
  PASSEL_TRY(const ValueSet both, ValueSet::of(other));
  Items out = those(both, false);
  for (const WireValue& item : both.items())
    if (!set_.contains(item)) out.push_back(item);
  return out;
}

Result<bool> HostedSet::isdisjoint(Items other) const {
  PASSEL_TRY(const ValueSet both, ValueSet::of(other));
  return those(both, true).empty();
}

Result<bool> HostedSet::issubset(Items other) const {
  PASSEL_TRY(const ValueSet all, ValueSet::of(other));
  return those(all, false).empty();
}

Result<bool> HostedSet::issuperset(Items other) const {
  PASSEL_TRY(const ValueSet some, ValueSet::of(other));
  return std::all_of(some.items().begin(), some.items().end(),
                     [this](const WireValue& item) { return set_.contains(item); });
}

}  // namespace passel::inline v0::detail
