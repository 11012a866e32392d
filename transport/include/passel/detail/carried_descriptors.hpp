// Layer transport: descriptors that ride along with a message on a Unix socket.
#pragma once

#include <sys/socket.h>
#include <cstddef>
#include <cstring>

namespace passel::inline v0::detail {

/// The control part of one message, with room for `most` descriptors. It must live as long as the
/// message is in use.
template <std::size_t most>
class CarriedDescriptors {
 public:
  /// For sendmsg: `count` of them, at most `most`, of which `fd_of(i)` gives the numbers.
  template <class F>
  void attach(msghdr& message, std::size_t count, F fd_of) noexcept {
    const std::size_t size = sizeof(int) * count;
    std::memset(bytes_, 0, CMSG_SPACE(size));
    message.msg_control = bytes_;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(size);
    for (std::size_t i = 0; i < count; ++i) {
      const int fd = fd_of(i);
      std::memcpy(CMSG_DATA(head) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  /// For recvmsg, before each call.
  void expect(msghdr& message) noexcept {
    message.msg_control = bytes_;
    message.msg_controllen = sizeof bytes_;
  }

 private:
  alignas(cmsghdr) char bytes_[CMSG_SPACE(sizeof(int) * most)];
};

/// `take(fd)` for each descriptor that came with a message: from then on it is the caller's.
template <class F>
void take_carried(msghdr& message, F take) {
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
      take(fd);
    }
  }
}

}  // namespace passel::inline v0::detail
