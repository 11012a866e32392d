// Layer transport: counting and naming the members of a plain aggregate, without a macro.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

inline constexpr std::size_t max_fields = 24;

// Stands for any member in "could T be built from so many initialisers?". Never defined, never
// called.
struct AnyField {
  template <class U>
  operator U() const;
};

// Only for a base of T: it fits as the first initialiser of an aggregate that has a base, and of no
// other.
template <class T>
struct AnyBase {
  template <class U>
  requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T>) operator U() const;
};

template <class T, class Any, std::size_t... I>
consteval bool builds(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), Any{})...}; };
}

template <class T, std::size_t N, class Any>
consteval std::size_t count_initialisers() {
  if constexpr (builds<T, Any>(std::make_index_sequence<N>{})) {
    return N;
  } else if constexpr (N == 0) {
    return 0;
  } else {
    return count_initialisers<T, N - 1, Any>();
  }
}

// T{before..., {nested...}, after...}
template <class T, std::size_t... B, std::size_t... I, std::size_t... A>
consteval bool builds_nested(std::index_sequence<B...>, std::index_sequence<I...>,
                             std::index_sequence<A...>) {
  return requires {
    T{(static_cast<void>(B), AnyField{})...,
      {(static_cast<void>(I), AnyField{})...},
      (static_cast<void>(A), AnyField{})...};
  };
}

// Brace elision makes a C array of n count as n members. Member `at` begins one when n initialisers
// in braces of their own leave room for exactly total - at - n behind them; for every other member
// n > 1 would leave room for more.
template <class T, std::size_t total, std::size_t at, std::size_t n>
consteval bool array_from() {
  if constexpr (at + n > total) {
    return false;
  } else {
    using Before = std::make_index_sequence<at>;
    using Nested = std::make_index_sequence<n>;
    if constexpr (!builds_nested<T>(Before{}, Nested{},
                                    std::make_index_sequence<total - at - n>{})) {
      return array_from<T, total, at, n + 1>();
    } else if constexpr (builds_nested<T>(Before{}, Nested{},
                                          std::make_index_sequence<total - at - n + 1>{})) {
      return array_from<T, total, at, n + 1>();
    } else {
      return true;
    }
  }
}

template <class T, std::size_t total, std::size_t at = 0>
consteval bool has_array_member() {
  if constexpr (at + 1 >= total) {
    return false;
  } else if constexpr (builds_nested<T>(std::make_index_sequence<at>{},
                                        std::make_index_sequence<0>{},
                                        std::make_index_sequence<total - at - 1>{})) {
    return has_array_member<T, total, at + 1>();
  } else {
    return array_from<T, total, at, 2>() || has_array_member<T, total, at + 1>();
  }
}

/// The number of members of a plain aggregate; -1 for what is none, has a base or a C array, or has
/// too many members.
template <class T>
consteval int field_count() {
  if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T>) {
    return -1;
  } else {
    constexpr std::size_t count = count_initialisers<T, max_fields + 1, AnyField>();
    if constexpr (count > max_fields || builds<T, AnyBase<T>>(std::make_index_sequence<1>{})) {
      return -1;
    } else if constexpr (has_array_member<T, count>()) {
      return -1;
    } else {
      return static_cast<int>(count);
    }
  }
}

template <class T>
concept PlainAggregate = field_count<T>()
>= 0;

template <std::size_t count, class T>
constexpr auto few_fields(const T& all) noexcept {
  if constexpr (count == 1) {
    const auto& [a] = all;
    return std::tie(a);
  } else if constexpr (count == 2) {
    const auto& [a, b] = all;
    return std::tie(a, b);
  } else if constexpr (count == 3) {
    const auto& [a, b, c] = all;
    return std::tie(a, b, c);
  } else if constexpr (count == 4) {
    const auto& [a, b, c, d] = all;
    return std::tie(a, b, c, d);
  } else if constexpr (count == 5) {
    const auto& [a, b, c, d, e] = all;
    return std::tie(a, b, c, d, e);
  } else if constexpr (count == 6) {
    const auto& [a, b, c, d, e, f] = all;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (count == 7) {
    const auto& [a, b, c, d, e, f, g] = all;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (count == 8) {
    const auto& [a, b, c, d, e, f, g, h] = all;
    return std::tie(a, b, c, d, e, f, g, h);
  } else if constexpr (count == 9) {
    const auto& [a, b, c, d, e, f, g, h, i] = all;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (count == 10) {
    const auto& [a, b, c, d, e, f, g, h, i, j] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (count == 11) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (count == 12) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
  }
}

template <std::size_t count, class T>
constexpr auto many_fields(const T& all) noexcept {
  if constexpr (count == 13) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (count == 14) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n);
  } else if constexpr (count == 15) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o);
  } else if constexpr (count == 16) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
  } else if constexpr (count == 17) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q);
  } else if constexpr (count == 18) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r);
  } else if constexpr (count == 19) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s);
  } else if constexpr (count == 20) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t);
  } else if constexpr (count == 21) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u);
  } else if constexpr (count == 22) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v);
  } else if constexpr (count == 23) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w);
  } else if constexpr (count == 24) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = all;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x);
  }
}

/// The members of an aggregate as a tuple of references.
template <PlainAggregate T>
constexpr auto fields(const T& all) noexcept {
  constexpr auto count = static_cast<std::size_t>(field_count<T>());
  if constexpr (count == 0) {
    static_cast<void>(all);
    return std::tuple<>{};
  } else if constexpr (count <= 12) {
    return few_fields<count>(all);
  } else {
    return many_fields<count>(all);
  }
}

template <class Tie>
struct FieldTypes;
template <template <class...> class List, class... T>
struct FieldTypes<List<T...>> {
  template <template <class...> class Into>
  using As = Into<std::remove_cvref_t<T>...>;
};

/// The types of the members as `Into<A, B, ...>`.
template <PlainAggregate T, template <class...> class Into>
using field_types =
    typename FieldTypes<decltype(fields(std::declval<const T&>()))>::template As<Into>;

}  // namespace passel::inline v0::detail
