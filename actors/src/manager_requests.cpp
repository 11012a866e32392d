// Layer actors: what the server of a manager is asked itself: objects, names, and who may have
// them.
#include "manager_core.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

/// How often debug_info looks for the text of an object that is in use, and the time between.
constexpr int debug_looks = 20;
constexpr std::chrono::milliseconds debug_pause{10};

Error not_for(const ManagerRole& role, const std::string& what) {
  return {Errc::refused, "role '" + role.name + "' may not " + what};
}

/// What shows or changes what others have.
bool is_for_owners(std::string_view method) {
  return method == "debug_info" || method == "publish" || method == "unpublish";
}

Error over_limit(const std::string& what, std::size_t limit) {
  return {Errc::full, what + ": limit " + std::to_string(limit)};
}

}  // namespace

/// A call of the server itself that waits: for a thread, or for another one that makes the same.
struct ManagerCore::Asked {
  Asked(HostedCall&& asked, WhenMade when_made)
      : call{std::move(asked)}, done{std::move(when_made)} {
    call.keep();
  }
  HostedCall call;
  WhenMade done;
  std::atomic<bool> begun{false};  // a thread makes it, or nobody shall
};

const ManagerRole* ManagerCore::role_of(std::uint64_t session) const {
  const auto visitor = visitors_.find(session);
  return visitor == visitors_.end() ? nullptr : visitor->second.role;
}

Result<void> ManagerCore::check_use(std::uint64_t session, const std::string& type,
                                    std::string_view method) const {
  const ManagerRole* const role = role_of(session);
  if (role == nullptr) return {};
  const auto may = role->types.find(type);
  if (may == role->types.end()) return not_for(*role, "use objects of type '" + type + "'");
  const auto& methods = may->second;
  // What a proxy says of itself belongs to having one.
  if (methods.empty() || method.empty() || method == "#methods" ||
      std::find(methods.begin(), methods.end(), method) != methods.end())
    return {};
  return not_for(*role, "call '" + std::string{method} + "' of type '" + type + "'");
}

Result<void> ManagerCore::check_making(std::uint64_t session, const std::string& type) const {
  if (const ManagerRole* const role = role_of(session)) {
    const auto may = role->types.find(type);
    if (may == role->types.end() || !may->second.empty())
      return not_for(*role, "make objects of type '" + type + "'");
  }
  return check_room(session);
}

Result<void> ManagerCore::check_room(std::uint64_t session) const {
  const ManagerLimits& limits = options_.limits;
  if (objects_.size() >= limits.objects)
    return over_limit("objects of the manager", limits.objects);
  const auto visitor = visitors_.find(session);
  if (visitor != visitors_.end() && visitor->second.objects >= limits.objects_of_session)
    return over_limit("objects made by this session", limits.objects_of_session);
  return {};
}

void ManagerCore::serve_self(HostedCall&& call) {
  if (call.method.starts_with(create_prefix))
    return create(call.method.substr(create_prefix.size()), std::move(call));
  if (call.method.starts_with(get_or_create_prefix))
    return get_or_create(call.method.substr(get_or_create_prefix.size()), std::move(call));
  const std::uint64_t session = call.caller.session;
  const ManagerRole* const role = role_of(session);
  if (role != nullptr && is_for_owners(call.method))
    return call.reply.set(not_for(*role, "'" + std::string{call.method} + "'"));
  if (call.method == "ping") return call.reply.value();
  if (call.method == "publish") return publish(std::move(call));
  if (call.method == "names") {
    auto names = names_.list();
    std::erase_if(names, [&](const auto& one) { return !check_use(session, one.second); });
    return call.reply.value(std::move(names));
  }
  if (call.method == "named" || call.method == "unpublish") {
    auto name = call.arguments<std::string>();
    if (!name) return call.reply.set(name.error());
    if (call.method == "unpublish") return call.reply.value(names_.unbind(std::get<0>(*name)));
    return call.reply.value(named(session, std::get<0>(*name)));
  }
  if (call.method == "number_of_objects")
    return call.reply.value(static_cast<std::uint64_t>(objects_.size()));
  if (call.method == "debug_info") return debug_info(std::move(call.reply), debug_looks);
  if (call.method == "types") {
    std::vector<std::string> names;
    for (const auto& [name, factory] : options_.types)
      if (check_use(session, name)) names.push_back(name);
    return call.reply.value(std::move(names));
  }
  call.reply.set(Error{Errc::not_found, "a manager cannot '" + std::string{call.method} + "'"});
}

void ManagerCore::make(const std::string& type, HostedCall&& call, const WhenMade& done) {
  if (const auto may = check_making(call.caller.session, type); !may)
    return done(call, may.error());
  const auto found = options_.types.find(type);
  if (found == options_.types.end()) {
    std::string known;
    for (const auto& [name, maker] : options_.types) known += (known.empty() ? "" : ", ") + name;
    return done(call, Error{Errc::not_found,
                            "type '" + type + "' is not registered at " + to_string(address_) +
                                "; there are: " + (known.empty() ? "none" : known)});
  }
  const HostedMaker maker = found->second;
  if (maker.where == MadeOn::io_thread) return done(call, maker.make(call));
  const CallKey key{call.caller.session, call.id};
  const auto asked = std::make_shared<Asked>(std::move(call), done);
  wanted_.insert_or_assign(key, asked);
  const auto begun = threads_->run([this, asked, maker] {
    if (asked->begun.exchange(true)) return;  // it was given up before
    const auto object = std::make_shared<Made>(maker.make(asked->call));
    loop_.post([weak = weak_from_this(), asked, object] {
      if (const auto core = weak.lock()) core->made(*asked, std::move(*object));
    });
  });
  if (!begun) made(*asked, begun.error());
}

