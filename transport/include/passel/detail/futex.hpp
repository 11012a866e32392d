// Layer transport: sleeping on a 32-bit word, in one process or between processes.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>

#include <atomic>
#include <cstdint>

namespace passel::inline v0::detail {

/// Whether all sleepers on a word live in this process (cheaper) or may live in others that map it.
enum class FutexScope { process, host };

/// Sleeps while `word == expected`, until woken or the deadline. May return early for no reason:
/// look at the word again. Returns false only when the deadline has passed. A signal does not end
/// it.
PASSEL_API bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                           Deadline deadline, FutexScope scope) noexcept;

/// Wakes up to `count` sleepers of the word; returns how many woke. Safe in a signal handler.
PASSEL_API int futex_wake(const std::atomic<std::uint32_t>& word, int count,
                          FutexScope scope) noexcept;

}  // namespace passel::inline v0::detail
