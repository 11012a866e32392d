// Layer sync: a set that lives in a manager's server.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include "hosted_values.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Hashable values, each once, in the order in which they came.
class ValueSet {
 public:
  using Items = std::vector<WireValue>;

  ValueSet() = default;
  ValueSet(const ValueSet& other) {
    for (const WireValue& item : other.items_) add(item);
  }
  ValueSet(ValueSet&&) noexcept = default;
  ValueSet& operator=(ValueSet other) noexcept {
    items_.swap(other.items_);
    places_.swap(other.places_);
    return *this;
  }
  ~ValueSet() = default;
  /// Errors: type_mismatch for an item that is not hashable.
  [[nodiscard]] static Result<ValueSet> of(const Items& items);

  void add(const WireValue& item);
  /// False when it was not in it.
  bool erase(const WireValue& item);
  [[nodiscard]] bool contains(const WireValue& item) const { return places_.contains(item); }
  [[nodiscard]] const std::list<WireValue>& items() const noexcept { return items_; }

 private:
  std::list<WireValue> items_;
  std::unordered_map<WireValue, std::list<WireValue>::iterator> places_;
};

/// Python's set as a hosted object.
class HostedSet final : public HostedContainer<HostedSet> {
 public:
  using Items = ValueSet::Items;

  explicit HostedSet(ValueSet set) : set_{std::move(set)} {}

  [[nodiscard]] Result<void> add(const WireValue& item);
  /// Takes it out, whether it is there or not.
  [[nodiscard]] Result<void> discard(const WireValue& item);
  [[nodiscard]] Result<void> remove(const WireValue& item);
  [[nodiscard]] Result<WireValue> pop();
  void clear() { set_ = {}; }
  [[nodiscard]] Result<bool> contains(const WireValue& item) const;
  [[nodiscard]] std::uint64_t size() const { return set_.items().size(); }
  [[nodiscard]] Items values() const { return {set_.items().begin(), set_.items().end()}; }

  // All of it or nothing: an item that is not hashable changes nothing.
  [[nodiscard]] Result<void> update(Items other);
  [[nodiscard]] Result<void> intersection_update(Items other);
  [[nodiscard]] Result<void> difference_update(Items other);
  [[nodiscard]] Result<void> symmetric_difference_update(Items other);
  [[nodiscard]] Result<Items> united(Items other) const;
  [[nodiscard]] Result<Items> intersection(Items other) const;
  [[nodiscard]] Result<Items> difference(Items other) const;
  [[nodiscard]] Result<Items> symmetric_difference(Items other) const;
  [[nodiscard]] Result<bool> isdisjoint(Items other) const;
  [[nodiscard]] Result<bool> issubset(Items other) const;
  [[nodiscard]] Result<bool> issuperset(Items other) const;

  static std::span<const HostedMethod<HostedSet>> table();
  /// "{1, 2}", "set()"
  [[nodiscard]] std::string text_up_to(std::size_t most) const;
  [[nodiscard]] Result<WireValue> copy() const override { return WireValue::set(values()); }

 private:
  /// Those of its items that are in `other`, or those that are not.
  [[nodiscard]] Items those(const ValueSet& other, bool shared) const;

  ValueSet set_;
};

Result<std::shared_ptr<HostedObject>> make_hosted_set(const HostedCall& call);

}  // namespace passel::inline v0::detail
