// Layer actors: proxies: objects that live in a manager's server, called from elsewhere.
#pragma once

#include <passel/detail/asked_state.hpp>
#include <passel/detail/hosted_methods.hpp>
#include <passel/detail/proxy_core.hpp>
#include <passel/expose.hpp>
#include <passel/future.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// An object that a manager hosts, called by the names of its methods.
///
///     passel::DynamicProxy counter = manager.create("Counter", 5).unwrap();
///     int now = counter.call<int>("add", 3).unwrap();            // 8
///     auto soon = counter.call_async<int>("add", 1);             // Future<int>
///     counter.call<void>("reset").unwrap();
///
/// A value: copies are the same reference, compare equal and have one hash. The object lives as
/// long as a proxy of it does, in any process, or something in the server holds it. Proxies go to
/// other processes like any value, as arguments of processes, tasks and methods, through queues,
/// and inside of hosted containers; no key goes with them.
///
/// A call waits for its answer. Errors of all of them: what the method returned or threw
/// (task_failed with a RemoteError), not_found when the method is not exposed, type_mismatch when
/// the arguments are others than it takes, peer_lost when the manager is gone, stale_object when
/// the object belonged to an earlier life of it, too_large, invalid_state without a Runtime and for
/// a proxy of nothing. A process that dies gives up the proxies it had.
///
/// Any number of threads may use copies of one, and the same one. Source of the semantics: Python's
/// multiprocessing.managers.BaseProxy.
class PASSEL_API DynamicProxy {
 public:
  /// Of nothing.
  DynamicProxy() = default;
  explicit DynamicProxy(std::shared_ptr<detail::ProxyCore> core) noexcept
      : core_{std::move(core)} {}

  /// Calls a method and waits for what it gives, as an R (Python's _callmethod).
  template <class R = WireValue, class... A>
  Result<R> call(std::string_view method, const A&... args) const {
    return detail::call_object<R>(core_, method, detail::encode_pack(wire(args)...),
                                  detail::Deadline::never());
  }
  /// The same, waiting at most `limit`. Errors also: timeout. The method may still run.
  template <class R = WireValue, class Rep, class Period, class... A>
  Result<R> call_for(std::chrono::duration<Rep, Period> limit, std::string_view method,
                     const A&... args) const {
    return detail::call_object<R>(core_, method, detail::encode_pack(wire(args)...),
                                  detail::Deadline::after(limit));
  }
  /// Calls and does not wait. Cancelling or dropping the future gives the call up; a method that
  /// runs goes on.
  template <class R = WireValue, class... A>
  Future<R> call_async(std::string_view method, const A&... args) const {
    return detail::call_object_async<R>(core_, method, detail::encode_pack(wire(args)...));
  }

  /// What can be called, sorted.
  [[nodiscard]] Result<std::vector<std::string>> methods() const;
  /// What the object itself looks like (Python's str of a proxy).
  [[nodiscard]] Result<std::string> text() const;
  /// A copy of the object (Python's _getvalue). Errors also: unsupported, when it cannot be sent.
  [[nodiscard]] Result<WireValue> copy() const;
  /// The same, waiting at most `limit`. Errors also: timeout.
  template <class Rep, class Period>
  [[nodiscard]] Result<WireValue> copy_for(std::chrono::duration<Rep, Period> limit) const {
    return call_for<WireValue>(limit, "#copy");
  }
  /// "<Proxy[Counter] object 3 at /tmp/x>" (Python's repr). Asks nobody.
  [[nodiscard]] std::string to_string() const;
  /// The name its type was registered under.
  [[nodiscard]] std::string type() const;
  /// Where its manager is.
  [[nodiscard]] Address address() const;

  [[nodiscard]] bool valid() const noexcept { return core_ != nullptr; }
  /// Whether both are proxies of one object.
  friend bool operator==(const DynamicProxy& a, const DynamicProxy& b) noexcept {
    if (!a.core_ || !b.core_) return a.core_ == b.core_;
    return a.core_ == b.core_ || a.core_->same_object(*b.core_);
  }

  /// For the codec.
  [[nodiscard]] const std::shared_ptr<detail::ProxyCore>& core() const noexcept { return core_; }

 protected:
  // Literals travel as text.
  template <class T>
  static const T& wire(const T& value) noexcept {
    return value;
  }
  template <std::size_t N>
  static std::string_view wire(const char (&text)[N]) noexcept {
    return {text};
  }

