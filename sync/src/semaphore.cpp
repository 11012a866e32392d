// Layer sync: Semaphore and BoundedSemaphore.
#include <passel/semaphore.hpp>

#include <passel/detail/misuse.hpp>

#include "guard_access.hpp"

#include <algorithm>

namespace passel::inline v0 {
namespace {

constexpr std::int64_t most_owned = 65536;
constexpr std::int64_t most_counted = 2'147'483'647;  // sem_t's SEM_VALUE_MAX

}  // namespace

Result<std::shared_ptr<detail::SyncObject>> Semaphore::make(detail::SyncKind kind,
                                                            const SemaphoreOptions& options) {
  const bool owned = options.ownership == Ownership::owned;
  const bool bounded = kind == detail::SyncKind::bounded_semaphore;
  const std::int64_t most = owned ? most_owned : most_counted;
  const std::int64_t limit = bounded ? options.value
                             : owned ? std::max(options.limit, options.value)
                                     : std::max(most_counted, options.value);
  if (options.value < 0) {
    return Error{Errc::invalid_argument,
                 "semaphore initial value must be >= 0, it is " + std::to_string(options.value)};
  }
  if (limit > most) {
    return Error{Errc::invalid_argument, "a semaphore of " + std::to_string(limit) +
                                             (owned ? " owned" : "") + " permits: the limit is " +
                                             std::to_string(most)};
  }
  const auto words =
      owned ? static_cast<std::uint32_t>(std::max<std::int64_t>(limit, 1)) : std::uint32_t{1};
  PASSEL_TRY(auto object, detail::SyncObject::create(kind, detail::permit_state_size(words),
                                                     options.reach, options.name));
  const std::uint32_t traits = (options.fair ? detail::permits_fair : 0U) |
                               (owned ? 0U : detail::permits_counted) |
                               (bounded ? detail::permits_bounded : 0U);
  detail::permit_machine(*object).init(traits, words, static_cast<std::uint64_t>(options.value),
                                       static_cast<std::uint64_t>(limit));
  return object;
}

Result<Semaphore> Semaphore::create(const SemaphoreOptions& options) {
  PASSEL_TRY(auto object, make(detail::SyncKind::semaphore, options));
  return Semaphore{std::move(object)};
}

Result<Guard> Semaphore::take(detail::Deadline deadline) const {
  if (!object_) return detail::handle_is_closed("Semaphore");
  auto grant = detail::take_at_once(*object_);
  if (!grant) {
    PASSEL_TRY(grant, detail::acquire_permit(*object_, deadline, detail::WaitsAs::anybody));
  }
  detail::repair_if_abandoned(*object_, *grant);
  return detail::GuardAccess::make(*object_, *grant);
}

Result<void> Semaphore::release(std::int64_t n) const {
  if (!object_) return detail::handle_is_closed("Semaphore");
  if (n < 1) {
    return Error{Errc::invalid_argument, "n must be one or more, it is " + std::to_string(n)};
  }
  const auto limit = static_cast<std::int64_t>(detail::permit_state(*object_).limit);
  if (n > limit - value()) return detail::released_too_often(static_cast<std::uint64_t>(limit));
  detail::permit_state(*object_).cpu.publish();
  const auto many = static_cast<std::uint64_t>(n);
  const bool given = n == 1 ? detail::release_any_permit(*object_)
                     : detail::permit_machine(*object_).is_counted()
                         ? detail::release_counted_permits(*object_, many)
                         : detail::release_owned_permits(*object_, many);
  if (!given) return detail::released_too_often(static_cast<std::uint64_t>(limit));
  return {};
}

std::int64_t Semaphore::value() const noexcept {
  return object_ ? static_cast<std::int64_t>(detail::permit_machine(*object_).available()) : 0;
}

std::string Semaphore::to_string() const {
  if (!object_) return "<closed Semaphore>";
  const bool bounded = object_->kind() == detail::SyncKind::bounded_semaphore;
  const std::string name = object_->name().empty() ? "" : " '" + object_->name() + "'";
  const std::string limit =
      bounded ? "/" + std::to_string(detail::permit_state(*object_).limit) : "";
  return (bounded ? "<BoundedSemaphore" : "<Semaphore") + name +
         " value=" + std::to_string(value()) + limit + ">";
}

Result<BoundedSemaphore> BoundedSemaphore::create(const BoundedSemaphoreOptions& options) {
  PASSEL_TRY(auto object,
             make(detail::SyncKind::bounded_semaphore, {.value = options.value,
                                                        .reach = options.reach,
                                                        .name = options.name,
                                                        .fair = options.fair,
                                                        .ownership = options.ownership}));
  return BoundedSemaphore{std::move(object)};
}

}  // namespace passel::inline v0
