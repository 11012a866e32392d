// Layer sync: what somebody holds of a lock or semaphore, and giving it back.
#include <passel/guard.hpp>

#include <passel/detail/misuse.hpp>

#include <exception>
#include <string>

#include "async_waits.hpp"
#include "guard_access.hpp"

namespace passel::inline v0 {

std::uint64_t Guard::token() const noexcept {
  if (object_ == nullptr || detail::permit_machine(*object_).is_counted()) return 0;
  return detail::Grant{.word = object_->renewal_of(word_)}.token();
}

Result<void> Guard::release() {
  if (object_ == nullptr) return detail::not_locked();
  const auto keep = std::move(keep_);
  detail::SyncObject& object = *std::exchange(object_, nullptr);
  std::uint64_t word = word_;
  switch (object.kind()) {
    case detail::SyncKind::rlock: return detail::release_rlock(object, word);
    case detail::SyncKind::lock:
      word = object.renewal_of(word);
      // Cleared by the holder alone: see PermitState::thread.
      if (detail::permit_state(object).first.load(std::memory_order_relaxed) == word) {
        detail::permit_state(object).thread.store(0, std::memory_order_relaxed);
      }
      break;
    // One that waits for it spins only when this ran on another CPU.
    default: detail::permit_state(object).cpu.publish(); break;
  }
  object.forget_renewals_of(word);
  if (!detail::release_permit(object, {.word = word, .permit = permit_})) {
    return detail::not_locked();
  }
  return {};
}

namespace detail {

void repair_if_abandoned(SyncObject& object, const Grant& grant) {
  if (!grant.abandoned) [[likely]]
    return;
  try {
    object.repair({.pid = permit_state(object).lost_pid.load(std::memory_order_relaxed),
                   .token = grant.token()});
  } catch (...) {
    // Not repaired: the next one is told as well.
    permit_state(object).thread.store(0, std::memory_order_relaxed);
    permit_state(object).depth.store(0, std::memory_order_relaxed);
    release_unused(object, grant);
    throw;
  }
}

namespace {

/// What answers the promise with a guard. One that nobody wants any more gives the grant back when
/// it is destroyed.
PermitCallback answer(const std::shared_ptr<Promise<Guard>>& promise,
                      const std::shared_ptr<SyncObject>& object) {
  return [promise, object](Result<Grant> grant) {
    if (!grant) {
      promise->set(grant.error());
      return;
    }
    try {
      repair_if_abandoned(*object, *grant);
    } catch (...) {
      const Error thrown = current_exception_error();
      promise->set(Error{Errc::task_failed, "the repair function of a lock threw: " + thrown.what(),
                         thrown.detail_pointer()});
      return;
    }
    promise->set(Result<Guard>{GuardAccess::make(object, *grant)});
  };
}

void give_up_when_unwanted(Promise<Guard>& promise, const std::shared_ptr<SyncObject>& object,
                           std::uint64_t number) {
  if (number == 0) return;
  promise.on_cancel([object, number] { cancel_permit(object, number); });
  promise.on_abandoned([object, number] { cancel_permit(object, number); });
}

}  // namespace

Future<Guard> acquire_guard_async(const std::shared_ptr<SyncObject>& object,
                                  std::string_view kind) {
  if (!object) return Future<Guard>::of(handle_is_closed(kind));
  auto promise = std::make_shared<Promise<Guard>>();
  Future<Guard> future = promise->future();
  const std::uint64_t number = acquire_permit_async(object, answer(promise, object));
  give_up_when_unwanted(*promise, object, number);
  return future;
}

Future<Guard> guard_of_async_wait(const std::shared_ptr<SyncObject>& lock,
                                  const std::shared_ptr<SyncObject>& condition, Guard guard) {
  const std::uint32_t place = lock->place();
  if (place == nobody) return Future<Guard>::of(too_many_processes());
  auto promise = std::make_shared<Promise<Guard>>();
  Future<Guard> future = promise->future();
  const std::uint64_t number =
      lock->arena().async_waits(place)->add(lock, answer(promise, lock), condition);
  give_up_when_unwanted(*promise, lock, number);
  if (number != 0) static_cast<void>(guard.release().is_ok());
  return future;
}

}  // namespace detail
}  // namespace passel::inline v0
