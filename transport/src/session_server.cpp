// Layer transport: a server of sessions on the I/O thread.
#include <passel/detail/session_server.hpp>

#include "session_port.hpp"
#include "session_socket.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <map>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds descriptors_pause{50};
constexpr int accepts_at_once = 64;
/// Answers that one client has not read: beyond that it is dropped.
constexpr FrameSocket::Limits served_limits{default_frame_limit, 2 * default_frame_limit};

}  // namespace

SessionService::~SessionService() = default;
void SessionService::session_opened(std::uint64_t, const SessionPeer&) {}
void SessionService::call_abandoned(std::uint64_t, std::uint64_t, std::uint64_t) {}
void SessionService::answer_unwanted(std::uint64_t, std::uint64_t) {}
void SessionService::notified(std::uint64_t, std::uint64_t, std::string_view,
                              std::span<const std::byte>) {}
void SessionService::session_closed(std::uint64_t, const Error&) {}

/// Everything but the address belongs to the I/O thread.
class SessionServer::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(IoLoop& loop, SessionServerOptions options, SessionService& service, SessionSocket socket)
      : loop_{loop}, options_{std::move(options)}, service_{service}, socket_{std::move(socket)} {}

  Result<void> start();
  /// Runs `function` on the I/O thread and waits for it.
  template <class F>
  void on_loop(F function);
  void close();
  void reply(std::uint64_t session, std::uint64_t call, Result<Encoded> answer);
  [[nodiscard]] const Address& address() const noexcept { return socket_.address; }
  [[nodiscard]] std::size_t sessions() const noexcept { return count_.load(); }

 private:
  struct Served;
  class Batch;

  void accept();
  bool accept_one();
  void drop_guest(std::uint64_t session);
  void ready(std::uint64_t session, std::uint32_t events);
  void answer(std::uint64_t session, std::uint64_t call, Result<Encoded> answer);
  void settle();
  void settle(Served& served);

  IoLoop& loop_;
  const SessionServerOptions options_;
  SessionService& service_;
  SessionSocket socket_;
  IoLoop::Watch watch_;
  std::map<std::uint64_t, std::unique_ptr<Served>> served_;
  std::map<std::uint64_t, IoLoop::TimerKey> greeting_;  // who has not said hello, oldest first
  std::vector<std::uint64_t> touched_;                  // to be flushed, watched anew or removed
  std::uint64_t last_session_ = 0;
  int depth_ = 0;
  bool closed_ = false;
  std::atomic<std::size_t> count_{0};
};

/// One client.
struct SessionServer::Core::Served final : SessionHandler {
  Served(Core& owner, std::uint64_t number, Descriptor socket, SessionOptions options)
      : core{owner},
        id{number},
        port{std::move(socket), std::move(options), *this, served_limits} {}

