// Layer transport: one owned file descriptor.
#include <passel/detail/descriptor.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>

namespace passel::inline v0::detail {

Result<Descriptor> Descriptor::duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return system_error("fcntl(" + std::to_string(fd) + ", F_DUPFD_CLOEXEC)", errno);
  return Descriptor{copy};
}

void Descriptor::reset() noexcept {
  // EINTR from close leaves the descriptor closed on Linux: never retry.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace passel::inline v0::detail
