// Layer transport: names of types, for checks between processes of one build and for errors.
#pragma once

#include <passel/detail/codec_core.hpp>

#include <string>
#include <string_view>

namespace passel::inline v0::detail {

template <class T>
[[nodiscard]] constexpr std::string_view compiler_type_name() noexcept {
  constexpr std::string_view text = __PRETTY_FUNCTION__;
  constexpr std::size_t start = text.find("T = ") + 4;
  constexpr std::size_t end =
      text.find_first_of(";", start) == text.npos ? text.rfind(']') : text.find(';', start);
  return text.substr(start, end - start);
}

/// The type as people write it, the same in every process of one build: "int", "std::string",
/// "vector<double>", "Job".
template <class T>
[[nodiscard]] std::string type_name() {
  if constexpr (requires {
                  { codec<T>::name() } -> std::convertible_to<std::string>;
                }) {
    return codec<T>::name();
  } else {
    return std::string{compiler_type_name<T>()};
  }
}

/// "int, std::string"
template <class... T>
[[nodiscard]] std::string type_names() {
  std::string out;
  ((out += out.empty() ? "" : ", ", out += type_name<T>()), ...);
  return out;
}

}  // namespace passel::inline v0::detail
