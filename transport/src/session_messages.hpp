// Layer transport: what the two ends of a session say to each other, and its form on the wire.
#pragma once

#include <passel/detail/descriptor.hpp>
#include <passel/detail/guardian.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// Goes up when an old reader would misunderstand a new writer (wire.capnp says when).
inline constexpr std::uint32_t session_protocol = 1;

using BytesView = std::span<const std::byte>;

/// The first message of each side.
struct Hello {
  std::uint32_t protocol = session_protocol;
  std::vector<std::byte> build;  ///< build id of the program; empty: says nothing
  std::string name;              ///< of the process, for people
  std::string role;              ///< "parent", "worker", "client", ...
  std::int32_t pid = 0;
  std::uint64_t epoch = 0;  ///< a new one for each connection of the same peer
  /// After so long this side takes a silent peer for lost; zero: it believes the kernel alone.
  std::chrono::milliseconds silence{0};
};

/// A method by exposed name, or a task by its place in the program.
using Method = std::variant<std::string, TaskId>;

// The views of a message are valid while it is being handled, no longer.

struct CallMessage {
  std::uint64_t id = 0;
  std::uint64_t target = 0;  ///< 0: the peer itself
  Method method;
  BytesView args;
  std::optional<std::chrono::microseconds> left;  ///< of the caller's patience when it was sent
  std::uint64_t trace = 0;
  std::uint16_t cpu = 0;  ///< that the sender runs on, as current_cpu says it; 0: not told
};
struct ResultMessage {
  std::uint64_t id = 0;
  Result<BytesView> result{BytesView{}};
  std::uint16_t cpu = 0;
};
/// The caller of `id` no longer waits for it.
struct CancelMessage {
  std::uint64_t id = 0;
  std::uint64_t target = 0;  ///< of that call; 0: not said
};
/// A grant goes back.
struct ReleaseMessage {
  std::uint64_t target = 0;
  std::uint64_t token = 0;
};
/// The receiver holds `target` until it releases it or the session ends.
struct GrantMessage {
  std::uint64_t target = 0;
  std::uint64_t token = 0;  ///< fencing token, grows with every grant of the target
  bool abandoned = false;   ///< the previous holder died while holding
};
struct NotifyMessage {
  std::uint64_t target = 0;
  std::string topic;
  BytesView value;
};
/// So many more items may be sent to `target`.
struct CreditMessage {
  std::uint64_t target = 0;
  std::uint64_t amount = 0;
};
struct PingMessage {
  std::uint64_t number = 0;
};
struct PongMessage {
  std::uint64_t number = 0;
};
struct GoodbyeMessage {
  std::string reason;
};

using SessionMessage =
    std::variant<Hello, CallMessage, ResultMessage, CancelMessage, ReleaseMessage, GrantMessage,
                 NotifyMessage, CreditMessage, PingMessage, PongMessage, GoodbyeMessage>;
using SharedDescriptors = std::vector<std::shared_ptr<Descriptor>>;

/// Appends the message's Cap'n Proto form to `out`.
void write_session_message(const SessionMessage& message, std::vector<std::byte>& out);
/// Reads one complete message. The views of the result point into `bytes`, which must lie aligned
/// for 8-byte words. Errors: malformed, also for a message of a kind unknown to this version.
[[nodiscard]] Result<SessionMessage> read_session_message(BytesView bytes);

}  // namespace passel::inline v0::detail
