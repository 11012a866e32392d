// Layer actors: the connections of this process to managers.
#include "manager_links.hpp"

#include <passel/codec.hpp>
#include <passel/detail/child.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/wipe.hpp>
#include <passel/finalize.hpp>
#include <passel/process.hpp>

#include "proxy_reference.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

constexpr std::chrono::seconds connect_limit{10};
/// Behind everything that may still call: children have ended by then.
constexpr int last_of_all = -1'000'000;

struct TravellingKey {
  std::string where;
  std::vector<std::byte> key;
  std::optional<Certificates> certificates;
};
void wipe_all(std::vector<TravellingKey>& keys) {
  for (TravellingKey& one : keys) wipe(one.key);
}
using TravellingKeys = std::vector<TravellingKey>;

struct OpenLink {
  Address address;
  std::shared_ptr<SessionLink> link;
};
using Open = std::map<std::string, OpenLink>;

struct Links {
  std::mutex mutex;
  std::uint32_t generation = fork_generation();
  Open open;
  struct Known {
    ManagerProof key;
    int times = 0;              // that it was set
    bool is_inherited = false;  // it came with this process, and stays
  };
  std::map<std::string, Known> keys;
  /// A connection that somebody is making.
  struct Attempt {
    std::condition_variable changed;
    bool is_over = false;
    std::optional<Error> failed{};  // for others, too: not for want of its caller's time
  };
  std::map<std::string, std::shared_ptr<Attempt>> attempts;
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
  new Open{std::exchange(all.open, {})};
  new std::map<std::string, std::shared_ptr<Links::Attempt>>{std::exchange(all.attempts, {})};
}

void leave_all() {
  Links& all = links();
  Open open;
  {
    const std::lock_guard lock{all.mutex};
    forget_the_parents(all);
    open.swap(all.open);
  }
  for (const auto& [where, one] : open) one.link->leave();
}

}  // namespace

std::shared_ptr<SessionLink> open_link_to_manager(const Address& address) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  forget_the_parents(all);
  const auto found = all.open.find(to_string(address));
  if (found == all.open.end() || !found->second.link->is_open()) return nullptr;
  return found->second.link;
}

namespace {

Deadline in_time_to_connect(Deadline deadline) {
  const Deadline limit = Deadline::after(connect_limit);
  return deadline.when() < limit.when() ? deadline : limit;
}

Result<std::shared_ptr<SessionLink>> new_link(const Address& address, const ManagerProof& key,
                                              Deadline deadline = Deadline::never()) {
  PASSEL_TRY(IoLoop* const loop, runtime_io());
  if (loop->on_loop_thread())
    return Error{Errc::invalid_state,
                 "no connection with " + to_string(address) + " can be made on the I/O thread"};
  SessionLinkOptions options;
  options.name = current_process().name;
  options.authkey = key.key;
  options.certificates = key.certificates;
  return SessionLink::connect(*loop, address, options, in_time_to_connect(deadline));
}

/// With the mutex held. What is given back is to be let go of without it.
std::vector<std::shared_ptr<SessionLink>> take_broken(Links& all) {
  std::vector<std::shared_ptr<SessionLink>> gone;
  for (auto it = all.open.begin(); it != all.open.end();) {
    const bool broken = !it->second.link->is_open();
    if (broken) gone.push_back(std::move(it->second.link));
    it = broken ? all.open.erase(it) : std::next(it);
  }
  return gone;
}

/// With the mutex held.
void leave_at_end(Links& all) {
  if (!all.at_end.still_active())
    all.at_end = Finalizer::add(&leave_all, {.priority = last_of_all});
}

/// The link, or the one that another thread was quicker to add.
std::shared_ptr<SessionLink> add_link(const Address& address, std::shared_ptr<SessionLink> link) {
  std::vector<std::shared_ptr<SessionLink>> gone;
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  gone = take_broken(all);
  leave_at_end(all);
  const auto [place, fresh] = all.open.try_emplace(to_string(address), OpenLink{address, link});
  if (!fresh) gone.push_back(std::exchange(link, place->second.link));
  return link;
}

/// The key counts from now on, and this connection, which was made with it. What holds its objects
/// over another one goes on there.
void replace_link(const Address& address, const ManagerProof& key,
                  const std::shared_ptr<SessionLink>& link) {
  const std::string where = to_string(address);
  OpenLink gone{address, link};
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  leave_at_end(all);
  all.keys.insert_or_assign(where, Links::Known{key, 1});
  const auto [place, fresh] = all.open.try_emplace(where, gone);
  if (!fresh) std::swap(place->second, gone);
}

/// Whether the server is still there: its end is noticed by whoever reads.
bool answers(SessionLink& link, Deadline deadline = Deadline::never()) {
  return link
      .call({.target = 0,
             .method = "number_of_objects",
             .args = {},
             .deadline = in_time_to_connect(deadline)})
      .is_ok();
}

std::optional<ManagerProof> known_key(const Address& address) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  const auto known = all.keys.find(to_string(address));
  if (known == all.keys.end()) return std::nullopt;
  return known->second.key;
}