  std::shared_ptr<detail::ProxyCore> core_;
};

namespace detail {

/// One method as its caller sees it: `&Counter::add` or `passel::exposed<"add", ...>`.
template <auto Spec>
struct CalledMethod {
  static constexpr auto function = NamedMethod<Spec>::function;
  static constexpr std::string_view name() { return NamedMethod<Spec>::name; }
  using arguments = method_arguments<function>;
  using returned = returned_by<function>;
};

}  // namespace detail

/// A proxy that knows the class of its object, so that calls are checked when they are compiled.
///
///     passel::Proxy<Counter> counter = manager.create<Counter>("Counter", 5).unwrap();
///     int now = counter.call<&Counter::add>(3).unwrap();
///     passel::Future<int> soon = counter.call_async<&Counter::add>(1);
///
/// Everything else is as for DynamicProxy, which it is, too. Arguments are converted to the
/// parameters' types; a method that returns Result<R> or Future<R> gives R.
template <class T>
class Proxy : public DynamicProxy {
 public:
  using DynamicProxy::call;
  using DynamicProxy::call_async;
  using DynamicProxy::call_for;
  using DynamicProxy::DynamicProxy;
  /// Takes a proxy for one of a T; the manager checks each call all the same.
  explicit Proxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  template <auto F, class... A>
  auto call(A&&... args) const -> Result<typename detail::CalledMethod<F>::returned> {
    return call_until<F>(detail::Deadline::never(), std::forward<A>(args)...);
  }
  template <auto F, class Rep, class Period, class... A>
  auto call_for(std::chrono::duration<Rep, Period> limit, A&&... args) const
      -> Result<typename detail::CalledMethod<F>::returned> {
    return call_until<F>(detail::Deadline::after(limit), std::forward<A>(args)...);
  }
  template <auto F, class... A>
  auto call_async(A&&... args) const -> Future<typename detail::CalledMethod<F>::returned> {
    using Method = detail::CalledMethod<F>;
    return detail::call_object_async<typename Method::returned>(
        core_, Method::name(),
        detail::encode_arguments<typename Method::arguments>(std::forward<A>(args)...));
  }

 private:
  template <auto F, class... A>
  auto call_until(detail::Deadline deadline, A&&... args) const
      -> Result<typename detail::CalledMethod<F>::returned> {
    using Method = detail::CalledMethod<F>;
    return detail::call_object<typename Method::returned>(
        core_, Method::name(),
        detail::encode_arguments<typename Method::arguments>(std::forward<A>(args)...), deadline);
  }
};

namespace detail {

template <class P>
concept ProxyFace = std::derived_from<P, DynamicProxy> && !std::same_as<P, DynamicProxy> &&
                    std::constructible_from<P, DynamicProxy>;

}  // namespace detail

template <>
struct codec<DynamicProxy> {
  using parts = detail::types<>;
  static WireValue encode(const DynamicProxy& proxy) {
    return proxy.valid() ? proxy.core()->to_value() : WireValue{};
  }
  static Result<DynamicProxy> decode(const WireValue& value) {
    if (value.is_none()) return DynamicProxy{};
    PASSEL_TRY(auto core, detail::ProxyCore::from_value(value));
    return DynamicProxy{std::move(core)};
  }
};

/// How proxies with a face of their own travel: a class that derives from DynamicProxy and can be
/// made of one.
///
///     struct CounterProxy : passel::Proxy<Counter> {
///       using Proxy::Proxy;
///       passel::Result<int> twice(int n) const {
///         PASSEL_CHECK(call<&Counter::add>(n));
///         return call<&Counter::add>(n);
///       }
///     };
template <class P>
requires detail::ProxyFace<P>
struct codec<P> {
  using parts = detail::types<>;
  static WireValue encode(const P& proxy) { return codec<DynamicProxy>::encode(proxy); }
  static Result<P> decode(const WireValue& value) {
    PASSEL_TRY(DynamicProxy proxy, codec<DynamicProxy>::decode(value));
    return P{std::move(proxy)};
  }
};

}  // namespace passel::inline v0

/// Of its object: proxies that compare equal have the same one.
template <>
struct std::hash<passel::DynamicProxy> {
  std::size_t operator()(const passel::DynamicProxy& proxy) const noexcept {
    return proxy.valid() ? std::hash<std::uint64_t>{}(proxy.core()->object()) : 0;
  }
};
