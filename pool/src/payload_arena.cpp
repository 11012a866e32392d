// Layer pool: where one side of a worker's channel keeps its larger payloads.
#include "payload_arena.hpp"

#include <algorithm>

namespace passel::inline v0::detail {

std::optional<std::size_t> PayloadArena::place(std::size_t size) const noexcept {
  if (blocks_.empty()) return size <= capacity_ ? std::optional<std::size_t>{0} : std::nullopt;
  // What is used over and over stays in the caches, and costs no new pages.
  const std::size_t limit = std::min(kept, capacity_);
  const std::size_t oldest = blocks_.front().begin;
  const std::size_t end = blocks_.back().begin + blocks_.back().size;
  if (blocks_.back().begin >= oldest) {
    if (end < limit && size <= limit - end) return end;
    return size <= oldest ? std::optional<std::size_t>{0} : std::nullopt;
  }
  return size <= oldest - end ? std::optional<std::size_t>{end} : std::nullopt;
}

Result<std::optional<std::uint64_t>> PayloadArena::allocate(std::size_t size) {
  const std::size_t rounded =
      (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
  const std::optional<std::size_t> begin = place(rounded);
  if (!begin) return std::optional<std::uint64_t>{};
  if (*begin + rounded > populated_) {
    // In steps, so that growing payloads do not ask the system each time.
    constexpr std::size_t step = std::size_t{64} << 10;
    const std::size_t wanted = std::min((*begin + rounded + step - 1) / step * step, capacity_);
    PASSEL_CHECK(segment_.populate(base_ + populated_, wanted - populated_));
    populated_ = wanted;
  }
  blocks_.push_back({.begin = *begin, .size = rounded, .free = false});
  return std::optional<std::uint64_t>{base_ + *begin};
}

void PayloadArena::release(std::uint64_t offset) noexcept {
  const auto block = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& candidate) {
    return base_ + candidate.begin == offset && !candidate.free;
  });
  if (block == blocks_.end()) return;
  block->free = true;
  while (!blocks_.empty() && blocks_.front().free) blocks_.pop_front();
  if (blocks_.empty() && populated_ > kept) {
    segment_.release(base_ + kept, populated_ - kept);
    populated_ = kept;
  }
}

}  // namespace passel::inline v0::detail
