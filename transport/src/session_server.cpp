// Layer transport: a server of sessions on the I/O thread.
#include <passel/detail/session_server.hpp>

#include <passel/detail/spare_buffers.hpp>
#include <passel/log.hpp>

#include "refusals.hpp"
#include "session_door.hpp"
#include "session_port.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<AuthKey> all_keys(const SessionServerOptions& options) {
  std::vector<AuthKey> keys;
  if (!options.authkey) return keys;
  keys.push_back(*options.authkey);
  keys.insert(keys.end(), options.other_keys.begin(), options.other_keys.end());
  return keys;
}

/// Answers that one client has not read: beyond that it is dropped.
constexpr FrameSocket::Limits served_limits{default_frame_limit, 2 * default_frame_limit};
/// Beyond that what can wait is not added.
constexpr std::size_t much_unsent = std::size_t{16} << 20;

}  // namespace

SessionService::~SessionService() = default;
void SessionService::session_opened(std::uint64_t, const SessionPeer&) {}
void SessionService::call_abandoned(std::uint64_t, std::uint64_t, std::uint64_t) {}
void SessionService::session_ready(std::uint64_t) {}
void SessionService::answer_unwanted(std::uint64_t, std::uint64_t, std::uint64_t) {}
void SessionService::notified(std::uint64_t, std::uint64_t, std::string_view,
                              std::span<const std::byte>) {}
void SessionService::session_closed(std::uint64_t, const Error&) {}

/// Everything but the address belongs to the I/O thread.
class SessionServer::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(IoLoop& loop, SessionServerOptions options, SessionService& service, SessionSocket socket)
      : loop_{loop},
        options_{std::move(options)},
        service_{service},
        door_{loop, std::move(socket)} {}

  Result<void> start();
  /// Runs `function` on the I/O thread and waits for it.
  template <class F>
  void on_loop(F function);
  void close();
  void reply(std::uint64_t session, std::uint64_t call, Result<Encoded> answer);
  bool has_room(std::uint64_t session);
  [[nodiscard]] const Address& address() const noexcept { return door_.address(); }
  [[nodiscard]] std::size_t sessions() const noexcept { return count_.load(); }
  [[nodiscard]] std::uint64_t rejected() const noexcept { return rejected_.load(); }

 private:
  struct Served;
  class Batch;

  struct Guest {
    IoLoop::TimerKey timer;
    std::string host;
  };
  /// A session whose connection is gone, and whose client may not know it yet.
  struct Parted {
    IoLoop::TimerKey timer;
    Error why;
  };

  void accept();
  bool make_place(const std::string& host);
  void add_guest(SessionCarrier carrier);
  void make_room();
  void drop_guest(std::uint64_t session);
  void listen_to(std::uint64_t session);
  void let_in(std::uint64_t session);
  void refused(const std::string& host);
  void part(const Served& served, const Error& why);
  void end_parted(std::uint64_t session);
  void arm(Served& served);
  void tick(std::uint64_t session);
  void ready(std::uint64_t session, std::uint32_t events);
  void answer(std::uint64_t session, std::uint64_t call, Result<Encoded> answer);
  void settle();
  void settle(Served& served);
  void forget_open(const std::string& host);

  IoLoop& loop_;
  const SessionServerOptions options_;
  SessionService& service_;
  SessionDoor door_;
  std::map<std::uint64_t, std::unique_ptr<Served>> served_;
  std::size_t open_ = 0;                     // who were let in
  std::map<std::string, std::size_t> from_;  // and how many of them from each address of a network
  std::map<std::uint64_t, Guest> greeting_;  // who has not said hello, oldest first
  std::map<std::uint64_t, Parted> parted_;
  Refusals refusals_;
  std::vector<std::uint64_t> touched_;  // to be flushed, watched anew or removed
  std::uint64_t last_session_ = 0;
  int depth_ = 0;
  bool closed_ = false;
  std::atomic<std::size_t> count_{0};
  std::atomic<std::uint64_t> rejected_{0};
};

/// One client.
struct SessionServer::Core::Served final : SessionHandler {
  Served(Core& owner, std::uint64_t number, SessionCarrier carrier, SessionOptions options)
      : core{owner},
        id{number},
        host{std::move(carrier.host)},
        port{std::move(carrier.socket), std::move(options), *this, served_limits} {
    port.protect(std::move(carrier.stream), carrier.carrier);
    if (carrier.same_host) port.tell_cpus();
  }

