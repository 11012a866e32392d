// Layer transport: messages between the guardian and the processes it serves.
#pragma once

#include <passel/detail/descriptor.hpp>
#include <passel/detail/guardian.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

enum class GuardianOp : std::uint32_t {
  spawn = 1,
  adopt,
  goodbye,
  disown,  ///< by a parent that cannot keep the child it was given: end it, and tell nobody
  started,
  failed,
  exited,
};

/// Fixed part of a message. Both ends are copies of one build on one host, and sockets that keep
/// message boundaries carry it whole, so it travels as it lies in memory; the text and the
/// arguments follow, descriptors ride along.
struct GuardianHeader {
  GuardianOp op{};
  std::uint32_t flags = 0;
  std::uint64_t request = 0;
  ProcessId process{};         ///< who was started, adopted or has ended
  std::int32_t code = 0;       ///< exited: exit code; failed: errno
  std::int32_t signal = 0;     ///< exited: the signal
  std::uint64_t peak_rss = 0;  ///< exited: most memory it had in use, bytes
  TaskId task{};
  ChildImage image{};
  std::uint32_t text_size = 0;  ///< name, or what failed
  std::uint64_t args_size = 0;
  std::uint32_t descriptor_count = 0;
  std::uint32_t log_settings = 0;

  static constexpr std::uint32_t daemon = 1;
  static constexpr std::uint32_t ignore_interrupt = 2;
  static constexpr std::uint32_t args_in_memfd = 4;  ///< the first descriptor holds the arguments
};

struct GuardianMessage {
  GuardianHeader header;
  std::string text;
  std::vector<std::byte> args;
  std::vector<Descriptor> descriptors;
  bool incomplete = false;  ///< this process had no room for the descriptors: they are lost, and
                            ///< arguments with them that were in one
};

/// Arguments above this travel in a memfd: a message must fit a socket buffer at once.
inline constexpr std::size_t inline_args_limit = 64 * 1024;
/// The kernel takes 253 descriptors in a message; a few are ours.
inline constexpr std::size_t descriptors_limit = 250;

/// Sends one whole message. Does not wait when `MSG_DONTWAIT` is in `flags`: then EAGAIN comes back
/// as Errc::full. A system that is short of memory is Errc::no_space, which passes.
Result<void> send_message(int socket, GuardianHeader header, std::string_view text,
                          std::span<const std::byte> args, std::span<const int> descriptors,
                          int flags);
/// Takes one whole message without waiting. Errors: empty (nothing there), closed (the other end is
/// gone), malformed. A message whose descriptors found no room is no error but `incomplete`:
/// whoever sent it waits for an answer. `buffer` is the reader's, kept from one call to the next.
Result<GuardianMessage> receive_message(int socket, std::vector<std::byte>& buffer);

/// A sealed-size memfd that holds `bytes`.
Result<Descriptor> bytes_to_memfd(const char* name, std::span<const std::byte> bytes);
Result<std::vector<std::byte>> memfd_to_bytes(const Descriptor& memfd);

/// The environment variable that names the descriptor of a handover.
inline constexpr const char* handover_variable = "PASSEL_HANDOVER";
/// Writes down, for an executed copy of this program, what ChildStart says; inherited_role reads it
/// there.
Result<Descriptor> write_handover(const ChildStart& start);

/// Closes every descriptor above 2 that is not in `keep`.
void close_all_but(std::vector<int> keep) noexcept;

}  // namespace passel::inline v0::detail
