// Layer transport: addresses as people write them.
#pragma once

#include <passel/export.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <string_view>

namespace passel::inline v0 {

/// Reads "127.0.0.1:4711", "[::1]:4711", "host:4711", and a path, which has a slash in it: what
/// to_string gives for an Address, and what people write in options and configuration files. Looks
/// nothing up. Errors: invalid_argument, with the text.
[[nodiscard]] PASSEL_API Result<Address> parse_address(std::string_view text);

}  // namespace passel::inline v0
