// Layer transport: the object behind a Connection: whose turn it is, and until when it is open.
#include "connection_end.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>

namespace passel::inline v0::detail {

namespace {

Error nothing_in_time() { return {Errc::timeout, "nothing came through the connection in time"}; }

}  // namespace

Result<std::shared_ptr<ConnectionEnd>> ConnectionEnd::make(Descriptor&& socket,
                                                           ConnectionMode mode) {
  int type = 0;
  socklen_t size = sizeof type;
  const std::string name = "descriptor " + std::to_string(socket.get());
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    return Error{Errc::invalid_argument, name + " is no open socket"};
  if (type != SOCK_SEQPACKET && type != SOCK_STREAM) {
    return Error{Errc::invalid_argument, name + " is a socket of type " + std::to_string(type) +
                                             ", a connection needs a stream or seqpacket socket"};
  }
  int domain = AF_UNSPEC;
  size = sizeof domain;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
  return std::make_shared<ConnectionEnd>(std::move(socket), mode, type == SOCK_SEQPACKET,
                                         domain == AF_UNIX);
}

Error ConnectionEnd::closed_here() { return {Errc::closed, "handle is closed"}; }

Result<void> ConnectionEnd::start_tls(Side side, std::span<const Secret> keys) {
  PASSEL_TRY(tls_, TlsChannel::make(side, keys));
  inbox_.decrypt_by(tls_.get());
  outbox_.encrypt_by(tls_.get());
  return {};
}

Result<bool> ConnectionEnd::shake_hands(Deadline deadline) {
  while (true) {
    auto done = tls_->shake_hands();
    const auto flushed = outbox_.flush_channel(socket_.get(), deadline);
    if (!done || *done) return done;
    if (!flushed && flushed.error() != Errc::timeout) return flushed.error();
    PASSEL_CHECK(inbox_.feed_channel(socket_.get(), deadline.is_never()));
    if (!inbox_.starved()) continue;
    if (deadline.is_try()) return false;
    PASSEL_TRY(const bool ready, wait_for_events(socket_.get(), POLLIN, deadline));
    if (!ready) return nothing_in_time();
  }
}

// Without it the other end could not tell an end from a cut.
void ConnectionEnd::say_goodbye() noexcept {
  if (!writing_.take(Deadline::now_or_never())) return;
  const TurnHeld held{writing_};
  tls_->finish();
  static_cast<void>(outbox_.flush_channel(socket_.get(), Deadline::now_or_never()).is_ok());
}

void ConnectionEnd::close() noexcept {
  const UsedDescriptor::Use use{socket_};
  if (use && tls_) say_goodbye();
  if (socket_.close() == UsedDescriptor::Closing::somebody_inside &&
      !shared_.load(std::memory_order_relaxed)) {
    // Nobody else has this end, so what wakes whoever waits in here hurts no other process.
    ::shutdown(socket_.get(), SHUT_RDWR);
  }
}

Result<void> ConnectionEnd::send(std::span<const std::byte> bytes, DescriptorSpan descriptors,
                                 Deadline deadline) {
  const UsedDescriptor::Use use{socket_};
  if (!use) return closed_here();
  if (mode_ == ConnectionMode::read_only)
    return Error{Errc::invalid_state, "connection is read-only"};
  if (bytes.size() > Connection::max_message_size) {
    return Error{Errc::too_large, "message of " + std::to_string(bytes.size()) + " bytes, limit " +
                                      std::to_string(Connection::max_message_size)};
  }
  if (descriptors.size() > max_message_descriptors) {
    return Error{Errc::too_large, "message with " + std::to_string(descriptors.size()) +
                                      " handles, limit " + std::to_string(max_message_descriptors)};
  }
  if (!descriptors.empty() && (!on_host_ || tls_)) {
    return Error{Errc::unsupported, "handles cannot travel over TCP: they are of this host"};
  }
  if (!writing_.take(deadline))
    return Error{Errc::timeout, "the other end of the connection did not read in time"};
  const TurnHeld held{writing_};
  auto sent = outbox_.push(socket_.get(), kind_, bytes, descriptors, deadline);
  if (!sent && closed()) return closed_here();
  return sent;
}

Result<Message> ConnectionEnd::receive_in_turn(Deadline deadline, std::size_t maxlength) {
  const std::size_t limit = std::min(maxlength, Connection::max_message_size);
  while (true) {
    auto message = inbox_.pull(socket_.get(), deadline.is_never(), limit);
    if (!message) return message.error();
    if (*message) return **std::move(message);
    if (!inbox_.starved()) continue;
    if (deadline.is_try()) return nothing_in_time();
    PASSEL_TRY(const bool ready, wait_for_events(socket_.get(), POLLIN, deadline));
    if (!ready) return nothing_in_time();
  }
}

Result<Message> ConnectionEnd::receive(Deadline deadline, std::size_t maxlength) {
  const UsedDescriptor::Use use{socket_};
  if (!use) return closed_here();
  if (mode_ == ConnectionMode::write_only)
    return Error{Errc::invalid_state, "connection is write-only"};
  if (!reading_.take(deadline)) return nothing_in_time();
  const TurnHeld held{reading_};
  if (why_unreadable_) return *why_unreadable_;
  auto message = receive_in_turn(deadline, maxlength);
  if (message) return message;
  if (closed()) return closed_here();
  if (message.error() == Errc::auth_failed) {
    why_unreadable_ = message.error();
    unreadable_.store(true);
  }
  if (message.error() == Errc::too_large || message.error() == Errc::malformed) {
    why_unreadable_ =
        Error{Errc::invalid_state, "connection cannot be read any more: " + message.error().what()};
    unreadable_.store(true);
    if (mode_ == ConnectionMode::read_only) close();
  }
  return message;
}

Result<bool> ConnectionEnd::poll(Deadline deadline) {
  const UsedDescriptor::Use use{socket_};
  if (!use) return closed_here();
  if (mode_ == ConnectionMode::write_only)
    return Error{Errc::invalid_state, "connection is write-only"};
  if (!intact()) return Error{Errc::invalid_state, "connection cannot be read any more"};
  auto ready = wait_for_events(socket_.get(), POLLIN, deadline);
  if (ready && closed()) return closed_here();
  return ready;
}

}  // namespace passel::inline v0::detail
