// Layer actors: the server of a manager.
#include "manager_core.hpp"

#include <passel/detail/brief_text.hpp>
#include <passel/log.hpp>

#include <chrono>
#include <future>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

constexpr std::chrono::milliseconds least_silence{10};

}  // namespace

/// One reference that a value in the server has.
class ManagerCore::Held final : public SharedObject {
 public:
  Held(std::weak_ptr<ManagerCore> core, std::uint64_t object)
      : core_{std::move(core)}, object_{object} {}
  ~Held() override {
    const auto core = core_.lock();
    if (!core) return;
    if (core->loop_.on_loop_thread()) {
      core->unkeep(object_);
      return;
    }
    core->loop_.post([weak = core_, object = object_] {
      if (const auto held = weak.lock()) held->unkeep(object);
    });
  }
  void process_lost(const ProcessId&) noexcept override {}
  [[nodiscard]] bool used_by_others() const noexcept override { return false; }

 private:
  std::weak_ptr<ManagerCore> core_;
  std::uint64_t object_;
};

ManagerCore::ManagerCore(IoLoop& loop, ManagerCoreOptions options)
    : loop_{loop},
      options_{std::move(options)},
      epoch_{fresh_number()},
      threads_{std::make_shared<HostedThreads>(loop)} {}

ManagerCore::~ManagerCore() { close(); }

Result<std::shared_ptr<ManagerCore>> ManagerCore::open(IoLoop& loop, ManagerCoreOptions options) {
  auto core = std::make_shared<ManagerCore>(loop, std::move(options));
  SessionServerOptions serving;
  serving.address = core->options_.address;
  serving.authkey = core->options_.authkey;
  serving.name = core->options_.name;
  serving.silence = std::max(core->options_.silence, least_silence);
  serving.heartbeat = serving.silence / 3;
  serving.epoch = core->epoch_;
  serving.other_keys = core->options_.former_authkeys;
  for (const ManagerRole& role : core->options_.roles) serving.other_keys.push_back(role.authkey);
  const ManagerLimits& limits = core->options_.limits;
  serving.max_sessions = limits.sessions;
  serving.max_sessions_of_host = limits.sessions_of_host;
  serving.max_open_calls = limits.calls_of_session;
  serving.max_open_bytes = limits.call_bytes_of_session;
  serving.certificates = core->options_.certificates;
  if (serving.certificates && !serving.other_keys.empty())
    return Error{
        Errc::invalid_argument,
        "roles and former clients are told by their keys: with certificates there are none"};
  PASSEL_TRY(core->server_, SessionServer::listen(loop, std::move(serving), *core));
  core->address_ = core->server_->address();
  PASSEL_CHECK(core->server_->serve());
  return core;
}

void ManagerCore::close() {
  if (!server_) return;
  const auto end = [this] {
    server_.reset();
    names_.clear();
    awaited_.clear();
    wanted_.clear();
    for (auto& [id, hosted] : objects_) leaving_.push_back(std::move(hosted.object));
    objects_.clear();
    destroy_leaving();
    if (timer_) loop_.cancel(*timer_);
  };
  // Without the loop's thread nobody else is at it.
  if (!loop_.call(end)) end();
  threads_->stop();
}

void ManagerCore::step(RegistryEvent event) {
  std::vector<ManagerRegistry::Action> actions;
  registry_.step(std::move(event), std::chrono::steady_clock::now(), actions);
  for (const RegistryDispose& dispose : actions) {
    auto gone = objects_.extract(dispose.object);
    if (!gone) continue;
    forget(gone.mapped());
    leaving_.push_back(std::move(gone.mapped().object));
  }
  destroy_leaving();
  arm();
}

// One may hold others, whose end comes from its destructor: they wait here for their turn, so that
// a chain of any length needs no more stack than one of two.
void ManagerCore::destroy_leaving() {
  if (std::exchange(destroying_, true)) return;
  while (!leaving_.empty()) {
    const auto object = std::move(leaving_.back());
    leaving_.pop_back();
  }
  destroying_ = false;
}

void ManagerCore::arm() {
  const auto due = registry_.next_wakeup();
  if (timer_ && due && timer_->first == *due) return;
  if (timer_) loop_.cancel(*timer_);
  timer_.reset();
  if (!due) return;
  timer_ = loop_.at(Deadline::at(*due), [weak = weak_from_this()] {
    if (const auto core = weak.lock()) {
      core->timer_.reset();
      core->step(registry_event::Tick{});
    }
  });
}

void ManagerCore::forget(const Hosted& gone) {
  if (const void* identity = gone.object->identity()) identities_.erase({identity, gone.type});
  const auto maker = visitors_.find(gone.maker);
  if (maker != visitors_.end()) --maker->second.objects;
}

