// Layer actors: what of a class a manager exposes: methods, their names, how objects are made.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <type_traits>

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
template <MethodName Type, auto F, auto... Spec>
struct HostedResult {};
template <auto F>
struct IteratedResult {};
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

/// What an exposed thing is called and what is called for it: `&Counter::add`, or
/// `passel::exposed<"add", &Counter::increase>`.
template <auto Spec>
struct NamedMethod {
  static constexpr std::string_view name = name_of_method<Spec>();
  static constexpr auto function = Spec;
};
template <class>
struct NamedAs {
  static constexpr bool is = false;
};
template <MethodName Name, auto F>
struct NamedAs<ExposedMethod<Name, F>> {
  static constexpr bool is = true;
  static constexpr std::string_view name = Name.view();
  static constexpr auto function = F;
};
template <auto Spec>
requires(NamedAs<std::remove_cv_t<decltype(Spec)>>::is) struct NamedMethod<Spec>
    : NamedAs<std::remove_cv_t<decltype(Spec)>> {
};

}  // namespace detail

/// Exposes the method, or the function whose first parameter is the object, under a name of its
/// own: `passel::exposed<"add", &Counter::increase>`.
template <detail::MethodName Name, auto F>
inline constexpr detail::ExposedMethod<Name, F> exposed{};

/// What the method gives stays in the server as an object of its own; the caller gets a proxy of
/// it. First the name of its type, then the method, then what can be called of the object, as for
/// register_type (Python's method_to_typeid):
///
///     passel::hosted_result<"Page", &Book::page, &Page::text, &Page::turn>
///
/// The method may return Page, std::unique_ptr or std::shared_ptr of one, Page& (of something that
/// lives as long as the Book does, which then lives as long as the proxy), or a Result or Future of
/// these. The same Page& or std::shared_ptr again is the same object.
template <detail::MethodName Type, auto F, auto... Spec>
inline constexpr detail::HostedResult<Type, F, Spec...> hosted_result{};

/// What the method gives is gone through item by item: a range, or an object whose `next()` gives
/// std::optional. It stays in the server; the caller gets an IteratorProxy (Python's iterator
/// proxies):
///
///     passel::iterated<&Book::lines>
template <auto F>
inline constexpr detail::IteratedResult<F> iterated{};

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
