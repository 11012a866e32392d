// Layer transport: codecs of single things: numbers, enums, text, paths, durations, WireValue
// itself, errors and results.
#pragma once

#include <passel/detail/codec_core.hpp>
#include <passel/detail/type_name.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace passel::inline v0 {
namespace detail {

template <class T>
concept PlainNumber =
    std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, long double>;
template <class T>
concept PlainInteger = PlainNumber<T> && std::is_integral_v<T>;

/// "int", "char", otherwise by size, since short and long mean different things on different
/// machines: "uint64_t".
template <PlainInteger T>
[[nodiscard]] constexpr std::string_view integer_name() noexcept {
  if (std::is_same_v<T, int>) return "int";
  if (std::is_same_v<T, char>) return "char";
  constexpr bool sign = std::is_signed_v<T>;
  if (sizeof(T) == 1) return sign ? "int8_t" : "uint8_t";
  if (sizeof(T) == 2) return sign ? "int16_t" : "uint16_t";
  if (sizeof(T) == 4) return sign ? "int32_t" : "uint32_t";
  return sign ? "int64_t" : "uint64_t";
}

/// An integer within [lowest, highest], or an error that names the limits.
[[nodiscard]] PASSEL_API Result<std::int64_t> read_signed(const WireValue& value,
                                                          std::int64_t lowest, std::int64_t highest,
                                                          std::string_view expected);
[[nodiscard]] PASSEL_API Result<std::uint64_t> read_unsigned(const WireValue& value,
                                                             std::uint64_t highest,
                                                             std::string_view expected);
/// A float, or an integer that a double holds exactly.
[[nodiscard]] PASSEL_API Result<double> read_double(const WireValue& value,
                                                    std::string_view expected);
[[nodiscard]] PASSEL_API Result<float> read_float(const WireValue& value);
/// Text, or bytes for text that is not UTF-8.
[[nodiscard]] PASSEL_API WireValue write_text(std::string_view text);
[[nodiscard]] PASSEL_API Result<std::string> read_text(const WireValue& value,
                                                       std::string_view expected);

/// Durations travel as (count, numerator, denominator) of their unit, so that a reader with another
/// unit converts.
[[nodiscard]] PASSEL_API WireValue write_duration(WireValue count, std::intmax_t num,
                                                  std::intmax_t den);
/// The count in units of num/den, exactly, or an error.
[[nodiscard]] PASSEL_API Result<std::int64_t> read_whole_duration(const WireValue& value,
                                                                  std::intmax_t num,
                                                                  std::intmax_t den);
[[nodiscard]] PASSEL_API Result<double> read_real_duration(const WireValue& value,
                                                           std::intmax_t num, std::intmax_t den);

[[nodiscard]] PASSEL_API WireValue write_error(const Error& error);
/// Nothing when the value is no error. (A Result<Error> could not tell its value from its failure.)
[[nodiscard]] PASSEL_API std::optional<Error> read_error(const WireValue& value);
/// A result is (True, value) or (False, error); gives the item behind the flag and sets `ok`.
[[nodiscard]] PASSEL_API Result<const WireValue*> read_result(const WireValue& value, bool& ok);

// std::filesystem::path without its header.
template <class T>
concept PathLike = std::is_class_v<T> && std::constructible_from<T, std::string> &&
    requires(const T& path) {
  { path.native() } -> std::same_as<const std::string&>;
  { path.parent_path() } -> std::same_as<T>;
};

}  // namespace detail

template <std::same_as<bool> T>
struct codec<T> {
  using parts = detail::types<>;
  static std::string name() { return "bool"; }
  static WireValue encode(bool flag) { return flag; }
  static Result<T> decode(const WireValue& value) {
    if (const auto flag = value.as_bool()) return *flag;
    return detail::mismatch("bool", value);
  }
};

template <detail::PlainInteger T>
struct codec<T> {
  using parts = detail::types<>;
  static std::string name() { return std::string{detail::integer_name<T>()}; }
  static WireValue encode(T number) { return number; }
  static Result<T> decode(const WireValue& value) {
    using Limits = std::numeric_limits<T>;
    constexpr std::string_view expected = detail::integer_name<T>();
    if constexpr (std::is_signed_v<T>) {
      PASSEL_TRY(const std::int64_t number,
                 detail::read_signed(value, Limits::min(), Limits::max(), expected));
      return static_cast<T>(number);
    } else {
      PASSEL_TRY(const std::uint64_t number, detail::read_unsigned(value, Limits::max(), expected));
      return static_cast<T>(number);
    }
  }
};

template <>
struct codec<double> {
  using parts = detail::types<>;
  static WireValue encode(double number) { return number; }
  static Result<double> decode(const WireValue& value) {
    return detail::read_double(value, "double");
  }
};

template <>
struct codec<float> {
  using parts = detail::types<>;
  static WireValue encode(float number) { return number; }
  static Result<float> decode(const WireValue& value) { return detail::read_float(value); }
};

/// Enums travel as their number. Whether the number is one of the enumerators is not checked.
template <class T>
requires std::is_enum_v<T>
struct codec<T> {
  using parts = detail::types<>;
  using Number = std::underlying_type_t<T>;
  static WireValue encode(T value) { return static_cast<Number>(value); }
  static Result<T> decode(const WireValue& value) {
    PASSEL_TRY(const Number number, codec<Number>::decode(value));
    return static_cast<T>(number);
  }
};