  void touch() {
    if (!std::exchange(touched, true)) core.touched_.push_back(id);
  }
  void opened(const Hello& peer) override {
    is_open = true;
    core.let_in(id);
    core.service_.session_opened(id, {peer.name, peer.role, peer.pid, port.key()});
  }
  void serve(SessionPort&, session_action::Serve&& call) override {
    touch();
    const auto* method = std::get_if<std::string>(&call.call.method);
    core.service_.serve({id, call.call.id, call.call.target, call.call.trace,
                         method != nullptr ? std::string_view{*method} : std::string_view{},
                         call.call.args, call.descriptors, call.deadline});
  }
  void abandoned(std::uint64_t call, std::uint64_t target) override {
    core.service_.call_abandoned(id, call, target);
  }
  void unwanted(std::uint64_t call, std::uint64_t target) override {
    core.service_.answer_unwanted(id, call, target);
  }
  void answered(session_action::Answer&&) override {}
  void notified(session_action::Notified&& notified) override {
    core.service_.notified(id, notified.notify.target, notified.notify.topic,
                           notified.notify.value);
  }
  void closed(const Error& error) override {
    touch();
    if (is_open) return core.part(*this, error);
    if (error == Errc::auth_failed) core.refused(host);
  }

  Core& core;
  const std::uint64_t id;
  const std::string host;  // empty: this one
  SessionPort port;
  IoLoop::Watch watch;
  std::optional<IoLoop::TimerKey> ticking;
  std::uint32_t watched = EPOLLIN;
  bool is_open = false;
  bool is_counted = false;  // among those who were let in
  bool touched = false;
  bool is_awaited = false;  // somebody wants to know when there is room
};

/// While one is there answers collect; with the last one they are sent.
class SessionServer::Core::Batch {
 public:
  explicit Batch(Core& core) : core_{core} { ++core_.depth_; }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  ~Batch() {
    if (core_.depth_ == 1) core_.settle();
    --core_.depth_;
  }

 private:
  Core& core_;
};

template <class F>
void SessionServer::Core::on_loop(F function) {
  // Without the loop's thread nobody else is at it.
  if (!loop_.call(function)) function();
}

Result<void> SessionServer::Core::start() {
  // Nothing of it is touched by two threads: the watch is made where its handler runs.
  Result<void> outcome;
  on_loop([&] { outcome = door_.open([this] { accept(); }); });
  return outcome;
}

void SessionServer::Core::close() {
  on_loop([this] {
    if (std::exchange(closed_, true)) return;
    door_.close();
    {
      const Batch batch{*this};
      for (const auto& [id, served] : served_) {
        served->port.leave("the server is closed", Clock::now());
        served->touch();
      }
    }
    while (!parted_.empty()) end_parted(parted_.begin()->first);
    for (const auto& [id, guest] : greeting_) loop_.cancel(guest.timer);
    greeting_.clear();
    served_.clear();
    from_.clear();
    open_ = 0;
    count_ = 0;
  });
}

void SessionServer::Core::accept() {
  const Batch batch{*this};
  door_.accept([this](SessionCarrier carrier) {
    if (make_place(carrier.host)) {
      add_guest(std::move(carrier));
    } else {
      door_.turn_away(std::move(carrier));
    }
  });
}

/// False when there is no room for one more. Whoever was not let in yet makes place for those who
/// come: silent strangers keep nobody out.
bool SessionServer::Core::make_place(const std::string& host) {
  const auto known = from_.find(host);
  const std::size_t open = known == from_.end() ? 0 : known->second;
  if (open_ >= options_.max_sessions || open >= options_.max_sessions_of_host) return false;
  std::size_t guests = 0;
  for (const auto& [id, guest] : greeting_) guests += guest.host == host ? 1 : 0;
  if (!host.empty() && open + guests >= options_.max_sessions_of_host) {
    drop_guest(std::find_if(greeting_.begin(), greeting_.end(), [&](const auto& one) {
                 return one.second.host == host;
               })->first);
  } else if (open_ + greeting_.size() >= options_.max_sessions) {
    make_room();
  }
  return true;
}

