// Layer actors: how one process holds an object that lives in another.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/result.hpp>

#include "proxy_place.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

namespace passel::inline v0::detail {

/// The place of a hosted object, and the connection by which this process holds it. Any thread; no
/// lock is held while a connection is made.
class ProxyReference {
 public:
  /// It takes part in hold_all_again.
  [[nodiscard]] static std::shared_ptr<ProxyReference> make(ProxyPlace place,
                                                            std::shared_ptr<SessionLink> link);
  ProxyReference(ProxyPlace place, std::shared_ptr<SessionLink> link);
  ProxyReference(const ProxyReference&) = delete;
  ProxyReference& operator=(const ProxyReference&) = delete;
  ~ProxyReference();

  [[nodiscard]] const ProxyPlace& place() const noexcept { return place_; }
  /// The connection, with the object held over it. Connecting ends at that deadline. Errors:
  /// peer_lost, stale_object when another server is there now, timeout, invalid_state.
  [[nodiscard]] Result<std::shared_ptr<SessionLink>> link(Deadline deadline = Deadline::never());
  /// Holds it if the manager can be asked without waiting long; else with the first call.
  void arrive(std::uint64_t ticket);
  /// Says it over the connection that the lease came by, if that is the present one.
  void tell(std::string_view topic, std::uint64_t call, const SessionLease& lease);
  /// Lets go of the object.
  void drop();
  /// For the journey to another process.
  [[nodiscard]] WireValue lend();

 private:
  friend void hold_all_again(const Address& address, const std::shared_ptr<SessionLink>& link);

  std::shared_ptr<SessionLink> open_link();
  void hold_over(const std::shared_ptr<SessionLink>& link);
  void follow(const std::shared_ptr<SessionLink>& link);
  void forget_the_parents();

  const ProxyPlace place_;
  std::mutex mutex_;
  std::shared_ptr<SessionLink> link_;
  std::uint64_t ticket_ = 0;  // it has travelled, and has not been held yet
  std::uint32_t generation_;
  bool dropped_ = false;
};

/// A connection has been made with the manager at that address. What this process held over one
/// that has broken it holds over this one from now on: the server forgets the old one after a
/// while, and with it the objects that nobody else holds.
void hold_all_again(const Address& address, const std::shared_ptr<SessionLink>& link);

}  // namespace passel::inline v0::detail
