// Layer transport: what is derived from an authkey, and the proof of knowing it.
#include "key_proof.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstring>
#include <string>
#include <vector>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t short_key = 16;

Result<Secret> hmac(std::span<const std::byte> key, std::span<const std::byte> text) {
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

}  // namespace

// HKDF of RFC 5869, for one block.
Result<Secret> derive_key(std::span<const std::byte> key, std::string_view purpose) {
  PASSEL_TRY(const Secret extracted, hmac(bytes_of_text("passel/v1"), key));
  std::string info{purpose};
  info.push_back('\1');
  return hmac(extracted, bytes_of_text(info));
}

Result<Secret> derive_network_key(std::span<const std::byte> key) {
  constexpr std::string_view purpose = "passel/v1/psk";
  if (key.size() >= short_key) return derive_key(key, purpose);
  constexpr std::string_view salt = "passel/v1/short";
  constexpr std::uint64_t cost = 1U << 15;
  Secret stretched;
  if (::EVP_PBE_scrypt(reinterpret_cast<const char*>(key.data()), key.size(),
                       reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), cost, 8, 1,
                       std::uint64_t{64} << 20, reinterpret_cast<unsigned char*>(stretched.data()),
                       stretched.size()) != 1)
    return Error{Errc::system, "scrypt is not available"};
  return derive_key(stretched, purpose);
}

Result<Proof> prove(const Secret& secret, Side side, const Nonce& client, const Nonce& listener) {
  const std::string_view label =
      side == Side::client ? "passel v1 client   " : "passel v1 listener ";
  std::vector<std::byte> text;
  const auto raw = bytes_of_text(label);
  text.insert(text.end(), raw.begin(), raw.end());
  text.insert(text.end(), client.begin(), client.end());
  text.insert(text.end(), listener.begin(), listener.end());
  return hmac(secret, text);
}

bool same_proof(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Nonce fresh_nonce() {
  Nonce nonce;
  const AuthKey random = AuthKey::random();
  std::memcpy(nonce.data(), random.bytes().data(), nonce.size());
  return nonce;
}

Error authentication_failed() { return {Errc::auth_failed, "authentication failed"}; }

}  // namespace passel::inline v0::detail
