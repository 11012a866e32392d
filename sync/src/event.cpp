// Layer sync: Event.
#include <passel/event.hpp>

#include <passel/detail/misuse.hpp>

#include "async_waits.hpp"
#include "event_machine.hpp"

#include <limits>

namespace passel::inline v0 {
namespace {

detail::EventMachine machine_of(const detail::SyncObject& object) {
  return detail::EventMachine{object.arena(), object.header()};
}

}  // namespace

Result<Event> Event::create(const EventOptions& options) {
  PASSEL_TRY(auto object,
             detail::SyncObject::create(detail::SyncKind::event, sizeof(detail::EventState),
                                        options.reach, options.name));
  return Event{std::move(object)};
}

bool Event::is_set() const noexcept {
  return object_ && detail::EventMachine::is_set(machine_of(*object_).word());
}

void Event::set() const {
  if (!object_) return;
  auto machine = machine_of(*object_);
  // Known as a user of the event before it may die within: whoever learns of it wakes the sleepers.
  static_cast<void>(object_->place());
  machine.state().setter.publish();
  if (machine.set()) {
    detail::futex_wake(machine.state().word, std::numeric_limits<int>::max(), object_->scope());
  }
  if (machine.has_futures()) detail::settle_event(*object_);
}

void Event::clear() const noexcept {
  if (!object_) return;
  auto machine = machine_of(*object_);
  machine.state().setter.publish();
  machine.clear();
}

bool Event::wait_until(detail::Deadline deadline) const {
  if (!object_) return false;
  auto machine = machine_of(*object_);
  const std::uint32_t seen = machine.word();
  if (detail::EventMachine::is_set(seen)) return true;
  if (deadline.is_try()) return false;
  const auto is_free = [&] { return machine.is_free(seen); };
  auto& spinner = object_->spinner();
  if (spinner.spin(machine.state().setter, deadline, is_free)) return true;
  const auto begin = detail::Deadline::Clock::now();
  for (;;) {
    const std::uint32_t word = machine.announce(seen);
    if (is_free()) break;
    if (!detail::futex_wait(machine.state().word, word, deadline, object_->scope())) {
      return is_free();
    }
  }
  spinner.waited(detail::Deadline::Clock::now() - begin);
  return true;
}

Future<void> Event::wait_async() const {
  if (!object_) return Future<void>::of(detail::handle_is_closed("Event"));
  if (is_set()) return Future<void>::of(Result<void>{});
  const std::uint32_t place = object_->place();
  if (place == detail::nobody) return Future<void>::of(detail::too_many_processes());
  auto promise = std::make_shared<Promise<void>>();
  Future<void> future = promise->future();
  const auto waits = object_->arena().async_waits(place);
  const std::uint64_t number = waits->add(object_, [promise](const Result<detail::Grant>& end) {
    promise->set(end ? Result<void>{} : Result<void>{end.error()});
  });
  if (number != 0) {
    promise->on_cancel([waits, number] { waits->cancel(number); });
    promise->on_abandoned([waits, number] { waits->cancel(number); });
  }
  return future;
}

std::string Event::to_string() const {
  if (!object_) return "<closed Event>";
  const std::string name = object_->name().empty() ? "" : " '" + object_->name() + "'";
  return "<Event" + name + (is_set() ? ": set>" : ": unset>");
}

}  // namespace passel::inline v0
