// Layer pool: where the task of a worker writes a large result, so that it is not copied there.
#pragma once

#include <passel/export.hpp>

#include <cstddef>

namespace passel::inline v0::detail {

/// Memory that the pool reads, for the result of the task in hand. The thread of a worker that runs
/// tasks has one.
class PASSEL_API ResultPlace {
 public:
  /// Smaller results are copied: that costs less than to ask.
  static constexpr std::size_t least = std::size_t{64} << 10;

  ResultPlace(const ResultPlace&) = delete;
  ResultPlace& operator=(const ResultPlace&) = delete;

  /// That of the calling thread, or nullptr.
  [[nodiscard]] static ResultPlace* current() noexcept;
  /// Room for the whole answer, once for each task; nullptr when it has to go the usual way.
  [[nodiscard]] virtual std::byte* reserve(std::size_t size) noexcept = 0;

 protected:
  ResultPlace() noexcept;
  ~ResultPlace();
};

}  // namespace passel::inline v0::detail