void ManagerCore::made(Asked& asked, Made object) {
  const HostedCaller& caller = asked.call.caller;
  if (wanted_.erase({caller.session, asked.call.id}) == 0)
    object = Error{Errc::cancelled, "whoever wanted it has gone meanwhile"};
  // While it was made others may have been, too.
  if (const auto room = check_room(caller.session); object && !room) object = room.error();
  asked.done(asked.call, std::move(object));
}

void ManagerCore::give_up(const CallKey& call) {
  auto found = wanted_.extract(call);
  if (!found) return;
  Asked& asked = *found.mapped();
  if (asked.begun.exchange(true)) return;  // a thread has its arguments
  if (asked.done) asked.done(asked.call, Error{Errc::cancelled, "nobody waits for it any more"});
  // The line of the threads may hold it for a long time yet.
  asked.call = {};
  asked.done = nullptr;
}

void ManagerCore::made_by(std::uint64_t session, std::uint64_t object) {
  Hosted& hosted = objects_.at(object);
  const auto maker = visitors_.find(session);
  if (hosted.maker != 0 || maker == visitors_.end()) return;  // it was there before
  hosted.maker = session;
  ++maker->second.objects;
}

Result<WireValue> ManagerCore::named(std::uint64_t session, std::string_view name) const {
  PASSEL_TRY(WireValue object, names_.find(name));
  PASSEL_CHECK(check_use(session, read_proxy(object)->place.type));
  return object;
}

void ManagerCore::create(std::string_view type, HostedCall&& call) {
  const std::string name{type};
  make(name, std::move(call), [this, name](HostedCall& asked, Made made) {
    if (!made) return asked.reply.set(made.error());
    const std::uint64_t object = add(name, *std::move(made));
    made_by(asked.caller.session, object);
    step(registry_event::Created{asked.caller.session, object});
    asked.reply.value(CreatedObject{object, epoch_});
  });
}

void ManagerCore::get_or_create(std::string_view name_and_type, HostedCall&& call) {
  const std::size_t end = name_and_type.find('\n');
  if (end == std::string_view::npos)
    return call.reply.set(Error{Errc::malformed, "a name without a type"});
  const std::string name{name_and_type.substr(0, end)};
  const std::string type{name_and_type.substr(end + 1)};
  if (auto there = named(call.caller.session, name); there || there.error() == Errc::refused) {
    if (!there) return call.reply.set(there.error());
    const std::string other = read_proxy(*there)->place.type;
    if (other == type) return call.reply.value(*std::move(there));
    return call.reply.set(Error{Errc::type_mismatch, "what is published as '" + name + "' is a " +
                                                         other + ", not a " + type});
  }
  const auto [line, first] = awaited_.try_emplace(name);
  if (!first) {
    const CallKey key{call.caller.session, call.id};
    line->second.push_back(key);
    wanted_.insert_or_assign(key, std::make_shared<Asked>(std::move(call), nullptr));
    return;
  }
  make(type, std::move(call), [this, name, type](HostedCall& asked, Made made) {
    asked.reply.value(bind_new(name, type, asked.caller.session, std::move(made)));
    look_again(name);
  });
}

Result<WireValue> ManagerCore::bind_new(const std::string& name, const std::string& type,
                                        std::uint64_t session, Made made) {
  if (!made) return made.error();
  PASSEL_TRY(WireValue object, host(type, *std::move(made), session));
  PASSEL_CHECK(names_.bind(name, object));
  return object;
}

// There is an object of that name now, or it could not be made and the next one tries.
void ManagerCore::look_again(const std::string& name) {
  auto waiting = awaited_.extract(name);
  if (!waiting) return;  // the server was closed meanwhile
  for (const CallKey& key : waiting.mapped()) {
    const auto asked = wanted_.extract(key);
    if (!asked) continue;  // it was given up
    HostedCall& call = asked.mapped()->call;
    const std::string_view name_and_type = call.method.substr(get_or_create_prefix.size());
    get_or_create(name_and_type, std::move(call));
  }
}

void ManagerCore::publish(HostedCall&& call) {
  auto args = call.arguments<std::string, WireValue>();
  if (!args) return call.reply.set(args.error());
  auto& [name, object] = *args;
  if (!object_of(object, call.caller.session, {}))
    return call.reply.set(
        Error{Errc::invalid_argument, "only an object of this manager can be published in it"});
  call.reply.value(names_.bind(name, std::move(object)));
}

void ManagerCore::debug_info(HostedReply reply, int looks) {
  std::string out;
  bool all = true;
  for (const auto& [id, hosted] : objects_) {
    const auto text = hosted.object->text_at_once();
    all = all && text;
    out += std::to_string(id) + ": " + hosted.type +
           " refcount=" + std::to_string(registry_.references(id)) + "\n    " +
           text.value_or("(a method of it runs)").substr(0, 75) + "\n";
  }
  if (all || looks == 1) return reply.value(std::move(out));
  // Most calls are short: another look a little later sees what they have left.
  const auto kept = std::make_shared<HostedReply>(std::move(reply));
  loop_.at(Deadline::after(debug_pause), [weak = weak_from_this(), kept, looks] {
    if (const auto core = weak.lock()) core->debug_info(std::move(*kept), looks - 1);
  });
}

}  // namespace passel::inline v0::detail
