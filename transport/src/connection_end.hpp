// Layer transport: one end of a Connection: its descriptor, and messages cut into packets.
#pragma once

#include <passel/codec.hpp>
#include <passel/connection.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/result.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// What stands before each packet, little-endian. A message is cut into packets of `packet_size`
/// bytes, the last of which is shorter. One with index 0 begins a message, also when the one before
/// was not complete: its sender has given it up.
struct PacketHeader {
  std::uint64_t total = 0;  ///< bytes of the whole message
  std::uint32_t index = 0;
  std::uint16_t descriptors = 0;  ///< of the message; they come with packet 0
  std::uint8_t version = 1;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(PacketHeader) == 16);
inline constexpr std::size_t packet_size = std::size_t{64} << 10;
inline constexpr std::size_t max_message_descriptors = 253;  // SCM_MAX_FD

/// Waits until `fd` has one of `events`; false when the deadline passed. Errors: system.
[[nodiscard]] Result<bool> wait_for_events(int fd, short events, Deadline deadline);

/// Mutual exclusion of threads with a deadline.
class ConnectionTurn {
 public:
  [[nodiscard]] bool take(Deadline deadline) noexcept;
  void give() noexcept;

 private:
  std::atomic<std::uint32_t> word_{0};  // 0 free, 1 taken, 2 taken and perhaps waited for
};

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

 private:
  Result<std::optional<Message>> end_of_stream();
  Result<std::ptrdiff_t> receive(int fd, std::span<std::byte> head, std::span<std::byte> body,
                                 bool block);
  Result<void> check_header(std::size_t limit);
  Result<std::optional<Message>> packet_arrived();
  [[nodiscard]] std::size_t body_size() const noexcept;
  void drop_partial();

  bool packets_;  // the socket keeps the boundaries of packets
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
  explicit MessageOutbox(bool packets) noexcept : packets_{packets} {}
  /// Errors: closed, timeout, no_space, system.
  [[nodiscard]] Result<void> push(int fd, std::span<const std::byte> bytes,
                                  DescriptorSpan descriptors, Deadline deadline);

 private:
  Result<void> send_packet(int fd, const PacketHeader& header, std::span<const std::byte> body,
                           DescriptorSpan descriptors, Deadline deadline);
  Result<void> finish_packet(int fd, Deadline deadline);

  bool packets_;
  std::vector<std::byte> unsent_;  // streams only: the rest of a packet that was begun
};

/// The object behind a Connection. Any number of threads may use it.
class ConnectionEnd {
 public:
  /// Errors: invalid_argument when it is no stream or seqpacket socket.
  [[nodiscard]] static Result<std::shared_ptr<ConnectionEnd>> make(Descriptor&& socket,
                                                                   ConnectionMode mode);
  ConnectionEnd(Descriptor socket, ConnectionMode mode, bool packets) noexcept
      : socket_{std::move(socket)}, mode_{mode}, inbox_{packets}, outbox_{packets} {}

  /// Keeps the descriptor open while it is in use.
  class Use {
   public:
    explicit Use(ConnectionEnd& end) noexcept : end_{&end}, open_{end.enter()} {}
    Use(Use&& other) noexcept : end_{std::exchange(other.end_, nullptr)}, open_{other.open_} {}
    Use& operator=(Use&&) = delete;
    ~Use() {
      if (end_ != nullptr) end_->leave();
    }
    [[nodiscard]] explicit operator bool() const noexcept { return open_; }

   private:
    ConnectionEnd* end_;
    bool open_;
  };

  [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, DescriptorSpan descriptors,
                                  Deadline deadline);
  [[nodiscard]] Result<Message> receive(Deadline deadline, std::size_t maxlength);
  [[nodiscard]] Result<bool> poll(Deadline deadline);
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;
  [[nodiscard]] ConnectionMode mode() const noexcept { return mode_; }
  /// False from the moment the stream cannot be understood any more.
  [[nodiscard]] bool intact() const noexcept { return !unreadable_.load(); }
  /// Valid during a Use.
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// Another process may have a copy from now on.
  void mark_shared() noexcept { shared_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] static Error closed_here();

 private:
  bool enter() noexcept;
  void leave() noexcept;
  Result<Message> receive_in_turn(Deadline deadline, std::size_t maxlength);

  static constexpr std::uint32_t closed_bit = 1U << 31;
  std::atomic<std::uint32_t> uses_{0};  // with closed_bit
  std::atomic<bool> released_{false};
  std::atomic<bool> shared_{false};
  Descriptor socket_;
  ConnectionMode mode_;
  ConnectionTurn reading_;
  ConnectionTurn writing_;
  MessageInbox inbox_;
  MessageOutbox outbox_;
  std::atomic<bool> unreadable_{false};
  std::optional<Error> why_unreadable_;  // under reading_
};

}  // namespace passel::inline v0::detail
