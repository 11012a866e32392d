// Layer pool: where one side of a worker's channel keeps the payloads that are too large for a
// message cell.
#pragma once

#include <passel/detail/segment.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace passel::inline v0::detail {

/// Hands out pieces of a range of a segment to the one side that writes there. Memory is taken from
/// the system as it is first used and is used again from the start (so that it stays in the cache).
/// Only a payload that is alone may lie above `kept`; what that took is returned to the system.
class PayloadArena {
 public:
  static constexpr std::size_t kept = std::size_t{8} << 20;
  static constexpr std::size_t alignment = 64;

  PayloadArena(Segment& segment, std::size_t base, std::size_t capacity)
      : segment_{segment}, base_{base}, capacity_{capacity} {}

  /// Offset in the segment of `size` bytes with memory behind them, or nothing while there is no
  /// room. Errors: no_space.
  [[nodiscard]] Result<std::optional<std::uint64_t>> allocate(std::size_t size);
  /// Gives back what allocate returned.
  void release(std::uint64_t offset) noexcept;

  [[nodiscard]] std::size_t base() const noexcept { return base_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  struct Block {
    std::size_t begin = 0;
    std::size_t size = 0;
    bool free = false;
  };

  [[nodiscard]] std::optional<std::size_t> place(std::size_t size) const noexcept;

  Segment& segment_;
  std::size_t base_;
  std::size_t capacity_;
  std::size_t populated_ = 0;
  std::deque<Block> blocks_;  // in order of allocation
};

}  // namespace passel::inline v0::detail
