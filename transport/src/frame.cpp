// Layer transport: cutting a byte stream into frames.
#include "frame.hpp"

#include <passel/detail/spare_buffers.hpp>

#include <algorithm>
#include <string>
#include <utility>

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
    if (buffer_.size() >= least_spare) give_buffer(std::exchange(buffer_, {}));
  }
  const std::size_t kept = pending();
  if (begin_ != 0 && buffer_.size() - end_ < std::min(buffer_.size(), buffer_size) / 4) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, kept);
    begin_ = 0;
    end_ = kept;
  }
  if (end_ == buffer_.size()) grow();
  return std::span{buffer_}.subspan(end_);
}

void FrameReader::grow() {
  auto larger = take_used_buffer(buffer_.empty() ? first_size : 2 * buffer_.size());
  std::copy_n(buffer_.begin(), end_, larger.begin());
  buffer_.swap(larger);
  give_buffer(std::move(larger));
}

Result<std::optional<FrameReader::Frame>> FrameReader::next() {
  if (pending() < frame_header_size) return std::optional<Frame>{};
  FrameHeader header;
  std::memcpy(&header, buffer_.data() + begin_, sizeof header);
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
  std::byte* payload = buffer_.data() + begin_ + frame_header_size;
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
