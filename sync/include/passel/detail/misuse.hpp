// Layer sync: the errors of calls that a primitive's state does not allow, in Python's words.
#pragma once

#include <passel/export.hpp>
#include <passel/result.hpp>

#include <cstdint>
#include <string_view>

namespace passel::inline v0::detail {

/// invalid_state "release unlocked lock".
[[nodiscard]] PASSEL_API Error not_locked();
/// invalid_state "cannot release un-acquired lock": an RLock, by somebody who does not hold it.
[[nodiscard]] PASSEL_API Error not_owner();
/// invalid_state "cannot wait on un-acquired lock", "cannot notify on un-acquired lock".
[[nodiscard]] PASSEL_API Error lock_not_held(std::string_view doing);
/// invalid_argument "Semaphore released too many times", with the limit.
[[nodiscard]] PASSEL_API Error released_too_often(std::uint64_t limit);
/// invalid_state "KIND is closed": the handle was moved from or closed.
[[nodiscard]] PASSEL_API Error handle_is_closed(std::string_view kind);

}  // namespace passel::inline v0::detail
