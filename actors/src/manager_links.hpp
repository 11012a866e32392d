// Layer actors: the connections of this process to managers: one for each address.
#pragma once

#include <passel/authkey.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/listener.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace passel::inline v0::detail {

/// The open connection to the manager at `address`, a new one when there is none. They stay until
/// the Runtime ends or they break; a forked child has its own. Errors: as SessionLink::connect,
/// invalid_state (no Runtime, on the I/O thread).
/// Of several threads that find none one connects, and each waits for that until its own deadline.
[[nodiscard]] Result<std::shared_ptr<SessionLink>> link_to_manager(
    const Address& address, Deadline deadline = Deadline::never());
/// The same, when there is an open one already; else nullptr.
[[nodiscard]] std::shared_ptr<SessionLink> open_link_to_manager(const Address& address);
/// What proves to a manager who one is.
struct ManagerProof {
  AuthKey key;
  std::optional<Certificates> certificates{};  ///< over TCP, instead of the key

  friend bool operator==(const ManagerProof&, const ManagerProof&) = default;
};
/// What to use at that address; where none is known it is this process's authkey.
void set_manager_key(const Address& address, ManagerProof key);
/// Connects with the manager at that address, and uses that key there from now on. Errors: as
/// link_to_manager, auth_failed.
[[nodiscard]] Result<void> join_manager(const Address& address, const ManagerProof& key,
                                        Deadline deadline = Deadline::never());
/// Forgets it, unless another one has been set or it has been set again.
void forget_manager_key(const Address& address, const ManagerProof& key);
/// Appends what a child has to know beside its authkey to what it is started with.
void add_manager_keys(std::vector<std::byte>& args);
/// Takes it off again. Errors: malformed.
[[nodiscard]] Result<void> inherit_manager_keys(std::vector<std::byte>& args);
/// Ends the connection with whoever was at that address before, so that its end, which may not have
/// been noticed yet, is known: another server is there now.
void forget_former_manager(const Address& address);
/// Says goodbye to the manager at that address, if it is that life of it: another one may be there
/// by now.
void leave_manager(const Address& address, std::uint64_t epoch);
/// Where this process reached the server of that epoch, when it has a connection with it: what a
/// server that listens at all addresses calls its own is none that others can use.
[[nodiscard]] std::optional<Address> address_of_manager(std::uint64_t epoch);

}  // namespace passel::inline v0::detail
