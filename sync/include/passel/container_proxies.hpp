// Layer sync: lists, dictionaries, namespaces, values and arrays in a manager's server.
#pragma once

#include <passel/proxy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// Python's slice start:stop:step. Negative places count from the end; what is outside is cut off.
struct Slice {
  std::optional<std::int64_t> start{};
  std::optional<std::int64_t> stop{};
  std::int64_t step = 1;
};

namespace detail {

template <class T>
std::vector<WireValue> to_values(const std::vector<T>& items) {
  std::vector<WireValue> out;
  out.reserve(items.size());
  for (const auto& item : items) out.push_back(to_value(item));
  return out;
}

template <class T>
Result<std::vector<T>> from_values(Result<std::vector<WireValue>> values) {
  if (!values) return values.error();
  std::vector<T> out;
  out.reserve(values->size());
  for (const WireValue& value : *values) {
    PASSEL_TRY(T item, from_value<T>(value));
    out.push_back(std::move(item));
  }
  return out;
}

template <class T>
Result<T> from_result(const Result<WireValue>& value) {
  if (!value) return value.error();
  return from_value<T>(*value);
}

/// Changes a value by reading it, applying `change` to it here, and setting it when nobody else has
/// set it meanwhile; else again.
template <class T, class F, class... Where>
Result<T> change_value(const DynamicProxy& proxy, F& change, const Where&... where) {
  for (;;) {
    const auto seen = proxy.call<WireValue>("seen", where...);
    if (!seen) return seen.error();
    PASSEL_TRY(auto now, (from_value<std::pair<std::uint64_t, T>>(*seen)));
    change(now.second);
    PASSEL_TRY(const bool done,
               proxy.call<bool>("replace", where..., now.first, to_value(now.second)));
    if (done) return std::move(now.second);
  }
}

/// A tuple of one, or of nothing.
template <class T>
Result<std::optional<T>> from_maybe(const Result<WireValue>& value) {
  if (!value) return value.error();
  const auto* const items = value->items();
  if (items == nullptr || items->empty()) return std::optional<T>{};
  PASSEL_TRY(T item, from_value<T>(items->front()));
  return std::optional<T>{std::move(item)};
}

}  // namespace detail

