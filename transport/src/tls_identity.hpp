// Layer transport: who one is in TLS: certificates, and whose are believed.
#pragma once

#include <passel/certificates.hpp>
#include <passel/result.hpp>

#include "key_proof.hpp"

#include <memory>
#include <string>

struct ssl_st;
struct ssl_ctx_st;

namespace passel::inline v0::detail {

/// Certificates that have been read, for any number of connections. Immutable.
class TlsIdentity {
 public:
  /// Errors: invalid_argument, which names the file that is missing, cannot be read, holds no PEM
  /// of its kind, or does not belong to the other one; of the private key those of
  /// read_private_file; system.
  [[nodiscard]] static Result<std::shared_ptr<const TlsIdentity>> load(
      const Certificates& certificates);
  TlsIdentity(ssl_ctx_st* client, ssl_ctx_st* listener, std::string peer_name) noexcept;
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;
  ~TlsIdentity();

  /// One connection's, which the caller frees. `host` is what a client connects to. Null when there
  /// is no memory.
  [[nodiscard]] ssl_st* new_session(Side side, const std::string& host) const;
  /// When its handshake is over: whether the other side has shown what it had to.
  [[nodiscard]] static bool is_proved(const ssl_st* session);

 private:
  ssl_ctx_st* client_;
  ssl_ctx_st* listener_;
  std::string peer_name_;
};

/// Settings that all TLS of this library has: version 1.3 with one cipher, no tickets, no caches.
/// Null when the library cannot do it.
[[nodiscard]] ssl_ctx_st* new_tls_context(Side side);

}  // namespace passel::inline v0::detail