void ManagerCore::session_opened(std::uint64_t session, const SessionPeer& peer) {
  Visitor visitor;
  const std::size_t own = 1 + options_.former_authkeys.size();
  if (peer.key >= own) visitor.role = &options_.roles.at(peer.key - own);
  visitors_.insert_or_assign(session, visitor);
}

void ManagerCore::unkeep(std::uint64_t object) { step(registry_event::Unkeep{object}); }

std::uint64_t ManagerCore::add(const std::string& type, std::shared_ptr<HostedObject> object) {
  const void* const identity = object->identity();
  if (identity != nullptr) {
    const auto found = identities_.lower_bound({identity, {}});
    if (const auto same = identities_.find({identity, type}); same != identities_.end())
      return same->second;
    // Known by another name: its methods are others, but one of them runs at a time all the same.
    if (found != identities_.end() && found->first.first == identity)
      object->share_line(*objects_.at(found->second).object);
  }
  const std::uint64_t id = ++last_object_;
  if (identity != nullptr) identities_.emplace(std::pair{identity, type}, id);
  objects_.emplace(id, Hosted{type, std::move(object)});
  return id;
}

ProxyPlace ManagerCore::place_of(std::uint64_t object) const {
  const auto found = objects_.find(object);
  return {found == objects_.end() ? "" : found->second.type, address_, epoch_, object};
}

template <class F>
std::optional<WireValue> ManagerCore::replaced(const WireValue& value, const F& replace) const {
  if (value.kind() == ValueKind::handle) return replace(value);
  const auto each = [&](const WireValue::Items& items) {
    std::optional<WireValue::Items> out;
    for (std::size_t i = 0; i < items.size(); ++i) {
      auto other = replaced(items[i], replace);
      if (!other) continue;
      if (!out) out = items;
      (*out)[i] = *std::move(other);
    }
    return out;
  };
  if (const auto* items = value.items()) {
    auto out = each(*items);
    if (!out) return std::nullopt;
    if (value.kind() == ValueKind::list) return WireValue::list(*std::move(out));
    if (value.kind() == ValueKind::tuple) return WireValue::tuple(*std::move(out));
    return WireValue::set(*std::move(out));
  }
  if (const auto* entries = value.entries()) {
    std::optional<WireValue::Entries> out;
    for (std::size_t i = 0; i < entries->size(); ++i) {
      auto key = replaced((*entries)[i].first, replace);
      auto held = replaced((*entries)[i].second, replace);
      if (!key && !held) continue;
      if (!out) out = *entries;
      if (key) (*out)[i].first = *std::move(key);
      if (held) (*out)[i].second = *std::move(held);
    }
    if (out) return WireValue::map(*std::move(out));
  }
  return std::nullopt;
}

void ManagerCore::adopt(WireValue& value, std::uint64_t session) {
  if (!loop_.on_loop_thread()) return adopt_from_elsewhere(value, session);
  auto adopted = replaced(value, [this, session](const WireValue& one) -> std::optional<WireValue> {
    const auto found = read_proxy(one);
    if (!found || found->place.epoch != epoch_) return std::nullopt;
    const auto hosted = objects_.find(found->place.object);
    // Nobody keeps alive what he may not use.
    if (hosted == objects_.end() || !check_use(session, hosted->second.type)) return std::nullopt;
    // Session 0 is this server: it takes over what the sender lent.
    const std::uint64_t object = found->place.object;
    step(registry_event::Keep{object});
    step(registry_event::Hold{0, object, found->ticket});
    step(registry_event::Drop{0, object});
    return held(object);
  });
  if (adopted) value = *std::move(adopted);
}

// A method that runs on a thread reads its arguments there.
void ManagerCore::adopt_from_elsewhere(WireValue& value, std::uint64_t session) {
  // Most values name no object, and need not go to the I/O thread.
  const auto named = replaced(value, [](const WireValue& one) {
    return read_proxy(one) ? std::optional{one} : std::nullopt;
  });
  if (!named) return;
  const auto adopted = std::make_shared<std::promise<WireValue>>();
  auto outcome = adopted->get_future();
  loop_.post([weak = weak_from_this(), adopted, value, session] {
    WireValue here = value;
    if (const auto core = weak.lock()) core->adopt(here, session);
    adopted->set_value(std::move(here));
  });
  try {
    value = outcome.get();
  } catch (const std::future_error&) {
    // The loop has ended, and all objects with it.
  }
}

// The same text for the same object, whatever way its proxy came: containers compare it.
WireValue ManagerCore::held(std::uint64_t object) {
  const WireValue plain = write_proxy(place_of(object), 0);
  Handle handle = *plain.handle();
  handle.object = std::make_shared<Held>(weak_from_this(), object);
  return WireValue{std::move(handle)};
}

WireValue ManagerCore::lend(const WireValue& value) {
  auto lent = replaced(value, [this](const WireValue& one) -> std::optional<WireValue> {
    const auto found = read_proxy(one);
    if (!found || found->place.epoch != epoch_) return std::nullopt;
    const std::uint64_t ticket = fresh_number();
    step(registry_event::Lend{0, found->place.object, ticket});
    return write_proxy(place_of(found->place.object), ticket);
  });
  return lent ? *std::move(lent) : value;
}

