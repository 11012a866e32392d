// Tools: another process at the ends of two pipes or of a socket pair, without passel.
#pragma once

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <system_error>

namespace bench {

/// Reads or writes all `size` bytes; false at the end of the stream.
inline bool read_all(int fd, void* data, std::size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}
inline bool write_all(int fd, const void* data, std::size_t size) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

enum class Stream { pipes, socket };

/// A forked process that runs `loop(in, out)` until its stream ends. The destructor ends the stream
/// and waits for it.
class RawPeer {
 public:
  template <class Loop>
  RawPeer(Stream stream, Loop loop) {
    int there[2];
    int back[2];
    const bool made = stream == Stream::pipes
                          ? pipe2(there, O_CLOEXEC) == 0 && pipe2(back, O_CLOEXEC) == 0
                          : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, there) == 0;
    if (!made) throw std::system_error{errno, std::generic_category(), "pipe"};
    if (stream == Stream::socket) {
      back[0] = dup(there[1]);
      back[1] = dup(there[0]);
    }
    pid_ = fork();
    if (pid_ < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    if (pid_ == 0) {
      close(there[1]);
      close(back[0]);
      loop(there[0], back[1]);
      _exit(0);
    }
    close(there[0]);
    close(back[1]);
    out_ = there[1];
    in_ = back[0];
  }
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;
  ~RawPeer() {
    close(out_);
    close(in_);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  void send(const void* data, std::size_t size) const {
    if (!write_all(out_, data, size)) throw std::runtime_error{"the raw peer has ended"};
  }
  void receive(void* data, std::size_t size) const {
    if (!read_all(in_, data, size)) throw std::runtime_error{"the raw peer has ended"};
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int in_ = -1;
};

/// The loop of a peer that sends everything back.
template <class T>
void echo(int in, int out) {
  T item;
  while (read_all(in, &item, sizeof item) && write_all(out, &item, sizeof item)) {
  }
}

}  // namespace bench
