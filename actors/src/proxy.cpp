// Layer actors: references to hosted objects.
#include <passel/proxy.hpp>

#include <passel/detail/child.hpp>
#include <passel/detail/proxy_core.hpp>

#include "manager_core.hpp"
#include "manager_links.hpp"
#include "proxy_place.hpp"
#include "proxy_reference.hpp"

#include <memory>
#include <utility>
#include <vector>

namespace passel::inline v0 {
namespace detail {
class ProxyCore::Body {
 public:
  Body(ProxyPlace place, std::shared_ptr<SessionLink> link)
      : reference_{ProxyReference::make(std::move(place), std::move(link))} {}
  ProxyReference* operator->() const noexcept { return reference_.get(); }

 private:
  const std::shared_ptr<ProxyReference> reference_;
};

ProxyCore::ProxyCore(std::unique_ptr<Body> body) : body_{std::move(body)} {}
ProxyCore::~ProxyCore() { (*body_)->drop(); }

Result<std::shared_ptr<ProxyCore>> ProxyCore::create(const Address& address, std::string_view type,
                                                     Encoded args) {
  PASSEL_TRY(const auto link, link_to_manager(address));
  const std::string method = std::string{create_prefix} + std::string{type};
  PASSEL_TRY(const auto made, decode_reply<CreatedObject>(
                                  link->call({0, method, std::move(args), Deadline::never()})));
  ProxyPlace place{std::string{type}, address, made.epoch, made.object};
  return std::make_shared<ProxyCore>(std::make_unique<Body>(std::move(place), link));
}

Result<std::shared_ptr<ProxyCore>> ProxyCore::from_value(const WireValue& value) {
  auto found = read_proxy(value);
  if (!found) return mismatch("proxy of a hosted object", value);
  // The server knows itself by another address than those who come through a tunnel, or by none.
  if (auto reached = address_of_manager(found->place.epoch))
    found->place.address = *std::move(reached);
  auto body = std::make_unique<Body>(std::move(found->place), nullptr);
  (*body)->arrive(found->ticket);
  return std::make_shared<ProxyCore>(std::move(body));
}

WireValue ProxyCore::to_value() const { return (*body_)->lend(); }

Result<SessionReply> ProxyCore::call(std::string_view method, Encoded args, Deadline deadline,
                                     std::chrono::milliseconds patience) const {
  PASSEL_TRY(IoLoop* const loop, runtime_io());
  if (loop->on_loop_thread())
    return Error{Errc::invalid_state, "'" + std::string{method} +
                                          "' cannot be waited for on the I/O thread: call_async"};
  SessionCall asked{(*body_)->place().object, method, std::move(args), deadline, patience};
  PASSEL_TRY(const auto link, (*body_)->link(asked.end()));
  return link->call(std::move(asked));
}

void ProxyCore::tell(std::string_view topic, std::uint64_t call, const SessionLease& lease) const {
  (*body_)->tell(topic, call, lease);
}

ProxyCore::Pending ProxyCore::call_async(std::string_view method, Encoded args, Deadline deadline,
                                         SessionLink::Answered answered) const {
  auto link = (*body_)->link(deadline);
  if (!link) {
    answered(link.error());
    return {};
  }
  const std::uint64_t call = (*link)->call_async(
      {(*body_)->place().object, method, std::move(args), deadline}, std::move(answered));
  return {*link, call};
}

const std::string& ProxyCore::type() const noexcept { return (*body_)->place().type; }
const Address& ProxyCore::address() const noexcept { return (*body_)->place().address; }
std::uint64_t ProxyCore::object() const noexcept { return (*body_)->place().object; }

bool ProxyCore::same_object(const ProxyCore& other) const noexcept {
  const ProxyPlace& a = (*body_)->place();
  const ProxyPlace& b = (*other.body_)->place();
  return a.object == b.object && a.epoch == b.epoch;  // no two servers have one epoch
}

std::string ProxyCore::name() const {
  return "<Proxy[" + type() + "] object " + std::to_string(object()) + " at " +
         to_string(address()) + ">";
}

Error no_proxy_error() { return {Errc::invalid_state, "the proxy is of no object"}; }

}  // namespace detail

Result<std::vector<std::string>> DynamicProxy::methods() const {
  return call<std::vector<std::string>>("#methods");
}

Result<std::string> DynamicProxy::text() const { return call<std::string>("#text"); }
Result<WireValue> DynamicProxy::copy() const { return call<WireValue>("#copy"); }
std::string DynamicProxy::to_string() const { return core_ ? core_->name() : "<Proxy of nothing>"; }
std::string DynamicProxy::type() const { return core_ ? core_->type() : std::string{}; }
Address DynamicProxy::address() const { return core_ ? core_->address() : Address{}; }

}  // namespace passel::inline v0