template <class Traits, class Allocator>
struct codec<std::basic_string<char, Traits, Allocator>> {
  using String = std::basic_string<char, Traits, Allocator>;
  using parts = detail::types<>;
  static std::string name() { return "std::string"; }
  static WireValue encode(const String& text) {
    return detail::write_text({text.data(), text.size()});
  }
  static Result<String> decode(const WireValue& value) {
    if constexpr (std::is_same_v<String, std::string>) {
      return detail::read_text(value, "std::string");
    } else {
      PASSEL_TRY(const std::string text, detail::read_text(value, "std::string"));
      return String{text.data(), text.size()};
    }
  }
};

template <>
struct codec<std::string_view> {
  using parts = detail::types<>;
  static std::string name() { return "std::string_view"; }
  static WireValue encode(std::string_view text) { return detail::write_text(text); }
};

template <>
struct codec<const char*> {
  using parts = detail::types<>;
  static WireValue encode(const char* text) { return detail::write_text(text); }
};

template <std::size_t N>
struct codec<char[N]> {
  using parts = detail::types<>;
  static WireValue encode(const char (&text)[N]) { return detail::write_text(text); }
};

template <detail::PathLike T>
struct codec<T> {
  using parts = detail::types<>;
  static std::string name() { return "std::filesystem::path"; }
  static WireValue encode(const T& path) { return detail::write_text(path.native()); }
  static Result<T> decode(const WireValue& value) {
    PASSEL_TRY(std::string text, detail::read_text(value, "std::filesystem::path"));
    return T{std::move(text)};
  }
};

template <>
struct codec<std::monostate> {
  using parts = detail::types<>;
  static WireValue encode(std::monostate) { return {}; }
  static Result<std::monostate> decode(const WireValue& value) {
    if (value.is_none()) return std::monostate{};
    return detail::mismatch("None", value);
  }
};

template <>
struct codec<std::nullptr_t> {
  using parts = detail::types<>;
  static WireValue encode(std::nullptr_t) { return {}; }
  static Result<std::nullptr_t> decode(const WireValue& value) {
    if (value.is_none()) return nullptr;
    return detail::mismatch("None", value);
  }
};

template <class Rep, class Period>
requires(detail::PlainNumber<Rep>) struct codec<std::chrono::duration<Rep, Period>> {
  using Duration = std::chrono::duration<Rep, Period>;
  using parts = detail::types<Rep>;
  static WireValue encode(Duration time) {
    return detail::write_duration(time.count(), Period::num, Period::den);
  }
  static Result<Duration> decode(const WireValue& value) {
    if constexpr (std::is_floating_point_v<Rep>) {
      PASSEL_TRY(const double count, detail::read_real_duration(value, Period::num, Period::den));
      return Duration{static_cast<Rep>(count)};
    } else {
      PASSEL_TRY(const std::int64_t count,
                 detail::read_whole_duration(value, Period::num, Period::den));
      PASSEL_TRY(const Rep narrow, codec<Rep>::decode(count));
      return Duration{narrow};
    }
  }
};

/// A steady_clock's time means something on the same host and boot only, and nobody checks that.
template <class Clock, class Duration>
struct codec<std::chrono::time_point<Clock, Duration>> {
  using Time = std::chrono::time_point<Clock, Duration>;
  using parts = detail::types<Duration>;
  static WireValue encode(Time time) { return to_value(time.time_since_epoch()); }
  static Result<Time> decode(const WireValue& value) {
    PASSEL_TRY(const Duration since, codec<Duration>::decode(value));
    return Time{since};
  }
};

template <>
struct codec<WireValue> {
  using parts = detail::types<>;
  static std::string name() { return "WireValue"; }
  static WireValue encode(const WireValue& value) { return value; }
  static Result<WireValue> decode(const WireValue& value) { return value; }
};

template <>
struct codec<NumberArray> {
  using parts = detail::types<>;
  static WireValue encode(const NumberArray& numbers) { return numbers; }
  static Result<NumberArray> decode(const WireValue& value) {
    if (const NumberArray* numbers = value.numbers()) return *numbers;
    return detail::mismatch("array", value);
  }
};

/// An Error by itself can only be written: a Result<Error> could not tell its value from its
/// failure. Send a Result.
template <>
struct codec<Error> {
  using parts = detail::types<>;
  static std::string name() { return "Error"; }
  static WireValue encode(const Error& error) { return detail::write_error(error); }
};

template <class T>
struct codec<Result<T>> {
  using Item = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
  using parts = detail::types<Item>;
  static std::string name() { return "Result<" + detail::type_name<T>() + ">"; }
  static WireValue encode(const Result<T>& result) {
    if (!result) return WireValue::tuple({false, detail::write_error(result.error())});
    if constexpr (std::is_void_v<T>) {
      return WireValue::tuple({true, nullptr});
    } else {
      return WireValue::tuple({true, to_value(*result)});
    }
  }
  static Result<Result<T>> decode(const WireValue& value) {
    bool ok = false;
    PASSEL_TRY(const WireValue* const inner, detail::read_result(value, ok));
    if (!ok) {
      auto error = detail::read_error(*inner);
      if (!error) return detail::at_step(detail::mismatch("Error", *inner), ".1");
      return Result<Result<T>>{Result<T>{*std::move(error)}};
    }
    auto item = codec<Item>::decode(*inner);
    if (!item) return detail::at_step(item.error(), ".1");
    if constexpr (std::is_void_v<T>) {
      return Result<void>{};
    } else {
      return Result<T>{*std::move(item)};
    }
  }
};

}  // namespace passel::inline v0
