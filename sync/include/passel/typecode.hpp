// Layer sync: the type codes of Python's array, Value and Array as C++ types.
#pragma once

namespace passel::inline v0 {

namespace detail {

/// No such code: there is no `type` in it.
template <char C>
struct TypeOfCode {
  static_assert(C != C,
                "passel: bad typecode (must be c, b, B, u, h, H, i, I, l, L, q, Q, f or d)");
};
// clang-format off
template <> struct TypeOfCode<'c'> { using type = char; };
template <> struct TypeOfCode<'b'> { using type = signed char; };
template <> struct TypeOfCode<'B'> { using type = unsigned char; };
template <> struct TypeOfCode<'u'> { using type = wchar_t; };
template <> struct TypeOfCode<'h'> { using type = short; };
template <> struct TypeOfCode<'H'> { using type = unsigned short; };
template <> struct TypeOfCode<'i'> { using type = int; };
template <> struct TypeOfCode<'I'> { using type = unsigned int; };
template <> struct TypeOfCode<'l'> { using type = long; };
template <> struct TypeOfCode<'L'> { using type = unsigned long; };
template <> struct TypeOfCode<'q'> { using type = long long; };
template <> struct TypeOfCode<'Q'> { using type = unsigned long long; };
template <> struct TypeOfCode<'f'> { using type = float; };
template <> struct TypeOfCode<'d'> { using type = double; };
// clang-format on

}  // namespace detail

/// The C++ type of one of Python's type codes; an unknown one does not compile.
///
///     passel::Value<passel::typecode<'d'>> v{0.0};     // Value('d', 0.0)
///     passel::Array<passel::typecode<'i'>> a(10);      // Array('i', 10)
template <char C>
using typecode = typename detail::TypeOfCode<C>::type;

}  // namespace passel::inline v0
