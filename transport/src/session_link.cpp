// Layer transport: the asking end of a session: whoever waits reads.
#include <passel/detail/session_link.hpp>

#include <passel/detail/futex.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/spare_buffers.hpp>

#include "host_sleep.hpp"
#include "session_port.hpp"
#include "session_socket.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {
namespace {

using Clock = std::chrono::steady_clock;

/// Sleeps until one of these events, the end of the descriptor, or the deadline.
void wait_for(int fd, short events, Deadline deadline) {
  pollfd watched{fd, events, 0};
  const timespec left = to_timespec(deadline.left());
  ::ppoll(&watched, 1, deadline.is_never() ? nullptr : &left, nullptr);
}

constexpr std::chrono::milliseconds tick_pause{20};
constexpr std::size_t most_collected = std::size_t{64} << 10;

bool is_readable(int fd) {
  pollfd watched{fd, POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

/// The other end is gone, whether somebody has read so far or not.
bool hung_up(int fd) {
  pollfd watched{fd, POLLRDHUP, 0};
  return ::poll(&watched, 1, 0) == 1;
}

}  // namespace

/// What a lease asks.
class SessionLease::Keeper {
 public:
  Keeper() = default;
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  virtual ~Keeper() = default;
  [[nodiscard]] virtual bool holds(std::uint64_t lease) const = 0;
};

bool SessionLease::holds() const {
  const auto keeper = keeper_.lock();
  return keeper != nullptr && keeper->holds(number_);
}

/// The session machine and everybody who waits for it. One mutex; callbacks run without it.
class SessionLink::Core : public SessionHandler,
                          public SessionLease::Keeper,
                          public std::enable_shared_from_this<Core> {
 public:
  Core(IoLoop& loop, SessionCarrier carrier, SessionOptions options)
      : loop_{loop},
        far_{carrier.carrier == Carrier::network},
        port_{std::move(carrier.socket), std::move(options), *this} {
    port_.protect(std::move(carrier.stream), carrier.carrier);
    if (carrier.same_host) port_.tell_cpus();
  }

  Result<void> open(Deadline deadline);
  Result<SessionReply> call(SessionCall& call);
  std::uint64_t call_async(const SessionCall& call, Answered answered);
  void cancel(std::uint64_t call, Errc why);
  void fetch(std::uint64_t call, Deadline deadline);
  void notify(std::uint64_t target, std::string_view topic, std::span<const std::byte> value);
  void leave();
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_acquire); }
  [[nodiscard]] bool holds(std::uint64_t lease) const override;
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

 private:
  struct Waiter {
    std::optional<Result<SessionReply>> reply;
    std::atomic<std::uint32_t> word{0};  // goes up when there is a reply, or a turn to read
  };
  struct Asked {  // a call of call_async
    Answered answered;
    std::optional<IoLoop::TimerKey> timer;
  };
  class Locked;

  void opened(const Hello& peer) override {
    epoch_ = peer.epoch;
    open_ = true;
  }
  void answered(session_action::Answer&& answer) override;
  void closed(const Error& error) override;

  std::uint64_t put(const SessionCall& call, Clock::time_point now);
  void await_answer(bool sends, Deadline deadline);
  void lead(std::unique_lock<std::mutex>& lock, Deadline deadline);
  void follow(std::unique_lock<std::mutex>& lock, Waiter& waiter, Deadline deadline);
  void pass_on();
  void deliver(std::unique_lock<std::mutex>& lock);
  void ready(std::uint32_t events);
  void adjust_watch();
  void arm();
  void tick();
  void notice_sleep();
  [[nodiscard]] Error limit_passed(std::string_view method) const {
    return {Errc::timeout, "'" + std::string{method} + "' was not answered in the time given"};
  }

  IoLoop& loop_;
  const bool far_;  // over a network: the peer is asked now and then whether it lives
  mutable std::mutex mutex_;
  SessionPort port_;
  IoLoop::Watch watch_;
  std::uint32_t watched_ = 0;
  HostSleep sleep_;
  bool reading_ = false;  // a caller reads; the I/O thread does not
  bool sending_ = false;  // and waits for room to write in
  Spinner spinner_;
  std::atomic<std::uint64_t> epoch_{0};
  std::atomic<bool> open_{false};
  std::unordered_map<std::uint64_t, Waiter*> waiting_;
  std::unordered_map<std::uint64_t, Asked> asked_;
  std::deque<Waiter*> followers_;
  std::optional<Result<SessionReply>> early_;  // of a call whose id is not known yet
  // To be done when the mutex is free again: see deliver.
  std::vector<std::pair<Asked, Result<SessionReply>>> told_;
  IoLoop::Watch retired_;
};

