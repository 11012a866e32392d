// Layer actors: references to hosted objects.
#include <passel/proxy.hpp>

#include <passel/detail/child.hpp>
#include <passel/detail/proxy_core.hpp>
#include <passel/detail/shared_object.hpp>

#include "manager_core.hpp"
#include "manager_links.hpp"
#include "proxy_place.hpp"

#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace passel::inline v0 {
namespace detail {
namespace {

Error manager_gone(const ProxyPlace& place, const Error& why) {
  return {Errc::peer_lost,
          "the manager at " + to_string(place.address) + " is gone: " + why.what()};
}

/// What a server that listens at all addresses of its host knows of itself.
bool is_everywhere(const Address& address) {
  const auto* const tcp = std::get_if<TcpAddress>(&address);
  return tcp != nullptr && (tcp->host == "0.0.0.0" || tcp->host == "::");
}

Error object_gone(const ProxyPlace& place) {
  return {Errc::stale_object, "object " + std::to_string(place.object) + " of type '" + place.type +
                                  "' belonged to an earlier life of the manager at " +
                                  to_string(place.address)};
}

class Reference;

/// Every reference of this process. When a connection has to be made anew all that went over the
/// old one are held over the new one at once: the server forgets the old one after a while, and
/// with it the objects that nobody else holds.
struct References {
  std::mutex mutex;
  std::unordered_map<const Reference*, std::weak_ptr<Reference>> all;
};

/// Never destroyed: proxies may be, later than anything static.
References& references() {
  static auto* const known = new References;
  return *known;
}

/// The place, and the connection by which this process holds the object.
class Reference {
 public:
  Reference(ProxyPlace place, std::shared_ptr<SessionLink> link)
      : place_{std::move(place)}, link_{std::move(link)} {}
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  ~Reference() {
    References& known = references();
    const std::lock_guard lock{known.mutex};
    known.all.erase(this);
  }
  static std::shared_ptr<Reference> make(ProxyPlace place, std::shared_ptr<SessionLink> link) {
    auto made = std::make_shared<Reference>(std::move(place), std::move(link));
    References& known = references();
    const std::lock_guard lock{known.mutex};
    known.all.emplace(made.get(), made);
    return made;
  }

  [[nodiscard]] const ProxyPlace& place() const noexcept { return place_; }

  /// The connection, with the object held over it.
  Result<std::shared_ptr<SessionLink>> link() {
    bool again = false;
    auto found = [&] {
      const std::lock_guard lock{mutex_};
      return open_link(again);
    }();
    if (again) hold_all_again();
    return found;
  }

  /// Holds it if the manager can be asked without waiting long; else with the first call.
  void arrive(std::uint64_t ticket) {
    ticket_ = ticket == 0 ? fresh_number() : ticket;
    static_cast<void>(link().is_ok());
  }

  void drop() {
    const std::lock_guard lock{mutex_};
    forget_the_parents();
    dropped_ = true;
    if (link_) link_->notify(place_.object, "drop", {});
  }

  WireValue lend() {
    const std::uint64_t ticket = fresh_number();
    if (const auto held = link()) {
      if (const auto bytes = encode(ticket)) (*held)->notify(place_.object, "lend", bytes->bytes);
    }
    return write_proxy(place_, ticket);
  }

 private:
  /// With the mutex held. `again` when it is another one than before.
  Result<std::shared_ptr<SessionLink>> open_link(bool& again) {
    forget_the_parents();
    if (link_ && link_->is_open()) return link_;
    auto found = link_to_manager(place_.address);
    if (!found) {
      if (found.error() == Errc::invalid_state) return found;
      return manager_gone(place_, found.error());
    }
    if ((*found)->epoch() != place_.epoch) return object_gone(place_);
    // What this process held goes with its last connection; others may hold it still.
    const std::uint64_t ticket = std::exchange(ticket_, 0);
    hold_by(**found, ticket != 0 ? ticket : fresh_number());
    again = link_ != nullptr;
    link_ = *found;
    return link_;
  }
  static void hold_all_again() {
    std::vector<std::shared_ptr<Reference>> others;
    {
      References& known = references();
      const std::lock_guard lock{known.mutex};
      for (const auto& [raw, weak] : known.all)
        if (auto one = weak.lock()) others.push_back(std::move(one));
    }
    for (const auto& one : others) one->follow();
  }
  /// Goes over to the present connection, if there is one and the last one is gone.
  void follow() {
    const std::lock_guard lock{mutex_};
    if (dropped_ || !link_ || link_->is_open() || !open_link_to_manager(place_.address)) return;
    bool again = false;
    static_cast<void>(open_link(again).is_ok());
  }
  void hold_by(SessionLink& link, std::uint64_t ticket) const {
    if (const auto bytes = encode(ticket)) link.notify(place_.object, "hold", bytes->bytes);
  }
  /// What a fork copied is the parent's; the child holds the object by itself.
  void forget_the_parents() {
    if (generation_ == fork_generation()) return;
    generation_ = fork_generation();
    new std::shared_ptr<SessionLink>{std::exchange(link_, nullptr)};
    ticket_ = fresh_number();
  }

  const ProxyPlace place_;
  std::mutex mutex_;
  std::shared_ptr<SessionLink> link_;
  std::uint64_t ticket_ = 0;  // it has travelled, and has not been held yet
  std::uint32_t generation_ = fork_generation();
  bool dropped_ = false;
};

}  // namespace

class ProxyCore::Body {
 public:
  Body(ProxyPlace place, std::shared_ptr<SessionLink> link)
      : reference_{Reference::make(std::move(place), std::move(link))} {}
  Reference* operator->() const noexcept { return reference_.get(); }

 private:
  const std::shared_ptr<Reference> reference_;
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
  if (is_everywhere(found->place.address)) {
    if (auto reached = address_of_manager(found->place.epoch))
      found->place.address = *std::move(reached);
  }
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
  PASSEL_TRY(const auto link, (*body_)->link());
  return link->call({(*body_)->place().object, method, std::move(args), deadline, patience});
}

void ProxyCore::tell(std::string_view topic, std::uint64_t call) const {
  const auto link = (*body_)->link();
  if (!link) return;
  if (const auto bytes = encode(call))
    (*link)->notify((*body_)->place().object, topic, bytes->bytes);
}

ProxyCore::Pending ProxyCore::call_async(std::string_view method, Encoded args, Deadline deadline,
                                         SessionLink::Answered answered) const {
  auto link = (*body_)->link();
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
