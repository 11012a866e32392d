// Layer sync: standing in the line of a condition and leaving it.
#pragma once

#include <passel/detail/sync_object.hpp>

#include <cstdint>

namespace passel::inline v0::detail {

/// A waiter comes to be notified.
void stand_in_condition(SyncObject& condition, std::uint32_t waiter) noexcept;
/// It gives up. False when it was notified before.
[[nodiscard]] bool leave_condition(SyncObject& condition, std::uint32_t waiter) noexcept;
/// That many go on, or all if they are fewer.
void notify_condition(SyncObject& condition, std::size_t count) noexcept;

}  // namespace passel::inline v0::detail