/// A list in a manager's server (Python's SyncManager.list).
///
///     auto names = manager.list<std::string>({"ann"}).unwrap();
///     names.append("bob").unwrap();
///     names.at(-1).unwrap();                                     // "bob"
///     for (const std::string& name : names.values().unwrap()) ...
///
/// Each call is whole; what needs two of them needs a lock as well. What is fetched is a copy: a
/// change of it is lost, unless it is set again, as `change` does. An item that is a proxy, of
/// another list or of anything in the same server, names its object, and keeps it alive.
///
/// Errors: invalid_argument for an index that is not there (Python: IndexError), not_found for a
/// value that is not there (ValueError), type_mismatch for an item that is no T, and those of
/// DynamicProxy's calls. Any number of threads.
template <class T = WireValue>
class ListProxy : public DynamicProxy {
 public:
  using value_type = T;
  using Items = std::vector<T>;
  using DynamicProxy::DynamicProxy;
  explicit ListProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  Result<void> append(const T& item) const { return call<void>("append", to_value(item)); }
  /// (Python: extend, +=)
  Result<void> extend(const Items& items) const {
    return call<void>("extend", detail::to_values(items));
  }
  /// Before that place. (Python: insert)
  Result<void> insert(std::int64_t index, const T& item) const {
    return call<void>("insert", index, to_value(item));
  }
  /// Takes an item out, the last one by default.
  Result<T> pop(std::int64_t index = -1) const {
    return detail::from_result<T>(call<WireValue>("pop", index));
  }
  /// Takes out the first item that is equal.
  Result<void> remove(const T& item) const { return call<void>("remove", to_value(item)); }
  /// Where the first item is that is equal, among those of start:stop.
  Result<std::size_t> index(const T& item, Slice among = {}) const {
    return call<std::size_t>("index", to_value(item), among.start, among.stop);
  }
  Result<std::size_t> count(const T& item) const {
    return call<std::size_t>("count", to_value(item));
  }
  /// (Python: item in list)
  Result<bool> contains(const T& item) const { return call<bool>("contains", to_value(item)); }
  /// Ascending; equal ones stay as they are. Values of different kinds have an order, too.
  Result<void> sort() const { return call<void>("sort", false); }
  /// Descending. (Python: sort(reverse=True))
  Result<void> sort_descending() const { return call<void>("sort", true); }
  Result<void> reverse() const { return call<void>("reverse"); }
  Result<void> clear() const { return call<void>("clear"); }
  /// (Python: len)
  Result<std::size_t> size() const { return call<std::size_t>("size"); }
  /// (Python: list[index])
  Result<T> at(std::int64_t index) const {
    return detail::from_result<T>(call<WireValue>("at", index));
  }
  /// (Python: list[index] = item)
  Result<void> set(std::int64_t index, const T& item) const {
    return call<void>("set", index, to_value(item));
  }
  /// `change(item)` gets a copy of the item and changes it; that is set unless anything of the list
  /// has changed meanwhile, else it is called again with what is there then. Gives what was set.
  /// (No equivalent in Python, where `list[0].append(1)` is lost.)
  template <class F>
  Result<T> change(std::int64_t index, F change) const {
    return detail::change_value<T>(*this, change, index);
  }
  /// (Python: del list[index])
  Result<void> erase(std::int64_t index) const { return call<void>("erase", index); }
  /// (Python: list[start:stop:step])
  Result<Items> slice(Slice which) const {
    return detail::from_values<T>(
        call<std::vector<WireValue>>("slice", which.start, which.stop, which.step));
  }
  /// Errors also: invalid_argument when a step other than 1 asks for another number of items.
  Result<void> set_slice(Slice which, const Items& items) const {
    return call<void>("set_slice", which.start, which.stop, which.step, detail::to_values(items));
  }
  Result<void> erase_slice(Slice which) const {
    return call<void>("erase_slice", which.start, which.stop, which.step);
  }
  /// The same items so many times. (Python: list *= times)
  Result<void> repeat(std::int64_t times) const { return call<void>("repeat", times); }
  /// All items as they are now. (Python: list[:], copy(), iteration)
  Result<Items> values() const {
    return detail::from_values<T>(call<std::vector<WireValue>>("values"));
  }
  /// The last one first. (Python: reversed(list))
  Result<Items> reversed() const { return slice({.step = -1}); }
  /// Its items and those behind them; it stays as it is. (Python: list + items)
  Result<Items> plus(const Items& items) const {
    PASSEL_TRY(Items out, values());
    out.insert(out.end(), items.begin(), items.end());
    return out;
  }
  /// Its items so many times; it stays as it is. (Python: list * times)
  Result<Items> times(std::int64_t times) const {
    PASSEL_TRY(const Items once, values());
    Items out;
    for (std::int64_t n = 0; n < times; ++n) out.insert(out.end(), once.begin(), once.end());
    return out;
  }
};

