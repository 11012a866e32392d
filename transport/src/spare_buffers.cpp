// Layer transport: memory of large messages, used again for the next one.
#include <passel/detail/spare_buffers.hpp>

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

namespace passel::inline v0::detail {
namespace {

// What an idle process keeps at most is their product.
constexpr std::size_t most_kept = 4;
constexpr std::size_t largest_kept = std::size_t{4} << 20;

struct Spare {
  std::mutex mutex;
  std::array<std::vector<std::byte>, most_kept> buffers;
};

// Never destroyed: messages are sent while the program ends. Whoever finds it in use, also the
// child of a fork for ever, does without.
Spare& spare() noexcept {
  static Spare* const it = new Spare;
  return *it;
}

/// Empty when none is kept that is large enough.
std::vector<std::byte> kept_buffer(std::size_t size) {
  std::vector<std::byte> buffer;
  if (size >= least_spare && size <= largest_kept) {
    Spare& kept = spare();
    const std::unique_lock lock{kept.mutex, std::try_to_lock};
    if (lock) {
      const auto found = std::find_if(kept.buffers.begin(), kept.buffers.end(),
                                      [size](const auto& one) { return one.capacity() >= size; });
      if (found != kept.buffers.end()) buffer.swap(*found);
    }
  }
  return buffer;
}

}  // namespace

std::vector<std::byte> take_buffer(std::size_t size) {
  std::vector<std::byte> buffer = kept_buffer(size);
  buffer.clear();
  buffer.reserve(size);
  return buffer;
}

std::vector<std::byte> take_used_buffer(std::size_t size) {
  std::vector<std::byte> buffer = kept_buffer(size);
  if (buffer.size() < size) buffer.resize(size);
  return buffer;
}

void make_room(std::vector<std::byte>& buffer, std::size_t more) {
  if (buffer.capacity() - buffer.size() >= more) return;
  auto larger = take_buffer(std::max(buffer.size() + more, 2 * buffer.capacity()));
  larger.insert(larger.end(), buffer.begin(), buffer.end());
  buffer.swap(larger);
  give_buffer(std::move(larger));
}

void give_buffer(std::vector<std::byte>&& buffer) noexcept {
  std::vector<std::byte> unwanted = std::move(buffer);
  if (unwanted.capacity() < least_spare || unwanted.capacity() > largest_kept) return;
  Spare& kept = spare();
  const std::unique_lock lock{kept.mutex, std::try_to_lock};
  if (!lock) return;
  const auto smallest =
      std::min_element(kept.buffers.begin(), kept.buffers.end(),
                       [](const auto& a, const auto& b) { return a.capacity() < b.capacity(); });
  if (smallest->capacity() < unwanted.capacity()) smallest->swap(unwanted);
}

}  // namespace passel::inline v0::detail
