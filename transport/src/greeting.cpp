// Layer transport: what Client and Listener say to each other before the first message.
#include "greeting.hpp"

#include <cstring>

namespace passel::inline v0::detail {

Result<ClientGreeting> read_client_greeting(std::span<const std::byte> bytes) {
  ClientGreeting greeting;
  const ClientGreeting expected;
  const bool right_size = bytes.size() == sizeof greeting;
  if (right_size) std::memcpy(&greeting, bytes.data(), sizeof greeting);
  if (!right_size || greeting.magic != expected.magic || greeting.has_key > shows_certificate ||
      greeting.zeros != expected.zeros)
    return Error{Errc::malformed, "a client greeted in a way that is not known here"};
  return greeting;
}

Result<ListenerGreeting> read_listener_greeting(std::span<const std::byte> bytes) {
  ListenerGreeting greeting;
  const ListenerGreeting expected;
  const bool right_size = bytes.size() == sizeof greeting;
  if (right_size) std::memcpy(&greeting, bytes.data(), sizeof greeting);
  if (!right_size || greeting.magic != expected.magic)
    return Error{Errc::malformed, "a listener greeted in a way that is not known here"};
  return greeting;
}

}  // namespace passel::inline v0::detail
