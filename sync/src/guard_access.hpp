// Layer sync: how the locks make guards, and what all of them do alike.
#pragma once

#include "permits.hpp"

#include <passel/future.hpp>
#include <passel/lock.hpp>

#include <memory>
#include <string_view>

namespace passel::inline v0::detail {

struct GuardAccess {
  [[nodiscard]] static Guard make(SyncObject& object, const Grant& grant) noexcept {
    Guard guard;
    guard.object_ = &object;
    guard.word_ = grant.word;
    guard.permit_ = grant.permit;
    guard.abandoned_ = grant.abandoned;
    return guard;
  }
  /// One that keeps the object alive itself.
  [[nodiscard]] static Guard make(std::shared_ptr<SyncObject> object, const Grant& grant) noexcept {
    Guard guard = make(*object, grant);
    guard.keep_ = std::move(object);
    return guard;
  }
  [[nodiscard]] static const SyncObject* object_of(const Guard& guard) noexcept {
    return guard.object_;
  }
};

/// After a grant: calls the repair function when the holder before died.
void repair_if_abandoned(SyncObject& object, const Grant& grant);

/// The future of a guard that belongs to no thread, of a lock that `guard` gives up until
/// `condition` has notified.
[[nodiscard]] Future<Guard> guard_of_async_wait(const std::shared_ptr<SyncObject>& lock,
                                                const std::shared_ptr<SyncObject>& condition,
                                                Guard guard);

/// Whether the calling thread holds that RLock.
[[nodiscard]] bool is_held_by_this_thread(SyncObject& object) noexcept;
/// Gives back an RLock once, by whoever may.
Result<void> release_rlock(SyncObject& object, std::uint64_t word);

[[nodiscard]] inline PermitState& permit_state(const SyncObject& object) noexcept {
  return object.as<PermitState>();
}
[[nodiscard]] inline PermitMachine permit_machine(const SyncObject& object) noexcept {
  return PermitMachine{object.arena(), object.header()};
}

/// What nobody else wants is ours after one atomic operation. Empty when it takes more.
[[nodiscard]] inline std::optional<Grant> take_at_once(SyncObject& object) noexcept {
  const std::uint32_t place = object.place();
  PermitMachine machine = permit_machine(object);
  if (place == nobody || (machine.is_fair() && machine.is_awaited())) return std::nullopt;
  return machine.take(place);
}

/// "<locked Lock 'name' owner=1234>" and so on, by the state of a lock.
[[nodiscard]] std::string describe_lock(const SyncObject* object, std::string_view kind);

/// A new lock of that kind.
[[nodiscard]] Result<std::shared_ptr<SyncObject>> make_lock(SyncKind kind,
                                                            const LockOptions& options);

}  // namespace passel::inline v0::detail
