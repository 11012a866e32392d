// Layer transport: codecs of sequences, sets and maps. Containers are known by what they can do, so
// that <map>, <deque> and their kin need not be included here.
#pragma once

#include <passel/detail/codec_core.hpp>
#include <passel/detail/codec_scalar.hpp>
#include <passel/detail/type_name.hpp>

#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {
namespace detail {

template <class T>
concept Container = std::is_class_v<T> && !std::is_aggregate_v<T> &&
                    std::is_default_constructible_v<T> && requires(const T& items) {
  typename T::value_type;
  items.begin();
  items.end();
  { items.size() } -> std::convertible_to<std::size_t>;
};
template <class T>
concept MapLike = Container<T> &&
    requires(T& map, typename T::key_type key, typename T::mapped_type item) {
  map.insert_or_assign(std::move(key), std::move(item));
};
template <class T>
concept SetLike = Container<T> && !MapLike<T> && requires(T & set, typename T::key_type key) {
  { set.insert(std::move(key)).second } -> std::convertible_to<bool>;
};
template <class T>
concept SequenceLike =
    Container<T> && !MapLike<T> && !SetLike<T> && requires(T & items, typename T::value_type item) {
  items.push_back(std::move(item));
};
template <class T>
concept ContiguousOf = requires(const T& items) {
  { items.data() } -> std::convertible_to<const typename T::value_type*>;
};

/// The NumberType of a number as it lies in memory.
template <PlainNumber T>
consteval NumberType number_type() {
  if (std::is_floating_point_v<T>) return sizeof(T) == 4 ? NumberType::f32 : NumberType::f64;
  constexpr int log2 = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
  return static_cast<NumberType>(1 + 2 * log2 + (std::is_signed_v<T> ? 0 : 1));
}

template <class T>
WireValue write_items(std::span<const T> items) {
  if constexpr (std::is_same_v<T, std::byte>) {
    return WireValue::Bytes{items.begin(), items.end()};
  } else if constexpr (PlainNumber<T>) {
    const auto* from = reinterpret_cast<const std::byte*>(items.data());
    return NumberArray{number_type<T>(), WireValue::Bytes(from, from + items.size_bytes())};
  } else {
    WireValue::Items out;
    out.reserve(items.size());
    for (const T& item : items) out.push_back(to_value(item));
    return WireValue::list(std::move(out));
  }
}

template <class T>
inline constexpr bool is_byte_sized = std::is_same_v<T, std::byte> ||
                                      (PlainNumber<T> && sizeof(T) == 1);

/// Calls `take(T&&)` for each item of a list, tuple, set, array or bytes. `resize(n)` is told the
/// number first.
template <class T, class Resize, class Take>
Result<void> read_items(const WireValue& value, std::string_view expected, Resize&& resize,
                        Take&& take) {
  std::size_t index = 0;
  const auto one = [&](const WireValue& item) -> Result<void> {
    auto read = codec<T>::decode(item);
    if (!read) return at_index(read.error(), index);
    take(*std::move(read));
    ++index;
    return {};
  };
  if (const WireValue::Items* items = value.items()) {
    resize(items->size());
    for (const WireValue& item : *items) PASSEL_CHECK(one(item));
    return {};
  }
  if constexpr (PlainNumber<T>) {
    if (const NumberArray* numbers = value.numbers()) {
      resize(numbers->size());
      for (std::size_t i = 0; i < numbers->size(); ++i) PASSEL_CHECK(one(numbers->at(i)));
      return {};
    }
  }
  if constexpr (is_byte_sized<T>) {
    if (const WireValue::Bytes* bytes = value.as_bytes()) {
      resize(bytes->size());
      for (const std::byte byte : *bytes) take(static_cast<T>(byte));
      return {};
    }
  }
  return mismatch(expected, value);
}

// The whole contents of an array of exactly this type, or nothing.
template <class T>
std::optional<std::span<const std::byte>> same_numbers(const WireValue& value) {
  if constexpr (PlainNumber<T>) {
    if (const NumberArray* numbers = value.numbers();
        numbers != nullptr && numbers->type == number_type<T>()) {
      return std::span{numbers->data};
    }
  }
  if constexpr (is_byte_sized<T>) {
    if (const WireValue::Bytes* bytes = value.as_bytes()) return std::span{*bytes};
  }
  return std::nullopt;
}

/// "tuple of 3" or the like for errors about a wrong number of items.
[[nodiscard]] PASSEL_API Error wrong_length(std::string_view expected, std::size_t count,
                                            const WireValue& found);

}  // namespace detail

