// Tool passel: what it prints.
#pragma once

#include <passel/result.hpp>

namespace passel_cli {

/// Writes what is still to be written to the standard output. Errors: system, when that or anything
/// before it could not be written.
[[nodiscard]] passel::Result<void> flush_output();

}  // namespace passel_cli
