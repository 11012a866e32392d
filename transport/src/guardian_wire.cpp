// Layer transport: messages between the guardian and the processes it serves.
#include "guardian_wire.hpp"

#include <passel/detail/carried_descriptors.hpp>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t message_limit = sizeof(GuardianHeader) + inline_args_limit + 4096;

}  // namespace

Result<void> send_message(int socket, GuardianHeader header, std::string_view text,
                          std::span<const std::byte> args, std::span<const int> descriptors,
                          int flags) {
  std::vector<int> carried{descriptors.begin(), descriptors.end()};
  Descriptor spill;
  header.args_size = args.size();
  if (args.size() > inline_args_limit) {
    PASSEL_TRY(spill, bytes_to_memfd("passel-args", args));
    carried.insert(carried.begin(), spill.get());
    header.flags |= GuardianHeader::args_in_memfd;
    args = {};
  }
  if (carried.size() > descriptors_limit)
    return Error{Errc::too_large, std::to_string(carried.size()) +
                                      " descriptors in one message, the limit is " +
                                      std::to_string(descriptors_limit)};
  text = text.substr(0, 2048);
  header.text_size = static_cast<std::uint32_t>(text.size());
  header.descriptor_count = static_cast<std::uint32_t>(carried.size());

  iovec parts[3] = {{&header, sizeof header},
                    {const_cast<char*>(text.data()), text.size()},
                    {const_cast<std::byte*>(args.data()), args.size()}};
  CarriedDescriptors<descriptors_limit> control;
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 3;
  if (!carried.empty()) {
    control.attach(message, carried.size(), [&](std::size_t i) { return carried[i]; });
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | flags) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Error{Errc::full, "the guardian's line is full"};
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
      return Error{Errc::closed, "the other end of the guardian's line is gone"};
    if (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)
      return Error{Errc::no_space, "the system has no memory for a message"};
    return system_error("sendmsg to the guardian's line", errno);
  }
}

Result<GuardianMessage> receive_message(int socket, std::vector<std::byte>& buffer) {
  buffer.resize(message_limit);
  iovec part{buffer.data(), buffer.size()};
  CarriedDescriptors<descriptors_limit + 3> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  control.expect(message);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return Error{Errc::empty, "no message"};
  if (got < 0 && errno == ECONNRESET) return Error{Errc::closed, "the other end is gone"};
  if (got < 0) return system_error("recvmsg on the guardian's line", errno);
  if (got == 0) return Error{Errc::closed, "the other end is gone"};

  GuardianMessage result;
  take_carried(message, [&](int fd) { result.descriptors.emplace_back(fd); });
  const auto size = static_cast<std::size_t>(got);
  if (size < sizeof(GuardianHeader) || (message.msg_flags & MSG_TRUNC) != 0)
    return Error{Errc::malformed, "a guardian message of " + std::to_string(size) + " bytes"};
  std::memcpy(&result.header, buffer.data(), sizeof(GuardianHeader));
  // The kernel delivers a message all the same when there is no room for its descriptors.
  result.incomplete = (message.msg_flags & MSG_CTRUNC) != 0 ||
                      result.descriptors.size() != result.header.descriptor_count;
  if (result.incomplete) return result;
  const std::byte* cursor = buffer.data() + sizeof(GuardianHeader);
  const std::size_t left = size - sizeof(GuardianHeader);
  const bool spilled = (result.header.flags & GuardianHeader::args_in_memfd) != 0;
  const std::size_t inline_args = spilled ? 0 : result.header.args_size;
  if (result.header.text_size > left || inline_args != left - result.header.text_size)
    return Error{Errc::malformed, "a guardian message whose parts do not add up"};
  result.text.assign(reinterpret_cast<const char*>(cursor), result.header.text_size);
  cursor += result.header.text_size;
  if (!spilled) {
    result.args.assign(cursor, cursor + inline_args);
  } else {
    if (result.descriptors.empty()) return Error{Errc::malformed, "arguments without their memfd"};
    PASSEL_TRY(result.args, memfd_to_bytes(result.descriptors.front()));
    result.descriptors.erase(result.descriptors.begin());
  }
  return result;
}

Result<Descriptor> bytes_to_memfd(const char* name, std::span<const std::byte> bytes) {
  Descriptor memfd{::memfd_create(name, MFD_CLOEXEC)};
  if (!memfd) return system_error("memfd_create", errno);
  // write(2), not a mapping: it needs no page faults and reports a lack of memory as an error.
  while (!bytes.empty()) {
    const ssize_t written = ::write(memfd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      return system_error("write of " + std::to_string(bytes.size()) + " bytes", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return memfd;
}

Result<std::vector<std::byte>> memfd_to_bytes(const Descriptor& memfd) {
  struct stat status {};
  if (::fstat(memfd.get(), &status) != 0) return system_error("fstat", errno);
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(memfd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return system_error("pread of a memfd", got == 0 ? EIO : errno);
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

void reset_handlers() noexcept {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN ||
        action.sa_handler == SIG_DFL)
      continue;
    action.sa_handler = SIG_DFL;
    action.sa_flags = 0;
    ::sigaction(number, &action, nullptr);
  }
}

void unblock_signals() noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void close_all_but(std::vector<int> keep) noexcept {
  std::sort(keep.begin(), keep.end());
  unsigned next = 3;
  for (const int fd : keep) {
    if (fd < 3) continue;
    const auto kept = static_cast<unsigned>(fd);
    if (kept > next) ::close_range(next, kept - 1, 0);
    next = kept + 1;
  }
  ::close_range(next, ~0U, 0);
}

}  // namespace passel::inline v0::detail
