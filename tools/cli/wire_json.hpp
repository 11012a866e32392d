// Tool passel: values of managers as JSON.
#pragma once

#include <passel/wire_value.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace passel_cli {

/// Lists, tuples, sets and arrays of numbers become arrays, maps with texts as keys objects, other
/// maps arrays of pairs. What JSON has no form for (bytes, proxies, integers above 64 bits) becomes
/// the text that people read.
[[nodiscard]] nlohmann::json to_json(const passel::WireValue& value);

/// JSON when it is that, otherwise the text itself: `42`, `{"a": [1]}`, `hello`.
[[nodiscard]] passel::WireValue value_of(const std::string& argument);

}  // namespace passel_cli
