// Layer transport: what both sides say before the first message, as two machines.
#pragma once

#include <passel/authkey.hpp>
#include <passel/result.hpp>

#include "greeting.hpp"
#include "key_proof.hpp"
#include "tls_identity.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// Where the bytes go: through the kernel of one host, which says who is at the other end, or
/// through a network, where everything is encrypted.
enum class Carrier { host, network };

/// The keys of one side, made ready once for all its connections, or its certificates. Immutable.
class HandshakeKeys {
 public:
  /// No key at all: everybody is let in. The first is the one that a client has; a listener accepts
  /// each of them. Errors: invalid_argument (more than `max_keys`), system.
  [[nodiscard]] static Result<std::shared_ptr<const HandshakeKeys>> make(
      Carrier carrier, std::span<const AuthKey> keys);
  HandshakeKeys(Carrier carrier, std::vector<Secret> secrets) noexcept
      : carrier_{carrier}, secrets_{std::move(secrets)} {}
  /// Of a network, where both sides show certificates.
  explicit HandshakeKeys(std::shared_ptr<const TlsIdentity> identity) noexcept
      : carrier_{Carrier::network}, identity_{std::move(identity)} {}
  HandshakeKeys(const HandshakeKeys&) = delete;
  HandshakeKeys& operator=(const HandshakeKeys&) = delete;
  ~HandshakeKeys();

  static constexpr std::size_t max_keys = 8;
  [[nodiscard]] Carrier carrier() const noexcept { return carrier_; }
  [[nodiscard]] bool wanted() const noexcept { return !secrets_.empty() || identity_; }
  /// What a greeting says of them.
  [[nodiscard]] std::uint8_t kind() const noexcept {
    return identity_ ? shows_certificate : static_cast<std::uint8_t>(!secrets_.empty());
  }
  /// Null: none.
  [[nodiscard]] const TlsIdentity* identity() const noexcept { return identity_.get(); }
  [[nodiscard]] std::span<const Secret> secrets() const noexcept { return secrets_; }

 private:
  const Carrier carrier_;
  std::vector<Secret> secrets_;
  std::shared_ptr<const TlsIdentity> identity_;
};

/// What follows from a message of the other side.
struct HandshakeStep {
  enum class Next {
    listen,   ///< the other side has to say more
    encrypt,  ///< all that follows is TLS with the session keys, which proves the rest
    welcome,  ///< both sides know the key, or none is wanted
    refuse,   ///< the other side is told that it is refused, and then dropped
    drop,     ///< it is no passel, or speaks out of turn
  };
  Next next = Next::drop;
  std::vector<std::byte> say{};  ///< to be sent before anything else, if not empty
};

/// The listener's side of one connection. No clock, no socket, no randomness of its own.
class ListenerHandshake {
 public:
  /// `place` is the name under which the kernel knows the listener, the same on both sides, so that
  /// a proof for one listener is none for another; empty on a network.
  ListenerHandshake(std::shared_ptr<const HandshakeKeys> keys, std::string place,
                    const Nonce& nonce);
  [[nodiscard]] HandshakeStep step(std::span<const std::byte> message);
  /// After `encrypt`: one for each key, of which the client has one. Errors: system.
  [[nodiscard]] Result<std::vector<Secret>> session_keys() const;
  /// After `welcome`: which of the keys the client has.
  [[nodiscard]] std::size_t key() const noexcept { return key_; }
  [[nodiscard]] const Nonce& client_nonce() const noexcept { return client_; }

 private:
  HandshakeStep greeted(std::span<const std::byte> message);
  HandshakeStep check_proof(std::span<const std::byte> proof);

  std::shared_ptr<const HandshakeKeys> keys_;
  std::string place_;
  Nonce mine_;
  Nonce client_{};
  std::size_t key_ = 0;
  enum class Stage { greeting, proof, over } stage_ = Stage::greeting;
};

/// The client's side of one connection. `refuse` means: the other end is not who it should be.
class ClientHandshake {
 public:
  ClientHandshake(std::shared_ptr<const HandshakeKeys> keys, std::string place, const Nonce& nonce);
  /// The first message. Without a key there is nothing more to be said.
  [[nodiscard]] std::vector<std::byte> greeting() const;
  [[nodiscard]] HandshakeStep step(std::span<const std::byte> message);
  /// After `encrypt`: one. Errors: system.
  [[nodiscard]] Result<std::vector<Secret>> session_keys() const;
  [[nodiscard]] const Nonce& listener_nonce() const noexcept { return listener_; }

 private:
  HandshakeStep answered(std::span<const std::byte> message);

  std::shared_ptr<const HandshakeKeys> keys_;
  std::string place_;
  Nonce mine_;
  Nonce listener_{};
  enum class Stage { answer, proof, over } stage_ = Stage::answer;
};

}  // namespace passel::inline v0::detail
