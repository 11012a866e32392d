// Layer sync: taking, awaiting and giving back permits, as Lock, RLock and the semaphores do it.
#pragma once

#include "permit_machine.hpp"

#include <passel/detail/sync_object.hpp>

#include <functional>
#include <memory>

namespace passel::inline v0::detail {

/// Whether one who waits for a lock is known as a thread: then circles of waiters are found.
enum class WaitsAs { thread, anybody };

/// Waits until a permit is ours. Errors: timeout; no_space (too many wait, or too many processes);
/// deadlock where the object was made to refuse.
[[nodiscard]] Result<Grant> acquire_permit(SyncObject& object, Deadline deadline, WaitsAs as);
/// Gives back what was granted. False when it is not held like that any more.
bool release_permit(SyncObject& object, const Grant& grant);
/// Gives back any. False when none is held, or the limit is reached.
bool release_any_permit(SyncObject& object);
/// Gives back that many where they are only counted, or none: false when the limit is reached.
bool release_counted_permits(SyncObject& object, std::uint64_t n);
/// The same where they are owned, those of this process first: false when fewer are held.
bool release_owned_permits(SyncObject& object, std::uint64_t n);
/// Gives back what nobody has made use of: whoever gets it next is told of a death before.
void release_unused(SyncObject& object, const Grant& grant);

/// Puts a waiter in the line.
void stand_in_line(SyncObject& object, std::uint32_t waiter);
/// Takes its turn in the line with a waiter that stands in it already, with no limit of time where
/// `deadline` is never: what is left of an acquire after a condition has put it there.
[[nodiscard]] Result<Grant> await_permit(SyncObject& object, std::uint32_t waiter,
                                         Deadline deadline);

/// An answer that comes later: calls `done` once, on a thread of this library or at once, with the
/// grant or an error. `cancel_permit` with the number that it returns gives up the place; false
/// when `done` was or is being called.
using PermitCallback = std::function<void(Result<Grant>)>;
[[nodiscard]] std::uint64_t acquire_permit_async(const std::shared_ptr<SyncObject>& object,
                                                 PermitCallback done);
bool cancel_permit(const std::shared_ptr<SyncObject>& object, std::uint64_t number);

}  // namespace passel::inline v0::detail
