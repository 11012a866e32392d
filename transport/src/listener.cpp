// Layer transport: Listener: accepting, and greeting all new clients at once.
#include <passel/listener.hpp>

#include <passel/connection_wait.hpp>

#include "connection_end.hpp"
#include "greeting.hpp"
#include "key_proof.hpp"
#include "socket_address.hpp"
#include "used_descriptor.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>

namespace passel::inline v0 {
namespace detail {

using std::chrono::milliseconds;

/// The object behind a Listener.
class ListenerCore {
 public:
  ListenerCore(Descriptor socket, Address address, SocketPlace place,
               const ListenerOptions& options, const std::optional<Secret>& secret)
      : socket_{std::move(socket)},
        address_{std::move(address)},
        greeting_timeout_{options.greeting_timeout},
        max_greeting_{options.max_greeting},
        secret_{secret},
        place_{std::move(place)} {}

  Result<Connection> accept(Deadline deadline, Connection (*make)(std::shared_ptr<ConnectionEnd>));
  void close() noexcept;
  [[nodiscard]] UsedDescriptor& socket() noexcept { return socket_; }
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] std::optional<Address> last_accepted() const {
    const std::lock_guard lock{mutex_};
    return last_accepted_;
  }
  [[nodiscard]] std::uint64_t rejected() const noexcept { return rejected_.load(); }
  [[nodiscard]] static Error listener_closed() { return {Errc::closed, "listener is closed"}; }

 private:
  enum class Stage { greeting, proof, tls };
  struct Guest {
    std::shared_ptr<ConnectionEnd> end;
    std::optional<Address> from;
    Deadline until = Deadline::never();
    Stage stage = Stage::greeting;
    Nonce client{};
    Nonce listener{};
  };
  enum class Verdict { undecided, welcome, gone, refused };

  Result<std::shared_ptr<ConnectionEnd>> accept_in_turn(Deadline deadline);
  Result<void> wait_for_something(Deadline deadline);
  Result<void> let_in();
  std::shared_ptr<ConnectionEnd> greeted();
  Verdict listen_to(Guest& guest);
  Verdict greet(Guest& guest, std::span<const std::byte> bytes);
  Verdict check_proof(Guest& guest, std::span<const std::byte> proof);
  [[nodiscard]] bool on_tcp() const { return std::holds_alternative<TcpAddress>(address_); }

  UsedDescriptor socket_;
  const Address address_;
  const milliseconds greeting_timeout_;
  const std::size_t max_greeting_;
  const std::optional<Secret> secret_;
  std::atomic<std::uint64_t> rejected_{0};
  ConnectionTurn accepting_;
  std::deque<Guest> guests_;                        // under accepting_
  Deadline full_until_ = Deadline::now_or_never();  // no descriptors before then; under accepting_
  mutable std::mutex mutex_;
  SocketPlace place_;                       // under mutex_
  std::optional<Address> last_accepted_{};  // under mutex_
};

namespace {

constexpr milliseconds descriptors_pause{50};

Deadline sooner(Deadline a, Deadline b) { return a.when() < b.when() ? a : b; }

Error no_client_in_time() { return {Errc::timeout, "no client came in time"}; }

}  // namespace

void ListenerCore::close() noexcept {
  const UsedDescriptor::Use use{socket_};
  if (socket_.close() == UsedDescriptor::Closing::done_before) return;
  {
    // The files first: a new listener may come as soon as the socket refuses.
    const std::lock_guard lock{mutex_};
    place_.remove();
  }
  ::shutdown(socket_.get(), SHUT_RDWR);  // wakes whoever waits in accept
  if (accepting_.take(Deadline::never())) {
    guests_.clear();
    accepting_.give();
  }
}

Result<void> ListenerCore::wait_for_something(Deadline deadline) {
  std::vector<pollfd> watched;
  watched.reserve(guests_.size() + 1);
  const bool full = !full_until_.passed();
  watched.push_back({full ? -1 : socket_.get(), POLLIN, 0});
  if (full) deadline = sooner(deadline, full_until_);
  for (Guest& guest : guests_) {
    watched.push_back({guest.end->socket().get(), POLLIN, 0});
    deadline = sooner(deadline, guest.until);
  }
  timespec left{};
  if (!deadline.is_never()) {
    const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.left()).count();
    left.tv_sec = static_cast<time_t>(rest / 1'000'000'000);
    left.tv_nsec = static_cast<long>(rest % 1'000'000'000);
  }
  if (::ppoll(watched.data(), watched.size(), deadline.is_never() ? nullptr : &left, nullptr) < 0 &&
      errno != EINTR)
    return system_error("ppoll", errno);
  return {};
}

Result<void> ListenerCore::let_in() {
  if (!full_until_.passed()) return {};
  // Not more than may be greeted at once, so that those who wait to be served are.
  for (std::size_t n = 0; n < max_greeting_; ++n) {
    SocketAddress from;
    from.size = sizeof from.storage;
    Descriptor client{::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&from.storage),
                                &from.size, SOCK_CLOEXEC)};
    if (!client) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // The client stays where it is, in the kernel's line, and we do not turn in circles.
        full_until_ = Deadline::after(descriptors_pause);
        return {};
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {};
      if (socket_.closed()) return listener_closed();
      if (errno == EINVAL || errno == EBADF || errno == ENOTSOCK)
        return system_error("accept4", errno);
      continue;  // that client is gone already
    }
    Guest guest{.end = nullptr, .from = {}, .until = Deadline::after(greeting_timeout_)};
    if (std::holds_alternative<UnixAddress>(address_)) {
      auto same = same_user(client.get());
      if (!same || !*same) continue;
    } else {
      prepare_tcp(client.get());
      guest.from = to_address(from);
    }
    auto end = ConnectionEnd::make(std::move(client), ConnectionMode::duplex);
    if (!end) continue;
    guest.end = *std::move(end);
    guest.end->set_kind(PacketKind::greeting);
    if (guests_.size() >= max_greeting_) guests_.pop_front();
    guests_.push_back(std::move(guest));
  }
  return {};
}

