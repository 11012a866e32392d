// Layer sync: events, conditions and barriers that live in a manager's server.
#include "hosted_locks.hpp"

#include <passel/detail/brief_text.hpp>
#include <passel/detail/misuse.hpp>

#include <tuple>
#include <utility>

namespace passel::inline v0::detail {
namespace {

Error broken_barrier(const std::string& why) {
  return {Errc::broken, "the barrier is broken: " + why};
}

/// What makes a barrier: how many parties, and perhaps the nanoseconds of a wait.
Result<HostedBarrierOptions> barrier_options(const HostedCall& call) {
  std::int64_t parties = 0;
  std::optional<std::int64_t> timeout;
  if (const auto alone = call.arguments<std::int64_t>()) {
    parties = std::get<0>(*alone);
  } else {
    const auto both = call.arguments<std::int64_t, std::optional<std::int64_t>>();
    if (!both) return both.error();
    std::tie(parties, timeout) = *both;
  }
  if (parties < 1)
    return Error{Errc::invalid_argument, "parties must be > 0, it is " + std::to_string(parties)};
  if (timeout && *timeout < 0) {
    return Error{Errc::invalid_argument, "the timeout of a Barrier must not be negative, it is " +
                                             std::to_string(*timeout) + " ns"};
  }
  HostedBarrierOptions options{.parties = static_cast<std::uint64_t>(parties)};
  if (timeout) options.timeout = std::chrono::nanoseconds{*timeout};
  return options;
}

}  // namespace

Result<std::shared_ptr<HostedObject>> make_hosted_event(const HostedCall&) {
  return std::shared_ptr<HostedObject>{std::make_shared<HostedEvent>()};
}
Result<std::shared_ptr<HostedObject>> make_hosted_condition(const HostedCall& call) {
  auto args = call.arguments<WireValue>();
  if (!args) {
    if (!call.arguments<>()) return args.error();
    args = std::tuple{WireValue{}};
  }
  WireValue& given = std::get<0>(*args);
  std::shared_ptr<HostedObject> lock;
  if (given.is_none()) {
    lock = std::make_shared<HostedRLock>();
  } else {
    auto found = call.site->object_of(given, call.caller.session, {"acquire", "release"});
    if (!found && found.error() == Errc::refused) return found.error();
    if (found) lock = *std::move(found);
    const auto* const mutex = dynamic_cast<HostedMutex*>(lock.get());
    if (mutex == nullptr || !mutex->is_exclusive()) {
      return Error{Errc::type_mismatch,
                   "a Condition needs a Lock or an RLock of the same manager, not " +
                       (lock ? lock->text() : brief_text(given))};
    }
  }
  return std::shared_ptr<HostedObject>{
      std::make_shared<HostedCondition>(std::move(lock), std::move(given))};
}
Result<std::shared_ptr<HostedObject>> make_hosted_barrier(const HostedCall& call) {
  return make_hosted_barrier(call, nullptr);
}
Result<std::shared_ptr<HostedObject>> make_hosted_barrier(const HostedCall& call,
                                                          HostedAction action) {
  PASSEL_TRY(HostedBarrierOptions options, barrier_options(call));
  options.action = action;
  return std::shared_ptr<HostedObject>{std::make_shared<HostedBarrier>(options)};
}

std::span<const HostedMethod<HostedEvent>> HostedEvent::table() {
  static constexpr HostedMethod<HostedEvent> methods[] = {
      hosted_method<&HostedEvent::set>{"set"},         hosted_method<&HostedEvent::clear>{"clear"},
      hosted_method<&HostedEvent::is_set>{"is_set"},   hosted_method<&HostedEvent::wait>{"wait"},
      hosted_method<&HostedEvent::waiting>{"waiting"},
  };
  return methods;
}

std::string HostedEvent::text() const { return set_ ? "<Event: set>" : "<Event: unset>"; }

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
      hosted_method<&HostedCondition::token>{"token"},
  };
  return methods;
}

HostedCondition::HostedCondition(std::shared_ptr<HostedObject> lock, WireValue name)
    : lock_{std::move(lock)},
      mutex_{dynamic_cast<HostedMutex*>(lock_.get())},
      name_{std::move(name)} {
  // Whose time is up goes on when it has the lock again.
  line_.on_late([this](HostedLine<HostedHold>::Waiting late) {
    mutex_->take_again(std::move(late.call), late.data, false);
  });
}

std::string HostedCondition::text() const {
  return "<Condition(" + lock_->text() + ", " + std::to_string(line_.size()) + ")>";
}

/// Whoever was notified and calls again has gone on: his notification is used up.
void HostedCondition::goes_on(const HostedCaller& caller) {
  std::erase_if(notified_, [&](const Notified& one) { return one.caller == caller; });
}

void HostedCondition::release(HostedCall&& call) {
  goes_on(call.caller);
  call.reply.value(mutex_->release_by(call.caller));
}

