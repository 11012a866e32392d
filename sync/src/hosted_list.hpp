// Layer sync: a list that lives in a manager's server.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include "hosted_values.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Python's list as a hosted object. Negative indexes count from the end.
class HostedList final : public HostedContainer<HostedList> {
 public:
  using Items = std::vector<WireValue>;
  using Bound = std::optional<std::int64_t>;

  explicit HostedList(Items items) : items_{std::move(items)} {}

  void append(WireValue item) { changing().push_back(std::move(item)); }
  void extend(Items items);
  void insert(std::int64_t index, WireValue item);
  [[nodiscard]] Result<WireValue> pop(std::int64_t index);
  [[nodiscard]] Result<void> remove(const WireValue& item);
  [[nodiscard]] Result<std::uint64_t> index(const WireValue& item, Bound start, Bound stop) const;
  [[nodiscard]] std::uint64_t count(const WireValue& item) const;
  [[nodiscard]] bool contains(const WireValue& item) const { return count(item) != 0; }
  void sort(bool reversed);
  void reverse();
  void clear() { changing().clear(); }
  [[nodiscard]] std::uint64_t size() const { return items_.size(); }
  [[nodiscard]] Items values() const { return items_; }
  [[nodiscard]] Result<WireValue> at(std::int64_t index) const;
  [[nodiscard]] Result<void> set(std::int64_t index, WireValue item);
  [[nodiscard]] Result<void> erase(std::int64_t index);
  [[nodiscard]] Result<Items> slice(Bound start, Bound stop, std::int64_t step) const;
  [[nodiscard]] Result<void> set_slice(Bound start, Bound stop, std::int64_t step, Items items);
  [[nodiscard]] Result<void> erase_slice(Bound start, Bound stop, std::int64_t step);
  [[nodiscard]] Result<void> repeat(std::int64_t times);
  /// So many changes there were, and the item.
  [[nodiscard]] Result<WireValue> seen(std::int64_t index) const;
  /// Sets it when nothing has changed since.
  [[nodiscard]] Result<bool> replace(std::int64_t index, std::uint64_t changes, WireValue item);

  static std::span<const HostedMethod<HostedList>> table();
  [[nodiscard]] std::string text_up_to(std::size_t most) const {
    return text_of_items("[", items_, "]", most);
  }
  [[nodiscard]] Result<WireValue> copy() const override { return WireValue::list(items_); }

 private:
  /// The items, to be changed.
  [[nodiscard]] Items& changing() {
    ++changes_;
    return items_;
  }
  [[nodiscard]] Result<std::size_t> place(std::int64_t index, std::string_view doing) const;
  [[nodiscard]] Result<std::vector<std::size_t>> places(Bound start, Bound stop,
                                                        std::int64_t step) const;

  Items items_;
  std::uint64_t changes_ = 0;
};

/// The indexes that Python's slice start:stop:step means in a sequence of that size. Errors:
/// invalid_argument for step 0.
[[nodiscard]] Result<std::vector<std::size_t>> slice_places(std::size_t size,
                                                            std::optional<std::int64_t> start,
                                                            std::optional<std::int64_t> stop,
                                                            std::int64_t step);

Result<std::shared_ptr<HostedObject>> make_hosted_list(const HostedCall& call);

}  // namespace passel::inline v0::detail
