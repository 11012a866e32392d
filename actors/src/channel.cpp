// Layer actors: what channels say when they cannot.
#include <passel/detail/channel_core.hpp>

#include <string>

namespace passel::inline v0::detail {

Error channel_closed() { return {Errc::closed, "the channel is closed"}; }

Error channel_full(std::size_t capacity) {
  if (capacity == 0) return {Errc::full, "no receiver waits at the channel of capacity 0"};
  const std::string held = std::to_string(capacity);
  return {Errc::full, "the channel holds " + held + " of " + held + " items"};
}

Error channel_empty() { return {Errc::empty, "the channel has no item"}; }

Error channel_send_timeout() { return {Errc::timeout, "the channel had no room in that time"}; }

Error channel_recv_timeout() { return {Errc::timeout, "the channel had no item in that time"}; }

Error channel_handle_gone() {
  return {Errc::invalid_state, "this end of the channel was moved from"};
}

}  // namespace passel::inline v0::detail
