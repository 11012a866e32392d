// Layer sync: what somebody holds of a lock or semaphore, and giving it back.
#include <passel/guard.hpp>

#include <passel/detail/misuse.hpp>

#include "guard_access.hpp"

namespace passel::inline v0 {

std::uint64_t Guard::token() const noexcept {
  if (object_ == nullptr || detail::permit_machine(*object_).is_counted()) return 0;
  return detail::Grant{.word = word_}.token();
}

Result<void> Guard::release() {
  if (object_ == nullptr) return detail::not_locked();
  const auto keep = std::move(keep_);
  detail::SyncObject& object = *std::exchange(object_, nullptr);
  switch (object.kind()) {
    case detail::SyncKind::rlock: return detail::release_rlock(object, word_);
    case detail::SyncKind::lock:
      // Cleared by the holder alone: see PermitState::thread.
      if (detail::permit_state(object).first.load(std::memory_order_relaxed) == word_) {
        detail::permit_state(object).thread.store(0, std::memory_order_relaxed);
      }
      break;
    default: break;
  }
  if (!detail::release_permit(object, {.word = word_, .permit = permit_})) {
    return detail::not_locked();
  }
  return {};
}

namespace detail {

void repair_if_abandoned(SyncObject& object, const Grant& grant) {
  if (!grant.abandoned) [[likely]]
    return;
  object.repair({.pid = permit_state(object).lost_pid.load(std::memory_order_relaxed),
                 .token = grant.token()});
}

Future<Guard> acquire_guard_async(const std::shared_ptr<SyncObject>& object,
                                  std::string_view kind) {
  if (!object) return Future<Guard>::of(handle_is_closed(kind));
  auto promise = std::make_shared<Promise<Guard>>();
  Future<Guard> future = promise->future();
  const std::uint64_t number = acquire_permit_async(object, [promise, object](Result<Grant> grant) {
    if (!grant) {
      promise->set(grant.error());
      return;
    }
    repair_if_abandoned(*object, *grant);
    // A guard that nobody wants any more gives the grant back when it is destroyed.
    promise->set(Result<Guard>{GuardAccess::make(object, *grant)});
  });
  if (number != 0) {
    promise->on_cancel([object, number] { cancel_permit(object, number); });
    promise->on_abandoned([object, number] { cancel_permit(object, number); });
  }
  return future;
}

}  // namespace detail
}  // namespace passel::inline v0