/// Somebody here uses another key for that address. Certificates are all good for the same.
bool counts_on_another(const Address& address, const ManagerProof& key) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  const auto known = all.keys.find(to_string(address));
  return known != all.keys.end() && known->second.times > 0 && known->second.key != key &&
         !known->second.key.certificates && !key.certificates;
}

struct Turn {
  std::shared_ptr<Links::Attempt> attempt;
  bool mine = false;              // to make
  std::optional<Error> failed{};  // it did, for everybody
};

/// The attempt to connect with that address: a new one, or that of another thread when it is over
/// or the deadline has passed.
Turn begin_or_wait(const std::string& where, Deadline deadline) {
  Links& all = links();
  std::unique_lock lock{all.mutex};
  forget_the_parents(all);
  const auto [found, mine] = all.attempts.try_emplace(where, nullptr);
  if (mine) found->second = std::make_shared<Links::Attempt>();
  const auto attempt = found->second;
  if (mine) return {.attempt = attempt, .mine = true};
  const auto is_over = [&attempt] { return attempt->is_over; };
  if (deadline.is_never()) {
    attempt->changed.wait(lock, is_over);
  } else {
    attempt->changed.wait_until(lock, deadline.when(), is_over);
  }
  return {.attempt = attempt, .failed = attempt->failed};
}

void end_attempt(const std::string& where, Links::Attempt& attempt, std::optional<Error> failed) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  const auto found = all.attempts.find(where);
  if (found != all.attempts.end() && found->second.get() == &attempt) all.attempts.erase(found);
  attempt.is_over = true;
  attempt.failed = std::move(failed);
  attempt.changed.notify_all();
}

Result<std::shared_ptr<SessionLink>> connect_for_all(const Address& address,
                                                     Links::Attempt& attempt, Deadline deadline) {
  const auto known = known_key(address);
  auto link = new_link(address, known ? *known : ManagerProof{authkey()}, deadline);
  if (link) link = add_link(address, *std::move(link));
  std::optional<Error> failed;
  if (!link && !deadline.passed()) failed = link.error();
  end_attempt(to_string(address), attempt, std::move(failed));
  if (link) hold_all_again(address, *link);
  return link;
}

}  // namespace

Result<std::shared_ptr<SessionLink>> link_to_manager(const Address& address, Deadline deadline) {
  const std::string where = to_string(address);
  while (true) {
    if (auto link = open_link_to_manager(address)) return link;
    PASSEL_TRY(IoLoop* const loop, runtime_io());
    if (loop->on_loop_thread()) return new_link(address, {authkey()});  // says that it cannot
    const Turn turn = begin_or_wait(where, deadline);
    if (turn.mine) return connect_for_all(address, *turn.attempt, deadline);
    if (turn.failed) return *turn.failed;
    if (deadline.passed())
      return Error{Errc::timeout, "no connection with " + where + " in the time given"};
  }
}

