// Layer sync: locks, semaphores, events, conditions and barriers in a manager's server.
#pragma once

#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/kept_call.hpp>
#include <passel/proxy.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

namespace passel::inline v0 {

namespace detail {

/// How a grant is given back: by its number, or by the thread that holds the lock.
enum class GiveBack : bool { grant, owner };

struct ProxyGrantAccess;

}  // namespace detail

/// What somebody holds of a lock or semaphore in a manager's server. Gives it back when it is
/// destroyed, which asks the server and waits for its answer.
///
///     auto guard = lock.acquire().unwrap();
///     if (guard.abandoned()) repair(data);
///     storage.write(data, guard.token());      // who comes late with an older token is refused
///
/// Move-only; by one thread at a time, and for an RLock or Condition by the thread that took it.
/// When its process dies or loses the server, what it holds goes back: at once on one host, after
/// six seconds over a network, in which the guard says that it is `lost`.
class [[nodiscard]] ProxyGuard {
 public:
  /// Holds nothing.
  ProxyGuard() noexcept = default;
  ProxyGuard(ProxyGuard&& other) noexcept
      : proxy_{std::exchange(other.proxy_, {})},
        lease_{std::move(other.lease_)},
        token_{other.token_},
        abandoned_{other.abandoned_},
        way_{other.way_} {}
  ProxyGuard& operator=(ProxyGuard&& other) noexcept {
    ProxyGuard taken{std::move(other)};
    std::swap(proxy_, taken.proxy_);
    std::swap(lease_, taken.lease_);
    std::swap(token_, taken.token_);
    std::swap(abandoned_, taken.abandoned_);
    std::swap(way_, taken.way_);
    return *this;
  }
  ~ProxyGuard() {
    // What is lost is nobody's to give back, and its server may be far from answering.
    if (owns_lock() && !lost()) static_cast<void>(release().is_ok());
  }

  [[nodiscard]] bool owns_lock() const noexcept { return proxy_.valid(); }
  [[nodiscard]] explicit operator bool() const noexcept { return owns_lock(); }
  /// The fencing token of this grant: larger than that of every earlier grant of the same object.
  [[nodiscard]] std::uint64_t token() const noexcept { return token_; }
  /// The holder before died while it held it: what the lock protects may be half changed.
  [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }

  /// True when somebody else may have it: the server is gone, or this process was cut off from it,
  /// or stopped, for so long that the server may have taken it for dead. Becomes true before the
  /// server gives it to the next, and never false again. Asks nobody; what was found out can be
  /// outdated when it is acted on, so write with the token. False when nothing is held.
  [[nodiscard]] bool lost() const { return owns_lock() && !lease_.holds(); }

  /// Gives it back. Errors: invalid_state when nothing is held, or somebody else has released it;
  /// peer_lost.
  Result<void> release() {
    const DynamicProxy proxy = std::exchange(proxy_, {});
    if (way_ == detail::GiveBack::owner) return proxy.call<void>("release");
    return proxy.call<void>("give_back", token_);
  }
  /// Leaves it taken: it is given back by release() of the proxy, or when this process ends.
  void detach() noexcept { proxy_ = {}; }

 private:
  friend struct detail::ProxyGrantAccess;

  DynamicProxy proxy_;
  detail::SessionLease lease_;
  std::uint64_t token_ = 0;
  bool abandoned_ = false;
  detail::GiveBack way_ = detail::GiveBack::grant;
};

namespace detail {

struct ProxyGrantAccess {
  // The number of the call, the token, and whether the holder before died.
  using Grant = std::tuple<std::uint64_t, std::uint64_t, bool>;