ListenerCore::Verdict ListenerCore::greet(Guest& guest, std::span<const std::byte> bytes) {
  const auto greeting = read_client_greeting(bytes);
  if (!greeting) return Verdict::gone;
  // One of the two would wait for a proof that the other cannot give.
  if ((greeting->has_key != 0) != secret_.has_value()) return Verdict::refused;
  if (!secret_) return Verdict::welcome;
  guest.client = greeting->nonce;
  guest.listener = fresh_nonce();
  const ListenerGreeting answer{.nonce = guest.listener};
  if (!guest.end->send(greeting_bytes(answer), {}, Deadline::now_or_never())) return Verdict::gone;
  if (!on_tcp()) {
    guest.stage = Stage::proof;
    return Verdict::undecided;
  }
  guest.stage = Stage::tls;
  // The key of the session depends on what was said in the clear.
  const auto key = prove(*secret_, Side::client, guest.client, guest.listener);
  if (!key || !guest.end->start_tls(Side::listener, *key)) return Verdict::gone;
  return Verdict::undecided;
}

ListenerCore::Verdict ListenerCore::check_proof(Guest& guest, std::span<const std::byte> proof) {
  const auto expected = prove(*secret_, Side::client, guest.client, guest.listener);
  if (!expected || !same_proof(proof, *expected)) return Verdict::refused;
  const auto mine = prove(*secret_, Side::listener, guest.client, guest.listener);
  if (!mine || !guest.end->send(*mine, {}, Deadline::now_or_never())) return Verdict::gone;
  return Verdict::welcome;
}

ListenerCore::Verdict ListenerCore::listen_to(Guest& guest) {
  const Verdict late = guest.until.passed() ? Verdict::gone : Verdict::undecided;
  if (guest.stage == Stage::tls) {
    const auto done = guest.end->shake_hands(Deadline::now_or_never());
    if (!done) {
      if (done.error() == Errc::auth_failed) rejected_.fetch_add(1);
      return Verdict::gone;
    }
    return *done ? Verdict::welcome : late;
  }
  auto message = guest.end->receive(Deadline::now_or_never(), max_greeting_size);
  if (!message) return message.error() == Errc::timeout ? late : Verdict::gone;
  if (!message->descriptors.empty()) return Verdict::gone;
  if (guest.stage == Stage::proof) return check_proof(guest, message->bytes);
  const Verdict verdict = greet(guest, message->bytes);
  return verdict == Verdict::undecided ? late : verdict;
}

std::shared_ptr<ConnectionEnd> ListenerCore::greeted() {
  for (auto guest = guests_.begin(); guest != guests_.end();) {
    const Verdict verdict = listen_to(*guest);
    if (verdict == Verdict::undecided) {
      ++guest;
      continue;
    }
    const Guest gone = std::move(*guest);
    guest = guests_.erase(guest);
    if (verdict == Verdict::refused) {
      rejected_.fetch_add(1);
      gone.end->set_kind(PacketKind::refusal);
      static_cast<void>(gone.end->send({}, {}, Deadline::now_or_never()).is_ok());
    }
    if (verdict != Verdict::welcome) continue;
    gone.end->set_kind(PacketKind::message);
    const std::lock_guard lock{mutex_};
    last_accepted_ = gone.from;
    return gone.end;
  }
  return nullptr;
}

Result<std::shared_ptr<ConnectionEnd>> ListenerCore::accept_in_turn(Deadline deadline) {
  while (true) {
    if (auto end = greeted()) return end;
    PASSEL_CHECK(let_in());
    if (auto end = greeted()) return end;
    if (socket_.closed()) return listener_closed();
    if (deadline.passed()) return no_client_in_time();
    PASSEL_CHECK(wait_for_something(deadline));
  }
}