/// The mutex, and what has to be done when it has been given back.
class SessionLink::Core::Locked {
 public:
  explicit Locked(Core& core) : core_{core}, lock_{core.mutex_} {}
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() {
    core_.adjust_watch();
    core_.deliver(lock_);
  }
  [[nodiscard]] std::unique_lock<std::mutex>& lock() noexcept { return lock_; }

 private:
  Core& core_;
  std::unique_lock<std::mutex> lock_;
};

Result<void> SessionLink::Core::open(Deadline deadline) {
  Locked locked{*this};
  port_.start(Clock::now());
  port_.flush(Clock::now());
  reading_ = true;
  while (!port_.session().is_open()) {
    if (port_.session().is_closed()) return port_.session().closed_by();
    if (deadline.passed()) return Error{Errc::timeout, "the server did not say hello in time"};
    locked.lock().unlock();
    wait_for(port_.fd(), POLLIN, deadline);
    locked.lock().lock();
    port_.readable(Clock::now());
    port_.flush(Clock::now());
  }
  reading_ = false;
  PASSEL_TRY(watch_, loop_.watch(port_.fd(), 0, [weak = weak_from_this()](std::uint32_t events) {
    if (const auto core = weak.lock()) core->ready(events);
  }));
  arm();
  return {};
}

/// With the mutex held.
void SessionLink::Core::arm() {
  const auto next = port_.next_wakeup();
  if (!far_ || !next) return;
  loop_.at(Deadline::at(*next), [weak = weak_from_this()] {
    if (const auto core = weak.lock()) core->tick();
  });
}

void SessionLink::Core::tick() {
  Locked locked{*this};
  const auto now = Clock::now();
  // What came while this process was not running is no silence.
  if (is_readable(port_.fd())) {
    if (reading_) {
      loop_.at(Deadline::after(tick_pause), [weak = weak_from_this()] {
        if (const auto core = weak.lock()) core->tick();
      });
      return;
    }
    port_.readable(now);
  }
  port_.tick(now);
  port_.flush(now);
  arm();
}

/// Puts the call into the outbox.
std::uint64_t SessionLink::Core::put(const SessionCall& call, Clock::time_point now) {
  notice_sleep();
  std::optional<Clock::time_point> until;
  if (!call.deadline.is_never()) {
    until = call.deadline.is_try() ? now : call.deadline.when();
    if (call.patience.count() > 0) until = std::max(*until, now + std::chrono::microseconds{1});
  }
  return port_.call(call.target, std::string{call.method}, call.args.bytes, now,
                    call.args.descriptors, until, this_thread());
}

Result<SessionReply> SessionLink::Core::call(SessionCall& call) {
  Locked locked{*this};
  early_.reset();
  const auto now = Clock::now();
  const std::uint64_t id = put(call, now);
  give_buffer(std::exchange(call.args.bytes, {}));
  port_.flush(now);
  if (early_) return *std::exchange(early_, std::nullopt);
  const Deadline until = call.end();
  Waiter waiter;
  waiting_.emplace(id, &waiter);
  while (!waiter.reply) {
    if (reading_) {
      follow(locked.lock(), waiter, until);
    } else {
      lead(locked.lock(), until);
      // What came for others is not to wait until this call has its answer.
      if (!told_.empty() || retired_) {
        adjust_watch();
        pass_on();  // somebody reads on while those who asked are told
        deliver(locked.lock());
        locked.lock().lock();
      }
    }
    if (waiter.reply || !until.passed()) continue;
    waiting_.erase(id);
    port_.cancel(id, Clock::now());
    port_.flush(Clock::now());
    early_.reset();
    waiter.reply = limit_passed(call.method);
  }
  pass_on();
  return *std::move(waiter.reply);
}

/// Without the mutex. A wake-up costs several times what the answer does.
void SessionLink::Core::await_answer(bool sends, Deadline deadline) {
  if (sends) return wait_for(port_.fd(), POLLIN | POLLOUT, deadline);
  const auto begin = Clock::now();
  if (spinner_.spin(port_.peer_cpu(), deadline, [this] { return is_readable(port_.fd()); })) return;
  wait_for(port_.fd(), POLLIN, deadline);
  spinner_.waited(Clock::now() - begin);
}

