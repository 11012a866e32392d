// Layer transport: authentication and encryption under a stream of bytes, without a socket.
#pragma once

#include <passel/result.hpp>

#include "handshake.hpp"
#include "tls_channel.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// For those who have a stream socket and an event loop of their own: what came is fed in, plain
/// bytes are read out; plain bytes are written in, what is to be sent is taken out. Nothing ever
/// waits. The same words as those of Listener and Client.
///
///     stream.feed(received);            // an error: send what `take` gives, and close
///     stream.take(to_be_sent);          // after feed and after write
///     if (stream.established()) while (auto n = stream.read(plain); n && *n != 0) ...
///
/// Over a network every byte is TLS's; on one host the bytes after the handshake go through as they
/// are. One thread feeds and reads, and from `established` on one may write and take meanwhile.
class SecureStream {
 public:
  /// `place` and `nonce`: see ListenerHandshake; of a client over a network `place` is the host
  /// that it connects to. Errors: none at present but those of the system.
  [[nodiscard]] static Result<std::unique_ptr<SecureStream>> make(
      Side side, std::shared_ptr<const HandshakeKeys> keys, std::string place = {},
      const Nonce& nonce = fresh_nonce());

  /// What a listener says to a client that it has no room for: `feed` of that one fails with full.
  /// Anybody on the way could say it, as he could cut the line.
  [[nodiscard]] static std::vector<std::byte> no_room();

  /// Any number of bytes. Errors: full, auth_failed, closed (the other end said goodbye: what came
  /// before it can still be read), malformed (changed on the way).
  [[nodiscard]] Result<void> feed(std::span<const std::byte> bytes);
  /// Both sides know the key, or none was wanted: from now on there are plain bytes.
  [[nodiscard]] bool established() const noexcept { return established_; }
  /// Which of a listener's keys it was; when established.
  [[nodiscard]] std::size_t key() const noexcept;
  /// True when bytes are encrypted: no descriptors can travel with them.
  [[nodiscard]] bool encrypts() const noexcept { return tls_ != nullptr; }
  /// How many plain bytes were put there; 0 when there are none. Errors: closed, malformed.
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> plain);
  /// Errors: invalid_state before `established`, system.
  [[nodiscard]] Result<void> write(std::span<const std::byte> plain);
  /// Says goodbye: without it the other end takes the end for a cut line.
  void finish() noexcept;
  /// Appends what is to be sent.
  void take(std::vector<std::byte>& out);

 private:
  SecureStream(Side side, std::shared_ptr<const HandshakeKeys> keys, std::string place,
               const Nonce& nonce);
  Result<std::size_t> feed_greeting(std::span<const std::byte> bytes);
  Result<void> follow(const HandshakeStep& step);
  Result<void> go_on_with_tls();

  Side side_;
  std::shared_ptr<const HandshakeKeys> keys_;
  std::string place_;
  bool plain_ = false;
  bool established_ = false;
  std::optional<ListenerHandshake> listener_;
  std::optional<ClientHandshake> client_;
  std::unique_ptr<TlsChannel> tls_;
  std::vector<std::byte> heard_;    // of the message of the handshake that is coming in
  std::vector<std::byte> arrived_;  // plain bytes, where nothing is encrypted
  std::vector<std::byte> leaving_;
};

}  // namespace passel::inline v0::detail
