// Layer transport: frames with descriptors over one stream socket, as they are or encrypted.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/result.hpp>

#include "frame.hpp"
#include "secure_stream.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// A frame as it came in.
struct ReceivedFrame {
  std::span<const std::byte> bytes;  ///< aligned for 8-byte words; valid during the callback only
  std::vector<std::shared_ptr<Descriptor>> descriptors;
};

/// Sends and receives frames over a stream socket, blocking or not. What is sent collects in an
/// outbox until `flush`, so that many frames cost one system call. Never waits, except in the two
/// functions named `_blocking`. Not for use by several threads at once.
///
/// With a SecureStream nothing is sent and no frame is taken before both sides have proved that
/// they know the key; what is sent meanwhile collects.
///
/// | the peer       | send        | flush                     | receive                          |
/// | -------------- | ----------- | ------------------------- | -------------------------------- |
/// | reads          | Ok          | true                      | its frames                       |
/// | reads slowly   | full, later | false: watch for writable | its frames                       |
/// | closed or died | Ok          | closed                    | what it sent before, then closed |
/// | sends nonsense | Ok          | true                      | too_large, malformed: close it   |
class FrameSocket {
 public:
  struct Limits {
    std::size_t frame = default_frame_limit;       ///< largest payload, both ways
    std::size_t outbox = 4 * default_frame_limit;  ///< bytes that may wait to be sent
  };

  FrameSocket() = default;
  explicit FrameSocket(Descriptor socket) : FrameSocket{std::move(socket), Limits{}} {}
  FrameSocket(Descriptor socket, Limits limits)
      : socket_{std::move(socket)}, limits_{limits}, reader_{limits.frame} {}

  /// Everything goes through the stream; call it before anything is sent. Over a network frames
  /// carry no descriptors.
  void protect(std::unique_ptr<SecureStream> stream, Carrier carrier) noexcept {
    stream_ = std::move(stream);
    carrier_ = carrier;
  }
  /// Both sides know the key, or none was asked for.
  [[nodiscard]] bool established() const noexcept { return !stream_ || stream_->established(); }

  /// Which of a listener's keys the peer has; when established.
  [[nodiscard]] std::size_t key() const noexcept { return stream_ ? stream_->key() : key_; }
  [[nodiscard]] Carrier carrier() const noexcept { return carrier_; }
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
  void close() noexcept { socket_.reset(); }

  /// Puts a frame into the outbox. The descriptors are kept open until they are sent. Errors:
  /// too_large (frame, number of descriptors), full (outbox), unsupported (descriptors over a
  /// network); nothing has been sent or kept then.
  [[nodiscard]] Result<void> send(std::span<const std::byte> payload,
                                  std::span<const std::shared_ptr<Descriptor>> descriptors = {});
  /// The same for descriptors that somebody else owns: takes duplicates. Errors also: no_space.
  [[nodiscard]] Result<void> send(std::span<const std::byte> payload, std::span<const int> fds);

  /// For building a payload in place: append to the returned buffer, then call `close_frame`, and
  /// nothing in between.
  [[nodiscard]] std::vector<std::byte>& open_frame();
  /// Errors as for send; the frame is gone then.
  [[nodiscard]] Result<void> close_frame(
      std::span<const std::shared_ptr<Descriptor>> descriptors = {});

  /// Hands the outbox to the system: true when all of it is gone, false when the socket takes no
  /// more now. Errors: closed, no_space (too many descriptors on their way, no memory in the
  /// kernel), system.
  [[nodiscard]] Result<bool> flush();
  /// Bytes of frames that wait to be sent.
  [[nodiscard]] std::size_t unsent() const noexcept { return outbox_.size() - sent_; }
  /// Bytes that have come, of whatever.
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  [[nodiscard]] bool wants_write() const noexcept {
    return cipher_sent_ < cipher_.size() || (established() && sent_ < outbox_.size());
  }

  /// Takes what has come and calls `on_frame(ReceivedFrame&&) -> void` for each complete frame;
  /// returns their number, 0 when nothing complete is there. Reads at most 1 MiB or so, so that
  /// other sockets get their turn: with level-triggered watching the rest is reported again.
  /// Errors: closed (after all frames were handed over), too_large, malformed, no_space
  /// (descriptors were lost because this process may not have more). The callback must not touch
  /// this socket's receiving side.
  template <class OnFrame>
  [[nodiscard]] Result<std::size_t> receive(OnFrame&& on_frame);

  /// Flushes, waiting for the peer to make room. Errors: as flush, timeout. A peer that itself
  /// waits in flush_blocking for us never reads: use it where the peer always reads.
  [[nodiscard]] Result<void> flush_blocking(Deadline deadline);
  /// Waits until at least one frame came. Errors: as receive, timeout.
  template <class OnFrame>
  [[nodiscard]] Result<std::size_t> receive_blocking(Deadline deadline, OnFrame&& on_frame);

 private:
  struct Attachment {
    std::size_t position;  // in the outbox, of the byte that carries them
    std::vector<std::shared_ptr<Descriptor>> descriptors;
  };
  enum class Got { something, all, nothing };

  // One recvmsg. `all`: the buffer was not filled, so there is probably no more.
  Result<Got> receive_once();
  Result<std::optional<ReceivedFrame>> next_frame();
  Result<std::size_t> send_once();
  // What came, through the stream; an error of the stream comes after what was good.
  Result<void> decrypt(std::span<const std::byte> bytes);
  // False when the socket takes no more.
  Result<bool> flush_stream();
  Result<bool> flush_cipher();
  Result<void> wait_readable(Deadline deadline) const;
  void drop_sent();

  Descriptor socket_;
  Limits limits_;
  std::vector<std::byte> outbox_;
  std::size_t sent_ = 0;
  std::size_t frame_start_ = 0;
  std::deque<Attachment> attachments_;
  FrameReader reader_;
  std::deque<std::shared_ptr<Descriptor>> arrived_;
  std::unique_ptr<SecureStream> stream_;
  Carrier carrier_ = Carrier::host;
  std::vector<std::byte> cipher_;  // what the stream wants sent
  std::size_t cipher_sent_ = 0;
  std::uint64_t received_ = 0;
  std::size_t key_ = 0;  // when the stream is gone
  std::optional<Error> stream_error_;
};

template <class OnFrame>
Result<std::size_t> FrameSocket::receive(OnFrame&& on_frame) {
  std::size_t frames = 0;
  for (int round = 0; round < 16; ++round) {
    auto got = receive_once();
    if (!got) {
      // What came before the end is delivered first; the end is still there at the next call.
      if (frames != 0 && got.error() == Errc::closed) return frames;
      return got.error();
    }
    if (*got == Got::nothing) break;
    while (true) {
      PASSEL_TRY(auto frame, next_frame());
      if (!frame) break;
      ++frames;
      on_frame(*std::move(frame));
    }
    if (*got == Got::all) break;
  }
  return frames;
}

template <class OnFrame>
Result<std::size_t> FrameSocket::receive_blocking(Deadline deadline, OnFrame&& on_frame) {
  while (true) {
    PASSEL_TRY(const std::size_t frames, receive(on_frame));
    if (frames != 0) return frames;
    PASSEL_CHECK(wait_readable(deadline));
  }
}

}  // namespace passel::inline v0::detail
