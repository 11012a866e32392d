// Layer transport: codecs of optional, unique_ptr, tuple, pair, variant and plain aggregates.
#pragma once

#include <passel/detail/codec_containers.hpp>
#include <passel/detail/codec_core.hpp>
#include <passel/detail/codec_fields.hpp>
#include <passel/detail/codec_scalar.hpp>
#include <passel/detail/type_name.hpp>

#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace passel::inline v0 {
namespace detail {

// One decoded item after the other, with the first error winning.
template <class... T>
Result<std::tuple<T...>> read_tuple(const WireValue& value, std::string_view expected) {
  const WireValue::Items* items = value.items();
  if (items == nullptr || value.kind() == ValueKind::set) return mismatch(expected, value);
  if (items->size() != sizeof...(T)) return wrong_length(expected, sizeof...(T), value);
  auto read = [items]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple<Result<T>...>{codec<T>::decode((*items)[I])...};
  }
  (std::index_sequence_for<T...>{});
  std::optional<Error> failed;
  std::size_t index = 0;
  std::apply(
      [&](auto&... one) {
        const auto check = [&](auto& result) {
          if (!result && !failed) failed = at_step(result.error(), "." + std::to_string(index));
          ++index;
        };
        (check(one), ...);
      },
      read);
  if (failed) return *std::move(failed);
  return std::apply([](auto&... one) { return std::tuple<T...>{*std::move(one)...}; }, read);
}

template <>
inline Result<std::tuple<>> read_tuple<>(const WireValue& value, std::string_view expected) {
  if (value.items() == nullptr) return mismatch(expected, value);
  if (!value.items()->empty()) return wrong_length(expected, 0, value);
  return std::tuple<>{};
}

template <class... T>
WireValue write_tuple(const T&... items) {
  WireValue::Items out;
  out.reserve(sizeof...(T));
  (out.push_back(to_value(items)), ...);
  return WireValue::tuple(std::move(out));
}

// Types of which a present value can look like an absent one: optional wraps those in a tuple of
// one.
template <class T>
inline constexpr bool may_be_none =
    std::is_same_v<T, WireValue> || std::is_same_v<T, std::monostate>;
template <class T>
inline constexpr bool may_be_none<std::optional<T>> = true;
template <class T, class D>
inline constexpr bool may_be_none<std::unique_ptr<T, D>> = true;

template <class T>
WireValue write_optional(const T* item) {
  if (item == nullptr) return {};
  if constexpr (may_be_none<T>) {
    return WireValue::tuple({to_value(*item)});
  } else {
    return to_value(*item);
  }
}

template <class T>
Result<std::optional<T>> read_optional(const WireValue& value) {
  if (value.is_none()) return std::optional<T>{};
  if constexpr (may_be_none<T>) {
    PASSEL_TRY(auto inner, read_tuple<T>(value, "None or a tuple of one"));
    return std::optional<T>{std::move(std::get<0>(inner))};
  } else {
    PASSEL_TRY(T item, codec<T>::decode(value));
    return std::optional<T>{std::move(item)};
  }
}

}  // namespace detail

/// None or the value; in a tuple of one where the value itself could be None
/// (optional<optional<int>>).
template <class T>
struct codec<std::optional<T>> {
  using parts = detail::types<T>;
  static std::string name() { return "optional<" + detail::type_name<T>() + ">"; }
  static WireValue encode(const std::optional<T>& item) {
    return detail::write_optional(item ? &*item : nullptr);
  }
  static Result<std::optional<T>> decode(const WireValue& value) {
    return detail::read_optional<T>(value);
  }
};

/// The pointed-to value, or None: ownership moves with the message.
template <class T>
struct codec<std::unique_ptr<T>> {
  using parts = detail::types<T>;
  static std::string name() { return "unique_ptr<" + detail::type_name<T>() + ">"; }
  static WireValue encode(const std::unique_ptr<T>& item) {
    return detail::write_optional<T>(item.get());
  }
  static Result<std::unique_ptr<T>> decode(const WireValue& value) {
    PASSEL_TRY(auto item, detail::read_optional<T>(value));
    if (!item) return std::unique_ptr<T>{};
    return std::make_unique<T>(*std::move(item));
  }
};

template <class... T>
struct codec<std::tuple<T...>> {
  using parts = detail::types<T...>;
  static std::string name() { return "tuple<" + detail::type_names<T...>() + ">"; }
  static WireValue encode(const std::tuple<T...>& items) {
    return std::apply([](const auto&... item) { return detail::write_tuple(item...); }, items);
  }
  static Result<std::tuple<T...>> decode(const WireValue& value) {
    return detail::read_tuple<T...>(value, name());
  }
};

template <class A, class B>
struct codec<std::pair<A, B>> {
  using parts = detail::types<A, B>;
  static std::string name() { return "pair<" + detail::type_names<A, B>() + ">"; }
  static WireValue encode(const std::pair<A, B>& both) {
    return detail::write_tuple(both.first, both.second);
  }
  static Result<std::pair<A, B>> decode(const WireValue& value) {
    auto read = detail::read_tuple<A, B>(value, name());
    if (!read) return read.error();
    return std::pair<A, B>{std::move(std::get<0>(*read)), std::move(std::get<1>(*read))};
  }
};

/// (index of the alternative, its value)
template <class... T>
struct codec<std::variant<T...>> {
  using Variant = std::variant<T...>;
  using parts = detail::types<T...>;
  static std::string name() { return "variant<" + detail::type_names<T...>() + ">"; }
  static WireValue encode(const Variant& any) {
    return std::visit(
        [&any](const auto& item) {
          return WireValue::tuple({any.index(), to_value(item)});
        },
        any);
  }
  static Result<Variant> decode(const WireValue& value) {
    const WireValue::Items* items = value.items();
    if (items == nullptr || items->size() != 2) return detail::mismatch(name(), value);
    const auto which = (*items)[0].as_uint64();
    if (!which || *which >= sizeof...(T))
      return detail::at_step(detail::mismatch(name(), (*items)[0]), ".0");
    return read<0>(*which, (*items)[1]);
  }

 private:
  template <std::size_t I>
  static Result<Variant> read(std::size_t which, const WireValue& item) {
    if constexpr (I == sizeof...(T)) {
      return detail::mismatch(name(), item);
    } else {
      if (which != I) return read<I + 1>(which, item);
      auto found = codec<std::variant_alternative_t<I, Variant>>::decode(item);
      if (!found) return detail::at_step(found.error(), ".1");
      return Variant{std::in_place_index<I>, *std::move(found)};
    }
  }
};

/// Plain aggregates: a tuple of their members in order of declaration.
template <detail::PlainAggregate T>
struct codec<T> {
  using parts = detail::field_types<T, detail::types>;
  static WireValue encode(const T& all) {
    return std::apply([](const auto&... field) { return detail::write_tuple(field...); },
                      detail::fields(all));
  }
  static Result<T> decode(const WireValue& value) { return read(value, parts{}); }

 private:
  template <class... Field>
  static Result<T> read(const WireValue& value, detail::types<Field...>) {
    auto found = detail::read_tuple<Field...>(value, detail::type_name<T>());
    if (!found) return found.error();
    return std::apply([](auto&... field) { return T{std::move(field)...}; }, *found);
  }
};

}  // namespace passel::inline v0