void SessionLink::Core::lead(std::unique_lock<std::mutex>& lock, Deadline deadline) {
  reading_ = true;
  // What the socket did not take yet; later calls of others are sent by the I/O thread.
  sending_ = port_.wants_write();
  adjust_watch();
  const bool sends = sending_;
  lock.unlock();
  await_answer(sends, deadline);
  lock.lock();
  reading_ = false;
  sending_ = false;
  port_.readable(Clock::now());
  port_.flush(Clock::now());
}

void SessionLink::Core::follow(std::unique_lock<std::mutex>& lock, Waiter& waiter,
                               Deadline deadline) {
  followers_.push_back(&waiter);
  adjust_watch();  // the leader does not send what the socket has not taken of this one's call
  const std::uint32_t seen = waiter.word.load();
  lock.unlock();
  futex_wait(waiter.word, seen, deadline, FutexScope::process);
  lock.lock();
  std::erase(followers_, &waiter);
}

void SessionLink::Core::pass_on() {
  if (reading_ || followers_.empty()) return;
  // Whoever wakes last finds nobody reading and does it.
  Waiter* const next = followers_.front();
  followers_.pop_front();
  next->word.fetch_add(1);
  futex_wake(next->word, 1, FutexScope::process);
}

bool SessionLink::Core::holds(std::uint64_t lease) const {
  const std::lock_guard lock{mutex_};
  if (!port_.session().holds(lease, Clock::now())) return false;
  return far_ ? !sleep_.has_slept() : !hung_up(port_.fd());
}

/// With the mutex held. What was granted before a sleep may be somebody else's.
void SessionLink::Core::notice_sleep() {
  if (far_ && sleep_.notice()) port_.slept(Clock::now());
}

/// Gives the mutex back and tells those who asked with call_async.
void SessionLink::Core::deliver(std::unique_lock<std::mutex>& lock) {
  auto told = std::exchange(told_, {});
  const IoLoop::Watch retired = std::move(retired_);
  lock.unlock();
  for (auto& [asked, result] : told) {
    if (asked.timer) loop_.cancel(*asked.timer);
    asked.answered(std::move(result));
  }
}

void SessionLink::Core::answered(session_action::Answer&& answer) {
  Result<SessionReply> reply = SessionReply{};
  // Of the time before a sleep: the answer may have lain here all the while.
  reply->lease = {std::weak_ptr<const SessionLease::Keeper>{weak_from_this()},
                  port_.session().lease()};
  notice_sleep();
  if (answer.result) {
    reply->bytes = take_buffer(answer.result->size());
    reply->bytes.assign(answer.result->begin(), answer.result->end());
    reply->descriptors = std::move(answer.descriptors);
  } else {
    reply = answer.result.error();
  }
  if (const auto found = waiting_.find(answer.id); found != waiting_.end()) {
    Waiter& waiter = *found->second;
    waiting_.erase(found);
    waiter.reply.emplace(std::move(reply));
    waiter.word.fetch_add(1);
    futex_wake(waiter.word, 1, FutexScope::process);
  } else if (auto asked = asked_.extract(answer.id)) {
    told_.emplace_back(std::move(asked.mapped()), std::move(reply));
  } else {
    early_.emplace(std::move(reply));
  }
}

void SessionLink::Core::closed(const Error&) {
  open_ = false;
  port_.flush(Clock::now());  // the goodbye
  // Its handler may wait for the mutex: it is taken down when the mutex is free.
  retired_ = std::move(watch_);
  ::shutdown(port_.fd(), SHUT_RDWR);  // wakes whoever reads
}

std::uint64_t SessionLink::Core::call_async(const SessionCall& call, Answered answered) {
  Locked locked{*this};
  early_.reset();
  const auto now = Clock::now();
  const bool alone = asked_.empty();
  const std::uint64_t id = put(call, now);
  // While answers are to come anyway calls go together: the I/O thread sends what has collected.
  if (alone || port_.unsent() > most_collected) port_.flush(now);
  if (early_) {
    told_.emplace_back(Asked{std::move(answered), {}}, *std::exchange(early_, std::nullopt));
    return id;
  }
  Asked asked{std::move(answered), {}};
  if (!call.deadline.is_never()) {
    asked.timer = loop_.at(call.deadline, [weak = weak_from_this(), id] {
      if (const auto core = weak.lock()) core->cancel(id, Errc::timeout);
    });
  }
  asked_.emplace(id, std::move(asked));
  return id;
}

void SessionLink::Core::fetch(std::uint64_t call, Deadline deadline) {
  Locked locked{*this};
  // While another one reads, that one or the I/O thread brings the answer.
  while (!reading_ && asked_.contains(call) && !deadline.passed()) {
    port_.flush(Clock::now());
    lead(locked.lock(), deadline);
    if (told_.empty() && !retired_) continue;
    adjust_watch();
    pass_on();
    deliver(locked.lock());
    locked.lock().lock();
  }
  pass_on();
}

