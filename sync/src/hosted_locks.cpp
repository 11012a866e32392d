// Layer sync: locks and semaphores that live in a manager's server.
#include "hosted_locks.hpp"

#include <passel/detail/misuse.hpp>

#include <algorithm>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

namespace passel::inline v0::detail {
namespace {

Error not_free() { return {Errc::timeout, "not free in the time given"}; }

Result<std::shared_ptr<HostedObject>> make(const HostedCall& call, HostedPermitsOptions options) {
  if (const auto both = call.arguments<std::int64_t, bool>()) {
    std::tie(options.value, options.owned) = *both;
  } else {
    const auto value = call.arguments<std::int64_t>();
    if (!value) return value.error();
    options.value = std::get<0>(*value);
  }
  if (options.value < 0) {
    return Error{Errc::invalid_argument, "the value of a " + options.kind +
                                             " must not be negative, it is " +
                                             std::to_string(options.value)};
  }
  return std::shared_ptr<HostedObject>{std::make_shared<HostedPermits>(std::move(options))};
}

auto held_by_call(std::vector<HostedHolder>& held, std::uint64_t session, std::uint64_t call) {
  return std::find_if(held.begin(), held.end(), [&](const HostedHolder& one) {
    return one.caller.session == session && one.call == call;
  });
}

}  // namespace

Result<std::shared_ptr<HostedObject>> make_hosted_lock(const HostedCall&) {
  return std::shared_ptr<HostedObject>{std::make_shared<HostedPermits>(HostedPermitsOptions{})};
}
Result<std::shared_ptr<HostedObject>> make_hosted_semaphore(const HostedCall& call) {
  return make(call, {.kind = "Semaphore", .bounded = false, .owned = false});
}
Result<std::shared_ptr<HostedObject>> make_hosted_bounded_semaphore(const HostedCall& call) {
  return make(call, {.kind = "BoundedSemaphore"});
}
Result<std::shared_ptr<HostedObject>> make_hosted_rlock(const HostedCall&) {
  return std::shared_ptr<HostedObject>{std::make_shared<HostedRLock>()};
}

void HostedLockLine::acquire(HostedCall&& call) {
  const auto args = call.arguments<bool, bool>();
  if (!args) return call.reply.set(args.error());
  const auto [wait, receipt] = *args;
  const HostedWish wish{receipt};
  if (is_reentered_by(call.caller) || (is_free() && line_.empty())) return grant(call, wish);
  if (!wait) return call.reply.set(not_free());
  line_.add(std::move(call), wish, not_free());
}

void HostedLockLine::take_again(HostedCall&& call, const HostedHold& hold, bool answer) {
  const HostedWish wish{false, hold, answer};
  if (is_free() && line_.empty()) return grant(call, wish);
  call.deadline.reset();  // it had its time; the lock it needs
  line_.add(std::move(call), wish, not_free());
}

void HostedLockLine::serve_waiting() {
  while (is_free() && !line_.empty()) {
    auto next = line_.take_front();
    grant(next.call, next.data);
  }
}

void HostedLockLine::answer_grant(HostedCall& call, const HostedWish& wish) {
  if (wish.answer) return call.reply.value(bool{*wish.answer});
  call.reply.value(HostedGrant{call.id, last_token_, std::exchange(abandoned_, false)});
}

std::span<const HostedMethod<HostedPermits>> HostedPermits::table() {
  static constexpr HostedMethod<HostedPermits> methods[] = {
      hosted_method<&HostedPermits::acquire>{"acquire"},
      hosted_method<&HostedPermits::release>{"release"},
      hosted_method<&HostedPermits::give_back>{"give_back"},
      hosted_method<&HostedPermits::value>{"value"},
      hosted_method<&HostedPermits::locked>{"locked"},
      hosted_method<&HostedPermits::waiting>{"waiting"},
      hosted_method<&HostedPermits::token>{"token"},
  };
  return methods;
}

std::string HostedPermits::text() const {
  if (is_exclusive()) return locked() ? "<locked Lock>" : "<unlocked Lock>";
  const std::string limit = options_.bounded ? "/" + std::to_string(options_.value) : "";
  return "<" + options_.kind + " value=" + std::to_string(free()) + limit + ">";
}

void HostedPermits::grant(HostedCall& call, const HostedWish& wish) {
  const std::uint64_t token = ++last_token_;
  held_.push_back({call.caller, call.id, wish.answer ? wish.hold.token : token});
  if (!wish.receipt) has_arrived(std::prev(held_.end()));
  answer_grant(call, wish);
}

void HostedPermits::has_arrived(std::vector<HostedHolder>::iterator holder) {
  holder->kept = true;
  if (options_.owned) return;
  held_.erase(holder);
  ++gone_;
}

void HostedPermits::release(HostedCall&& call) {
  const auto args = call.arguments<std::int64_t>();
  if (!args) return call.reply.set(args.error());
  call.reply.value(release_some(call.caller, std::get<0>(*args)));
  serve_waiting();
}

Result<void> HostedPermits::release_by(const HostedCaller& caller) {
  PASSEL_CHECK(release_some(caller, 1));
  serve_waiting();
  return {};
}

std::optional<HostedHold> HostedPermits::hold_of(const HostedCaller& caller) const {
  const auto found = std::find_if(held_.begin(), held_.end(),
                                  [&](const HostedHolder& one) { return one.caller == caller; });
  if (found == held_.end()) return std::nullopt;
  return HostedHold{1, found->token};
}

void HostedPermits::put_down(const HostedCaller& caller) {
  std::erase_if(held_, [&](const HostedHolder& one) { return one.caller == caller; });
  serve_waiting();
}

Result<void> HostedPermits::release_some(const HostedCaller& caller, std::int64_t n) {
  if (n < 1)
    return Error{Errc::invalid_argument, "n must be one or more, it is " + std::to_string(n)};
  if (options_.bounded && n > options_.value - free()) {
    if (is_exclusive()) return not_locked();
    return Error{Errc::invalid_argument, options_.kind + " released too many times"};
  }
  if (!options_.bounded && free() > std::numeric_limits<std::int64_t>::max() - n)
    return Error{Errc::invalid_argument, "more permits than can be counted"};
  const std::int64_t back = std::min(n, gone_);
  gone_ -= back;
  n -= back;
  // What this thread has had longest, then its process, then anybody; what is left is new.
  const auto take_from = [&](auto is_meant) {
    std::erase_if(held_, [&](const HostedHolder& one) {
      const bool taken = n > 0 && is_meant(one);
      if (taken) --n;
      return taken;
    });
  };
  if (options_.owned || options_.bounded) {
    take_from([&](const HostedHolder& one) { return one.caller == caller; });
    take_from([&](const HostedHolder& one) { return one.caller.session == caller.session; });
    take_from([](const HostedHolder&) { return true; });
  }
  options_.value += n;
  return {};
}

Result<void> HostedPermits::give_back(std::uint64_t token) {
  const auto found = std::find_if(held_.begin(), held_.end(),
                                  [&](const HostedHolder& one) { return one.token == token; });
  if (found != held_.end()) {
    held_.erase(found);
  } else if (gone_ > 0) {
    --gone_;
  } else {
    return not_locked();
  }
  serve_waiting();
  return {};
}

void HostedPermits::kept(std::uint64_t session, std::uint64_t call) {
  const auto found = held_by_call(held_, session, call);
  if (found != held_.end()) has_arrived(found);
}

void HostedPermits::discarded(std::uint64_t session, std::uint64_t call) {
  const auto found = held_by_call(held_, session, call);
  if (found == held_.end() || found->kept) return;
  held_.erase(found);
  serve_waiting();
}

void HostedPermits::session_ended(std::uint64_t session) {
  std::erase_if(held_, [&](const HostedHolder& one) {
    if (one.caller.session != session) return false;
    abandoned_ = abandoned_ || one.kept;  // nobody touched what a grant that never arrived protects
    return true;
  });
  serve_waiting();
}

std::span<const HostedMethod<HostedRLock>> HostedRLock::table() {
  static constexpr HostedMethod<HostedRLock> methods[] = {
      hosted_method<&HostedRLock::acquire>{"acquire"},
      hosted_method<&HostedRLock::release>{"release"},
      hosted_method<&HostedRLock::locked>{"locked"},
      hosted_method<&HostedRLock::is_owned>{"is_owned"},
      hosted_method<&HostedRLock::recursion_count>{"recursion_count"},
      hosted_method<&HostedRLock::waiting>{"waiting"},
      hosted_method<&HostedRLock::token>{"token"},
  };
  return methods;
}

std::string HostedRLock::text() const {
  return owner_ ? "<locked RLock count=" + std::to_string(count_) + ">" : "<unlocked RLock>";
}

void HostedRLock::grant(HostedCall& call, const HostedWish& wish) {
  if (!owner_) ++last_token_;
  owner_ = call.caller;
  count_ += wish.hold.count;
  if (wish.receipt) unsure_.emplace_back(call.caller.session, call.id);
  answer_grant(call, wish);
}

Result<void> HostedRLock::release_by(const HostedCaller& caller) {
  if (!owned_by(caller)) return not_owner();
  if (--count_ == 0) let_go();
  return {};
}

std::optional<HostedHold> HostedRLock::hold_of(const HostedCaller& caller) const {
  if (!owned_by(caller)) return std::nullopt;
  return HostedHold{count_, last_token_};
}

void HostedRLock::let_go() {
  owner_.reset();
  unsure_.clear();
  count_ = 0;
  serve_waiting();
}

void HostedRLock::kept(std::uint64_t session, std::uint64_t call) {
  std::erase(unsure_, std::pair{session, call});
}

void HostedRLock::discarded(std::uint64_t session, std::uint64_t call) {
  if (std::erase(unsure_, std::pair{session, call}) == 0) return;
  if (--count_ != 0) return;
  let_go();
}

void HostedRLock::session_ended(std::uint64_t session) {
  if (!owner_ || owner_->session != session) return;
  // A grant that never arrived was of no use to it.
  if (count_ > unsure_.size()) abandoned_ = true;
  let_go();
}

}  // namespace passel::inline v0::detail
