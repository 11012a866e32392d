// Layer sync: RLock.
#include <passel/rlock.hpp>

#include <passel/detail/misuse.hpp>

#include "guard_access.hpp"

namespace passel::inline v0 {
namespace detail {

bool is_held_by_this_thread(SyncObject& object) noexcept {
  return permit_machine(object).holder() == object.place() &&
         permit_state(object).thread.load(std::memory_order_relaxed) == this_thread();
}

Result<void> release_rlock(SyncObject& object, std::uint64_t word) {
  PermitState& state = permit_state(object);
  // A guard of acquire_async belongs to no thread: it knows its grant, and that must still hold.
  const bool is_nobodys = state.thread.load(std::memory_order_relaxed) == 0 &&
                          state.first.load(std::memory_order_relaxed) == object.renewal_of(word);
  if (!is_nobodys && !is_held_by_this_thread(object)) return not_owner();
  // Changed by the holder alone; others read it, for to_string.
  if (const std::uint32_t depth = state.depth.load(std::memory_order_relaxed); depth > 0) {
    state.depth.store(depth - 1, std::memory_order_relaxed);
    return {};
  }
  const Grant grant{.word = state.first.load(std::memory_order_relaxed)};
  object.forget_renewals_of(grant.word);
  state.thread.store(0, std::memory_order_relaxed);
  if (!release_permit(object, grant)) return not_owner();
  return {};
}

}  // namespace detail

Result<RLock> RLock::create(const LockOptions& options) {
  PASSEL_TRY(auto object, detail::make_lock(detail::SyncKind::rlock, options));
  return RLock{std::move(object)};
}

Result<Guard> RLock::take(detail::Deadline deadline) const {
  if (!object_) return detail::handle_is_closed("RLock");
  detail::PermitState& state = detail::permit_state(*object_);
  if (detail::is_held_by_this_thread(*object_)) {
    state.depth.store(state.depth.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return detail::GuardAccess::make(*object_,
                                     {.word = state.first.load(std::memory_order_relaxed)});
  }
  auto grant = detail::take_at_once(*object_);
  if (!grant) {
    PASSEL_TRY(grant, detail::acquire_permit(*object_, deadline, detail::WaitsAs::thread));
  }
  state.thread.store(detail::this_thread(), std::memory_order_relaxed);
  state.cpu.publish();
  detail::repair_if_abandoned(*object_, *grant);
  return detail::GuardAccess::make(*object_, *grant);
}

Result<void> RLock::release() const {
  if (!object_) return detail::handle_is_closed("RLock");
  if (!is_owned()) return detail::not_owner();
  return detail::release_rlock(*object_, 0);
}

bool RLock::is_owned() const noexcept {
  return object_ && detail::is_held_by_this_thread(*object_);
}

std::uint32_t RLock::recursion_count() const noexcept {
  return is_owned() ? detail::permit_state(*object_).depth.load(std::memory_order_relaxed) + 1 : 0;
}

std::string RLock::to_string() const { return detail::describe_lock(object_.get(), "RLock"); }

}  // namespace passel::inline v0