/// vector, deque, list and whatever else has push_back: a contiguous array for numbers, bytes for
/// std::byte, else a list.
template <detail::SequenceLike C>
struct codec<C> {
  using Item = typename C::value_type;
  using parts = detail::types<Item>;
  static std::string name() {
    return (detail::ContiguousOf<C> ? "vector<" : "sequence<") + detail::type_name<Item>() + ">";
  }
  static WireValue encode(const C& items) {
    if constexpr (detail::ContiguousOf<C>) {
      return detail::write_items(std::span<const Item>{items.data(), items.size()});
    } else {
      WireValue::Items out;
      out.reserve(items.size());
      for (const Item& item : items) out.push_back(to_value(item));
      return WireValue::list(std::move(out));
    }
  }
  static Result<C> decode(const WireValue& value) {
    C out;
    if constexpr (detail::ContiguousOf<C> && std::is_scalar_v<Item>) {
      if (const auto same = detail::same_numbers<Item>(value)) {
        out.resize(same->size() / sizeof(Item));
        if (!same->empty()) std::memcpy(out.data(), same->data(), same->size());
        return out;
      }
    }
    const auto reserve = [&]([[maybe_unused]] std::size_t count) {
      if constexpr (requires { out.reserve(count); }) out.reserve(count);
    };
    PASSEL_CHECK(detail::read_items<Item>(value, name(), reserve,
                                          [&out](Item&& item) { out.push_back(std::move(item)); }));
    return out;
  }
};

template <class T, std::size_t N>
struct codec<std::array<T, N>> {
  using parts = detail::types<T>;
  static std::string name() {
    return "array<" + detail::type_name<T>() + ", " + std::to_string(N) + ">";
  }
  static WireValue encode(const std::array<T, N>& items) {
    return detail::write_items(std::span<const T>{items});
  }
  static Result<std::array<T, N>> decode(const WireValue& value) {
    std::vector<T> read;
    PASSEL_CHECK(detail::read_items<T>(
        value, name(), [](std::size_t) {}, [&read](T&& item) { read.push_back(std::move(item)); }));
    if (read.size() != N) return detail::wrong_length(name(), N, value);
    return [&read]<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<T, N>{static_cast<T>(std::move(read[I]))...};
    }
    (std::make_index_sequence<N>{});
  }
};

/// A span can be written, and is read back as a vector or an array.
template <class T, std::size_t N>
struct codec<std::span<T, N>> {
  using parts = detail::types<T>;
  static WireValue encode(std::span<T, N> items) {
    return detail::write_items(std::span<const T>{items});
  }
};

template <detail::SetLike C>
struct codec<C> {
  using Item = typename C::key_type;
  using parts = detail::types<Item>;
  static std::string name() { return "set<" + detail::type_name<Item>() + ">"; }
  static WireValue encode(const C& items) {
    WireValue::Items out;
    out.reserve(items.size());
    for (const Item& item : items) out.push_back(to_value(item));
    return WireValue::set(std::move(out));
  }
  static Result<C> decode(const WireValue& value) {
    C out;
    PASSEL_CHECK(detail::read_items<Item>(
        value, name(), [](std::size_t) {}, [&out](Item&& item) { out.insert(std::move(item)); }));
    return out;
  }
};

template <detail::MapLike C>
struct codec<C> {
  using Key = typename C::key_type;
  using Item = typename C::mapped_type;
  using parts = detail::types<Key, Item>;
  static std::string name() { return "map<" + detail::type_names<Key, Item>() + ">"; }
  static WireValue encode(const C& map) {
    WireValue::Entries out;
    out.reserve(map.size());
    for (const auto& [key, item] : map) out.emplace_back(to_value(key), to_value(item));
    return WireValue::map(std::move(out));
  }
  static Result<C> decode(const WireValue& value) {
    const WireValue::Entries* entries = value.entries();
    if (entries == nullptr) return detail::mismatch(name(), value);
    C out;
    for (const auto& [key, item] : *entries) {
      auto read_key = codec<Key>::decode(key);
      if (!read_key) return detail::at_key(read_key.error(), key);
      auto read = codec<Item>::decode(item);
      if (!read) return detail::at_key(read.error(), key);
      out.insert_or_assign(*std::move(read_key), *std::move(read));
    }
    return out;
  }
};

}  // namespace passel::inline v0
