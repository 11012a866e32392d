// Layer actors: the machine that knows which hosted objects are wanted, and by whom.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

struct RegistryOptions {
  /// How long a proxy may be on its way from one process to another before it counts as lost.
  std::chrono::milliseconds lease{600'000};
  /// What is left of that when whoever sent it is gone.
  std::chrono::milliseconds orphan_lease{10'000};
  std::size_t max_leases = 100'000;  ///< of one session; then its oldest ends
};

namespace registry_event {
struct Created {  ///< a session made the object, and holds it
  std::uint64_t session = 0;
  std::uint64_t object = 0;
};
struct Hold {  ///< one more proxy of it in that session; `ticket` is what it travelled with, or 0
  std::uint64_t session = 0;
  std::uint64_t object = 0;
  std::uint64_t ticket = 0;
};
struct Drop {  ///< one proxy less
  std::uint64_t session = 0;
  std::uint64_t object = 0;
};
struct Lend {  ///< a proxy sets out on a journey; session 0: from the server itself
  std::uint64_t session = 0;
  std::uint64_t object = 0;
  std::uint64_t ticket = 0;
};
struct Keep {  ///< something in the server holds it: a name, a container
  std::uint64_t object = 0;
};
struct Unkeep {
  std::uint64_t object = 0;
};
struct Ended {
  std::uint64_t session = 0;
};
struct Tick {};
}  // namespace registry_event

using RegistryEvent =
    std::variant<registry_event::Created, registry_event::Hold, registry_event::Drop,
                 registry_event::Lend, registry_event::Keep, registry_event::Unkeep,
                 registry_event::Ended, registry_event::Tick>;

/// What the registry wants done: nobody holds the object any more.
struct RegistryDispose {
  std::uint64_t object = 0;
};

/// Who holds which object. An object lives as long as a session has a proxy of it, the server keeps
/// it, or a proxy of it is on its way (a lease); then it is disposed of, once. A session that ends
/// gives up all it held. A proxy that arrives before the news of its departure counts as arrived.
class ManagerRegistry {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Action = RegistryDispose;

  explicit ManagerRegistry(RegistryOptions options = {}) : options_{options} {}

  void step(RegistryEvent event, Time now, std::vector<Action>& actions);
  /// When a Tick is due: the end of the first lease.
  [[nodiscard]] std::optional<Time> next_wakeup() const;

  [[nodiscard]] bool knows(std::uint64_t object) const { return objects_.contains(object); }
  [[nodiscard]] bool holds(std::uint64_t session, std::uint64_t object) const {
    return held_.contains({session, object});
  }
  /// Proxies of the object in all sessions, what the server keeps, and leases.
  [[nodiscard]] std::size_t references(std::uint64_t object) const;
  [[nodiscard]] std::size_t objects() const noexcept { return objects_.size(); }
  [[nodiscard]] std::size_t leases() const noexcept { return leases_.size(); }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // object and ticket
  struct Lease {
    std::uint64_t session = 0;
    Time ends;
  };

  void on(const registry_event::Created& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Hold& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Drop& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Lend& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Keep& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Unkeep& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Ended& event, Time now, std::vector<Action>& actions);
  void on(const registry_event::Tick& event, Time now, std::vector<Action>& actions);
  void release(std::uint64_t object, std::size_t count, std::vector<Action>& actions);
  /// True when there was such a lease. The object's reference is the caller's then.
  bool take_lease(const Key& key);

  RegistryOptions options_;
  std::map<std::uint64_t, std::size_t> objects_;  // and how many references there are
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> held_;  // by session and object
  std::map<Key, Lease> leases_;
  std::set<std::pair<Time, Key>> ends_;
  std::map<std::uint64_t, std::deque<Key>> lent_;  // by session, oldest first
  std::set<Key> early_;                            // arrived before their departure
  std::deque<Key> early_order_;
};

}  // namespace passel::inline v0::detail
