// Layer sync: namespaces, values and arrays that live in a manager's server.
#include "hosted_dict.hpp"
#include "hosted_list.hpp"

#include <passel/codec.hpp>
#include <passel/detail/brief_text.hpp>
#include <passel/typecode.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

namespace passel::inline v0::detail {
namespace {

bool is_number(const WireValue& value) {
  return value.kind() == ValueKind::integer || value.kind() == ValueKind::floating;
}

auto place_in(auto& entries, const std::string& name) {
  return std::lower_bound(entries.begin(), entries.end(), name,
                          [](const auto& entry, const std::string& n) { return entry.first < n; });
}

Error no_attribute(const std::string& name) {
  return {Errc::not_found, "the Namespace has no '" + name + "'"};
}

/// What stays in place keeps its kind, so that readers get what they expect.
Result<void> same_kind(const WireValue& old, const WireValue& fresh) {
  if (old.kind() == fresh.kind() || !is_number(old)) return {};
  return Error{Errc::type_mismatch, "expected " + std::string{to_string(old.kind())} + ", got " +
                                        std::string{to_string(fresh.kind())} + ": " +
                                        brief_text(fresh)};
}

template <class T>
Result<void> fits(const WireValue& item) {
  const auto number = codec<T>::decode(item);
  if (!number) return number.error();
  return {};
}

/// An element of an array of that type code, to stand in the place of another one or beside it.
Result<void> check_element(std::string_view code, const WireValue& other, const WireValue& item) {
  PASSEL_CHECK(same_kind(other, item));
  if (item.kind() != ValueKind::integer || code.size() != 1) return {};
  switch (code.front()) {
    case 'b': return fits<typecode<'b'>>(item);
    case 'B': return fits<typecode<'B'>>(item);
    case 'h': return fits<typecode<'h'>>(item);
    case 'H': return fits<typecode<'H'>>(item);
    case 'i': return fits<typecode<'i'>>(item);
    case 'I': return fits<typecode<'I'>>(item);
    case 'l':
    case 'q': return fits<typecode<'q'>>(item);
    case 'L':
    case 'Q': return fits<typecode<'Q'>>(item);
    default: return {};
  }
}

}  // namespace

Result<std::shared_ptr<HostedObject>> make_hosted_namespace(const HostedCall&) {
  return std::shared_ptr<HostedObject>{std::make_shared<HostedNamespace>()};
}

Result<std::shared_ptr<HostedObject>> make_hosted_value(const HostedCall& call) {
  auto args = call.arguments<WireValue>();
  if (!args) return args.error();
  return std::shared_ptr<HostedObject>{
      std::make_shared<HostedValue>(std::get<0>(*std::move(args)))};
}

Result<std::shared_ptr<HostedObject>> make_hosted_array(const HostedCall& call) {
  auto args = call.arguments<std::string, std::vector<WireValue>>();
  if (!args) return args.error();
  auto& [code, items] = *args;
  for (const WireValue& item : items) {
    if (!is_number(item))
      return Error{Errc::type_mismatch, "an array holds numbers, not " + brief_text(item)};
    PASSEL_CHECK(check_element(code, items.front(), item));
  }
  return std::shared_ptr<HostedObject>{
      std::make_shared<HostedArray>(std::move(code), std::move(items))};
}

std::span<const HostedMethod<HostedNamespace>> HostedNamespace::table() {
  static constexpr HostedMethod<HostedNamespace> methods[] = {
      hosted_method<&HostedNamespace::get>{"get"},
      hosted_method<&HostedNamespace::set>{"set"},
      hosted_method<&HostedNamespace::erase>{"erase"},
      hosted_method<&HostedNamespace::contains>{"contains"},
      hosted_method<&HostedNamespace::names>{"names"},
  };
  return methods;
}

Result<WireValue> HostedNamespace::get(const std::string& name) const {
  const auto place = place_in(entries_, name);
  if (place == entries_.end() || place->first != name) return no_attribute(name);
  return place->second;
}

Result<void> HostedNamespace::set(const std::string& name, WireValue value) {
  if (name.empty()) return Error{Errc::invalid_argument, "a name must not be empty"};
  const auto place = place_in(entries_, name);
  if (place != entries_.end() && place->first == name) {
    place->second = std::move(value);
  } else {
    entries_.emplace(place, name, std::move(value));
  }
  return {};
}

Result<void> HostedNamespace::erase(const std::string& name) {
  const auto place = place_in(entries_, name);
  if (place == entries_.end() || place->first != name) return no_attribute(name);
  entries_.erase(place);
  return {};
}

bool HostedNamespace::contains(const std::string& name) const {
  const auto place = place_in(entries_, name);
  return place != entries_.end() && place->first == name;
}

std::vector<std::string> HostedNamespace::names() const {
  std::vector<std::string> out;
  for (const auto& [name, value] : entries_) out.push_back(name);
  return out;
}

std::string HostedNamespace::text_up_to(std::size_t most) const {
  TextOfItems text{"Namespace(", most};
  std::string before;
  for (const auto& [name, value] : entries_) {
    if (name.starts_with('_')) continue;
    if (!text.add(before + name + "=", value)) break;
    before = ", ";
  }
  return std::move(text).end(")");
}

Result<WireValue> HostedNamespace::copy() const {
  return WireValue::map(WireValue::Entries{entries_.begin(), entries_.end()});
}

std::span<const HostedMethod<HostedValue>> HostedValue::table() {
  static constexpr HostedMethod<HostedValue> methods[] = {
      hosted_method<&HostedValue::get>{"get"},
      hosted_method<&HostedValue::set>{"set"},
  };
  return methods;
}

Result<void> HostedValue::set(WireValue value) {
  PASSEL_CHECK(same_kind(value_, value));
  value_ = std::move(value);
  return {};
}

std::string HostedValue::text_up_to(std::size_t most) const {
  return "Value(" + text_within(value_, most) + ")";
}

std::span<const HostedMethod<HostedArray>> HostedArray::table() {
  static constexpr HostedMethod<HostedArray> methods[] = {
      hosted_method<&HostedArray::at>{"at"},
      hosted_method<&HostedArray::set>{"set"},
      hosted_method<&HostedArray::size>{"size"},
      hosted_method<&HostedArray::values>{"values"},
      hosted_method<&HostedArray::slice>{"slice"},
      hosted_method<&HostedArray::set_slice>{"set_slice"},
  };
  return methods;
}

Result<std::size_t> HostedArray::place(std::int64_t index) const {
  const auto size = static_cast<std::int64_t>(items_.size());
  const std::int64_t found = index < 0 ? index + size : index;
  if (found >= 0 && found < size) return static_cast<std::size_t>(found);
  return Error{Errc::invalid_argument, "array index " + std::to_string(index) +
                                           " is out of range: the array has " +
                                           std::to_string(size) + " elements"};
}

Result<WireValue> HostedArray::at(std::int64_t index) const {
  PASSEL_TRY(const std::size_t at, place(index));
  return items_[at];
}

Result<void> HostedArray::set(std::int64_t index, WireValue item) {
  PASSEL_TRY(const std::size_t at, place(index));
  PASSEL_CHECK(check_element(code_, items_[at], item));
  items_[at] = std::move(item);
  return {};
}

Result<HostedArray::Items> HostedArray::slice(std::optional<std::int64_t> start,
                                              std::optional<std::int64_t> stop,
                                              std::int64_t step) const {
  PASSEL_TRY(const auto places, slice_places(items_.size(), start, stop, step));
  Items out;
  for (const std::size_t at : places) out.push_back(items_[at]);
  return out;
}

Result<void> HostedArray::set_slice(std::optional<std::int64_t> start,
                                    std::optional<std::int64_t> stop, std::int64_t step,
                                    Items items) {
  PASSEL_TRY(const auto places, slice_places(items_.size(), start, stop, step));
  if (places.size() != items.size()) {
    return Error{
        Errc::invalid_argument,
        std::to_string(items.size()) + " elements for a slice of " + std::to_string(places.size())};
  }
  for (std::size_t i = 0; i < items.size(); ++i)
    PASSEL_CHECK(check_element(code_, items_[places[i]], items[i]));
  for (std::size_t i = 0; i < items.size(); ++i) items_[places[i]] = std::move(items[i]);
  return {};
}

std::string HostedArray::text_up_to(std::size_t most) const {
  return text_of_items("array('" + code_ + "', [", items_, "])", most);
}

}  // namespace passel::inline v0::detail
