// Layer actors: the connections of this process to managers.
#include "manager_links.hpp"

#include <passel/detail/child.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/finalize.hpp>
#include <passel/process.hpp>

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

constexpr std::chrono::seconds connect_limit{10};
/// Behind everything that may still call: children have ended by then.
constexpr int last_of_all = -1'000'000;

struct Links {
  std::mutex mutex;
  std::uint32_t generation = fork_generation();
  std::map<std::string, std::shared_ptr<SessionLink>> open;
  std::map<std::string, AuthKey> keys;
  Finalizer at_end;
};

/// Never destroyed: proxies may be, later than anything static.
Links& links() {
  static auto* const all = new Links;
  return *all;
}

/// With the mutex held. What a fork copied belongs to the parent: it is left as it is.
void forget_the_parents(Links& all) {
  if (all.generation == fork_generation()) return;
  all.generation = fork_generation();
  new std::map<std::string, std::shared_ptr<SessionLink>>{std::exchange(all.open, {})};
}

void leave_all() {
  Links& all = links();
  std::map<std::string, std::shared_ptr<SessionLink>> open;
  {
    const std::lock_guard lock{all.mutex};
    forget_the_parents(all);
    open.swap(all.open);
  }
  for (const auto& [where, link] : open) link->leave();
}

}  // namespace

std::shared_ptr<SessionLink> open_link_to_manager(const Address& address) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  forget_the_parents(all);
  const auto found = all.open.find(to_string(address));
  if (found == all.open.end() || !found->second->is_open()) return nullptr;
  return found->second;
}

Result<std::shared_ptr<SessionLink>> link_to_manager(const Address& address) {
  if (auto link = open_link_to_manager(address)) return link;
  PASSEL_TRY(IoLoop* const loop, runtime_io());
  if (loop->on_loop_thread())
    return Error{Errc::invalid_state,
                 "no connection with " + to_string(address) + " can be made on the I/O thread"};
  SessionLinkOptions options;
  options.name = current_process().name;
  const std::string where = to_string(address);
  Links& all = links();
  {
    const std::lock_guard lock{all.mutex};
    if (const auto key = all.keys.find(where); key != all.keys.end()) options.authkey = key->second;
  }
  if (!options.authkey && std::holds_alternative<TcpAddress>(address)) options.authkey = authkey();
  PASSEL_TRY(auto link,
             SessionLink::connect(*loop, address, options, Deadline::after(connect_limit)));
  std::vector<std::shared_ptr<SessionLink>> gone;
  const std::lock_guard lock{all.mutex};
  for (auto it = all.open.begin(); it != all.open.end();) {
    const bool broken = !it->second->is_open();
    if (broken) gone.push_back(std::move(it->second));
    it = broken ? all.open.erase(it) : std::next(it);
  }
  // Another thread may have been quicker.
  if (const auto found = all.open.find(where); found != all.open.end()) {
    gone.push_back(std::exchange(link, found->second));
    return link;
  }
  all.open.emplace(where, link);
  if (!all.at_end.still_active())
    all.at_end = Finalizer::add(&leave_all, {.priority = last_of_all});
  return link;
}

void set_manager_key(const Address& address, std::optional<AuthKey> key) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  all.keys.erase(to_string(address));
  if (key) all.keys.emplace(to_string(address), *std::move(key));
}

void leave_manager(const Address& address) {
  if (const auto link = open_link_to_manager(address)) link->leave();
}

}  // namespace passel::inline v0::detail
