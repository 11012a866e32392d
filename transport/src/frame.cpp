// Layer transport: cutting a byte stream into frames.
#include "frame.hpp"

#include <algorithm>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t buffer_size = std::size_t{64} << 10;
/// Of who says little: there may be thousands of them. It grows as it is filled.
constexpr std::size_t first_size = std::size_t{1} << 10;

}  // namespace

void append_frame(std::vector<std::byte>& out, std::span<const std::byte> payload,
                  std::size_t descriptors) {
  const FrameHeader header{static_cast<std::uint32_t>(payload.size()),
                           static_cast<std::uint32_t>(descriptors)};
  const std::size_t start = out.size();
  out.resize(start + frame_header_size + payload.size());
  std::memcpy(out.data() + start, &header, sizeof header);
  if (!payload.empty())
    std::memcpy(out.data() + start + frame_header_size, payload.data(), payload.size());
}

std::span<std::byte> FrameReader::space() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    // One large frame should not keep its memory for the life of the session.
    if (capacity_ > 16 * buffer_size) capacity_ = 0;
  }
  if (capacity_ == 0) {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(first_size);
    capacity_ = first_size;
  }
  const std::size_t kept = pending();
  if (begin_ != 0 && capacity_ - end_ < std::min(capacity_, buffer_size) / 4) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, kept);
    begin_ = 0;
    end_ = kept;
  }
  if (end_ == capacity_) {
    auto larger = std::make_unique_for_overwrite<std::byte[]>(2 * capacity_);
    std::memcpy(larger.get(), buffer_.get(), end_);
    buffer_ = std::move(larger);
    capacity_ *= 2;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

Result<std::optional<FrameReader::Frame>> FrameReader::next() {
  if (pending() < frame_header_size) return std::optional<Frame>{};
  FrameHeader header;
  std::memcpy(&header, buffer_.get() + begin_, sizeof header);
  if (header.length > limit_) {
    return Error{Errc::too_large, "frame of " + std::to_string(header.length) +
                                      " bytes announced, limit " + std::to_string(limit_)};
  }
  if (header.descriptors > max_frame_descriptors) {
    return Error{Errc::malformed, "frame with " + std::to_string(header.descriptors) +
                                      " descriptors announced, limit " +
                                      std::to_string(max_frame_descriptors)};
  }
  if (pending() - frame_header_size < header.length) return std::optional<Frame>{};
  std::byte* payload = buffer_.get() + begin_ + frame_header_size;
  begin_ += frame_header_size + header.length;
  // The header is no longer needed, so there is room to move a payload that does not lie aligned.
  if (const std::size_t off = reinterpret_cast<std::uintptr_t>(payload) % 8;
      off != 0 && header.length != 0) {
    std::memmove(payload - off, payload, header.length);
    payload -= off;
  }
  return std::optional<Frame>{Frame{{payload, header.length}, header.descriptors}};
}

}  // namespace passel::inline v0::detail
