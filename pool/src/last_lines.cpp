// Layer pool: the end of what a worker wrote to stderr.
#include "last_lines.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace passel::inline v0::detail {
namespace {

/// As write(2), but never waiting, as far as the kernel can do that with such a file.
ssize_t write_at_once(const char* bytes, std::size_t size) noexcept {
  const iovec piece{.iov_base = const_cast<char*>(bytes), .iov_len = size};
  const ssize_t written = ::pwritev2(2, &piece, 1, -1, RWF_NOWAIT);
  return written < 0 && errno == EOPNOTSUPP ? ::write(2, bytes, size) : written;
}

/// Writes as much as a file takes at once. A terminal or pipe that nobody reads costs the rest.
void pass_on(const char* bytes, std::size_t size) noexcept {
  constexpr std::size_t atomic_piece = 4096;
  for (std::size_t at = 0; at < size;) {
    pollfd ready{.fd = 2, .events = POLLOUT, .revents = 0};
    if (::poll(&ready, 1, 0) <= 0 || (ready.revents & POLLOUT) == 0) return;
    const ssize_t written = write_at_once(bytes + at, std::min(size - at, atomic_piece));
    if (written <= 0) return;
    at += static_cast<std::size_t>(written);
  }
}

}  // namespace

Result<std::pair<std::shared_ptr<LastLines>, Descriptor>> LastLines::create() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe2", errno);
  Descriptor from{ends[0]};
  Descriptor to{ends[1]};
  // The worker's end waits as stderr does; only ours must not.
  ::fcntl(from.get(), F_SETFL, O_NONBLOCK);
  return std::pair{std::make_shared<LastLines>(std::move(from)), std::move(to)};
}

bool LastLines::drain() noexcept {
  const std::lock_guard lock{mutex_};
  char buffer[8192];
  // A worker that never pauses must not keep the reader for ever.
  for (int turn = 0; turn < 64; ++turn) {
    const ssize_t got = ::read(from_.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    const auto size = static_cast<std::size_t>(got);
    pass_on(buffer, size);
    tail_.append(buffer, size);
    if (tail_.size() > kept) tail_.erase(0, tail_.size() - kept);
  }
  return false;
}

std::vector<std::string> LastLines::take(std::size_t count) {
  static_cast<void>(drain());
  const std::lock_guard lock{mutex_};
  std::vector<std::string> lines;
  for (std::size_t end = tail_.size(); end > 0 && lines.size() < count;) {
    if (tail_[end - 1] == '\n') --end;
    const std::size_t newline = end == 0 ? std::string::npos : tail_.rfind('\n', end - 1);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    lines.push_back(tail_.substr(begin, end - begin));
    end = begin;
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

}  // namespace passel::inline v0::detail
