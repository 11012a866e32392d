// Layer transport: what is derived from an authkey, and the proof of knowing it.
#include "key_proof.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <passel/log.hpp>

#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t short_key = 16;
constexpr std::size_t remembered_keys = 8;

struct StretchedKey {
  AuthKey key;
  Secret stretched;
};

// Never destroyed: threads may connect until the end.
struct StretchedKeys {
  std::mutex mutex;
  std::vector<StretchedKey> known;
};
StretchedKeys& stretched_keys() {
  static auto* const keys = new StretchedKeys;
  return *keys;
}

Result<Secret> hmac(std::span<const std::byte> key, std::span<const std::byte> text) {
  use_crypto();
  Secret out;
  unsigned size = out.size();
  // An empty key is a key, but not a null pointer.
  static constexpr unsigned char none = 0;
  const void* raw = key.empty() ? static_cast<const void*>(&none) : key.data();
  if (::HMAC(::EVP_sha256(), raw, static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(),
             reinterpret_cast<unsigned char*>(out.data()), &size) == nullptr ||
      size != out.size())
    return Error{Errc::system, "HMAC-SHA256 is not available"};
  return out;
}

std::span<const std::byte> bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span{text});
}

Result<Secret> hmac_of_meeting(const Secret& secret, std::string_view label, const Nonce& client,
                               const Nonce& listener, std::string_view place) {
  std::vector<std::byte> text;
  const auto add = [&text](std::span<const std::byte> part) {
    text.insert(text.end(), part.begin(), part.end());
  };
  add(bytes_of_text(label));
  add(client);
  add(listener);
  add(bytes_of_text(place));  // the only part whose length varies, and the last one
  return hmac(secret, text);
}

Result<Secret> stretch(std::span<const std::byte> key) {
  constexpr std::string_view salt = "passel/v1/short";
  constexpr std::uint64_t cost = 1U << 15;
  constexpr std::uint64_t memory_limit = std::uint64_t{64} << 20;
  use_crypto();
  Secret out;
  // An empty key is a key, but not a null pointer.
  const char* raw = key.empty() ? "" : reinterpret_cast<const char*>(key.data());
  if (::EVP_PBE_scrypt(raw, key.size(), reinterpret_cast<const unsigned char*>(salt.data()),
                       salt.size(), cost, 8, 1, memory_limit,
                       reinterpret_cast<unsigned char*>(out.data()), out.size()) != 1)
    return Error{Errc::system, "scrypt is not available"};
  return out;
}

Result<Secret> stretched_key(const AuthKey& key) {
  StretchedKeys& keys = stretched_keys();
  const std::lock_guard lock{keys.mutex};  // who comes meanwhile with the same key waits for it
  for (const StretchedKey& one : keys.known)
    if (one.key == key) return one.stretched;
  get_logger().warning("an authkey of " + std::to_string(key.bytes().size()) +
                       " bytes can be guessed by whoever listens in on the network: use one of "
                       "32, as AuthKey::generate() makes them");
  PASSEL_TRY(const Secret stretched, stretch(key.bytes()));
  if (keys.known.size() >= remembered_keys) {
    ::OPENSSL_cleanse(keys.known.front().stretched.data(), stretched.size());
    keys.known.erase(keys.known.begin());
  }
  keys.known.push_back({key, stretched});
  return stretched;
}

}  // namespace

// HKDF of RFC 5869, for one block.
Result<Secret> derive_key(std::span<const std::byte> key, std::string_view purpose) {
  PASSEL_TRY(const Secret extracted, hmac(bytes_of_text("passel/v1"), key));
  std::string info{purpose};
  info.push_back('\1');
  return hmac(extracted, bytes_of_text(info));
}

Result<Secret> derive_network_key(const AuthKey& key) {
  constexpr std::string_view purpose = "passel/v1/psk";
  if (key.bytes().size() >= short_key) return derive_key(key.bytes(), purpose);
  PASSEL_TRY(const Secret stretched, stretched_key(key));
  return derive_key(stretched, purpose);
}

Result<Proof> prove(const Secret& secret, Side side, const Nonce& client, const Nonce& listener,
                    std::string_view place) {
  return hmac_of_meeting(secret,
                         side == Side::client ? "passel v1 client   " : "passel v1 listener ",
                         client, listener, place);
}

Result<Secret> session_key(const Secret& secret, const Nonce& client, const Nonce& listener) {
  return hmac_of_meeting(secret, "passel v1 session  ", client, listener, "");
}

Result<Secret> session_key_name(const Secret& session_key) {
  return hmac(session_key, bytes_of_text("passel v1 name     "));
}

void use_crypto() noexcept {
  static const int begun = ::OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  static_cast<void>(begun);
}

bool same_proof(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Nonce fresh_nonce() {
  Nonce nonce;
  const AuthKey random = AuthKey::generate();
  std::memcpy(nonce.data(), random.bytes().data(), nonce.size());
  return nonce;
}

Error authentication_failed() { return {Errc::auth_failed, "authentication failed"}; }

}  // namespace passel::inline v0::detail