  void touch() {
    if (!std::exchange(touched, true)) core.touched_.push_back(id);
  }
  void opened(const Hello& peer) override {
    if (const auto timer = core.greeting_.extract(id)) core.loop_.cancel(timer.mapped());
    is_open = true;
    core.service_.session_opened(id, {peer.name, peer.role, peer.pid});
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
  void unwanted(std::uint64_t call) override { core.service_.answer_unwanted(id, call); }
  void answered(session_action::Answer&&) override {}
  void notified(session_action::Notified&& notified) override {
    core.service_.notified(id, notified.notify.target, notified.notify.topic,
                           notified.notify.value);
  }
  void closed(const Error& error) override {
    touch();
    if (is_open) core.service_.session_closed(id, error);
  }

  Core& core;
  const std::uint64_t id;
  SessionPort port;
  IoLoop::Watch watch;
  std::uint32_t watched = EPOLLIN;
  bool is_open = false;
  bool touched = false;
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
  if (loop_.on_loop_thread()) return function();
  std::promise<void> done;
  loop_.post([&] {
    function();
    done.set_value();
  });
  done.get_future().wait();
}

Result<void> SessionServer::Core::start() {
  // Nothing of it is touched by two threads: the watch is made where its handler runs.
  Result<void> outcome;
  on_loop([&] {
    auto watch = loop_.watch(socket_.socket.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
    if (watch)
      watch_ = *std::move(watch);
    else
      outcome = watch.error();
  });
  return outcome;
}

void SessionServer::Core::close() {
  on_loop([this] {
    if (std::exchange(closed_, true)) return;
    watch_.reset();
    socket_.place.remove();
    socket_.socket.reset();
    {
      const Batch batch{*this};
      for (const auto& [id, served] : served_) {
        served->port.leave("the server is closed", Clock::now());
        served->touch();
      }
    }
    for (const auto& [id, timer] : greeting_) loop_.cancel(timer);
    greeting_.clear();
    served_.clear();
    count_ = 0;
  });
}

void SessionServer::Core::accept() {
  const Batch batch{*this};
  for (int n = 0; n < accepts_at_once; ++n)
    if (!accept_one()) return;
}

bool SessionServer::Core::accept_one() {
  Descriptor client{::accept4(socket_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  if (!client) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The client stays where it is, in the kernel's line, and we do not turn in circles.
      watch_.set_events(0);
      loop_.at(Deadline::after(descriptors_pause), [weak = weak_from_this()] {
        const auto core = weak.lock();
        if (core && core->watch_) core->watch_.set_events(EPOLLIN);
      });
    }
    return errno == ECONNABORTED || errno == EINTR;
  }
  if (const auto same = same_user(client.get()); !same || !*same) return true;
  if (served_.size() >= options_.max_sessions) return true;
  if (greeting_.size() >= options_.max_greeting) drop_guest(greeting_.begin()->first);
  const std::uint64_t id = ++last_session_;
  SessionOptions session;
  session.hello.name = options_.name;
  session.hello.role = "server";
  session.hello.pid = ::getpid();
  session.hello.epoch = options_.epoch;
  auto served = std::make_unique<Served>(*this, id, std::move(client), std::move(session));
  auto watch = loop_.watch(served->port.fd(), EPOLLIN,
                           [this, id](std::uint32_t events) { ready(id, events); });
  if (!watch) return true;
  served->watch = *std::move(watch);
  greeting_.emplace(
      id, loop_.at(Deadline::after(options_.greeting_timeout), [weak = weak_from_this(), id] {
        if (const auto core = weak.lock()) core->drop_guest(id);
      }));
  Served& added = *served_.emplace(id, std::move(served)).first->second;
  count_ = served_.size();
  added.port.start(Clock::now());
  added.touch();
  return true;
}

void SessionServer::Core::drop_guest(std::uint64_t session) {
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  const Batch batch{*this};
  greeting_.erase(session);
  found->second->port.leave("no hello in time", Clock::now());
  found->second->touch();
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

void SessionServer::Core::settle(Served& served) {
  served.touched = false;
  const bool sent = served.port.flush(Clock::now());
  if (served.port.session().is_closed()) {
    if (const auto timer = greeting_.extract(served.id)) loop_.cancel(timer.mapped());
    served_.erase(served.id);
    count_ = served_.size();
    return;
  }
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

void SessionServer::Core::answer(std::uint64_t session, std::uint64_t call,
                                 Result<Encoded> answer) {
  const auto found = served_.find(session);
  if (found == served_.end()) return;
  const Batch batch{*this};
  Served& served = *found->second;
  served.touch();
  if (answer) {
    served.port.reply(call, BytesView{answer->bytes}, Clock::now(), answer->descriptors);
  } else {
    served.port.reply(call, answer.error(), Clock::now());
  }
}

SessionServer::SessionServer(std::shared_ptr<Core> core) noexcept : core_{std::move(core)} {}
SessionServer::~SessionServer() { core_->close(); }

Result<std::unique_ptr<SessionServer>> SessionServer::open(IoLoop& loop,
                                                           SessionServerOptions options,
                                                           SessionService& service) {
  PASSEL_TRY(SessionSocket socket, listen_for_sessions(options.address, options.backlog));
  auto core = std::make_shared<Core>(loop, std::move(options), service, std::move(socket));
  PASSEL_CHECK(core->start());
  return std::make_unique<SessionServer>(std::move(core));
}

void SessionServer::reply(std::uint64_t session, std::uint64_t call, Result<Encoded> answer) {
  core_->reply(session, call, std::move(answer));
}
void SessionServer::reply(const std::weak_ptr<Core>& core, std::uint64_t session,
                          std::uint64_t call, Result<Encoded> answer) {
  if (const auto held = core.lock()) held->reply(session, call, std::move(answer));
}
const Address& SessionServer::address() const noexcept { return core_->address(); }
std::size_t SessionServer::sessions() const { return core_->sessions(); }

}  // namespace passel::inline v0::detail
