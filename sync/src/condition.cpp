// Layer sync: Condition.
#include <passel/condition.hpp>

#include <passel/detail/misuse.hpp>

#include "async_waits.hpp"
#include "condition_line.hpp"
#include "condition_machine.hpp"
#include "guard_access.hpp"

namespace passel::inline v0 {
namespace detail {
namespace {

std::string_view kind_name(const SyncObject& lock) {
  return lock.kind() == SyncKind::rlock ? "RLock" : "Lock";
}

/// An RLock is held by a thread, a Lock by a process.
bool is_held(SyncObject& lock) noexcept {
  if (lock.kind() == SyncKind::rlock) return is_held_by_this_thread(lock);
  return permit_machine(lock).holder() == lock.place();
}

/// What a wait gives up and has again afterwards.
struct Held {
  std::uint64_t word;
  std::uint32_t thread;
  std::uint32_t depth;
};

Held put_down(SyncObject& lock) {
  PermitState& state = permit_state(lock);
  const Held held{.word = state.first.load(std::memory_order_relaxed),
                  .thread = state.thread.exchange(0, std::memory_order_relaxed),
                  .depth = state.depth.exchange(0, std::memory_order_relaxed)};
  static_cast<void>(release_permit(lock, {.word = held.word}));
  return held;
}

void take_up(SyncObject& lock, const Held& held, const Grant& grant) {
  PermitState& state = permit_state(lock);
  state.depth.store(held.depth, std::memory_order_relaxed);
  state.thread.store(held.thread, std::memory_order_relaxed);
  state.cpu.publish();
  lock.renewed(held.word, grant.word);
  repair_if_abandoned(lock, grant);
}

/// False when the time was up and it was not notified: it stands in no line then.
bool sleep_until_notified(SyncObject& condition, std::uint32_t number, const CpuMark& other,
                          Deadline deadline) {
  Waiter& waiter = condition.arena().waiter(number);
  const auto called = [&waiter] {
    return waiter.state.load(std::memory_order_acquire) != waiter_waiting;
  };
  condition.spinner().spin(other, deadline, called);
  while (!called()) {
    if (futex_wait(waiter.state, waiter_waiting, deadline, condition.scope())) continue;
    return !leave_condition(condition, number);
  }
  return true;
}

}  // namespace
}  // namespace detail

Result<Condition> Condition::create(const ConditionOptions& options) {
  PASSEL_TRY(RLock lock, RLock::create({.reach = options.reach}));
  return create(lock, options.name);
}

Result<Condition> Condition::create(const Lock& lock, const std::string& name) {
  return create(lock.object_, name);
}

Result<Condition> Condition::create(const RLock& lock, const std::string& name) {
  return create(lock.object_, name);
}

Result<Condition> Condition::create(std::shared_ptr<detail::SyncObject> lock,
                                    const std::string& name) {
  if (!lock) return detail::handle_is_closed("the lock of a Condition");
  PASSEL_TRY(auto object, detail::SyncObject::create_beside(*lock, detail::SyncKind::condition,
                                                            sizeof(detail::ConditionState), name));
  auto& state = object->as<detail::ConditionState>();
  state.lock = lock->arena().chunk_of(lock->header());
  state.serial = lock->header().serial;
  return Condition{std::move(object), std::move(lock)};
}

Result<Guard> Condition::take(detail::Deadline deadline) const {
  if (!object_) return detail::handle_is_closed("Condition");
  if (lock_->kind() == detail::SyncKind::rlock) return RLock{lock_}.take(deadline);
  return Lock{lock_}.take(deadline);
}

Result<void> Condition::release() const {
  if (!object_) return detail::handle_is_closed("Condition");
  if (lock_->kind() == detail::SyncKind::rlock) return RLock{lock_}.release();
  return Lock{lock_}.release();
}

Result<void> Condition::wait_until(detail::Deadline deadline) const {
  if (!object_) return detail::handle_is_closed("Condition");
  if (!detail::is_held(*lock_)) return detail::lock_not_held("wait");
  detail::SyncArena& arena = object_->arena();
  const std::uint32_t place = object_->place();
  if (place == detail::nobody) return detail::too_many_processes();
  if (!lock_->expect_renewal()) return Error{Errc::no_space, "no memory to wait with"};
  PASSEL_TRY(const std::uint32_t number, arena.claim_waiter(place, detail::this_thread()));
  detail::CpuMark other;
  other.publish(object_->as<detail::ConditionState>().turns.come(detail::this_thread()));
  detail::stand_in_condition(*object_, number);
  const detail::Held held = detail::put_down(*lock_);
  const bool notified = detail::sleep_until_notified(*object_, number, other, deadline);
  if (!notified) detail::stand_in_line(*lock_, number);
  auto grant = detail::await_permit(*lock_, number, detail::Deadline::never());
  if (!grant) return std::move(grant).error();
  detail::take_up(*lock_, held, *grant);
  if (!notified) return Error{Errc::timeout, "not notified in the time given"};
  return {};
}

Future<Guard> Condition::wait_async(Guard guard) const {
  if (!object_) return Future<Guard>::of(detail::handle_is_closed("Condition"));
  const detail::SyncObject* const held = detail::GuardAccess::object_of(guard);
  if (held == nullptr || !held->same_as(*lock_)) {
    return Future<Guard>::of(detail::lock_not_held("wait"));
  }
  // One that acquire_async gave belongs to no thread, and the guard knows its grant.
  const std::uint32_t owner = detail::permit_state(*lock_).thread.load(std::memory_order_relaxed);
  if (lock_->kind() == detail::SyncKind::rlock && owner != 0 && !detail::is_held(*lock_)) {
    return Future<Guard>::of(detail::lock_not_held("wait"));
  }
  if (detail::permit_state(*lock_).depth.load(std::memory_order_relaxed) > 0) {
    return Future<Guard>::of(
        Error{Errc::invalid_state, "cannot wait on an RLock that is held more than once"});
  }
  return detail::guard_of_async_wait(lock_, object_, std::move(guard));
}

Result<void> Condition::notify(std::size_t n) const {
  if (!object_) return detail::handle_is_closed("Condition");
  if (!detail::is_held(*lock_)) return detail::lock_not_held("notify");
  // Without its line: who waits released the lock that we hold, and so can be seen.
  auto& state = object_->as<detail::ConditionState>();
  if (state.waiting.load() == 0) return {};
  state.turns.come(detail::this_thread());
  detail::notify_condition(*object_, n);
  return {};
}

std::size_t Condition::waiting() const {
  if (!object_) return 0;
  detail::SyncArena& arena = object_->arena();
  if (!arena.lock_line(object_->header(), detail::Deadline::never())) return 0;
  const std::size_t count = detail::Line{arena, object_->header()}.length();
  object_->header().line.unlock();
  return count;
}

std::string Condition::to_string() const {
  if (!object_) return "<closed Condition>";
  return "<Condition(" + detail::describe_lock(lock_.get(), detail::kind_name(*lock_)) + ", " +
         std::to_string(waiting()) + ")>";
}

WireValue codec<Condition>::encode(const Condition& condition) {
  if (condition.closed()) return detail::SyncObject::handle("Condition", {}, nullptr);
  return WireValue::tuple(
      {detail::SyncObject::handle("Condition", {}, condition.object_),
       detail::SyncObject::handle(detail::kind_name(*condition.lock_), {}, condition.lock_)});
}

Result<Condition> codec<Condition>::decode(const WireValue& value) {
  const WireValue::Items* parts = value.items();
  if (parts == nullptr || parts->size() != 2 || (*parts)[1].handle() == nullptr) {
    PASSEL_TRY(auto closed, detail::SyncObject::open("Condition", {}, value));
    return Error{Errc::malformed, "a Condition without its lock"};
  }
  const std::string kind = (*parts)[1].handle()->kind == "RLock" ? "RLock" : "Lock";
  PASSEL_TRY(auto lock, detail::SyncObject::open(kind, {}, (*parts)[1]));
  PASSEL_TRY(auto object, detail::SyncObject::open("Condition", {}, (*parts)[0]));
  return Condition{std::move(object), std::move(lock)};
}

}  // namespace passel::inline v0