void SessionServer::Core::add_guest(SessionCarrier carrier) {
  if (greeting_.size() >= options_.max_greeting) make_room();
  const std::uint64_t id = ++last_session_;
  SessionOptions session;
  session.hello.name = options_.name;
  session.hello.role = "server";
  session.hello.pid = ::getpid();
  session.hello.epoch = options_.epoch;
  session.max_open_calls = options_.max_open_calls;
  session.max_open_bytes = options_.max_open_bytes;
  if (carrier.carrier == Carrier::network) {
    session.heartbeat = options_.heartbeat;
    session.silence = options_.silence;
    session.hello.silence = options_.silence;
  }
  const auto now = Clock::now();
  const auto begin = refusals_.listened_to(carrier.host, now);
  auto served = std::make_unique<Served>(*this, id, std::move(carrier), std::move(session));
  if (begin > now) served->watched = 0;
  auto watch = loop_.watch(served->port.fd(), served->watched,
                           [this, id](std::uint32_t events) { ready(id, events); });
  if (!watch) return;
  served->watch = *std::move(watch);
  if (begin > now) {
    loop_.at(Deadline::at(begin), [weak = weak_from_this(), id] {
      if (const auto core = weak.lock()) core->listen_to(id);
    });
  }
  const auto timer =
      loop_.at(Deadline::at(begin + options_.greeting_timeout), [weak = weak_from_this(), id] {
        if (const auto core = weak.lock()) core->drop_guest(id);
      });
  greeting_.emplace(id, Guest{timer, served->host});
  Served& added = *served_.emplace(id, std::move(served)).first->second;
  count_ = served_.size();
  added.port.start(now);
}

// The oldest goes, of those who came from where most of them did.
void SessionServer::Core::make_room() {
  std::map<std::string_view, std::size_t> from;
  for (const auto& [id, guest] : greeting_) ++from[guest.host];
  std::size_t most = 0;
  for (const auto& [host, count] : from) most = std::max(most, count);
  for (const auto& [id, guest] : greeting_)
    if (from[guest.host] == most) return drop_guest(id);
}

void SessionServer::Core::drop_guest(std::uint64_t session) {
  const Batch batch{*this};
  if (const auto guest = greeting_.extract(session)) loop_.cancel(guest.mapped().timer);
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  found->second->port.leave("no hello in time", Clock::now());
  found->second->touch();
}

void SessionServer::Core::listen_to(std::uint64_t session) {
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  found->second->watched = EPOLLIN;
  found->second->watch.set_events(EPOLLIN);
}

void SessionServer::Core::let_in(std::uint64_t session) {
  auto guest = greeting_.extract(session);
  if (!guest) return;
  loop_.cancel(guest.mapped().timer);
  if (door_.wants_key()) refusals_.let_in(guest.mapped().host);
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  found->second->is_counted = true;
  ++open_;
  if (!found->second->host.empty()) ++from_[found->second->host];
  arm(*found->second);
}

// Over a network a broken connection, or one that is closed here, tells the client nothing: it is
// on a lease that ends before the silence does.
void SessionServer::Core::part(const Served& served, const Error& why) {
  const bool knows = why == Errc::closed || served.port.carrier() == Carrier::host;
  if (knows || closed_) return service_.session_closed(served.id, why);
  const auto timer = loop_.at(Deadline::at(served.port.session().heard() + options_.silence),
                              [weak = weak_from_this(), id = served.id] {
                                if (const auto core = weak.lock()) core->end_parted(id);
                              });
  parted_.emplace(served.id, Parted{timer, why});
}

void SessionServer::Core::end_parted(std::uint64_t session) {
  const auto parted = parted_.extract(session);
  if (!parted) return;
  const Batch batch{*this};
  loop_.cancel(parted.mapped().timer);
  service_.session_closed(session, parted.mapped().why);
}

void SessionServer::Core::refused(const std::string& host) {
  const auto now = Clock::now();
  refusals_.refused(host, now);
  rejected_.store(refusals_.total());
  if (const auto count = refusals_.to_be_told(now)) {
    get_logger().warning("the server at " + to_string(door_.address()) + " refused " +
                         std::to_string(*count) + " for their keys, the last from " +
                         (host.empty() ? "this host" : host));
  }
}

void SessionServer::Core::arm(Served& served) {
  served.ticking.reset();
  if (const auto next = served.port.next_wakeup()) {
    served.ticking = loop_.at(Deadline::at(*next), [weak = weak_from_this(), id = served.id] {
      if (const auto core = weak.lock()) core->tick(id);
    });
  }
}

void SessionServer::Core::tick(std::uint64_t session) {
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  const Batch batch{*this};
  Served& served = *found->second;
  served.touch();
  const auto now = Clock::now();
  // What came while this process was not running is no silence.
  served.port.readable(now);
  served.port.tick(now);
  arm(served);
}

