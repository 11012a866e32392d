// Layer transport: the short cut for numbers, strings and arrays of numbers: their own bytes, as
// they lie in memory.
#pragma once

#include <passel/detail/codec_containers.hpp>
#include <passel/detail/codec_core.hpp>
#include <passel/detail/codec_scalar.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace passel::inline v0::detail {

/// What raw bytes are. Part of the header of encoded bytes.
enum class RawShape : std::uint8_t { boolean = 1, number, text, numbers, bytes };

struct RawTag {
  RawShape shape{};
  NumberType number{};  ///< of a number or of the elements; u8 otherwise

  friend bool operator==(const RawTag&, const RawTag&) = default;
};

template <class T>
inline constexpr bool is_raw_element = PlainNumber<T> || std::is_same_v<T, std::byte>;

template <class T>
inline constexpr bool is_raw_array = false;
template <class T, class A>
inline constexpr bool is_raw_array<std::vector<T, A>> = is_raw_element<T>;
template <class T, std::size_t N>
inline constexpr bool is_raw_array<std::array<T, N>> = is_raw_element<T>&& N != 0;

template <class T>
inline constexpr bool is_raw_enum = false;
// An enum with a codec of the user's own goes that way.
template <class T>
requires std::is_enum_v<T>
inline constexpr bool is_raw_enum<T> = HasBuiltInCodec<T>;

/// Numbers, enums, std::string, and vector or array of numbers or bytes travel between processes of
/// one build, or of any other on the same kind of machine, as their own bytes.
template <class T>
inline constexpr bool is_raw = std::is_same_v<T, bool> || PlainNumber<T> || is_raw_enum<T> ||
                               std::is_same_v<T, std::string> || is_raw_array<T>;

template <class T>
requires(is_raw<T>) [[nodiscard]] consteval RawTag raw_tag() {
  if constexpr (std::is_same_v<T, bool>) {
    return {RawShape::boolean, NumberType::u8};
  } else if constexpr (std::is_same_v<T, std::string>) {
    return {RawShape::text, NumberType::u8};
  } else if constexpr (std::is_enum_v<T>) {
    return raw_tag<std::underlying_type_t<T>>();
  } else if constexpr (PlainNumber<T>) {
    return {RawShape::number, number_type<T>()};
  } else if constexpr (std::is_same_v<typename T::value_type, std::byte>) {
    return {RawShape::bytes, NumberType::u8};
  } else {
    return {RawShape::numbers, number_type<typename T::value_type>()};
  }
}

/// How many bytes `raw_write` will write.
template <class T>
[[nodiscard]] std::size_t raw_size(const T& value) noexcept {
  if constexpr (std::is_class_v<T>) {
    return value.size() * sizeof(typename T::value_type);
  } else {
    static_cast<void>(value);
    return sizeof(T);
  }
}

/// Writes raw_size(value) bytes.
template <class T>
void raw_write(const T& value, std::byte* to) noexcept {
  if constexpr (std::is_class_v<T>) {
    if (value.size() != 0) std::memcpy(to, value.data(), raw_size(value));
  } else {
    std::memcpy(to, &value, sizeof value);
  }
}

[[nodiscard]] PASSEL_API Error wrong_raw_size(std::string_view expected, std::size_t size);

/// Reads back what raw_write wrote. Errors: malformed, when the number of bytes cannot be right.
template <class T>
requires(is_raw<T>) [[nodiscard]] Result<T> raw_read(std::span<const std::byte> bytes) {
  if constexpr (std::is_same_v<T, bool>) {
    if (bytes.size() != 1 || std::to_integer<int>(bytes[0]) > 1)
      return wrong_raw_size("bool", bytes.size());
    return bytes[0] == std::byte{1};
  } else if constexpr (!std::is_class_v<T>) {
    if (bytes.size() != sizeof(T)) return wrong_raw_size(type_name<T>(), bytes.size());
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return std::string{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  } else {
    using Item = typename T::value_type;
    T value{};
    if constexpr (requires { value.resize(1); }) {
      if (bytes.size() % sizeof(Item) != 0) return wrong_raw_size(type_name<T>(), bytes.size());
      value.resize(bytes.size() / sizeof(Item));
    } else {
      if (bytes.size() != sizeof value) return wrong_raw_size(type_name<T>(), bytes.size());
    }
    if (!bytes.empty()) std::memcpy(value.data(), bytes.data(), bytes.size());
    return value;
  }
}

}  // namespace passel::inline v0::detail
