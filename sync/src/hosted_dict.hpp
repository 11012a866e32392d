// Layer sync: dictionaries and namespaces that live in a manager's server.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include "hosted_values.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Python's dict as a hosted object: in the order in which keys were first set.
class HostedDict final : public HostedContainer<HostedDict> {
 public:
  using Values = std::vector<WireValue>;

  HostedDict() = default;

  [[nodiscard]] Result<WireValue> at(const WireValue& key) const;
  [[nodiscard]] Result<void> set(WireValue key, WireValue value);
  [[nodiscard]] Result<void> erase(const WireValue& key);
  [[nodiscard]] Result<bool> contains(const WireValue& key) const;
  /// The value in a tuple, or an empty one.
  [[nodiscard]] Result<WireValue> get(const WireValue& key) const;
  /// The same for each of them.
  [[nodiscard]] Result<Values> get_many(const Values& keys) const;
  /// Which value it is, counting all that were set, and the value.
  [[nodiscard]] Result<WireValue> seen(const WireValue& key) const;
  /// Sets it when it is still that one.
  [[nodiscard]] Result<bool> replace(const WireValue& key, std::uint64_t version, WireValue value);
  [[nodiscard]] Result<WireValue> pop(const WireValue& key);
  [[nodiscard]] Result<WireValue> take(const WireValue& key);
  [[nodiscard]] Result<WireValue> popitem();
  [[nodiscard]] Result<WireValue> setdefault(WireValue key, WireValue value);
  /// Pairs of key and value.
  [[nodiscard]] Result<void> update(const Values& pairs);
  void clear();
  [[nodiscard]] std::uint64_t size() const { return entries_.size(); }
  [[nodiscard]] Values keys() const;
  [[nodiscard]] Values values() const;
  [[nodiscard]] Values items() const;

  static std::span<const HostedMethod<HostedDict>> table();
  [[nodiscard]] std::string text_up_to(std::size_t most) const;
  [[nodiscard]] Result<WireValue> copy() const override { return as_map(); }

 private:
  struct Entry {
    WireValue key;
    WireValue value;
    std::uint64_t version = 0;
  };
  using Entries = std::list<Entry>;

  [[nodiscard]] WireValue as_map() const;
  [[nodiscard]] Result<Entries::iterator> find(const WireValue& key) const;

  mutable Entries entries_;
  std::unordered_map<WireValue, Entries::iterator> places_;
  std::uint64_t last_version_ = 0;
};

/// Python's Namespace as a hosted object: values under names.
class HostedNamespace final : public HostedContainer<HostedNamespace> {
 public:
  [[nodiscard]] Result<WireValue> get(const std::string& name) const;
  [[nodiscard]] Result<void> set(const std::string& name, WireValue value);
  [[nodiscard]] Result<void> erase(const std::string& name);
  [[nodiscard]] bool contains(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> names() const;

  static std::span<const HostedMethod<HostedNamespace>> table();
  /// "Namespace(name='Bob', n=1)", sorted.
  [[nodiscard]] std::string text_up_to(std::size_t most) const;
  [[nodiscard]] Result<WireValue> copy() const override;

 private:
  std::vector<std::pair<std::string, WireValue>> entries_;  // sorted by name
};

/// Python's manager Value: one cell.
class HostedValue final : public HostedContainer<HostedValue> {
 public:
  explicit HostedValue(WireValue value) : value_{std::move(value)} {}
  [[nodiscard]] WireValue get() const { return value_; }
  [[nodiscard]] Result<void> set(WireValue value);

  static std::span<const HostedMethod<HostedValue>> table();
  /// "Value(5)"
  [[nodiscard]] std::string text_up_to(std::size_t most) const;
  [[nodiscard]] Result<WireValue> copy() const override { return value_; }

 private:
  WireValue value_;
};

/// Python's manager Array: numbers of one type, as many as at the beginning.
class HostedArray final : public HostedContainer<HostedArray> {
 public:
  using Items = std::vector<WireValue>;
  HostedArray(std::string code, Items items) : code_{std::move(code)}, items_{std::move(items)} {}
  [[nodiscard]] std::uint64_t size() const { return items_.size(); }
  [[nodiscard]] Result<WireValue> at(std::int64_t index) const;
  [[nodiscard]] Result<void> set(std::int64_t index, WireValue item);
  [[nodiscard]] Items values() const { return items_; }
  [[nodiscard]] Result<Items> slice(std::optional<std::int64_t> start,
                                    std::optional<std::int64_t> stop, std::int64_t step) const;
  [[nodiscard]] Result<void> set_slice(std::optional<std::int64_t> start,
                                       std::optional<std::int64_t> stop, std::int64_t step,
                                       Items items);

  static std::span<const HostedMethod<HostedArray>> table();
  /// "array('i', [1, 2])"
  [[nodiscard]] std::string text_up_to(std::size_t most) const;
  [[nodiscard]] Result<WireValue> copy() const override { return WireValue::list(items_); }

 private:
  [[nodiscard]] Result<std::size_t> place(std::int64_t index) const;

  std::string code_;
  Items items_;
};

Result<std::shared_ptr<HostedObject>> make_hosted_dict(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_namespace(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_value(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_array(const HostedCall& call);

}  // namespace passel::inline v0::detail
