// Layer actors: settings of a manager: where it is, who may do what in it, and how much.
#pragma once

#include <passel/authkey.hpp>
#include <passel/certificates.hpp>
#include <passel/listener.hpp>

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0 {

/// How much clients can have of a manager's server. Who is over a limit gets Errc::full, which
/// names it, and goes on with what he has; one session too many is not let in, and told so (full).
struct ManagerLimits {
  std::size_t sessions = 20'000;             ///< at once: a session is a process
  std::size_t sessions_of_host = 20'000;     ///< at once from one address, over TCP
  std::size_t objects = 1'000'000;           ///< hosted at once
  std::size_t objects_of_session = 100'000;  ///< hosted at once that one session has made
  std::size_t calls_of_session = 10'000;     ///< not answered yet: who waits in a line
  /// Of arguments of those calls: what producers at a full queue have in hand.
  std::size_t call_bytes_of_session = std::size_t{256} << 20;
  /// Of one queue, in the hands of one session: got and on their way, or not finished by task_done.
  std::size_t items_of_session = 100'000;
  std::size_t item_bytes_of_session = std::size_t{1} << 30;  ///< of those items
  std::size_t processes = 1'000;  ///< at once, of all pools in the server (Manager::pool)
};

/// Clients with a key of their own, who may use some of the types and nothing else.
///
///     ManagerRole{.name = "readers", .authkey = readers_key,
///                 .types = {{"dict", {"get", "contains", "size"}}, {"Event", {}}}}
///
/// It covers every object of these types, whoever made it: one that comes in a value is of no use
/// to whom its type is not for.
struct ManagerRole {
  std::string name;  ///< for errors
  AuthKey authkey;
  /// Names of types, as they were registered, and the methods of each that may be called; without
  /// any: all of them, and objects of the type can be made.
  std::map<std::string, std::vector<std::string>> types{};
};

/// Settings of a manager.
struct ManagerOptions {
  /// Where its server is, or shall be. The default is a socket in a new directory of this user's.
  Address address = UnixAddress{};
  /// The secret of server and clients: this process's authkey unless it is given. Children that
  /// are started later know it, whatever it is. Over TCP it also encrypts.
  std::optional<AuthKey> authkey{};
  /// Keys that some clients still have: they are let in as with `authkey`, until everybody has the
  /// new one. Of the server; with the roles at most seven. (See AuthKey::load_all.)
  std::vector<AuthKey> former_authkeys{};
  /// Over TCP, instead of the secret: server and clients show certificates. The server reads the
  /// files when it starts, clients when they connect. There are no roles then. With an authkey
  /// beside it, at a Unix socket or without one of its files it is an error (invalid_argument).
  std::optional<Certificates> certificates{};
  /// How long the server has to end when it is shut down, before SIGTERM, and then before SIGKILL.
  std::chrono::milliseconds shutdown_timeout{1000};
  std::string name{};  ///< of the server process; empty: as any process
  /// Over TCP: after so long a silence server and clients take each other for lost. What a client
  /// holds is its own for an eighth less, counted from the last thing it said that the server is
  /// known to have heard (ProxyGuard::lost). The server's setting counts. From 10 ms (less counts
  /// as that) to a day; more is an error (invalid_argument).
  std::chrono::milliseconds silence{6000};
  /// Of the server.
  ManagerLimits limits{};
  /// Further keys that the server knows and what they are good for, with the former ones at most
  /// seven. Whoever knows `authkey` may do everything.
  std::vector<ManagerRole> roles{};
};

}  // namespace passel::inline v0