/// A dictionary in a manager's server, in the order in which its keys were first set (Python's
/// SyncManager.dict).
///
///     auto ages = manager.dict<std::string, int>().unwrap();
///     ages.set("jack", 22).unwrap();
///     ages.get("hong").unwrap();                                 // nothing
///     for (const auto& [name, age] : ages.items().unwrap()) ...
///
/// With WireValues keys of different kinds live side by side. Everything else is as for ListProxy.
/// Errors: not_found for a key that is not there (Python: KeyError), type_mismatch for a key that
/// is a list, set, dict or array (TypeError: unhashable).
template <class K = WireValue, class V = WireValue>
class DictProxy : public DynamicProxy {
 public:
  using Items = std::vector<std::pair<K, V>>;
  using DynamicProxy::DynamicProxy;
  explicit DictProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  /// (Python: dict[key])
  Result<V> at(const K& key) const {
    return detail::from_result<V>(call<WireValue>("at", to_value(key)));
  }
  /// (Python: dict[key] = value)
  Result<void> set(const K& key, const V& value) const {
    return call<void>("set", to_value(key), to_value(value));
  }
  /// (Python: del dict[key])
  Result<void> erase(const K& key) const { return call<void>("erase", to_value(key)); }
  /// (Python: key in dict)
  Result<bool> contains(const K& key) const { return call<bool>("contains", to_value(key)); }
  /// The value, or nothing. (Python: get(key))
  Result<std::optional<V>> get(const K& key) const {
    return detail::from_maybe<V>(call<WireValue>("get", to_value(key)));
  }
  /// The value, or the one given. (Python: get(key, otherwise))
  Result<V> get(const K& key, V otherwise) const {
    PASSEL_TRY(auto found, get(key));
    return found ? *std::move(found) : std::move(otherwise);
  }
  /// What get gives for each of them, in one call.
  Result<std::vector<std::optional<V>>> get_many(const std::vector<K>& keys) const {
    const auto found = call<std::vector<WireValue>>("get_many", detail::to_values(keys));
    if (!found) return found.error();
    std::vector<std::optional<V>> out;
    for (const WireValue& one : *found) {
      PASSEL_TRY(auto value, detail::from_maybe<V>(one));
      out.push_back(std::move(value));
    }
    return out;
  }
  /// `change(value)` gets a copy of the value and changes it; that is set unless the key has been
  /// set meanwhile, else it is called again with what is there then. Gives what was set.
  ///
  ///     dict.change("seen", [&](std::vector<int>& list) { list.push_back(7); }).unwrap();
  ///
  /// (No equivalent in Python, where `dict["seen"].append(7)` is lost.)
  template <class F>
  Result<V> change(const K& key, F change) const {
    return detail::change_value<V>(*this, change, to_value(key));
  }
  /// Takes the key out. (Python: pop(key))
  Result<V> pop(const K& key) const {
    return detail::from_result<V>(call<WireValue>("pop", to_value(key)));
  }
  /// (Python: pop(key, otherwise))
  Result<V> pop(const K& key, V otherwise) const {
    PASSEL_TRY(auto found, detail::from_maybe<V>(call<WireValue>("take", to_value(key))));
    return found ? *std::move(found) : std::move(otherwise);
  }
  /// Takes out the newest key. Errors also: not_found when there is none.
  Result<std::pair<K, V>> popitem() const {
    return detail::from_result<std::pair<K, V>>(call<WireValue>("popitem"));
  }
  /// What is there; else the value given, which is there then.
  Result<V> setdefault(const K& key, const V& value) const {
    return detail::from_result<V>(call<WireValue>("setdefault", to_value(key), to_value(value)));
  }
  /// All of them, in one call. (Python: update, |=)
  Result<void> update(const Items& items) const {
    return call<void>("update", detail::to_values(items));
  }
  Result<void> clear() const { return call<void>("clear"); }
  /// (Python: len)
  Result<std::size_t> size() const { return call<std::size_t>("size"); }
  /// As they are now.
  Result<std::vector<K>> keys() const {
    return detail::from_values<K>(call<std::vector<WireValue>>("keys"));
  }
  Result<std::vector<V>> values() const {
    return detail::from_values<V>(call<std::vector<WireValue>>("values"));
  }
  /// (Python: items(), copy())
  Result<Items> items() const {
    return detail::from_values<std::pair<K, V>>(call<std::vector<WireValue>>("items"));
  }
  /// The newest key first. (Python: reversed(dict))
  Result<std::vector<K>> reversed() const {
    PASSEL_TRY(std::vector<K> all, keys());
    return std::vector<K>{std::make_move_iterator(all.rbegin()),
                          std::make_move_iterator(all.rend())};
  }
  /// Its items with those of `other`, which count where both have a key; it stays as it is.
  /// (Python: dict | other)
  Result<Items> merged(const Items& other) const {
    PASSEL_TRY(Items out, items());
    for (const auto& entry : other) {
      const auto found = std::find_if(out.begin(), out.end(),
                                      [&](const auto& one) { return one.first == entry.first; });
      if (found == out.end())
        out.push_back(entry);
      else
        found->second = entry.second;
    }
    return out;
  }
  /// Items with these keys and one value, for SyncManager::dict or update. (Python: fromkeys)
  [[nodiscard]] static Items fromkeys(const std::vector<K>& keys, const V& value) {
    Items out;
    for (const K& key : keys) out.emplace_back(key, value);
    return out;
  }
};

