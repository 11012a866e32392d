// Layer transport: a caller's timeout as a deadline.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <chrono>

namespace passel::inline v0::detail {

[[nodiscard]] PASSEL_API Error negative_timeout();

/// A caller's timeout as a deadline; Python's ValueError when it is negative.
template <class Rep, class Period>
[[nodiscard]] Result<Deadline> checked_deadline(std::chrono::duration<Rep, Period> timeout) {
  if (timeout < timeout.zero()) return negative_timeout();
  return Deadline::after(timeout);
}

}  // namespace passel::inline v0::detail
