// Layer transport: TLS 1.3 with a key that both ends know, as a transformer of bytes.
#pragma once

#include <passel/result.hpp>

#include "key_proof.hpp"
#include "tls_identity.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// One side of a TLS 1.3 session with an external pre-shared key (psk_dhe_ke): both ends prove that
/// they know it, and nobody without it can read or change a byte. Or with certificates, which both
/// ends show. It has no socket: what is to be
/// sent is taken out of it, what came is put into it. Until the other end has proved that it knows
/// the key, no more than `max_before_proof` bytes of it are taken. Any number of threads; what came
/// is put in by one of them.
class TlsChannel {
 public:
  /// A client has one key; a listener accepts each of its keys. Errors: system.
  [[nodiscard]] static Result<std::unique_ptr<TlsChannel>> make(Side side,
                                                                std::span<const Secret> keys);
  /// With certificates; `host` is what a client connects to. Errors: system.
  [[nodiscard]] static Result<std::unique_ptr<TlsChannel>> make(Side side,
                                                                const TlsIdentity& identity,
                                                                const std::string& host);
  ~TlsChannel();
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;

  /// Goes on with the handshake as far as it can: true when it is over. Errors: auth_failed.
  [[nodiscard]] Result<bool> shake_hands();
  /// When that is over: which of the keys both ends have.
  [[nodiscard]] std::size_t key() const noexcept;
  /// Encrypts. Errors: system.
  [[nodiscard]] Result<void> write(std::span<const std::byte> plain);
  /// Decrypts what is there: how many bytes, 0 when more records are needed. Errors: closed when
  /// the other end said that this is all, malformed when anything was changed on the way.
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> plain);
  /// Says that this is all.
  void finish() noexcept;
  /// Encrypts with a new key from now on; done by itself after `records_per_key` records, long
  /// before AES-GCM has seen more than it can bear (RFC 8446, 5.5).
  void renew_key() noexcept;
  static constexpr std::uint64_t records_per_key = std::uint64_t{1} << 22;

  /// How many bytes the record that is coming in still needs: never more than there are in it, so
  /// that nothing of the next one is taken from the socket. Errors: malformed.
  [[nodiscard]] Result<std::size_t> wanted() const;
  /// Puts in what came, at most `wanted()` bytes.
  void put(std::span<const std::byte> cipher);
  /// Puts in any number of bytes, and goes on with the handshake. Errors: auth_failed, malformed.
  [[nodiscard]] Result<void> feed(std::span<const std::byte> cipher);
  static constexpr std::size_t max_before_proof = 4096;
  /// The same of certificates, which may be some in a chain.
  static constexpr std::size_t max_before_certificate = 32768;
  /// True in the middle of a record.
  [[nodiscard]] bool in_record() const noexcept { return !record_.empty(); }
  /// Appends what is to be sent.
  void take(std::vector<std::byte>& out);

 private:
  struct Session;
  static Result<std::unique_ptr<TlsChannel>> begin(Side side, std::unique_ptr<Session> session);
  void change_key() noexcept;
  explicit TlsChannel(std::unique_ptr<Session> session);

  std::mutex mutex_;
  std::unique_ptr<Session> session_;
  std::vector<std::byte> record_;  // of the one reading thread
  std::size_t before_proof_ = 0;   // bytes, of the one reading thread
  std::atomic<bool> proved_{false};
};

}  // namespace passel::inline v0::detail