void SessionLink::Core::cancel(std::uint64_t call, Errc why) {
  Locked locked{*this};
  auto asked = asked_.extract(call);
  if (!asked) return;
  port_.cancel(call, Clock::now());
  port_.flush(Clock::now());
  early_.reset();
  Error error = why == Errc::timeout
                    ? Error{Errc::timeout, "the call was not answered in the time given"}
                    : Error{why, "the call was cancelled"};
  told_.emplace_back(std::move(asked.mapped()), std::move(error));
}

void SessionLink::Core::notify(std::uint64_t target, std::string_view topic,
                               std::span<const std::byte> value) {
  const std::lock_guard lock{mutex_};
  port_.notify({target, std::string{topic}, value}, Clock::now());
  port_.flush(Clock::now());
  adjust_watch();
  // Who speaks may hold locks that those who are to be told want.
  if (told_.empty() && !retired_) return;
  loop_.post([weak = weak_from_this()] {
    const auto core = weak.lock();
    if (!core) return;
    const Locked deliver_when_unlocked{*core};
  });
}

void SessionLink::Core::leave() {
  Locked locked{*this};
  port_.leave("the client is done", Clock::now());
  port_.flush(Clock::now());
}

void SessionLink::Core::ready(std::uint32_t events) {
  Locked locked{*this};
  const auto now = Clock::now();
  if ((events & EPOLLOUT) != 0) port_.flush(now);
  if (reading_ || (events & ~static_cast<std::uint32_t>(EPOLLOUT)) == 0) return;
  port_.readable(now);
  port_.flush(now);
}

void SessionLink::Core::adjust_watch() {
  if (!watch_) return;
  std::uint32_t wanted =
      port_.wants_write() && !sending_ ? static_cast<std::uint32_t>(EPOLLOUT) : 0U;
  if (!reading_ && (far_ || !asked_.empty())) wanted |= EPOLLIN;
  if (wanted != watched_) watch_.set_events(wanted);
  watched_ = wanted;
}

SessionLink::SessionLink(std::shared_ptr<Core> core) noexcept : core_{std::move(core)} {}

SessionLink::~SessionLink() { leave(); }

Result<std::shared_ptr<SessionLink>> SessionLink::connect(IoLoop& loop, const Address& address,
                                                          const SessionLinkOptions& options,
                                                          Deadline deadline) {
  PASSEL_TRY(SessionCarrier carrier,
             connect_session(address, options.authkey, options.certificates, deadline));
  SessionOptions session;
  session.hello.name = options.name;
  session.hello.role = options.role;
  session.hello.pid = ::getpid();
  session.deadlines = CallDeadlines::told;
  if (carrier.carrier == Carrier::network) {
    session.heartbeat = options.heartbeat;
    session.silence = options.silence;
    session.leased = true;
  }
  auto core = std::make_shared<Core>(loop, std::move(carrier), std::move(session));
  PASSEL_CHECK(core->open(deadline));
  return std::make_shared<SessionLink>(std::move(core));
}

Result<SessionReply> SessionLink::call(SessionCall call) { return core_->call(call); }
std::uint64_t SessionLink::call_async(const SessionCall& call, Answered answered) {
  return core_->call_async(call, std::move(answered));
}
void SessionLink::fetch(std::uint64_t call, Deadline deadline) { core_->fetch(call, deadline); }
void SessionLink::cancel(std::uint64_t call) { core_->cancel(call, Errc::cancelled); }
void SessionLink::notify(std::uint64_t target, std::string_view topic,
                         std::span<const std::byte> value) {
  core_->notify(target, topic, value);
}
void SessionLink::leave() { core_->leave(); }
Deadline SessionCall::end() const {
  if (patience.count() == 0 || deadline.is_never()) return deadline;
  if (deadline.is_try()) return Deadline::after(patience);
  // In the coarser unit, which does not overflow.
  const auto most = Clock::time_point::max() - deadline.when();
  if (patience >= std::chrono::floor<std::chrono::milliseconds>(most)) return Deadline::never();
  return Deadline::at(deadline.when() + patience);
}

bool SessionLink::is_open() const { return core_->is_open(); }
bool SessionLink::granted(const SessionLease& lease) const noexcept {
  return !lease.keeper_.owner_before(core_) && !core_.owner_before(lease.keeper_);
}
std::uint64_t SessionLink::epoch() const noexcept { return core_->epoch(); }

}  // namespace passel::inline v0::detail
