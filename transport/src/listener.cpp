// Layer transport: Listener: accepting, and greeting all new clients at once.
#include <passel/listener.hpp>

#include <passel/connection_wait.hpp>

#include "connection_end.hpp"
#include "listener_guests.hpp"
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
  ListenerCore(Descriptor socket, Address address, SocketPlace place, GuestRules rules)
      : socket_{std::move(socket)},
        address_{std::move(address)},
        guests_{std::move(rules)},
        place_{std::move(place)} {}

  Result<Connection> accept(Deadline deadline, Connection (*make)(std::shared_ptr<ConnectionEnd>));
  void close() noexcept;
  [[nodiscard]] UsedDescriptor& socket() noexcept { return socket_; }
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] std::optional<Address> last_accepted() const {
    const std::lock_guard lock{mutex_};
    return last_accepted_;
  }
  [[nodiscard]] std::uint64_t rejected() const noexcept { return guests_.refused(); }
  [[nodiscard]] static Error listener_closed() { return {Errc::closed, "listener is closed"}; }

 private:
  Result<std::shared_ptr<ConnectionEnd>> accept_in_turn(Deadline deadline);
  Result<void> wait_for_something(Deadline deadline);
  Result<void> let_in();
  std::shared_ptr<ConnectionEnd> let_in_guest();

  UsedDescriptor socket_;
  const Address address_;
  ConnectionTurn accepting_;
  ListenerGuests guests_;                           // under accepting_
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
  const bool full = !full_until_.passed();
  std::vector<pollfd> watched{{full ? -1 : socket_.get(), POLLIN, 0}};
  if (full) deadline = sooner(deadline, full_until_);
  deadline = sooner(deadline, guests_.watch(watched));
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
  for (std::size_t n = 0; n < guests_.most(); ++n) {
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
    if (std::holds_alternative<TcpAddress>(address_)) {
      prepare_tcp(client.get());
      guests_.add(std::move(client), to_address(from));
      continue;
    }
    const auto same = same_user(client.get());
    if (same && *same) guests_.add(std::move(client), std::nullopt);
  }
  return {};
}

std::shared_ptr<ConnectionEnd> ListenerCore::let_in_guest() {
  auto guest = guests_.serve();
  if (!guest) return nullptr;
  const std::lock_guard lock{mutex_};
  last_accepted_ = std::move(guest->from);
  return std::move(guest->end);
}

Result<std::shared_ptr<ConnectionEnd>> ListenerCore::accept_in_turn(Deadline deadline) {
  while (true) {
    if (auto end = let_in_guest()) return end;
    PASSEL_CHECK(let_in());
    if (auto end = let_in_guest()) return end;
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

Result<GuestRules> rules_of(const ListenerOptions& options, Carrier carrier) {
  std::vector<AuthKey> keys{options.former_authkeys};
  if (options.authkey) keys.insert(keys.begin(), *options.authkey);
  PASSEL_TRY(auto ready, HandshakeKeys::make(carrier, keys));
  return GuestRules{.keys = std::move(ready),
                    .place = {},
                    .address = {},
                    .timeout = options.greeting_timeout,
                    .most = options.max_greeting};
}

Result<std::shared_ptr<ListenerCore>> open_unix(const UnixAddress& address,
                                                const ListenerOptions& options) {
  PASSEL_TRY(GuestRules rules, rules_of(options, Carrier::host));
  PASSEL_TRY(SocketPlace place, SocketPlace::take(address.path));
  PASSEL_TRY(const SocketAddress raw, unix_socket_address(place.path()));
  PASSEL_TRY(Descriptor socket,
             listening_socket(raw, SOCK_SEQPACKET, options.backlog, place.path()));
  UnixAddress chosen{place.path()};
  rules.place = bound_name(socket.get());
  rules.address = chosen.path;
  return std::make_shared<ListenerCore>(std::move(socket), std::move(chosen), std::move(place),
                                        std::move(rules));
}

Result<std::shared_ptr<ListenerCore>> open_tcp(const TcpAddress& address,
                                               const ListenerOptions& options) {
  PASSEL_TRY(const auto found, look_up(address));
  const SocketAddress& raw = found.front();
  const bool plain = !options.authkey;
  if (plain && (options.insecure_plaintext == PlaintextTcp::refused || !raw.is_loopback()))
    return plaintext_refused(address, options.insecure_plaintext);
  PASSEL_TRY(GuestRules rules, rules_of(options, Carrier::network));
  PASSEL_TRY(Descriptor socket,
             listening_socket(raw, SOCK_STREAM, options.backlog, to_string(Address{address})));
  SocketAddress bound;
  bound.size = sizeof bound.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0)
    return system_error("getsockname", errno);
  Address chosen = to_address(bound);
  rules.address = to_string(chosen);
  return std::make_shared<ListenerCore>(std::move(socket), std::move(chosen), SocketPlace{},
                                        std::move(rules));
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
  if (!options.authkey && !options.former_authkeys.empty()) {
    return Error{Errc::invalid_argument, std::to_string(options.former_authkeys.size()) +
                                             " former authkeys, but no authkey"};
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
