// Layer actors: what of a class a manager exposes: methods, their names, how objects are made.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace passel::inline v0 {
namespace detail {

/// The name of a method as a template argument.
template <std::size_t N>
struct MethodName {
  consteval MethodName(const char (&given)[N]) { std::copy_n(given, N, text); }
  char text[N]{};
  [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, N - 1}; }
};

template <MethodName Name, auto F>
struct ExposedMethod {};
template <class... A>
struct ConstructedFrom {};
template <auto F>
struct MadeBy {};
struct QuickMethods {};

/// "add" for &Counter::add, out of what the compiler calls it.
template <auto F>
[[nodiscard]] consteval std::string_view name_of_method() noexcept {
  constexpr std::string_view text = __PRETTY_FUNCTION__;
  constexpr std::size_t argument = text.find("F = ") + 4;
  constexpr std::size_t last = text.find_first_of(";]", argument);
  constexpr std::string_view named = text.substr(argument, last - argument);
  constexpr std::size_t colons = named.rfind("::");
  constexpr std::size_t begin = colons == named.npos ? named.find_first_not_of("(& ") : colons + 2;
  constexpr std::size_t end = named.find_first_of("()<> ,", begin);
  return named.substr(begin, end == named.npos ? named.npos : end - begin);
}

}  // namespace detail

/// Exposes the method, or the function whose first parameter is the object, under a name of its
/// own: `passel::exposed<"add", &Counter::increase>`.
template <detail::MethodName Name, auto F>
inline constexpr detail::ExposedMethod<Name, F> exposed{};

/// Objects are made by the constructor with these parameters: `passel::constructor<int,
/// std::string>`. Without it by the one without parameters.
template <class... A>
inline constexpr detail::ConstructedFrom<A...> constructor{};

/// Objects are made by a function, which returns T, std::unique_ptr<T>, std::shared_ptr<T>, T& or a
/// Result of one of these. With T& or a std::shared_ptr that was given before all clients get the
/// same object (Python's registered callable that returns a global).
template <auto F>
inline constexpr detail::MadeBy<F> factory{};

/// The methods never block: they are called on the server's I/O thread, which saves the way to
/// another one and back. One that does block holds up all clients.
inline constexpr detail::QuickMethods quick_methods{};

}  // namespace passel::inline v0
