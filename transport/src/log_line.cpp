// Layer transport: writing a line to a descriptor of the program without waiting for it for long.
#include "log_line.hpp"

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>

namespace passel::inline v0::detail {
namespace {

/// Keeps the SIGPIPE of a write from the program: blocked in this thread while it lasts, and taken
/// away when the write has caused one.
class WithoutSigpipe {
 public:
  WithoutSigpipe() noexcept {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;
  ~WithoutSigpipe() {
    if (!was_pending_) {
      const timespec none{};
      while (::sigtimedwait(&pipe_, nullptr, &none) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_ = false;
};

LineWrite failure(int error) noexcept {
  return error == EAGAIN ? LineWrite::would_wait : LineWrite::failed;
}

LineWrite write_all(int descriptor, std::string_view bytes) noexcept {
  const WithoutSigpipe quiet;
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failure(errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return LineWrite::done;
}

/// Terminals, devices, and pipes that may not be opened again: asked before. Between the question
/// and the write another process can fill them; then the write waits as any would.
LineWrite write_when_ready(int descriptor, std::string_view bytes) noexcept {
  pollfd ready{.fd = descriptor, .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, 0) == 0) return LineWrite::would_wait;
  if ((ready.revents & (POLLERR | POLLNVAL)) != 0) return LineWrite::failed;
  return write_all(descriptor, bytes);
}

/// O_NONBLOCK belongs to the open file, which is not ours alone: the pipe is opened once more.
LineWrite write_to_pipe(int descriptor, std::string_view bytes) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  const Descriptor own{::open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)};
  if (own) return write_all(own.get(), bytes);
  if (errno == ENXIO) return LineWrite::failed;  // nobody reads it
  return write_when_ready(descriptor, bytes);
}

}  // namespace

LineWrite write_without_waiting(int descriptor, std::string_view bytes) noexcept {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return LineWrite::failed;
  if (S_ISFIFO(status.st_mode)) return write_to_pipe(descriptor, bytes);
  if (S_ISSOCK(status.st_mode)) {
    const ssize_t sent =
        ::send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return failure(errno);
    return sent == static_cast<ssize_t>(bytes.size()) ? LineWrite::done : LineWrite::failed;
  }
  if (S_ISREG(status.st_mode)) return write_all(descriptor, bytes);
  return write_when_ready(descriptor, bytes);
}

LineWrite write_within(std::chrono::milliseconds limit, int descriptor,
                       std::string_view bytes) noexcept {
  const Deadline deadline = Deadline::after(limit);
  for (;;) {
    const LineWrite written = write_without_waiting(descriptor, bytes);
    if (written != LineWrite::would_wait || deadline.passed()) return written;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left());
    pollfd room{.fd = descriptor, .events = POLLOUT, .revents = 0};
    ::poll(&room, 1, static_cast<int>(left.count()));
  }
}

}  // namespace passel::inline v0::detail