Result<void> join_manager(const Address& address, const ManagerProof& key, Deadline deadline) {
  const auto known = open_link_to_manager(address);
  // What the server allows depends on the key.
  if (known_key(address) != key) {
    PASSEL_TRY(const auto link, new_link(address, key, deadline));
    if (counts_on_another(address, key) && known != nullptr && answers(*known, deadline))
      return Error{Errc::invalid_state, "this process has a manager at " + to_string(address) +
                                            " with another key: it has one key for an address"};
    replace_link(address, key, link);
    hold_all_again(address, link);
    return {};
  }
  if (known == nullptr || !answers(*known, deadline)) {
    PASSEL_TRY(auto link, new_link(address, key, deadline));
    hold_all_again(address, add_link(address, std::move(link)));
  }
  set_manager_key(address, key);
  return {};
}

void set_manager_key(const Address& address, ManagerProof key) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  const auto [known, fresh] = all.keys.try_emplace(to_string(address), Links::Known{key, 0});
  if (!(known->second.key == key)) known->second = {std::move(key), 0};
  ++known->second.times;
}

void forget_manager_key(const Address& address, const ManagerProof& key) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  const auto known = all.keys.find(to_string(address));
  if (known == all.keys.end() || !(known->second.key == key)) return;
  if (--known->second.times == 0 && !known->second.is_inherited) all.keys.erase(known);
}

void add_manager_keys(std::vector<std::byte>& args) {
  TravellingKeys keys;
  const AuthKey usual = authkey();
  {
    Links& all = links();
    const std::lock_guard lock{all.mutex};
    for (const auto& [where, known] : all.keys) {
      const auto bytes = known.key.key.bytes();
      if (!(known.key == ManagerProof{usual}))
        keys.push_back({where, {bytes.begin(), bytes.end()}, known.key.certificates});
    }
  }
  std::vector<std::byte> text;
  const WipedAtEnd secret{text};
  if (!keys.empty()) text = encode(keys).unwrap().bytes;
  wipe_all(keys);
  const std::uint64_t size = text.size();
  const auto* raw_size = reinterpret_cast<const std::byte*>(&size);
  args.insert(args.end(), text.begin(), text.end());
  args.insert(args.end(), raw_size, raw_size + sizeof size);
}

Result<void> inherit_manager_keys(std::vector<std::byte>& args) {
  std::uint64_t size = 0;
  const auto torn = [] {
    return Error{Errc::malformed, "a child was started without the keys of managers"};
  };
  if (args.size() < sizeof size) return torn();
  const std::size_t rest = args.size() - sizeof size;
  std::memcpy(&size, args.data() + rest, sizeof size);
  if (size > rest) return torn();
  if (size != 0) {
    PASSEL_TRY(auto keys, decode<TravellingKeys>(std::span{args}.subspan(rest - size, size)));
    wipe(std::span{args}.subspan(rest - size, size));
    Links& all = links();
    const std::lock_guard lock{all.mutex};
    for (const TravellingKey& one : keys)
      all.keys.insert_or_assign(
          one.where, Links::Known{{AuthKey{std::span{one.key}}, one.certificates}, 0, true});
    wipe_all(keys);
  }
  args.resize(rest - size);
  return {};
}

namespace {

/// Whoever still has the link finds it closed; nobody finds it any more.
void leave(const Address& address, const std::shared_ptr<SessionLink>& link) {
  {
    Links& all = links();
    const std::lock_guard lock{all.mutex};
    const auto found = all.open.find(to_string(address));
    if (found != all.open.end() && found->second.link == link) all.open.erase(found);
  }
  link->leave();
}

}  // namespace

void forget_former_manager(const Address& address) {
  const auto link = open_link_to_manager(address);
  if (link != nullptr && !answers(*link)) leave(address, link);
}

void leave_manager(const Address& address, std::uint64_t epoch) {
  const auto link = open_link_to_manager(address);
  if (link != nullptr && link->epoch() == epoch) leave(address, link);
}

std::optional<Address> address_of_manager(std::uint64_t epoch) {
  Links& all = links();
  const std::lock_guard lock{all.mutex};
  forget_the_parents(all);
  for (const auto& [where, one] : all.open)
    if (one.link->epoch() == epoch) return one.address;
  return std::nullopt;
}

}  // namespace passel::inline v0::detail
