// Layer transport: what is derived from an authkey, and the proof of knowing it.
#pragma once

#include <passel/authkey.hpp>
#include <passel/result.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace passel::inline v0::detail {

using Secret = std::array<std::byte, 32>;
using Nonce = std::array<std::byte, 32>;
using Proof = std::array<std::byte, 32>;

inline constexpr std::string_view unix_key_purpose = "passel/v1/unix";

/// A key for one purpose; from another purpose's key nothing can be told about it. Errors: system
/// (the cryptographic library refused).
[[nodiscard]] Result<Secret> derive_key(std::span<const std::byte> key, std::string_view purpose);
/// The same for what goes over a network, where a key under 16 bytes is stretched (scrypt) first,
/// once in a process, and a warning goes to the log.
[[nodiscard]] Result<Secret> derive_network_key(const AuthKey& key);

/// Whose proof it is: a proof of one side is never one of the other.
enum class Side { client, listener };

/// HMAC-SHA256 over the side's label, both nonces and the name of the place where they met.
[[nodiscard]] Result<Proof> prove(const Secret& secret, Side side, const Nonce& client,
                                  const Nonce& listener, std::string_view place);
/// The pre-shared key of one TLS session: it depends on all that was said in the clear.
[[nodiscard]] Result<Secret> session_key(const Secret& secret, const Nonce& client,
                                         const Nonce& listener);
/// By which the listener finds out which of its keys the client has. Whoever does not know the
/// session key can tell nothing from it.
[[nodiscard]] Result<Secret> session_key_name(const Secret& session_key);
/// Takes the same time wherever they differ.
[[nodiscard]] bool same_proof(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;
[[nodiscard]] Nonce fresh_nonce();
/// To be called before anything of the cryptographic library is: it is not to clean up at the exit
/// of the process, when threads of the program may still be using it.
void use_crypto() noexcept;
/// The one error of everything that went wrong here: it tells nobody what.
[[nodiscard]] Error authentication_failed();

}  // namespace passel::inline v0::detail
