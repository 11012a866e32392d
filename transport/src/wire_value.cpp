// Layer transport: self-describing values: their kinds, hashes and texts.
#include <passel/detail/brief_text.hpp>
#include <passel/wire_value.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace passel::inline v0 {
namespace {

template <class T>
T load(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::size_t mix(std::size_t seed, std::size_t value) noexcept {
  std::uint64_t x = seed ^ (value + 0x9e3779b97f4a7c15U + (seed << 6) + (seed >> 2));
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

std::size_t hash_bytes(const void* data, std::size_t size) noexcept {
  return std::hash<std::string_view>{}({static_cast<const char*>(data), size});
}

/// Text that nobody wants to be longer than `most`: what is behind may be left out.
struct Text : std::string {
  std::size_t most = std::string::npos - 1;
  /// The bytes that may come yet, until it is longer.
  [[nodiscard]] std::size_t room() const noexcept { return size() > most ? 0 : most + 1 - size(); }
};

void append_quoted(Text& out, std::string_view text, bool bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  for (const char c : text.substr(0, out.room())) {
    const auto u = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      (out += '\\') += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (u < 0x20 || u == 0x7f || (bytes && u >= 0x80)) {
      ((out += "\\x") += digits[u >> 4]) += digits[u & 15];
    } else {
      out += c;
    }
  }
  out += quote;
}

void append_double(Text& out, double number) {
  if (std::isnan(number)) {
    out += "nan";
    return;
  }
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  const std::string_view written{text.data(), static_cast<std::size_t>(end - text.data())};
  out += written;
  if (written.find_first_of(".en") == written.npos) out += ".0";
}

/// Digits take time that grows with the square of their number, and a peer may send numbers of any
/// size.
constexpr std::size_t most_printed_bytes = 256;

void append_big(Text& out, const BigInt& number) {
  if (number.magnitude.size() > most_printed_bytes) {
    ((out += number.negative ? "<negative int of " : "<int of ") +=
     std::to_string(number.magnitude.size())) += " bytes>";
    return;
  }
  std::vector<std::uint32_t> rest((number.magnitude.size() + 3) / 4);
  for (std::size_t i = 0; i < number.magnitude.size(); ++i)
    rest[i / 4] |= static_cast<std::uint32_t>(number.magnitude[i]) << (i % 4 * 8);
  std::string reversed;
  while (!rest.empty()) {
    std::uint64_t nine_digits = 0;
    for (std::size_t i = rest.size(); i-- > 0;) {
      nine_digits = (nine_digits << 32) | rest[i];
      rest[i] = static_cast<std::uint32_t>(nine_digits / 1'000'000'000);
      nine_digits %= 1'000'000'000;
    }
    while (!rest.empty() && rest.back() == 0) rest.pop_back();
    for (int n = 0; n < 9 && (nine_digits != 0 || !rest.empty()); ++n, nine_digits /= 10)
      reversed += static_cast<char>('0' + nine_digits % 10);
  }
  if (number.negative) out += '-';
  out.append(reversed.rbegin(), reversed.rend());
}

void append(Text& out, const WireValue& value);

void append_items(Text& out, const WireValue::Items& items) {
  const char* separator = "";
  for (const WireValue& item : items) {
    if (out.room() == 0) return;
    out += std::exchange(separator, ", ");
    append(out, item);
  }
}

void append_map(Text& out, const WireValue::Entries& entries) {
  const char* separator = "";
  out += '{';
  for (const auto& [key, item] : entries) {
    if (out.room() == 0) break;
    out += std::exchange(separator, ", ");
    append(out, key);
    out += ": ";
    append(out, item);
  }
  out += '}';
}

void append_numbers(Text& out, const NumberArray& numbers) {
  ((out += "array('") += to_string(numbers.type)) += "', [";
  for (std::size_t i = 0; i < numbers.size() && out.room() != 0; ++i) {
    if (i != 0) out += ", ";
    append(out, numbers.at(i));
  }
  out += "])";
}

void append_integer(Text& out, const WireValue& value) {
  if (const auto number = value.as_int64()) {
    out += std::to_string(*number);
  } else if (const BigInt* big = value.as_big()) {
    append_big(out, *big);
  } else {
    out += std::to_string(*value.as_uint64());
  }
}

void append(Text& out, const WireValue& value) {
  switch (value.kind()) {
    case ValueKind::none: out += "None"; return;
    case ValueKind::boolean: out += *value.as_bool() ? "True" : "False"; return;
    case ValueKind::integer: append_integer(out, value); return;
    case ValueKind::floating: append_double(out, *value.as_double()); return;
    case ValueKind::text: append_quoted(out, *value.as_text(), false); return;
    case ValueKind::bytes:
      out += 'b';
      append_quoted(
          out, {reinterpret_cast<const char*>(value.as_bytes()->data()), value.as_bytes()->size()},
          true);
      return;
    case ValueKind::list:
      out += '[';
      append_items(out, *value.items());
      out += ']';
      return;
    case ValueKind::tuple:
      out += '(';
      append_items(out, *value.items());
      out += value.items()->size() == 1 ? ",)" : ")";
      return;
    case ValueKind::set:
      if (value.items()->empty()) {
        out += "set()";
        return;
      }
      out += '{';
      append_items(out, *value.items());
      out += '}';
      return;
    case ValueKind::map: append_map(out, *value.entries()); return;
    case ValueKind::numbers: append_numbers(out, *value.numbers()); return;
    case ValueKind::handle: {
      const Handle& handle = *value.handle();
      (out += '<') += handle.kind;
      // What stands behind the first line is for whoever opens the handle.
      if (!handle.type.empty())
        ((out += '<') += std::string_view{handle.type}.substr(0, handle.type.find('\n'))) += '>';
      ((out += " handle ") += std::to_string(handle.id)) += '>';
      return;
    }
    case ValueKind::foreign: {
      const Foreign& foreign = *value.foreign();
      (((out += "<foreign ") += foreign.type) += ", ") += std::to_string(foreign.data.size());
      ((out += " bytes of ") += foreign.format) += '>';
      return;
    }
  }
}

}  // namespace

std::string_view to_string(NumberType type) noexcept {
  static constexpr std::array<std::string_view, 11> names{"?",   "i8",  "u8",  "i16", "u16", "i32",
                                                          "u32", "i64", "u64", "f32", "f64"};
  const auto index = static_cast<std::size_t>(type);
  return index < names.size() ? names[index] : names[0];
}

std::size_t size_of(NumberType type) noexcept {
  static constexpr std::array<std::uint8_t, 11> sizes{0, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  const auto index = static_cast<std::size_t>(type);
  return index < sizes.size() ? sizes[index] : 0;
}

std::string_view to_string(ValueKind kind) noexcept {
  static constexpr std::array<std::string_view, 13> names{
      "None",  "bool", "int",  "float", "str",    "bytes",         "list",
      "tuple", "set",  "dict", "array", "handle", "foreign object"};
  return names[static_cast<std::size_t>(kind)];
}

WireValue NumberArray::at(std::size_t index) const {
  const std::byte* from = data.data() + index * size_of(type);
  switch (type) {
    case NumberType::i8: return load<std::int8_t>(from);
    case NumberType::u8: return load<std::uint8_t>(from);
    case NumberType::i16: return load<std::int16_t>(from);
    case NumberType::u16: return load<std::uint16_t>(from);
    case NumberType::i32: return load<std::int32_t>(from);
    case NumberType::u32: return load<std::uint32_t>(from);
    case NumberType::i64: return load<std::int64_t>(from);
    case NumberType::u64: return load<std::uint64_t>(from);
    case NumberType::f32: return load<float>(from);
    case NumberType::f64: return load<double>(from);
  }
  return {};
}

WireValue::WireValue(BigInt number) {
  while (!number.magnitude.empty() && number.magnitude.back() == 0) number.magnitude.pop_back();
  if (number.magnitude.size() > sizeof(std::uint64_t)) {
    state_.emplace<BigInt>(std::move(number));
    return;
  }
  std::uint64_t plain = 0;
  for (std::size_t i = number.magnitude.size(); i-- > 0;)
    plain = (plain << 8) | number.magnitude[i];
  constexpr std::uint64_t lowest = std::uint64_t{1} << 63;
  if (!number.negative) {
    *this = WireValue{plain};
  } else if (plain <= lowest) {
    state_.emplace<std::int64_t>(static_cast<std::int64_t>(0 - plain));
  } else {
    state_.emplace<BigInt>(std::move(number));
  }
}

ValueKind WireValue::kind() const noexcept {
  using enum ValueKind;
  static constexpr std::array<ValueKind, 15> kinds{none,     boolean, integer, integer, integer,
                                                   floating, text,    bytes,   list,    tuple,
                                                   set,      map,     numbers, handle,  foreign};
  return kinds[state_.index()];
}

std::optional<bool> WireValue::as_bool() const noexcept {
  const bool* flag = std::get_if<bool>(&state_);
  return flag != nullptr ? std::optional{*flag} : std::nullopt;
}

std::optional<std::int64_t> WireValue::as_int64() const noexcept {
  const auto* number = std::get_if<std::int64_t>(&state_);
  return number != nullptr ? std::optional{*number} : std::nullopt;
}

std::optional<std::uint64_t> WireValue::as_uint64() const noexcept {
  if (const auto* number = std::get_if<std::uint64_t>(&state_)) return *number;
  const auto* number = std::get_if<std::int64_t>(&state_);
  if (number == nullptr || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

std::optional<double> WireValue::as_double() const noexcept {
  const auto* number = std::get_if<double>(&state_);
  return number != nullptr ? std::optional{*number} : std::nullopt;
}

const WireValue::Items* WireValue::items() const noexcept {
  if (const auto* list = std::get_if<List>(&state_)) return &list->items;
  if (const auto* tuple = std::get_if<Tuple>(&state_)) return &tuple->items;
  if (const auto* set = std::get_if<Set>(&state_)) return &set->items;
  return nullptr;
}

const WireValue* WireValue::find(const WireValue& key) const noexcept {
  if (const Entries* found = entries()) {
    for (const auto& [name, value] : *found) {
      if (name == key) return &value;
    }
  }
  return nullptr;
}

const Handle* WireValue::handle() const noexcept {
  const auto* found = std::get_if<std::shared_ptr<const Handle>>(&state_);
  return found != nullptr ? found->get() : nullptr;
}

const Foreign* WireValue::foreign() const noexcept {
  const auto* found = std::get_if<std::shared_ptr<const Foreign>>(&state_);
  return found != nullptr ? found->get() : nullptr;
}

bool WireValue::is_hashable() const noexcept {
  switch (kind()) {
    case ValueKind::list:
    case ValueKind::set:
    case ValueKind::map:
    case ValueKind::numbers: return false;
    case ValueKind::tuple:
      return std::all_of(items()->begin(), items()->end(),
                         [](const WireValue& item) { return item.is_hashable(); });
    default: return true;
  }
}

std::size_t WireValue::hash() const noexcept {
  const std::size_t seed = static_cast<std::size_t>(kind()) + 1;
  switch (kind()) {
    case ValueKind::none: return mix(seed, 0);
    case ValueKind::boolean: return mix(seed, *as_bool() ? 1 : 0);
    case ValueKind::integer:
      if (const BigInt* big = as_big())
        return mix(seed, hash_bytes(big->magnitude.data(), big->magnitude.size()));
      return mix(seed, as_int64() ? static_cast<std::uint64_t>(*as_int64()) : *as_uint64());
    case ValueKind::floating: {
      const double number = *as_double();
      if (std::isnan(number)) return mix(seed, 1);
      return mix(seed, std::hash<double>{}(number));
    }
    case ValueKind::text: return mix(seed, std::hash<std::string>{}(*as_text()));
    case ValueKind::bytes: return mix(seed, hash_bytes(as_bytes()->data(), as_bytes()->size()));
    case ValueKind::list:
    case ValueKind::tuple: {
      std::size_t found = seed;
      for (const WireValue& item : *items()) found = mix(found, item.hash());
      return found;
    }
    case ValueKind::set: {
      std::size_t sum = 0;
      for (const WireValue& item : *items()) sum += item.hash();
      return mix(seed, sum);
    }
    case ValueKind::map: {
      std::size_t sum = 0;
      for (const auto& [key, item] : *entries()) sum += mix(key.hash(), item.hash());
      return mix(seed, sum);
    }
    case ValueKind::numbers:
      return mix(seed, hash_bytes(numbers()->data.data(), numbers()->data.size()));
    case ValueKind::handle: return mix(seed, handle()->id);
    case ValueKind::foreign:
      return mix(seed, hash_bytes(foreign()->data.data(), foreign()->data.size()));
  }
  return seed;
}

std::string WireValue::to_string() const {
  Text out;
  append(out, *this);
  return out;
}

std::string detail::text_within(const WireValue& value, std::size_t most) {
  Text out;
  out.most = most;
  append(out, value);
  return cut_text(std::move(out), most);
}

}  // namespace passel::inline v0