  static ProxyGuard guard_of(const DynamicProxy& proxy, const Grant& grant,
                             const SessionReply& reply, GiveBack way) {
    ProxyGuard guard;
    guard.proxy_ = proxy;
    guard.lease_ = reply.lease;
    guard.token_ = std::get<1>(grant);
    guard.abandoned_ = std::get<2>(grant);
    guard.way_ = way;
    return guard;
  }
  static Result<ProxyGuard> take(const DynamicProxy& proxy, bool wait, Deadline deadline,
                                 GiveBack way) {
    if (!proxy.valid()) return no_proxy_error();
    PASSEL_TRY(auto args, encode_pack(wait, true));
    const auto reply = proxy.core()->call("acquire", std::move(args), deadline, server_patience);
    PASSEL_TRY(const Grant grant, decode_reply<Grant>(reply));
    proxy.core()->tell("kept", std::get<0>(grant), reply->lease);
    return guard_of(proxy, grant, *reply, way);
  }
  static Future<ProxyGuard> take_async(const DynamicProxy& proxy, GiveBack way) {
    return call_to_keep<ProxyGuard, Grant>(
        proxy.core(), "acquire", encode_pack(true, true),
        [proxy, way](Grant&& grant, const SessionReply& reply) {
          return std::pair{std::get<0>(grant),
                           Result<ProxyGuard>{guard_of(proxy, grant, reply, way)}};
        });
  }
};

/// What can be acquired.
template <GiveBack way>
class GrantingProxy : public DynamicProxy {
 public:
  using DynamicProxy::DynamicProxy;
  explicit GrantingProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  /// Waits until it is free and takes it, those who wait in the order in which they came. (Python:
  /// acquire())
  Result<ProxyGuard> acquire() const {
    return ProxyGrantAccess::take(*this, true, Deadline::never(), way);
  }
  /// Errors also: timeout; invalid_argument for a negative one. (Python: acquire(timeout=t))
  template <class Rep, class Period>
  Result<ProxyGuard> acquire_for(std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const Deadline deadline, checked_deadline(timeout));
    return ProxyGrantAccess::take(*this, true, deadline, way);
  }
  /// Errors also: timeout when it is not free. (Python: acquire(blocking=False))
  Result<ProxyGuard> try_acquire() const {
    return ProxyGrantAccess::take(*this, false, Deadline::never(), way);
  }
  /// Takes it without waiting for it here. A future that is cancelled or dropped before it is done
  /// takes nothing.
  Future<ProxyGuard> acquire_async() const { return ProxyGrantAccess::take_async(*this, way); }
  Result<bool> locked() const { return call<bool>("locked"); }
  /// The fencing token of the newest grant: who waited for a condition has another one than his
  /// guard tells.
  Result<std::uint64_t> token() const { return call<std::uint64_t>("token"); }
};

}  // namespace detail

/// A lock in a manager's server (Python's SyncManager.Lock).
///
///     auto lock = manager.lock().unwrap();
///     {
///       auto guard = lock.acquire().unwrap();
///       dict.set("n", dict.at("n").unwrap() + 1).unwrap();     // two calls, one at a time
///     }
///
/// Any process may release it, as in Python. What a process holds goes back when it dies, and the
/// next holder is told (ProxyGuard::abandoned). Errors: those of DynamicProxy's calls. Any number
/// of threads.
class LockProxy : public detail::GrantingProxy<detail::GiveBack::grant> {
 public:
  using GrantingProxy::GrantingProxy;
  /// Errors also: invalid_state "release unlocked lock".
  Result<void> release() const { return call<void>("release", std::int64_t{1}); }
};

/// A lock that one thread may take again and again, and gives back as often (Python's
/// SyncManager.RLock). Everything else is as for LockProxy.
class RLockProxy : public detail::GrantingProxy<detail::GiveBack::owner> {
 public:
  using GrantingProxy::GrantingProxy;
  /// Errors also: invalid_state "cannot release un-acquired lock", for other threads, too.
  Result<void> release() const { return call<void>("release"); }
  /// Whether the calling thread holds it. (Python: _is_owned)
  Result<bool> is_owned() const { return call<bool>("is_owned"); }
  /// How often the calling thread has taken it and not given it back. (Python: _recursion_count)
  Result<std::uint32_t> recursion_count() const { return call<std::uint32_t>("recursion_count"); }
};

/// A semaphore in a manager's server (Python's SyncManager.Semaphore and BoundedSemaphore). What a
/// process that ends has taken and not given back is gone with Ownership::counted, and goes back
/// with Ownership::owned; a permit whose taker died before it knew of it always goes back.
/// Everything else is as for LockProxy.
class SemaphoreProxy : public detail::GrantingProxy<detail::GiveBack::grant> {
 public:
  using GrantingProxy::GrantingProxy;
  /// Errors also: invalid_argument when n is less than one, or a bounded one "released too many
  /// times".
  Result<void> release(std::int64_t n = 1) const { return call<void>("release", n); }
  /// How many are free.
  Result<std::int64_t> value() const { return call<std::int64_t>("value"); }
};

