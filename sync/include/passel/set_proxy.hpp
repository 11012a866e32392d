// Layer sync: sets in a manager's server.
#pragma once

#include <passel/container_proxies.hpp>

#include <cstddef>
#include <string_view>
#include <vector>

namespace passel::inline v0 {

/// A set in a manager's server (Python's SyncManager.set).
///
///     auto seen = manager.set<std::string>().unwrap();
///     seen.add(url).unwrap();
///     auto left = seen.difference({"a", "b"}).unwrap();      // a vector, in the order they came
///     seen.update(list_proxy).unwrap();                      // the items of another container
///
/// Whatever takes other items takes a vector or a proxy of a container of the same manager, whose
/// items are read in the same instant. Each call is whole, and changes all of what it should or
/// nothing. Errors: not_found for an item that is not there (Python: KeyError), type_mismatch for
/// one that is not hashable, that is no T, or for another proxy, and those of DynamicProxy's calls.
/// Any number of threads.
template <class T = WireValue>
class SetProxy : public DynamicProxy {
 public:
  using value_type = T;
  using Items = std::vector<T>;
  using DynamicProxy::DynamicProxy;
  explicit SetProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  Result<void> add(const T& item) const { return call<void>("add", to_value(item)); }
  /// Takes it out when it is there.
  Result<void> discard(const T& item) const { return call<void>("discard", to_value(item)); }
  /// Takes it out; it has to be there.
  Result<void> remove(const T& item) const { return call<void>("remove", to_value(item)); }
  /// Takes any item out. Errors also: not_found when there is none.
  Result<T> pop() const { return detail::from_result<T>(call<WireValue>("pop")); }
  Result<void> clear() const { return call<void>("clear"); }
  /// (Python: item in set)
  Result<bool> contains(const T& item) const { return call<bool>("contains", to_value(item)); }
  /// (Python: len)
  Result<std::size_t> size() const { return call<std::size_t>("size"); }
  /// All items as they are now. (Python: copy(), iteration)
  Result<Items> values() const {
    return detail::from_values<T>(call<std::vector<WireValue>>("values"));
  }

  /// (Python: update, |=)
  Result<void> update(const Items& other) const { return change("update", other); }
  Result<void> update(const DynamicProxy& other) const { return change("update", other); }
  /// Keeps what is in both. (Python: intersection_update, &=)
  Result<void> intersection_update(const Items& other) const {
    return change("intersection_update", other);
  }
  Result<void> intersection_update(const DynamicProxy& other) const {
    return change("intersection_update", other);
  }
  /// (Python: difference_update, -=)
  Result<void> difference_update(const Items& other) const {
    return change("difference_update", other);
  }
  Result<void> difference_update(const DynamicProxy& other) const {
    return change("difference_update", other);
  }
  /// Keeps what is in one of them only. (Python: symmetric_difference_update, ^=)
  Result<void> symmetric_difference_update(const Items& other) const {
    return change("symmetric_difference_update", other);
  }
  Result<void> symmetric_difference_update(const DynamicProxy& other) const {
    return change("symmetric_difference_update", other);
  }

  /// (Python: union, |)
  Result<Items> union_(const Items& other) const { return combined("union", other); }
  Result<Items> union_(const DynamicProxy& other) const { return combined("union", other); }
  /// (Python: intersection, &)
  Result<Items> intersection(const Items& other) const { return combined("intersection", other); }
  Result<Items> intersection(const DynamicProxy& other) const {
    return combined("intersection", other);
  }
  /// (Python: difference, -)
  Result<Items> difference(const Items& other) const { return combined("difference", other); }
  Result<Items> difference(const DynamicProxy& other) const {
    return combined("difference", other);
  }
  /// (Python: symmetric_difference, ^)
  Result<Items> symmetric_difference(const Items& other) const {
    return combined("symmetric_difference", other);
  }
  Result<Items> symmetric_difference(const DynamicProxy& other) const {
    return combined("symmetric_difference", other);
  }

  Result<bool> isdisjoint(const Items& other) const { return compared("isdisjoint", other); }
  Result<bool> isdisjoint(const DynamicProxy& other) const { return compared("isdisjoint", other); }
  /// (Python: issubset, <=)
  Result<bool> issubset(const Items& other) const { return compared("issubset", other); }
  Result<bool> issubset(const DynamicProxy& other) const { return compared("issubset", other); }
  /// (Python: issuperset, >=)
  Result<bool> issuperset(const Items& other) const { return compared("issuperset", other); }
  Result<bool> issuperset(const DynamicProxy& other) const { return compared("issuperset", other); }

 private:
  // A list, whatever the codec makes of a vector of numbers.
  static WireValue wire_of(const Items& items) { return WireValue::list(detail::to_values(items)); }
  static WireValue wire_of(const DynamicProxy& proxy) { return to_value(proxy); }

  template <class Other>
  Result<void> change(std::string_view how, const Other& other) const {
    return call<void>(how, wire_of(other));
  }
  template <class Other>
  Result<Items> combined(std::string_view how, const Other& other) const {
    return detail::from_values<T>(call<std::vector<WireValue>>(how, wire_of(other)));
  }
  template <class Other>
  Result<bool> compared(std::string_view how, const Other& other) const {
    return call<bool>(how, wire_of(other));
  }
};

}  // namespace passel::inline v0
