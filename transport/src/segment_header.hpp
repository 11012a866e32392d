// Layer transport: what lies at the beginning of each piece of shared memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace passel::inline v0::detail {

inline constexpr std::uint64_t segment_magic = 0x31676573'6c737370;  // "pssl" "seg1"
/// The header takes a page of its own, so that data() is aligned to a page and release() can work
/// on whole pages of it.
inline constexpr std::size_t segment_header_size = 4096;

struct SegmentHeader {
  std::uint64_t magic;
  std::uint64_t kind;
  std::uint64_t size;
};

}  // namespace passel::inline v0::detail