void HostedCondition::wait(HostedCall&& call) {
  const HostedCaller caller = call.caller;
  goes_on(caller);
  const auto hold = mutex_->hold_of(caller);
  if (!hold) return call.reply.set(lock_not_held("wait"));
  // In the line before the lock is free: whoever has it next may notify.
  line_.add(std::move(call), *hold, Error{Errc::timeout, "not notified in the time given"});
  mutex_->put_down(caller);
}

void HostedCondition::notify(HostedCall&& call) {
  const auto args = call.arguments<std::uint64_t>();
  if (!args) return call.reply.set(args.error());
  if (!mutex_->hold_of(call.caller)) return call.reply.set(lock_not_held("notify"));
  goes_on(call.caller);
  for (std::uint64_t n = std::get<0>(*args); n > 0 && !line_.empty(); --n) notify_next();
  call.reply.value();
}

void HostedCondition::notify_next() {
  if (line_.empty()) return;
  auto next = line_.take_front();
  notified_.push_back({next.call.caller, next.call.id});
  mutex_->take_again(std::move(next.call), next.data, true);
}

void HostedCondition::abandoned(std::uint64_t session, std::uint64_t call) {
  if (line_.remove(session, call) || !mutex_->forget(session, call)) return;
  // It was notified, and will not have the lock again: somebody else gets the notification.
  const auto lost = std::erase_if(notified_, [&](const Notified& one) {
    return one.caller.session == session && one.call == call;
  });
  if (lost != 0) notify_next();
}

void HostedCondition::session_ended(std::uint64_t session) {
  // Who has died with the lock that the notification gave him has done nothing with it, or not all.
  std::size_t lost = 0;
  std::erase_if(notified_, [&](const Notified& one) {
    if (one.caller.session != session) return false;
    if (mutex_->hold_of(one.caller)) ++lost;
    return true;
  });
  for (; lost > 0; --lost) notify_next();
  lock_->session_ended(session);
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

HostedBarrier::HostedBarrier(HostedBarrierOptions options) : options_{options} {
  line_.on_late([this](HostedLine<std::monostate>::Waiting late) {
    break_it("the time was up for one who waited");
    late.call.reply.set(broken_barrier(*why_));
  });
}

std::string HostedBarrier::text() const {
  if (why_) return "<Barrier: broken>";
  return "<Barrier: waiters=" + std::to_string(n_waiting()) + "/" +
         std::to_string(options_.parties) + ">";
}

void HostedBarrier::wait(HostedCall&& call) {
  if (why_) return call.reply.set(broken_barrier(*why_));
  if (!call.deadline && options_.timeout) {
    const Deadline until = Deadline::after(*options_.timeout);
    if (!until.is_never()) call.deadline = until.when();
  }
  if (acting_) {
    return early_.add(std::move(call), {},
                      Error{Errc::timeout,
                            "the barrier has not finished the round before in the "
                            "time given"});
  }
  if (line_.size() + 1 < options_.parties)
    return line_.add(std::move(call), {}, broken_barrier("not all came"));
  while (!line_.empty()) there_.push_back(line_.take_front().call);
  there_.push_back(std::move(call));
  if (options_.action != nullptr) return act();
  release_all();
}

void HostedBarrier::act() {
  acting_ = true;
  const auto site = there_.back().site;
  const auto begun =
      site->run([weak = weak_from_this(), site, action = options_.action, round = round_] {
        const Result<void> outcome = action();
        site->loop().post([weak, round, outcome] {
          if (const auto barrier = weak.lock()) barrier->acted(round, outcome);
        });
      });
  if (!begun) acted(round_, begun);
}

void HostedBarrier::acted(std::uint64_t round, const Result<void>& outcome) {
  acting_ = false;
  if (round == round_ && outcome) release_all();
  if (round == round_ && !outcome) {
    there_.back().reply.set(outcome.error());
    there_.pop_back();
    break_it("its action failed");
  }
  for (std::size_t early = early_.size(); early > 0 && !acting_ && !early_.empty(); --early)
    wait(early_.take_front().call);
}

void HostedBarrier::release_all() {
  ++round_;
  auto all = std::exchange(there_, {});
  std::uint64_t place = 0;
  for (HostedCall& call : all) call.reply.value(place++);
}

void HostedBarrier::reset() {
  end_all("somebody reset it");
  why_.reset();
}

void HostedBarrier::abandoned(std::uint64_t session, std::uint64_t call) {
  if (line_.remove(session, call)) return break_it("a party that waited is gone");
  early_.remove(session, call);
}

void HostedBarrier::break_it(std::string why) {
  if (!why_) why_ = std::move(why);
  end_all(*why_);
}

void HostedBarrier::end_all(const std::string& why) {
  ++round_;
  while (!line_.empty()) line_.take_front().call.reply.set(broken_barrier(why));
  auto all = std::exchange(there_, {});
  for (HostedCall& call : all) call.reply.set(broken_barrier(why));
}

}  // namespace passel::inline v0::detail