/// A flag to wait for, in a manager's server (Python's SyncManager.Event). Errors: those of
/// DynamicProxy's calls. Any number of threads.
class EventProxy : public DynamicProxy {
 public:
  using DynamicProxy::DynamicProxy;
  explicit EventProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  /// Wakes everybody who waits.
  Result<void> set() const { return call<void>("set"); }
  Result<void> clear() const { return call<void>("clear"); }
  Result<bool> is_set() const { return call<bool>("is_set"); }
  Result<void> wait() const { return call<void>("wait"); }
  /// False when it was not set in that time; zero and less: only looks.
  template <class Rep, class Period>
  Result<bool> wait_for(std::chrono::duration<Rep, Period> timeout) const {
    const auto set = detail::call_object_patiently<void>(core_, "wait", detail::encode_pack(),
                                                         detail::Deadline::after(timeout));
    if (!set && set.error() != Errc::timeout) return set.error();
    return set.is_ok();
  }
  /// Done when it is set.
  Future<void> wait_async() const { return call_async<void>("wait"); }
  /// How many wait.
  Result<std::size_t> waiting() const { return call<std::size_t>("waiting"); }
};

/// A condition in a manager's server, over an RLock of its own or a lock of the same manager
/// (Python's SyncManager.Condition).
///
///     auto guard = condition.acquire().unwrap();
///     condition.wait([&] { return list.size().unwrap() > 0; }).unwrap();
///
/// Predicates run here, with the lock held. Whose time is up goes on when it has the lock again,
/// however long that takes. Errors: invalid_state when the calling thread does not
/// hold the lock, and those of DynamicProxy's calls.
class ConditionProxy : public detail::GrantingProxy<detail::GiveBack::owner> {
 public:
  using GrantingProxy::GrantingProxy;
  Result<void> release() const { return call<void>("release"); }
  /// Lets go of the lock, waits until notified, and returns with the lock.
  Result<void> wait() const { return wait_until(detail::Deadline::never()); }
  /// Errors also: timeout when it was not notified in that time; the lock is held all the same.
  template <class Rep, class Period>
  Result<void> wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_until(detail::Deadline::after(timeout));
  }
  /// Waits until `ready()`. (Python: wait_for(predicate))
  template <class F>
  Result<void> wait(F ready) const {
    while (!ready()) PASSEL_CHECK(wait());
    return {};
  }
  /// Errors also: timeout when it is not ready in that time. (Python: wait_for(predicate, timeout))
  template <class Rep, class Period, class F>
  Result<void> wait_for(std::chrono::duration<Rep, Period> timeout, F ready) const {
    const detail::Deadline deadline = detail::Deadline::after(timeout);
    while (!ready()) {
      const auto notified = wait_until(deadline);
      if (notified) continue;
      if (notified.error() == Errc::timeout && ready()) break;
      return notified;
    }
    return {};
  }
  /// Wakes `n` of those who wait, the first first.
  Result<void> notify(std::uint64_t n = 1) const { return call<void>("notify", n); }
  Result<void> notify_all() const { return notify(std::numeric_limits<std::uint64_t>::max()); }
  /// notify_all under its old Python name.
  Result<void> notifyAll() const { return notify_all(); }
  /// How many wait.
  Result<std::size_t> waiting() const { return call<std::size_t>("waiting"); }

 private:
  Result<void> wait_until(detail::Deadline deadline) const {
    PASSEL_TRY(const bool notified,
               detail::call_object_patiently<bool>(core_, "wait", detail::encode_pack(), deadline,
                                                   detail::unlimited_patience));
    if (!notified) return Error{Errc::timeout, "not notified in the time given"};
    return {};
  }
};

/// A place where a number of parties meet, in a manager's server (Python's SyncManager.Barrier). A
/// party whose time is up, or that dies while it waits, breaks it. Its action, when it has one,
/// runs in the server when all are there and before any goes on; when it fails, the last one who
/// came gets its error, and the barrier is broken. Errors: broken, with the reason, until reset();
/// those of DynamicProxy's calls.
class BarrierProxy : public DynamicProxy {
 public:
  using DynamicProxy::DynamicProxy;
  explicit BarrierProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  /// Waits for the others, for the barrier's own timeout at most; gives each a number of its own,
  /// in the order of their coming, from 0 to parties - 1.
  Result<int> wait() const { return call<int>("wait"); }
  /// With a limit of its own; zero and less: only the last who is missing gets through. Errors
  /// also: timeout when the action of the round before takes so long that this one could not come
  /// in.
  template <class Rep, class Period>
  Result<int> wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return detail::call_object_patiently<int>(core_, "wait", detail::encode_pack(),
                                              detail::Deadline::after(timeout));
  }
  /// Breaks it.
  Result<void> abort() const { return call<void>("abort"); }
  /// Makes it whole and empty; those who wait get Errc::broken.
  Result<void> reset() const { return call<void>("reset"); }
  Result<int> parties() const { return call<int>("parties"); }
  Result<int> n_waiting() const { return call<int>("n_waiting"); }
  Result<bool> broken() const { return call<bool>("broken"); }
};

}  // namespace passel::inline v0
