// Layer transport: one end of a Connection: its descriptor, and messages cut into packets.
#pragma once

#include <passel/codec.hpp>
#include <passel/connection.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/result.hpp>

#include "tls_channel.hpp"
#include "used_descriptor.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// What a packet belongs to. New kinds of messages get new numbers.
enum class PacketKind : std::uint8_t {
  message = 1,
  greeting = 2,   ///< between Listener and Client, before the first message
  no_room = 254,  ///< empty: the server lets in nobody more now
  refusal = 255,  ///< empty: the listener will have nothing to do with this client
};

/// What stands before each packet, little-endian. A message is cut into packets of `packet_size`
/// bytes, the last of which is shorter. One with index 0 begins a message, also when the one before
/// was not complete: its sender has given it up.
struct PacketHeader {
  std::uint64_t total = 0;  ///< bytes of the whole message
  std::uint32_t index = 0;
  std::uint16_t descriptors = 0;  ///< of the message; they come with packet 0
  PacketKind kind = PacketKind::message;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(PacketHeader) == 16);
inline constexpr std::size_t packet_size = std::size_t{64} << 10;
inline constexpr std::size_t max_message_descriptors = 253;  // SCM_MAX_FD

/// Puts messages together again. Reads exactly what belongs to one message, never the beginning of
/// the next, so that the descriptor is readable exactly while there is something to receive.
class MessageInbox {
 public:
  explicit MessageInbox(bool packets) noexcept : packets_{packets} {}

  /// One receiving system call; the message when it completes one. With `block` it waits for bytes.
  /// An empty optional: more is needed, or nothing was there (`starved` says so). Errors: closed,
  /// peer_lost, too_large (over `limit`), malformed, no_space; all but closed, peer_lost and
  /// no_space leave the stream unreadable.
  [[nodiscard]] Result<std::optional<Message>> pull(int fd, bool block, std::size_t limit);
  [[nodiscard]] bool starved() const noexcept { return starved_; }
  void expect(PacketKind kind) noexcept { expected_ = kind; }
  /// From now on what comes is encrypted.
  void decrypt_by(TlsChannel* tls) noexcept { tls_ = tls; }
  /// One receiving system call for the channel, which may want no more than a part of a record.
  /// Errors: peer_lost when the line was cut, malformed, system.
  [[nodiscard]] Result<void> feed_channel(int fd, bool block);

 private:
  Result<std::optional<Message>> end_of_stream();
  Result<std::ptrdiff_t> receive(int fd, std::span<std::byte> head, std::span<std::byte> body,
                                 bool block);
  Result<std::ptrdiff_t> receive_encrypted(int fd, std::span<std::byte> bytes, bool block);
  Result<void> check_header(std::size_t limit);
  Result<std::optional<Message>> packet_arrived();
  [[nodiscard]] std::size_t body_size() const noexcept;
  void make_room(std::size_t size);
  void drop_partial();

  bool packets_;  // the socket keeps the boundaries of packets
  PacketKind expected_ = PacketKind::message;
  TlsChannel* tls_ = nullptr;
  bool starved_ = false;
  bool truncated_ = false;
  PacketHeader header_;
  std::size_t header_have_ = 0;  // streams only: of the header being read
  std::size_t body_have_ = 0;    // streams only: of the packet being read
  bool in_message_ = false;
  std::uint32_t next_index_ = 0;
  Message message_;
  std::size_t filled_ = 0;
  std::vector<std::shared_ptr<Descriptor>> arrived_;
};

/// Cuts messages into packets.
class MessageOutbox {
 public:
  /// Errors: closed, timeout, no_space, system.
  [[nodiscard]] Result<void> push(int fd, PacketKind kind, std::span<const std::byte> bytes,
                                  DescriptorSpan descriptors, Deadline deadline);
  void encrypt_by(TlsChannel* tls) noexcept { tls_ = tls; }
  /// Sends what the channel has to say by itself. Errors: as push.
  [[nodiscard]] Result<void> flush_channel(int fd, Deadline deadline);

 private:
  Result<void> send_packet(int fd, const PacketHeader& header, std::span<const std::byte> body,
                           DescriptorSpan descriptors, Deadline deadline);
  Result<void> send_encrypted(int fd, const PacketHeader& header, std::span<const std::byte> body,
                              Deadline deadline);
  Result<void> finish_packet(int fd, Deadline deadline);

  TlsChannel* tls_ = nullptr;
  std::vector<std::byte> unsent_;  // streams only: the rest of a packet that was begun
};

/// The object behind a Connection. Any number of threads may use it.
class ConnectionEnd {
 public:
  /// Errors: invalid_argument when it is no stream or seqpacket socket.
  [[nodiscard]] static Result<std::shared_ptr<ConnectionEnd>> make(Descriptor&& socket,
                                                                   ConnectionMode mode);
  ConnectionEnd(Descriptor socket, ConnectionMode mode, bool packets, bool on_host) noexcept
      : on_host_{on_host}, socket_{std::move(socket)}, mode_{mode}, inbox_{packets} {}

  [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, DescriptorSpan descriptors,
                                  Deadline deadline);
  [[nodiscard]] Result<Message> receive(Deadline deadline, std::size_t maxlength);
  [[nodiscard]] Result<bool> poll(Deadline deadline);
  /// Before it is a Connection: everything sent and received is of this kind.
  void set_kind(PacketKind kind) noexcept {
    kind_ = kind;
    inbox_.expect(kind);
  }
  /// Before it is a Connection: encrypts from now on; then `shake_hands` until it is true.
  [[nodiscard]] Result<void> start_tls(Side side, std::span<const Secret> keys);
  /// Errors: auth_failed, timeout (unless the deadline is one of trying: then false), peer_lost.
  [[nodiscard]] Result<bool> shake_hands(Deadline deadline);
  [[nodiscard]] bool encrypted() const noexcept { return tls_ != nullptr; }
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return socket_.closed(); }
  [[nodiscard]] UsedDescriptor& socket() noexcept { return socket_; }
  [[nodiscard]] ConnectionMode mode() const noexcept { return mode_; }
  /// False from the moment the stream cannot be understood any more.
  [[nodiscard]] bool intact() const noexcept { return !unreadable_.load(); }
  /// Another process may have a copy from now on.
  void mark_shared() noexcept { shared_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] static Error closed_here();

 private:
  Result<Message> receive_in_turn(Deadline deadline, std::size_t maxlength);

  void say_goodbye() noexcept;

  const bool on_host_;  // descriptors can travel
  std::atomic<bool> shared_{false};
  UsedDescriptor socket_;
  ConnectionMode mode_;
  PacketKind kind_ = PacketKind::message;
  ConnectionTurn reading_;
  ConnectionTurn writing_;
  std::unique_ptr<TlsChannel> tls_;
  MessageInbox inbox_;
  MessageOutbox outbox_;
  std::atomic<bool> unreadable_{false};
  std::optional<Error> why_unreadable_;  // under reading_
};

}  // namespace passel::inline v0::detail
