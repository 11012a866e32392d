// Layer actors: the connections of this process to managers: one for each address.
#pragma once

#include <passel/authkey.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <memory>
#include <optional>

namespace passel::inline v0::detail {

/// The open connection to the manager at `address`, a new one when there is none. They stay until
/// the Runtime ends or they break; a forked child has its own. Errors: as SessionLink::connect,
/// invalid_state (no Runtime, on the I/O thread).
[[nodiscard]] Result<std::shared_ptr<SessionLink>> link_to_manager(const Address& address);
/// The same, when there is an open one already; else nullptr.
[[nodiscard]] std::shared_ptr<SessionLink> open_link_to_manager(const Address& address);
/// The key to use at that address; without one this process's authkey is used over TCP.
void set_manager_key(const Address& address, std::optional<AuthKey> key);
/// Says goodbye to the manager at that address.
void leave_manager(const Address& address);

}  // namespace passel::inline v0::detail
