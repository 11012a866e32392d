// Layer transport: the order of self-describing values.
#include <passel/wire_value.hpp>

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstddef>
#include <vector>

namespace passel::inline v0 {
namespace {

std::weak_ordering compare_doubles(double a, double b) noexcept {
  const bool a_nan = std::isnan(a);
  const bool b_nan = std::isnan(b);
  if (a_nan || b_nan) return a_nan <=> b_nan;
  return a < b   ? std::weak_ordering::less
         : a > b ? std::weak_ordering::greater
                 : std::weak_ordering::equivalent;
}

std::weak_ordering compare_items(const WireValue::Items& a, const WireValue::Items& b) {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (const auto order = a[i].compare(b[i]); order != 0) return order;
  }
  return a.size() <=> b.size();
}

std::weak_ordering compare_big(const BigInt& a, const BigInt& b) noexcept {
  if (a.negative != b.negative) return b.negative <=> a.negative;
  std::weak_ordering order = a.magnitude.size() <=> b.magnitude.size();
  for (std::size_t i = a.magnitude.size(); order == 0 && i-- > 0;)
    order = a.magnitude[i] <=> b.magnitude[i];
  return a.negative ? 0 <=> order : order;
}

// -1, 0 or 1: where an integer of this representation stands between the others.
int integer_rank(const WireValue& value) noexcept {
  if (const BigInt* big = value.as_big()) return big->negative ? -1 : 2;
  return value.as_int64() ? 0 : 1;
}

std::weak_ordering compare_integers(const WireValue& a, const WireValue& b) noexcept {
  const int rank = integer_rank(a);
  if (const int other = integer_rank(b); rank != other) return rank <=> other;
  if (rank == 0) return *a.as_int64() <=> *b.as_int64();
  if (rank == 1) return *a.as_uint64() <=> *b.as_uint64();
  return compare_big(*a.as_big(), *b.as_big());
}

/// A value whose sets and maps are sorted, all the way down and once. Sets in sets that were sorted
/// anew for each comparison that comes by would take time without end, for a message of some KiB.
class Sorted {
 public:
  explicit Sorted(const WireValue& value) : value_{&value} {
    if (const auto* const items = value.items()) {
      parts_.reserve(items->size());
      for (const WireValue& item : *items) parts_.emplace_back(item);
      if (value.kind() == ValueKind::set) sort();
    } else if (const auto* const entries = value.entries()) {
      parts_.reserve(entries->size());
      for (const auto& [key, item] : *entries) parts_.push_back(Sorted{key, item});
      sort();
    }
  }

  [[nodiscard]] std::weak_ordering compare(const Sorted& other) const {
    if (value_ != nullptr) {
      const ValueKind kind = value_->kind();
      if (kind != other.value_->kind()) return kind <=> other.value_->kind();
      const bool is_ordered = kind == ValueKind::list || kind == ValueKind::tuple;
      if (!is_ordered && kind != ValueKind::set && kind != ValueKind::map)
        return value_->compare(*other.value_);
      if (!is_ordered && parts_.size() != other.parts_.size())
        return parts_.size() <=> other.parts_.size();
    }
    for (std::size_t i = 0; i < parts_.size() && i < other.parts_.size(); ++i)
      if (const auto order = parts_[i].compare(other.parts_[i]); order != 0) return order;
    return parts_.size() <=> other.parts_.size();
  }

 private:
  /// An entry of a map.
  Sorted(const WireValue& key, const WireValue& item) : parts_{Sorted{key}, Sorted{item}} {}
  void sort() {
    std::sort(parts_.begin(), parts_.end(),
              [](const Sorted& a, const Sorted& b) { return a.compare(b) < 0; });
  }

  const WireValue* value_ = nullptr;
  std::vector<Sorted> parts_;
};

std::size_t count_of(const WireValue& value) noexcept {
  return value.items() != nullptr ? value.items()->size() : value.entries()->size();
}

}  // namespace

std::weak_ordering WireValue::compare(const WireValue& other) const {
  const ValueKind mine = kind();
  if (mine != other.kind()) return mine <=> other.kind();
  switch (mine) {
    case ValueKind::none: return std::weak_ordering::equivalent;
    case ValueKind::boolean: return *as_bool() <=> *other.as_bool();
    case ValueKind::integer: return compare_integers(*this, other);
    case ValueKind::floating: return compare_doubles(*as_double(), *other.as_double());
    case ValueKind::text: return as_text()->compare(*other.as_text()) <=> 0;
    case ValueKind::bytes: return *as_bytes() <=> *other.as_bytes();
    case ValueKind::list:
    case ValueKind::tuple: return compare_items(*items(), *other.items());
    case ValueKind::set:
    case ValueKind::map: {
      const auto order = count_of(*this) <=> count_of(other);
      return order != 0 ? order : Sorted{*this}.compare(Sorted{other});
    }
    case ValueKind::numbers: {
      const auto order = numbers()->type <=> other.numbers()->type;
      return order != 0 ? order : numbers()->data <=> other.numbers()->data;
    }
    case ValueKind::handle: {
      const Handle& a = *handle();
      const Handle& b = *other.handle();
      if (a.kind != b.kind) return a.kind <=> b.kind;
      return a.id != b.id ? a.id <=> b.id : a.type <=> b.type;
    }
    case ValueKind::foreign: {
      const Foreign& a = *foreign();
      const Foreign& b = *other.foreign();
      if (a.format != b.format) return a.format <=> b.format;
      return a.type != b.type ? a.type <=> b.type : a.data <=> b.data;
    }
  }
  return std::weak_ordering::equivalent;
}

}  // namespace passel::inline v0