Result<WireValue> ManagerCore::host(const std::string& type, std::shared_ptr<HostedObject> object,
                                    std::uint64_t session) {
  PASSEL_CHECK(check_room(session));
  const std::uint64_t id = add(type, std::move(object));
  made_by(session, id);
  step(registry_event::Keep{id});
  return held(id);
}

Result<std::shared_ptr<HostedObject>> ManagerCore::object_of(
    const WireValue& proxy, std::uint64_t session,
    std::initializer_list<std::string_view> methods) const {
  const auto found = read_proxy(proxy);
  const auto hosted =
      found && found->place.epoch == epoch_ ? objects_.find(found->place.object) : objects_.end();
  if (hosted == objects_.end())
    return Error{Errc::not_found, "no object of this manager: " + brief_text(proxy)};
  for (const std::string_view method : methods)
    PASSEL_CHECK(check_use(session, hosted->second.type, method));
  return hosted->second.object;
}

void ManagerCore::serve(const ServedCall& served) {
  HostedCall call;
  call.site = shared_from_this();
  call.caller = {served.session, served.trace};
  call.id = served.id;
  call.method = served.method;
  call.args = served.args;
  call.descriptors = served.descriptors;
  call.deadline = served.deadline;
  call.reply = HostedReply{server_->core(), weak_from_this(), served.session, served.id};
  try {
    serve_call(served, std::move(call));
  } catch (...) {
    // No memory, mostly. The call is answered as broken; the others are none the worse.
    get_logger().error("a call of '" + std::string{served.method} +
                       "' in the manager failed: " + current_exception_as_error().to_string());
  }
}

void ManagerCore::serve_call(const ServedCall& served, HostedCall&& call) {
  if (served.target == 0) return serve_self(std::move(call));
  const auto found = objects_.find(served.target);
  const bool is_there = found != objects_.end();
  if (const auto may =
          is_there ? check_use(served.session, found->second.type, call.method) : Result<void>{};
      !may)
    return call.reply.set(may.error());
  if (!is_there || !registry_.holds(served.session, served.target)) {
    return call.reply.set(Error{
        Errc::stale_object, "object " + std::to_string(served.target) + " is not there any more"});
  }
  // A call may be the end of the object it is for.
  const auto object = found->second.object;
  object->handle(std::move(call));
}

void ManagerCore::call_abandoned(std::uint64_t session, std::uint64_t call, std::uint64_t target) {
  if (target == 0) return give_up({session, call});
  const auto found = objects_.find(target);
  if (found == objects_.end()) return;
  const auto object = found->second.object;
  object->abandoned(session, call);
}

template <class F>
void ManagerCore::tell_all(const F& tell) {
  std::vector<std::shared_ptr<HostedObject>> told;
  told.reserve(objects_.size());
  // The youngest first: a condition asks the lock that it was made for what the session has of it.
  for (auto one = objects_.rbegin(); one != objects_.rend(); ++one)
    told.push_back(one->second.object);
  for (const auto& object : told) tell(*object);
}

void ManagerCore::session_ready(std::uint64_t session) {
  tell_all([session](HostedObject& object) { object.session_ready(session); });
}

void ManagerCore::answer_unwanted(std::uint64_t session, std::uint64_t call, std::uint64_t target) {
  const auto found = objects_.find(target);
  if (found == objects_.end()) return;
  const auto object = found->second.object;
  object->discarded(session, call);
}

void ManagerCore::notified(std::uint64_t session, std::uint64_t target, std::string_view topic,
                           std::span<const std::byte> value) {
  if (topic == "drop") return step(registry_event::Drop{session, target});
  const auto number = decode<std::uint64_t>(value);
  if (!number) return;
  const auto found = objects_.find(target);
  if (found == objects_.end()) return;
  // Nobody keeps alive what he may not use.
  if ((topic == "hold" || topic == "lend") && !check_use(session, found->second.type)) return;
  if (topic == "hold") return step(registry_event::Hold{session, target, *number});
  if (topic == "lend") return step(registry_event::Lend{session, target, *number});
  const auto object = found->second.object;
  if (topic == "kept") object->kept(session, *number);
  if (topic == "back") object->discarded(session, *number);
}

void ManagerCore::session_closed(std::uint64_t session, const Error& why) {
  get_logger().log(LogLevel::debug, [&] {
    return "session " + std::to_string(session) + " of the manager ended: " + why.what();
  });
  // Also those that it has no proxy of any more: it may hold something of them all the same.
  tell_all([session](HostedObject& object) { object.session_ended(session); });
  step(registry_event::Ended{session});
  visitors_.erase(session);
}

}  // namespace passel::inline v0::detail
