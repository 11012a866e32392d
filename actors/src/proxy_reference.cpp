// Layer actors: how one process holds an object that lives in another.
#include "proxy_reference.hpp"

#include <passel/codec.hpp>
#include <passel/detail/shared_object.hpp>

#include "manager_links.hpp"

#include <chrono>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

/// How long a proxy that is being read waits for its manager.
constexpr std::chrono::seconds arrival_limit{1};

Error manager_gone(const ProxyPlace& place, const Error& why) {
  return {Errc::peer_lost,
          "the manager at " + to_string(place.address) + " is gone: " + why.what()};
}

Error object_gone(const ProxyPlace& place) {
  return {Errc::stale_object, "object " + std::to_string(place.object) + " of type '" + place.type +
                                  "' belonged to an earlier life of the manager at " +
                                  to_string(place.address)};
}

/// Every reference of this process.
struct References {
  std::mutex mutex;
  std::unordered_map<const ProxyReference*, std::weak_ptr<ProxyReference>> all;
};

/// Never destroyed: proxies may be, later than anything static.
References& references() {
  static auto* const known = new References;
  return *known;
}

}  // namespace

ProxyReference::ProxyReference(ProxyPlace place, std::shared_ptr<SessionLink> link)
    : place_{std::move(place)}, link_{std::move(link)}, generation_{fork_generation()} {}

ProxyReference::~ProxyReference() {
  References& known = references();
  const std::lock_guard lock{known.mutex};
  known.all.erase(this);
}

std::shared_ptr<ProxyReference> ProxyReference::make(ProxyPlace place,
                                                     std::shared_ptr<SessionLink> link) {
  auto made = std::make_shared<ProxyReference>(std::move(place), std::move(link));
  References& known = references();
  const std::lock_guard lock{known.mutex};
  known.all.emplace(made.get(), made);
  return made;
}

Result<std::shared_ptr<SessionLink>> ProxyReference::link(Deadline deadline) {
  if (auto link = open_link()) return link;
  auto found = link_to_manager(place_.address, deadline);
  if (!found) {
    if (found.error() == Errc::invalid_state || deadline.passed()) return found;
    return manager_gone(place_, found.error());
  }
  if ((*found)->epoch() != place_.epoch) return object_gone(place_);
  hold_over(*found);
  return found;
}

void ProxyReference::arrive(std::uint64_t ticket) {
  ticket_ = ticket;
  static_cast<void>(link(Deadline::after(arrival_limit)).is_ok());
}

void ProxyReference::tell(std::string_view topic, std::uint64_t call, const SessionLease& lease) {
  const auto link = open_link();
  if (!link || !link->granted(lease)) return;
  if (const auto bytes = encode(call)) link->notify(place_.object, topic, bytes->bytes);
}

void ProxyReference::drop() {
  const std::lock_guard lock{mutex_};
  forget_the_parents();
  dropped_ = true;
  if (link_) link_->notify(place_.object, "drop", {});
}

WireValue ProxyReference::lend() {
  const std::uint64_t ticket = fresh_number();
  if (const auto held = link()) {
    if (const auto bytes = encode(ticket)) (*held)->notify(place_.object, "lend", bytes->bytes);
  }
  return write_proxy(place_, ticket);
}

std::shared_ptr<SessionLink> ProxyReference::open_link() {
  const std::lock_guard lock{mutex_};
  forget_the_parents();
  return link_ && link_->is_open() ? link_ : nullptr;
}

// What this process held went with its last connection; others may hold it still.
void ProxyReference::hold_over(const std::shared_ptr<SessionLink>& link) {
  std::shared_ptr<SessionLink> gone;  // its end calls others back, without the mutex
  const std::lock_guard lock{mutex_};
  forget_the_parents();
  if (dropped_ || (link_ && link_->is_open())) return;
  if (const auto bytes = encode(std::exchange(ticket_, 0)))
    link->notify(place_.object, "hold", bytes->bytes);
  gone = std::exchange(link_, link);
}

void ProxyReference::follow(const std::shared_ptr<SessionLink>& link) {
  {
    const std::lock_guard lock{mutex_};
    forget_the_parents();
    if (!link_) return;  // not yet held by this process
  }
  hold_over(link);
}

/// What a fork copied is the parent's; the child holds the object by itself.
void ProxyReference::forget_the_parents() {
  if (generation_ == fork_generation()) return;
  generation_ = fork_generation();
  new std::shared_ptr<SessionLink>{std::exchange(link_, nullptr)};
  ticket_ = 0;
}

void hold_all_again(const Address& address, const std::shared_ptr<SessionLink>& link) {
  // All of them, whosever they are: the last one to let go of a reference locks this mutex.
  std::vector<std::shared_ptr<ProxyReference>> held;
  {
    References& known = references();
    const std::lock_guard lock{known.mutex};
    held.reserve(known.all.size());
    for (const auto& [raw, weak] : known.all)
      if (auto one = weak.lock()) held.push_back(std::move(one));
  }
  const std::string where = to_string(address);
  for (const auto& one : held) {
    if (one->place_.epoch == link->epoch() && to_string(one->place_.address) == where)
      one->follow(link);
  }
}

}  // namespace passel::inline v0::detail
