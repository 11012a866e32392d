// Layer transport: one visitor of a variant out of several lambdas.
#pragma once

namespace passel::inline v0::detail {

/// `std::visit(Overloaded{[](int) {...}, [](std::string&) {...}}, variant)`
template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
// Clang 14 deduces no arguments for aggregates.
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace passel::inline v0::detail
