// Tests: values of any kind, as the bytes of an input say.
#pragma once

#include <passel/codec.hpp>

#include "fuzz_input.hpp"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace passel_fuzz {

using passel::WireValue;

/// A value of a grammar: what random bytes say is a value of any kind and any depth.
class GrownValue {
 public:
  explicit GrownValue(Reader& in) : in_{in} {}

  [[nodiscard]] WireValue value(int depth = 0) {
    const std::uint8_t kind = in_.byte() % 16;
    if (depth == passel::detail::max_value_depth) return kind;
    switch (kind) {
      case 0: return {};
      case 1: return in_.byte() % 2 == 0;
      case 2: return static_cast<std::int64_t>(in_.number());
      case 3: return in_.number();
      case 4: return passel::BigInt{in_.byte() % 2 == 0, magnitude()};
      case 5: return number();
      case 6: return text();
      case 7: return in_.bytes();
      case 8:
      case 9: return WireValue::list(items(depth));
      case 10: return WireValue::tuple(items(depth));
      case 11: return WireValue::set(items(depth));
      case 12: return WireValue::map(entries(depth));
      case 13: return numbers();
      case 14: return passel::Handle{text(), text(), in_.number(), nullptr, nullptr};
      default: return passel::Foreign{text(), text(), in_.bytes()};
    }
  }

 private:
  WireValue number() {
    const std::uint64_t bits = in_.number();
    double number = 0;
    std::memcpy(&number, &bits, sizeof number);
    return number;
  }
  /// Text that is none would arrive as bytes.
  std::string text() {
    std::string out = in_.text();
    for (char& one : out) one = static_cast<char>(one & 0x7f);
    return out;
  }
  std::vector<std::uint8_t> magnitude() {
    const std::string digits = in_.text();
    return {digits.begin(), digits.end()};
  }
  WireValue::Items items(int depth) {
    WireValue::Items out;
    for (std::size_t n = in_.byte() % 8; n > 0; --n) out.push_back(value(depth + 1));
    return out;
  }
  WireValue::Entries entries(int depth) {
    WireValue::Entries out;
    for (std::size_t n = in_.byte() % 8; n > 0; --n) {
      WireValue key = value(depth + 1);
      out.emplace_back(std::move(key), value(depth + 1));
    }
    return out;
  }
  WireValue numbers() {
    passel::NumberArray out{static_cast<passel::NumberType>(1 + in_.byte() % 10), in_.bytes()};
    out.data.resize(out.data.size() / size_of(out.type) * size_of(out.type));
    return out;
  }

  Reader& in_;
};

}  // namespace passel_fuzz
