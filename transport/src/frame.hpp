// Layer transport: frames, the units into which a byte stream between two processes is cut.
#pragma once

#include <passel/result.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace passel::inline v0::detail {

/// What stands before each frame, little-endian. Eight bytes, so that payloads of whole words lie
/// aligned.
struct FrameHeader {
  std::uint32_t length = 0;       ///< of the payload
  std::uint32_t descriptors = 0;  ///< how many of them belong to this frame
};
inline constexpr std::size_t frame_header_size = 8;
static_assert(sizeof(FrameHeader) == frame_header_size);

/// The largest payload unless somebody says otherwise.
inline constexpr std::size_t default_frame_limit = std::size_t{64} << 20;
/// One byte of the header can carry as many descriptors as the kernel takes at once (SCM_MAX_FD).
inline constexpr std::size_t max_descriptors_at_once = 253;
inline constexpr std::size_t max_frame_descriptors = max_descriptors_at_once * frame_header_size;

/// Appends header and payload to `out`. The caller has checked the limits.
void append_frame(std::vector<std::byte>& out, std::span<const std::byte> payload,
                  std::size_t descriptors = 0);

/// Cuts received bytes into frames. No I/O: the owner lets the system write into `space()`, says
/// how much came, and takes out complete frames. The buffer grows with what has been received,
/// never with what a header announces.
///
///     auto space = reader.space();
///     reader.received(read(fd, space.data(), space.size()));
///     while (true) {
///       PASSEL_TRY(auto frame, reader.next());
///       if (!frame) break;
///       handle(frame->payload);
///     }
class FrameReader {
 public:
  struct Frame {
    std::span<std::byte>
        payload;  ///< aligned for 8-byte words; valid until the next call of anything
    std::uint32_t descriptors = 0;
  };

  explicit FrameReader(std::size_t limit = default_frame_limit) noexcept : limit_{limit} {}

  /// Room for at least one byte, usually for some KiB, and more for who says more.
  [[nodiscard]] std::span<std::byte> space();
  void received(std::size_t count) noexcept { end_ += count; }
  /// The next complete frame, or nothing when more bytes are needed. Errors: too_large, malformed;
  /// after an error the stream cannot be read any further.
  [[nodiscard]] Result<std::optional<Frame>> next();
  /// Bytes that came and were not taken out: part of a frame.
  [[nodiscard]] std::size_t pending() const noexcept { return end_ - begin_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return buffer_.size(); }

 private:
  std::size_t limit_;
  void grow();

  std::vector<std::byte> buffer_;  // all of it, whatever is in it
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace passel::inline v0::detail
