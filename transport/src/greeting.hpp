// Layer transport: what Client and Listener say to each other before the first message.
#pragma once

#include <passel/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

/// The first message of a client, which says what it expects. All of it is fixed, so that a
/// listener knows after these bytes whether it talks to a passel of its version.
struct ClientGreeting {
  std::array<char, 8> magic{'p', 'a', 's', 's', 'e', 'l', 'c', '1'};
  std::uint8_t has_key = 0;  ///< shows_certificate: instead of one
  std::array<std::uint8_t, 7> zeros{};
  std::array<std::byte, 32> nonce{};
};
static_assert(sizeof(ClientGreeting) == 48);
inline constexpr std::uint8_t shows_certificate = 2;

/// What a listener with a key says to a client that has one.
struct ListenerGreeting {
  std::array<char, 8> magic{'p', 'a', 's', 's', 'e', 'l', 'l', '1'};
  std::array<std::byte, 32> nonce{};
};
static_assert(sizeof(ListenerGreeting) == 40);

/// No message of a greeting is longer.
inline constexpr std::size_t max_greeting_size = 256;

template <class G>
[[nodiscard]] std::vector<std::byte> greeting_bytes(const G& greeting) {
  const auto* raw = reinterpret_cast<const std::byte*>(&greeting);
  return {raw, raw + sizeof greeting};
}
/// Errors: malformed.
[[nodiscard]] Result<ClientGreeting> read_client_greeting(std::span<const std::byte> bytes);
[[nodiscard]] Result<ListenerGreeting> read_listener_greeting(std::span<const std::byte> bytes);

}  // namespace passel::inline v0::detail
