// Layer transport: what Client and Listener say to each other before the first message.
#include "greeting.hpp"

#include <cstring>

namespace passel::inline v0::detail {

std::vector<std::byte> to_bytes(const ClientGreeting& greeting) {
  std::vector<std::byte> out(sizeof greeting);
  std::memcpy(out.data(), &greeting, sizeof greeting);
  return out;
}

Result<ClientGreeting> read_client_greeting(std::span<const std::byte> bytes) {
  ClientGreeting greeting;
  const ClientGreeting expected;
  const bool right_size = bytes.size() == sizeof greeting;
  if (right_size) std::memcpy(&greeting, bytes.data(), sizeof greeting);
  if (!right_size || greeting.magic != expected.magic || greeting.has_key > 1 ||
      greeting.zeros != expected.zeros)
    return Error{Errc::malformed, "a client greeted in a way that is not known here"};
  return greeting;
}

}  // namespace passel::inline v0::detail