void SessionServer::Core::ready(std::uint64_t session, std::uint32_t events) {
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  const Batch batch{*this};
  Served& served = *found->second;
  served.touch();
  // Nothing more is read from a client that does not read its answers.
  if (served.port.wants_write() && !served.port.flush(Clock::now())) return;
  if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) served.port.readable(Clock::now());
}

void SessionServer::Core::settle() {
  // Whoever is told of an end may answer others.
  while (!touched_.empty()) {
    const auto touched = std::exchange(touched_, {});
    for (const std::uint64_t id : touched)
      if (const auto found = served_.find(id); found != served_.end()) settle(*found->second);
  }
}

void SessionServer::Core::forget_open(const std::string& host) {
  --open_;
  if (const auto known = from_.find(host); known != from_.end() && --known->second == 0)
    from_.erase(known);
}

void SessionServer::Core::settle(Served& served) {
  served.touched = false;
  const bool sent = served.port.flush(Clock::now());
  loop_.expect(served.port.peer_cpu().load());
  if (served.port.session().is_closed()) {
    if (const auto guest = greeting_.extract(served.id)) loop_.cancel(guest.mapped().timer);
    if (served.ticking) loop_.cancel(*served.ticking);
    if (served.is_counted) forget_open(served.host);
    served_.erase(served.id);
    count_ = served_.size();
    return;
  }
  if (served.is_awaited && served.port.unsent() <= much_unsent) {
    served.is_awaited = false;
    service_.session_ready(served.id);
  }
  if (served.watched == 0) return;  // it is not listened to yet
  const std::uint32_t wanted = sent ? EPOLLIN : EPOLLOUT;
  if (wanted != served.watched && served.watch) served.watch.set_events(wanted);
  served.watched = wanted;
}

void SessionServer::Core::reply(std::uint64_t session, std::uint64_t call, Result<Encoded> given) {
  if (loop_.on_loop_thread()) return answer(session, call, std::move(given));
  auto kept = std::make_shared<Result<Encoded>>(std::move(given));
  loop_.post([weak = weak_from_this(), session, call, kept] {
    if (const auto core = weak.lock()) core->answer(session, call, std::move(*kept));
  });
}

bool SessionServer::Core::has_room(std::uint64_t session) {
  const auto found = served_.find(session);
  if (found == served_.end() || found->second->port.unsent() <= much_unsent) return true;
  const Batch batch{*this};
  found->second->is_awaited = true;
  found->second->touch();
  return false;
}

void SessionServer::Core::answer(std::uint64_t session, std::uint64_t call,
                                 Result<Encoded> answer) {
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  const Batch batch{*this};
  Served& served = *found->second;
  served.touch();
  if (answer) {
    served.port.reply(call, BytesView{answer->bytes}, Clock::now(), answer->descriptors);
    give_buffer(std::move(answer->bytes));
  } else {
    served.port.reply(call, answer.error(), Clock::now());
  }
}

SessionServer::SessionServer(std::shared_ptr<Core> core) noexcept : core_{std::move(core)} {}
SessionServer::~SessionServer() { core_->close(); }

Result<std::unique_ptr<SessionServer>> SessionServer::listen(IoLoop& loop,
                                                             SessionServerOptions options,
                                                             SessionService& service) {
  PASSEL_TRY(SessionSocket socket, listen_for_sessions(options.address, all_keys(options),
                                                       options.certificates, options.backlog));
  return std::make_unique<SessionServer>(
      std::make_shared<Core>(loop, std::move(options), service, std::move(socket)));
}

Result<void> SessionServer::serve() { return core_->start(); }

Result<std::unique_ptr<SessionServer>> SessionServer::open(IoLoop& loop,
                                                           SessionServerOptions options,
                                                           SessionService& service) {
  PASSEL_TRY(auto server, listen(loop, std::move(options), service));
  PASSEL_CHECK(server->serve());
  return server;
}

void SessionServer::reply(std::uint64_t session, std::uint64_t call, Result<Encoded> answer) {
  core_->reply(session, call, std::move(answer));
}
void SessionServer::reply(const std::weak_ptr<Core>& core, std::uint64_t session,
                          std::uint64_t call, Result<Encoded> answer) {
  if (const auto held = core.lock()) held->reply(session, call, std::move(answer));
}
bool SessionServer::has_room(std::uint64_t session) { return core_->has_room(session); }
const Address& SessionServer::address() const noexcept { return core_->address(); }
std::size_t SessionServer::sessions() const { return core_->sessions(); }
std::uint64_t SessionServer::rejected() const noexcept { return core_->rejected(); }

}  // namespace passel::inline v0::detail
