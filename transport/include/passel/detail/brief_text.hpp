// Layer transport: values as errors show them.
#pragma once

#include <passel/wire_value.hpp>

#include <string>

namespace passel::inline v0::detail {

/// The text of a value for an error: cut off behind 60 bytes.
[[nodiscard]] PASSEL_API std::string brief_text(const WireValue& value);

}  // namespace passel::inline v0::detail
