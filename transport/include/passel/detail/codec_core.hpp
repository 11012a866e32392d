// Layer transport: the customisation point by which C++ types become Values, and the concepts over
// it.
#pragma once

#include <passel/result.hpp>
#include <passel/wire_value.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace passel::inline v0 {

/// How a type crosses a process border. Specialise it for a type of your own that is no plain
/// aggregate:
///
///     template <>
///     struct passel::codec<Url> {
///       static passel::WireValue encode(const Url& url) { return url.text(); }
///       static passel::Result<Url> decode(const passel::WireValue& value) {
///         PASSEL_TRY(std::string text, passel::from_value<std::string>(value));
///         return Url::parse(text);
///       }
///     };
///
/// `decode` meets bytes that anybody may have sent: it must check, not trust.
template <class T>
struct codec;

namespace detail {

template <class... T>
struct types {};

template <class T>
concept HasCodec = requires {
  sizeof(codec<T>);
};

template <class T>
concept HasEncode = HasCodec<T> && requires(const T& value) {
  { codec<T>::encode(value) } -> std::same_as<WireValue>;
};

template <class T>
concept HasDecode = HasCodec<T> && requires(const WireValue& value) {
  { codec<T>::decode(value) } -> std::same_as<Result<T>>;
};

// The codecs of this library name the types they are made of; those of users stand for themselves.
// `Seen` ends the walk at types that hold themselves (a tree node with a vector of nodes).
template <class T, bool both, class... Seen>
consteval bool travels();

template <bool both, class... Seen, class... Part>
consteval bool parts_travel(types<Part...>) {
  return (travels<std::remove_cv_t<Part>, both, Seen...>() && ...);
}

template <class T, bool both, class... Seen>
consteval bool travels() {
  if constexpr ((std::is_same_v<T, Seen> || ...)) {
    return true;
  } else if constexpr (!HasCodec<T>) {
    return false;
  } else if constexpr (!HasEncode<T> || (both && !HasDecode<T>)) {
    return false;
  } else if constexpr (requires { typename codec<T>::parts; }) {
    return parts_travel<both, T, Seen...>(typename codec<T>::parts{});
  } else {
    return true;
  }
}

/// Can be written, perhaps not read back: also std::string_view, std::span, string literals.
template <class T>
concept Writable = travels < std::remove_cv_t<T>,
false > ();

/// One of this library's own codecs, as opposed to one that a user wrote.
template <class T>
concept HasBuiltInCodec = HasCodec<T> && requires {
  typename codec<T>::parts;
};

/// "expected int, found str 'hello' at value": what a decoder answers to a value of another kind.
[[nodiscard]] PASSEL_API Error mismatch(std::string_view expected, const WireValue& found);
/// The same error seen from one level further out: `step` is "[3]" or ".2", and goes to the front
/// of the path.
[[nodiscard]] PASSEL_API Error at_step(const Error& error, std::string_view step);
[[nodiscard]] PASSEL_API Error at_index(const Error& error, std::size_t index);
[[nodiscard]] PASSEL_API Error at_key(const Error& error, const WireValue& key);

}  // namespace detail

/// Types that can be sent to another process and come out there equal: numbers, enums, strings,
/// bytes, containers, optional, variant, tuple, pair, chrono types, paths, WireValue, Error,
/// Result, handles such as Queue, plain aggregates of such types (no macro needed, up to 24
/// members), and whatever has a `passel::codec<T>` of its own.
template <class T>
concept Encodable = std::same_as<T, std::remove_cvref_t<T>> && detail::travels<T, true>();

/// The value's self-describing form. Cannot fail; throws only what a user's codec or the allocator
/// throws.
template <class T>
[[nodiscard]] WireValue to_value(const T& value) {
  static_assert(detail::Writable<T>,
                "passel: this type cannot be sent to another process. Make it a plain aggregate "
                "(no constructor, no "
                "private or base part, no C arrays or pointers, at most 24 members, each of which "
                "can be sent), or "
                "specialise passel::codec<T> with encode and decode for it.");
  if constexpr (detail::Writable<T>) {
    return codec<T>::encode(value);
  } else {
    return {};
  }
}

/// Reads a T out of a self-describing value. Errors: type_mismatch, naming what was expected, what
/// was found and where
/// ("expected int, found str 'x' at value[3].1"), also for a number outside of the type's limits.
template <class T>
[[nodiscard]] Result<T> from_value(const WireValue& value) {
  static_assert(Encodable<T>,
                "passel: this type cannot be received from another process. Make it a plain "
                "aggregate (no constructor, "
                "no private or base part, no C arrays, pointers or views, at most 24 members, each "
                "of which can be "
                "received), or specialise passel::codec<T> with encode and decode for it.");
  return codec<T>::decode(value);
}

}  // namespace passel::inline v0
