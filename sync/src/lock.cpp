// Layer sync: Lock.
#include <passel/lock.hpp>

#include <passel/detail/misuse.hpp>

#include "guard_access.hpp"

namespace passel::inline v0 {
namespace detail {

Result<std::shared_ptr<SyncObject>> make_lock(SyncKind kind, const LockOptions& options) {
  PASSEL_TRY(auto object,
             SyncObject::create(kind, permit_state_size(1), options.reach, options.name));
  const std::uint32_t traits = (options.fair ? permits_fair : 0U) |
                               (options.deadlock == OnDeadlock::refuse ? permits_refuse : 0U) |
                               permits_bounded;
  permit_machine(*object).init(traits, 1, 1, 1);
  return object;
}

bool is_locked(const SyncObject* lock) noexcept {
  return lock != nullptr && permit_machine(*lock).holder() != nobody;
}

std::string describe_lock(const SyncObject* object, std::string_view kind) {
  const std::string what{kind};
  if (object == nullptr) return "<closed " + what + ">";
  const std::string name = object->name().empty() ? "" : " '" + object->name() + "'";
  const std::uint32_t holder = permit_machine(*object).holder();
  if (holder == nobody) return "<unlocked " + what + name + ">";
  const std::int32_t pid = object->arena().process(holder).pid.load(std::memory_order_relaxed);
  std::string text = "<locked " + what + name + " owner=" + std::to_string(pid);
  if (object->kind() == SyncKind::rlock) {
    text +=
        " count=" + std::to_string(permit_state(*object).depth.load(std::memory_order_relaxed) + 1);
  }
  return text + ">";
}

}  // namespace detail

Result<Lock> Lock::create(const LockOptions& options) {
  PASSEL_TRY(auto object, detail::make_lock(detail::SyncKind::lock, options));
  return Lock{std::move(object)};
}

Result<Guard> Lock::take(detail::Deadline deadline) const {
  if (!object_) return detail::handle_is_closed("Lock");
  auto grant = detail::take_at_once(*object_);
  if (!grant) {
    PASSEL_TRY(grant, detail::acquire_permit(*object_, deadline, detail::WaitsAs::thread));
  }
  detail::PermitState& state = detail::permit_state(*object_);
  state.thread.store(detail::this_thread(), std::memory_order_relaxed);
  state.cpu.publish();
  detail::repair_if_abandoned(*object_, *grant);
  return detail::GuardAccess::make(*object_, *grant);
}

Result<void> Lock::release() const {
  if (!object_) return detail::handle_is_closed("Lock");
  detail::PermitState& state = detail::permit_state(*object_);
  object_->forget_renewals_of(state.first.load(std::memory_order_relaxed));
  state.thread.store(0, std::memory_order_relaxed);
  if (!detail::release_any_permit(*object_)) return detail::not_locked();
  return {};
}

std::string Lock::to_string() const { return detail::describe_lock(object_.get(), "Lock"); }

}  // namespace passel::inline v0
