// Layer pool: buffers of large messages that are over, kept for the next ones.
#include <passel/detail/pool_jobs.hpp>

#include <array>
#include <mutex>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t least_spare = std::size_t{64} << 10;
constexpr std::size_t most_spare = std::size_t{4} << 20;

struct Spares {
  std::mutex mutex;
  std::array<std::vector<std::byte>, 2> buffers;
};
Spares& spares() {
  // Not destroyed at exit: threads of the user may still call pools.
  static auto* const all = new Spares;
  return *all;
}

}  // namespace

std::vector<std::byte> take_spare_bytes() noexcept {
  Spares& all = spares();
  const std::lock_guard lock{all.mutex};
  for (auto& buffer : all.buffers) {
    if (buffer.capacity() != 0) return std::exchange(buffer, {});
  }
  return {};
}

void give_spare_bytes(std::vector<std::byte> bytes) noexcept {
  if (bytes.capacity() < least_spare || bytes.capacity() > most_spare) return;
  bytes.clear();
  Spares& all = spares();
  const std::lock_guard lock{all.mutex};
  for (auto& buffer : all.buffers) {
    if (buffer.capacity() < bytes.capacity()) std::swap(buffer, bytes);
  }
}

}  // namespace passel::inline v0::detail
