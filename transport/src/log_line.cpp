// Layer transport: writing a line to a descriptor of the program without ever waiting for it.
#include "log_line.hpp"

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

bool write_all(int descriptor, std::string_view bytes) noexcept {
  const WithoutSigpipe quiet;
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// Terminals, devices, and pipes that may not be opened again: asked before. Between the question
/// and the write another process can fill them; then the write waits as any would.
bool write_when_ready(int descriptor, std::string_view bytes) noexcept {
  pollfd ready{.fd = descriptor, .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0 ||
      (ready.revents & (POLLERR | POLLNVAL)) != 0)
    return false;
  return write_all(descriptor, bytes);
}

/// O_NONBLOCK belongs to the open file, which is not ours alone: the pipe is opened once more.
bool write_to_pipe(int descriptor, std::string_view bytes) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  const Descriptor own{::open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)};
  if (own) return write_all(own.get(), bytes);
  if (errno == ENXIO) return false;  // nobody reads it
  return write_when_ready(descriptor, bytes);
}

}  // namespace

bool write_without_waiting(int descriptor, std::string_view bytes) noexcept {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return false;
  if (S_ISFIFO(status.st_mode)) return write_to_pipe(descriptor, bytes);
  if (S_ISSOCK(status.st_mode))
    return ::send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  if (S_ISREG(status.st_mode)) return write_all(descriptor, bytes);
  return write_when_ready(descriptor, bytes);
}

}  // namespace passel::inline v0::detail