Result<Connection> ListenerCore::accept(Deadline deadline,
                                        Connection (*make)(std::shared_ptr<ConnectionEnd>)) {
  const UsedDescriptor::Use use{socket_};
  if (!use) return listener_closed();
  if (!accepting_.take(deadline)) return no_client_in_time();
  const TurnHeld held{accepting_};
  if (socket_.closed()) return listener_closed();
  PASSEL_TRY(auto end, accept_in_turn(deadline));
  return make(std::move(end));
}

namespace {

Result<Descriptor> listening_socket(const SocketAddress& address, int type, int backlog,
                                    const std::string& name) {
  Descriptor socket{::socket(address.family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return system_error("socket", errno);
  const int on = 1;
  if (address.family() == AF_UNIX) {
    ::fchmod(socket.get(), 0600);  // what bind gives the file
  } else {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.family() == AF_INET6)
      ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(socket.get(), address.raw(), address.size) != 0 ||
      ::listen(socket.get(), backlog) != 0) {
    if (errno == EADDRINUSE)
      return Error{Errc::refused, name + " is in use: another listener is there"};
    if (errno == ENOENT) return Error{Errc::not_found, "bind(" + name + "): no such directory"};
    return system_error("bind(" + name + ")", errno);
  }
  return socket;
}

Result<std::shared_ptr<ListenerCore>> open_unix(const UnixAddress& address,
                                                const ListenerOptions& options) {
  PASSEL_TRY(SocketPlace place, SocketPlace::take(address.path));
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(place.path()));
  PASSEL_TRY(Descriptor socket,
             listening_socket(raw, SOCK_SEQPACKET, options.backlog, place.path()));
  std::optional<Secret> secret;
  if (options.authkey) {
    PASSEL_TRY(secret, derive_key(options.authkey->bytes(), unix_key_purpose));
  }
  UnixAddress chosen{place.path()};
  return std::make_shared<ListenerCore>(std::move(socket), std::move(chosen), std::move(place),
                                        options, secret);
}

Result<std::shared_ptr<ListenerCore>> open_tcp(const TcpAddress& address,
                                               const ListenerOptions& options) {
  PASSEL_TRY(const auto found, look_up(address));
  const SocketAddress& raw = found.front();
  const bool plain = !options.authkey;
  if (plain && (options.insecure_plaintext == PlaintextTcp::refused || !raw.is_loopback()))
    return plaintext_refused(address, options.insecure_plaintext);
  PASSEL_TRY(Descriptor socket,
             listening_socket(raw, SOCK_STREAM, options.backlog, to_string(Address{address})));
  SocketAddress bound;
  bound.size = sizeof bound.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0)
    return system_error("getsockname", errno);
  std::optional<Secret> secret;
  if (options.authkey) {
    PASSEL_TRY(secret, derive_network_key(options.authkey->bytes()));
  }
  return std::make_shared<ListenerCore>(std::move(socket), to_address(bound), SocketPlace{},
                                        options, secret);
}

}  // namespace
}  // namespace detail

Listener::Listener() noexcept = default;
Listener::Listener(std::shared_ptr<detail::ListenerCore> core) noexcept : core_{std::move(core)} {}
Listener::Listener(Listener&&) noexcept = default;

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}

Listener::~Listener() { close(); }

Result<Listener> Listener::open(Address address, ListenerOptions options) {
  if (options.backlog < 1) {
    return Error{Errc::invalid_argument,
                 "backlog " + std::to_string(options.backlog) + ", at least 1"};
  }
  if (options.max_greeting < 1) return Error{Errc::invalid_argument, "max_greeting 0, at least 1"};
  auto core = std::holds_alternative<UnixAddress>(address)
                  ? detail::open_unix(std::get<UnixAddress>(address), options)
                  : detail::open_tcp(std::get<TcpAddress>(address), options);
  if (!core) return core.error();
  return Listener{*std::move(core)};
}

Result<Connection> Listener::accept_until(detail::Deadline deadline) {
  if (!core_) return detail::ListenerCore::listener_closed();
  return core_->accept(deadline, [](std::shared_ptr<detail::ConnectionEnd> end) {
    return Connection{std::move(end)};
  });
}

Result<Connection> Listener::try_accept() {
  auto accepted = accept_until(detail::Deadline::now_or_never());
  if (accepted || accepted.error() != Errc::timeout) return accepted;
  return Error{Errc::empty, "no client is there"};
}

void Listener::close() noexcept {
  if (core_) core_->close();
}
bool Listener::closed() const noexcept { return !core_ || core_->socket().closed(); }
Address Listener::address() const { return core_ ? core_->address() : Address{}; }
std::uint64_t Listener::rejected() const noexcept { return core_ ? core_->rejected() : 0; }
std::optional<Address> Listener::last_accepted() const {
  return core_ ? core_->last_accepted() : std::nullopt;
}

Waitable::Waitable(const Listener& listener) {
  if (listener.core_) held_ = {listener.core_, &listener.core_->socket()};
}

}  // namespace passel::inline v0
