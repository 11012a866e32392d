// Tests: what the fuzz targets of the handshake and of connections have in common.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace passel_fuzz {

/// What must hold whatever comes.
inline void demand(const char* what, auto&& holds) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// The first byte of an input says in pieces of which size the others arrive.
class Pieces {
 public:
  Pieces(const std::uint8_t* data, std::size_t size)
      : rest_{reinterpret_cast<const std::byte*>(data), size} {
    if (rest_.empty()) return;
    const auto first = std::to_integer<std::size_t>(rest_.front());
    size_ = first == 0 ? rest_.size() : first;
    rest_ = rest_.subspan(1);
  }
  [[nodiscard]] bool done() const noexcept { return rest_.empty(); }
  [[nodiscard]] std::span<const std::byte> next() noexcept {
    const auto piece = rest_.first(std::min(size_, rest_.size()));
    rest_ = rest_.subspan(piece.size());
    return piece;
  }
  [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }

 private:
  std::span<const std::byte> rest_;
  std::size_t size_ = 1;
};

}  // namespace passel_fuzz
