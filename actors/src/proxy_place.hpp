// Layer actors: how a proxy is written on its way from one process to another.
#pragma once

#include <passel/listener.hpp>
#include <passel/wire_value.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace passel::inline v0::detail {

inline constexpr const char* proxy_kind = "Proxy";

/// Where an object is.
struct ProxyPlace {
  std::string type;  ///< as it was registered
  Address address;
  std::uint64_t epoch = 0;  ///< which life of the server
  std::uint64_t object = 0;
};

/// The place, and the ticket of this journey.
struct ProxyTicket {
  ProxyPlace place;
  std::uint64_t ticket = 0;
};

[[nodiscard]] WireValue write_proxy(const ProxyPlace& place, std::uint64_t ticket);
/// Nothing when the value is no proxy, or not one that we understand.
[[nodiscard]] std::optional<ProxyTicket> read_proxy(const WireValue& value);
/// A number that nobody guesses and nobody has used; never 0.
[[nodiscard]] std::uint64_t fresh_number();

}  // namespace passel::inline v0::detail
