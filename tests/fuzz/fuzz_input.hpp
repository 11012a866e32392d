// Tests: what fuzz targets have in common: demands, and inputs in pieces or as things of a kind.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

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

/// An input as the things that are asked of it, one after the other; zeros when it is at its end.
class Reader {
 public:
  Reader(const std::uint8_t* data, std::size_t size) : rest_{data, size} {}
  [[nodiscard]] bool done() const noexcept { return rest_.empty(); }
  [[nodiscard]] std::uint8_t byte() noexcept {
    if (rest_.empty()) return 0;
    const std::uint8_t first = rest_.front();
    rest_ = rest_.subspan(1);
    return first;
  }
  /// Small ones, mostly: numbers at the edge of something are a byte in the input.
  [[nodiscard]] std::uint64_t number() noexcept {
    const std::uint8_t first = byte();
    if (first < 0xc0) return first;
    if (first < 0xf0) return ~std::uint64_t{0} << (first - 0xc0);
    std::uint64_t out = 0;
    for (int n = 0; n < 8; ++n) out = out << 8 | byte();
    return out;
  }
  [[nodiscard]] std::span<const std::uint8_t> some(std::size_t most) noexcept {
    const auto out = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(out.size());
    return out;
  }
  [[nodiscard]] std::string text() {
    const auto out = some(byte());
    return {out.begin(), out.end()};
  }
  [[nodiscard]] std::vector<std::byte> bytes() {
    const auto out = std::as_bytes(some(byte()));
    return {out.begin(), out.end()};
  }
  [[nodiscard]] std::span<const std::uint8_t> rest() const noexcept { return rest_; }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace passel_fuzz