/// Values under names (Python's SyncManager.Namespace).
///
///     auto space = manager.namespace_().unwrap();
///     space.set("a", 10).unwrap();
///     space.get<int>("a").unwrap();                              // 10
///     space.text().unwrap();                                     // "Namespace(a=10)"
///
/// Errors: not_found for a name that is not there (Python: AttributeError), invalid_argument for an
/// empty one. Names with a "_" in front are not printed.
class NamespaceProxy : public DynamicProxy {
 public:
  using DynamicProxy::DynamicProxy;
  explicit NamespaceProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  template <class T = WireValue>
  Result<T> get(std::string_view name) const {
    return detail::from_result<T>(call<WireValue>("get", name));
  }
  template <class T>
  Result<void> set(std::string_view name, const T& value) const {
    return call<void>("set", name, to_value(value));
  }
  Result<void> set(std::string_view name, std::string_view text) const {
    return call<void>("set", name, WireValue{text});
  }
  Result<void> set(std::string_view name, const char* text) const {
    return set(name, std::string_view{text});
  }
  /// (Python: del space.name)
  Result<void> erase(std::string_view name) const { return call<void>("erase", name); }
  Result<bool> contains(std::string_view name) const { return call<bool>("contains", name); }
  /// Sorted.
  Result<std::vector<std::string>> names() const { return call<std::vector<std::string>>("names"); }
};

/// One value (Python's SyncManager.Value). `get` and `set` are whole; adding to it takes both, and
/// a lock. Errors: type_mismatch for a number of another kind.
template <class T>
class ValueProxy : public DynamicProxy {
 public:
  using DynamicProxy::DynamicProxy;
  explicit ValueProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  Result<T> get() const { return detail::from_result<T>(call<WireValue>("get")); }
  Result<void> set(const T& value) const { return call<void>("set", to_value(value)); }
};

/// Numbers of one type, as many as at the beginning (Python's SyncManager.Array). Errors:
/// invalid_argument for an index that is not there (IndexError) and for a slice of another size,
/// type_mismatch for a number of another kind (TypeError).
template <class T>
class ArrayProxy : public DynamicProxy {
 public:
  using Items = std::vector<T>;
  using DynamicProxy::DynamicProxy;
  explicit ArrayProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  Result<std::size_t> size() const { return call<std::size_t>("size"); }
  Result<T> at(std::int64_t index) const {
    return detail::from_result<T>(call<WireValue>("at", index));
  }
  Result<void> set(std::int64_t index, const T& item) const {
    return call<void>("set", index, to_value(item));
  }
  Result<Items> values() const {
    return detail::from_values<T>(call<std::vector<WireValue>>("values"));
  }
  Result<Items> slice(Slice which) const {
    return detail::from_values<T>(
        call<std::vector<WireValue>>("slice", which.start, which.stop, which.step));
  }
  Result<void> set_slice(Slice which, const Items& items) const {
    return call<void>("set_slice", which.start, which.stop, which.step, detail::to_values(items));
  }
};

}  // namespace passel::inline v0
