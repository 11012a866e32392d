// Layer sync: events, conditions and barriers that live in a manager's server.
#include "hosted_locks.hpp"

#include <passel/detail/misuse.hpp>

#include <utility>

namespace passel::inline v0::detail {

Result<std::shared_ptr<HostedObject>> make_hosted_event(const HostedCall&) {
  return std::shared_ptr<HostedObject>{std::make_shared<HostedEvent>()};
}
Result<std::shared_ptr<HostedObject>> make_hosted_condition(const HostedCall&) {
  return std::shared_ptr<HostedObject>{std::make_shared<HostedCondition>()};
}
Result<std::shared_ptr<HostedObject>> make_hosted_barrier(const HostedCall& call) {
  const auto args = call.arguments<std::int64_t>();
  if (!args) return args.error();
  const std::int64_t parties = std::get<0>(*args);
  if (parties < 1) {
    return Error{Errc::invalid_argument, "parties must be > 0, it is " + std::to_string(parties)};
  }
  return std::shared_ptr<HostedObject>{
      std::make_shared<HostedBarrier>(static_cast<std::uint64_t>(parties))};
}

std::span<const HostedMethod<HostedEvent>> HostedEvent::table() {
  static constexpr HostedMethod<HostedEvent> methods[] = {
      hosted_method<&HostedEvent::set>{"set"},
      hosted_method<&HostedEvent::clear>{"clear"},
      hosted_method<&HostedEvent::is_set>{"is_set"},
      hosted_method<&HostedEvent::wait>{"wait"},
  };
  return methods;
}

std::string HostedEvent::text() const { return set_ ? "<Event, set>" : "<Event, not set>"; }

void HostedEvent::set() {
  set_ = true;
  while (!line_.empty()) line_.take_front().call.reply.value();
}

void HostedEvent::wait(HostedCall&& call) {
  if (set_) return call.reply.value();
  line_.add(std::move(call), {}, Error{Errc::timeout, "not set in the time given"});
}

std::span<const HostedMethod<HostedCondition>> HostedCondition::table() {
  static constexpr HostedMethod<HostedCondition> methods[] = {
      hosted_method<&HostedCondition::acquire>{"acquire"},
      hosted_method<&HostedCondition::release>{"release"},
      hosted_method<&HostedCondition::wait>{"wait"},
      hosted_method<&HostedCondition::notify>{"notify"},
      hosted_method<&HostedCondition::locked>{"locked"},
      hosted_method<&HostedCondition::waiting>{"waiting"},
  };
  return methods;
}

HostedCondition::HostedCondition() {
  // Whose time is up goes on when it has the lock again.
  line_.on_late([this](HostedLine<HostedRLock::State>::Waiting late) {
    lock_.take_again(std::move(late.call), late.data, false);
  });
}

std::string HostedCondition::text() const {
  return "<Condition(" + lock_.text() + "), " + std::to_string(line_.size()) + " waiting>";
}

void HostedCondition::wait(HostedCall&& call) {
  if (!lock_.owned_by(call.caller)) return call.reply.set(lock_not_held("wait"));
  // In the line before the lock is free: whoever has it next may notify.
  const HostedRLock::State state = lock_.state();
  line_.add(std::move(call), state, Error{Errc::timeout, "not notified in the time given"});
  lock_.let_go();
}

void HostedCondition::notify(HostedCall&& call) {
  const auto args = call.arguments<std::uint64_t>();
  if (!args) return call.reply.set(args.error());
  if (!lock_.owned_by(call.caller)) return call.reply.set(lock_not_held("notify"));
  for (std::uint64_t n = std::get<0>(*args); n > 0 && !line_.empty(); --n) {
    auto next = line_.take_front();
    lock_.take_again(std::move(next.call), next.data, true);
  }
  call.reply.value();
}

void HostedCondition::abandoned(std::uint64_t session, std::uint64_t call) {
  if (!line_.remove(session, call)) lock_.abandoned(session, call);
}

std::span<const HostedMethod<HostedBarrier>> HostedBarrier::table() {
  static constexpr HostedMethod<HostedBarrier> methods[] = {
      hosted_method<&HostedBarrier::wait>{"wait"},
      hosted_method<&HostedBarrier::abort>{"abort"},
      hosted_method<&HostedBarrier::reset>{"reset"},
      hosted_method<&HostedBarrier::parties>{"parties"},
      hosted_method<&HostedBarrier::n_waiting>{"n_waiting"},
      hosted_method<&HostedBarrier::broken>{"broken"},
  };
  return methods;
}

HostedBarrier::HostedBarrier(std::uint64_t parties) : parties_{parties} {
  line_.on_late([this](HostedLine<std::monostate>::Waiting late) {
    break_it("somebody waited longer than the time given");
    late.call.reply.set(Error{Errc::broken, "the barrier is broken: " + *why_});
  });
}

std::string HostedBarrier::text() const {
  return "<Barrier, " + std::to_string(line_.size()) + " of " + std::to_string(parties_) +
         (why_ ? " waiting, broken>" : " waiting>");
}

void HostedBarrier::wait(HostedCall&& call) {
  if (why_) return call.reply.set(Error{Errc::broken, "the barrier is broken: " + *why_});
  if (line_.size() + 1 < parties_)
    return line_.add(std::move(call), {}, Error{Errc::broken, "the barrier is broken"});
  std::uint64_t place = 0;
  while (!line_.empty()) line_.take_front().call.reply.value(place++);
  call.reply.value(std::uint64_t{place});
}

void HostedBarrier::reset() {
  end_all("it was reset");
  why_.reset();
}

void HostedBarrier::abandoned(std::uint64_t session, std::uint64_t call) {
  if (line_.remove(session, call)) break_it("a party that waited is gone");
}

void HostedBarrier::break_it(std::string why) {
  if (!why_) why_ = std::move(why);
  end_all(*why_);
}

void HostedBarrier::end_all(const std::string& why) {
  while (!line_.empty())
    line_.take_front().call.reply.set(Error{Errc::broken, "the barrier is broken: " + why});
}

}  // namespace passel::inline v0::detail
