// Layer transport: values as errors and lists for people show them.
#pragma once

#include <passel/wire_value.hpp>

#include <cstddef>
#include <string>

namespace passel::inline v0::detail {

/// What is longer than that is cut off, no character in its middle, and ends with "...".
[[nodiscard]] PASSEL_API std::string cut_text(std::string text, std::size_t most);
/// WireValue::to_string, cut off behind `most` bytes, with "..." then; no more of it is made.
[[nodiscard]] PASSEL_API std::string text_within(const WireValue& value, std::size_t most);
/// The text of a value for an error: cut off behind 60 bytes.
[[nodiscard]] PASSEL_API std::string brief_text(const WireValue& value);

}  // namespace passel::inline v0::detail
