// Tool passel: values of managers as JSON.
#include "wire_json.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace passel_cli {

using nlohmann::json;
using passel::ValueKind;
using passel::WireValue;

namespace {

json array_of(const WireValue::Items& items) {
  json out = json::array();
  for (const WireValue& item : items) out.push_back(to_json(item));
  return out;
}

json map_of(const WireValue::Entries& entries) {
  const bool is_object = std::all_of(entries.begin(), entries.end(), [](const auto& entry) {
    return entry.first.as_text() != nullptr;
  });
  json out = is_object ? json::object() : json::array();
  for (const auto& [key, value] : entries) {
    if (is_object) {
      out[*key.as_text()] = to_json(value);
    } else {
      out.push_back(json::array({to_json(key), to_json(value)}));
    }
  }
  return out;
}

WireValue from_json(const json& from) {
  switch (from.type()) {
    case json::value_t::boolean: return WireValue{from.get<bool>()};
    case json::value_t::number_integer: return WireValue{from.get<std::int64_t>()};
    case json::value_t::number_unsigned: return WireValue{from.get<std::uint64_t>()};
    case json::value_t::number_float: return WireValue{from.get<double>()};
    case json::value_t::string: return WireValue{from.get<std::string>()};
    case json::value_t::array: {
      WireValue::Items items;
      for (const json& item : from) items.push_back(from_json(item));
      return WireValue::list(std::move(items));
    }
    case json::value_t::object: {
      WireValue::Entries entries;
      for (const auto& [key, value] : from.items()) entries.emplace_back(key, from_json(value));
      return WireValue::map(std::move(entries));
    }
    default: return WireValue{};
  }
}

}  // namespace

json to_json(const WireValue& value) {
  if (const auto flag = value.as_bool()) return *flag;
  if (const auto number = value.as_int64()) return *number;
  if (const auto number = value.as_uint64()) return *number;
  if (const auto number = value.as_double()) return *number;
  if (const auto* text = value.as_text()) return *text;
  if (const auto* items = value.items()) return array_of(*items);
  if (const auto* entries = value.entries()) return map_of(*entries);
  if (const auto* numbers = value.numbers()) {
    json out = json::array();
    for (std::size_t i = 0; i < numbers->size(); ++i) out.push_back(to_json(numbers->at(i)));
    return out;
  }
  if (value.is_none()) return nullptr;
  return value.to_string();
}

WireValue value_of(const std::string& argument) {
  const json parsed = json::parse(argument, nullptr, false);
  return parsed.is_discarded() ? WireValue{argument} : from_json(parsed);
}

}  // namespace passel_cli
