// Layer transport: authentication and encryption under a stream of bytes, without a socket.
#include "secure_stream.hpp"

#include "connection_end.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace passel::inline v0::detail {
namespace {

void append_packet(std::vector<std::byte>& out, PacketKind kind, std::span<const std::byte> body) {
  const PacketHeader header{.total = body.size(), .kind = kind};
  const auto* raw = reinterpret_cast<const std::byte*>(&header);
  out.insert(out.end(), raw, raw + sizeof header);
  out.insert(out.end(), body.begin(), body.end());
}

}  // namespace

SecureStream::SecureStream(Side side, std::shared_ptr<const HandshakeKeys> keys, std::string place,
                           const Nonce& nonce)
    : side_{side}, keys_{keys}, place_{place} {
  if (side == Side::listener) {
    listener_.emplace(std::move(keys), std::move(place), nonce);
    return;
  }
  const bool alone = !keys->wanted();
  const bool on_host = keys->carrier() == Carrier::host;
  client_.emplace(std::move(keys), on_host ? std::move(place) : std::string{}, nonce);
  append_packet(leaving_, PacketKind::greeting, client_->greeting());
  plain_ = established_ = alone;
}

Result<std::unique_ptr<SecureStream>> SecureStream::make(Side side,
                                                         std::shared_ptr<const HandshakeKeys> keys,
                                                         std::string place, const Nonce& nonce) {
  return std::unique_ptr<SecureStream>{
      new SecureStream{side, std::move(keys), std::move(place), nonce}};
}

std::vector<std::byte> SecureStream::no_room() {
  std::vector<std::byte> packet;
  append_packet(packet, PacketKind::no_room, {});
  return packet;
}

Result<void> SecureStream::feed(std::span<const std::byte> bytes) {
  while (!bytes.empty() && !plain_ && !tls_) {
    PASSEL_TRY(const std::size_t used, feed_greeting(bytes));
    bytes = bytes.subspan(used);
  }
  if (plain_) arrived_.insert(arrived_.end(), bytes.begin(), bytes.end());
  if (!tls_) return {};
  PASSEL_CHECK(tls_->feed(bytes));
  if (established_) return {};
  return go_on_with_tls();
}

// Takes no more than belongs to the message, and nothing that would make it longer than any is.
Result<std::size_t> SecureStream::feed_greeting(std::span<const std::byte> bytes) {
  PacketHeader header;
  const bool in_header = heard_.size() < sizeof header;
  std::size_t wanted = sizeof header;
  if (!in_header) {
    std::memcpy(&header, heard_.data(), sizeof header);
    wanted += header.total;
  }
  const std::size_t used = std::min(bytes.size(), wanted - heard_.size());
  heard_.insert(heard_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(used));
  if (heard_.size() < wanted) return used;
  if (in_header) {
    std::memcpy(&header, heard_.data(), sizeof header);
    if (client_ && header.total == 0 && header.kind == PacketKind::no_room)
      return Error{Errc::full, "the server has no room for one more client"};
    const PacketHeader expected{.total = header.total, .kind = PacketKind::greeting};
    // What is no greeting is a refusal, or nobody we know: the same to us.
    if (header.total == 0 || header.total > max_greeting_size ||
        std::memcmp(&header, &expected, sizeof header) != 0)
      return authentication_failed();
    return used;
  }
  const auto message = std::span{std::as_const(heard_)}.subspan(sizeof header);
  const HandshakeStep step = listener_ ? listener_->step(message) : client_->step(message);
  heard_.clear();
  PASSEL_CHECK(follow(step));
  return used;
}

Result<void> SecureStream::follow(const HandshakeStep& step) {
  using Next = HandshakeStep::Next;
  if (!step.say.empty()) append_packet(leaving_, PacketKind::greeting, step.say);
  switch (step.next) {
    case Next::listen: return {};
    case Next::welcome: plain_ = established_ = true; return {};
    case Next::encrypt: {
      if (const TlsIdentity* const identity = keys_->identity()) {
        PASSEL_TRY(tls_, TlsChannel::make(side_, *identity, place_));
        return go_on_with_tls();
      }
      PASSEL_TRY(const auto keys, listener_ ? listener_->session_keys() : client_->session_keys());
      PASSEL_TRY(tls_, TlsChannel::make(side_, keys));
      return go_on_with_tls();
    }
    case Next::refuse:
      if (listener_) append_packet(leaving_, PacketKind::refusal, {});
      break;
    case Next::drop: break;
  }
  return authentication_failed();
}

Result<void> SecureStream::go_on_with_tls() {
  PASSEL_TRY(established_, tls_->shake_hands());
  return {};
}

std::size_t SecureStream::key() const noexcept {
  if (tls_) return tls_->key();
  return listener_ ? listener_->key() : 0;
}

Result<std::size_t> SecureStream::read(std::span<std::byte> plain) {
  if (!established_) return std::size_t{0};
  if (tls_) return tls_->read(plain);
  const std::size_t count = std::min(plain.size(), arrived_.size());
  if (count != 0) std::memcpy(plain.data(), arrived_.data(), count);
  arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(count));
  return count;
}

Result<void> SecureStream::write(std::span<const std::byte> plain) {
  if (!established_) return Error{Errc::invalid_state, "written before the handshake is over"};
  if (tls_) return tls_->write(plain);
  leaving_.insert(leaving_.end(), plain.begin(), plain.end());
  return {};
}

void SecureStream::finish() noexcept {
  if (tls_) tls_->finish();
}

void SecureStream::take(std::vector<std::byte>& out) {
  out.insert(out.end(), leaving_.begin(), leaving_.end());
  leaving_.clear();
  if (tls_) tls_->take(out);
}

}  // namespace passel::inline v0::detail
