// Layer transport: messages cut into packets, and put together again.
#include "connection_end.hpp"

#include <passel/detail/carried_descriptors.hpp>

#include "socket_address.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t usual_room = std::uint64_t{4} << 20;

Error line_cut(int error_number) {
  return {Errc::peer_lost,
          std::string{"the line to the other end was cut: "} + std::strerror(error_number)};
}

Error connection_send_error(int error_number) {
  switch (error_number) {
    case EPIPE:
    case ECONNRESET: return {Errc::closed, "the other end of the connection is closed"};
    case ETOOMANYREFS:
    case ENOBUFS:
    case ENOMEM: return {Errc::no_space, std::string{"sendmsg: "} + std::strerror(error_number)};
    default:
      return is_gone(error_number) ? line_cut(error_number) : system_error("sendmsg", error_number);
  }
}

std::size_t packets_of(std::size_t size) noexcept {
  return size == 0 ? 1 : (size + packet_size - 1) / packet_size;
}

Error refused_by_listener() {
  return {Errc::auth_failed, "authentication failed: the listener refused this client"};
}

// For first packets, whose size is not known before.
std::byte* packet_scratch() {
  thread_local const auto bytes = std::make_unique_for_overwrite<std::byte[]>(packet_size);
  return bytes.get();
}

}  // namespace

// ---- receiving ---------------------------------------------------------------------------------

Result<std::ptrdiff_t> MessageInbox::receive(int fd, std::span<std::byte> head,
                                             std::span<std::byte> body, bool block) {
  if (tls_ != nullptr) return receive_encrypted(fd, head, block);
  iovec parts[2] = {{head.data(), head.size()}, {body.data(), body.size()}};
  CarriedDescriptors<max_message_descriptors> control;
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = body.empty() ? 1 : 2;
  ssize_t count = 0;
  bool reset_seen = false;
  while (true) {
    control.expect(message);
    count = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
    if (count >= 0) break;
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      starved_ = true;
      return std::ptrdiff_t{-1};
    }
    if (errno != ECONNRESET)
      return is_gone(errno) ? line_cut(errno) : system_error("recvmsg", errno);
    // The other end closed with something unread. What it sent before is still there, and reported
    // after this error, which comes once.
    if (std::exchange(reset_seen, true)) return std::ptrdiff_t{0};
  }
  take_carried(message, [this](int received) {
    arrived_.push_back(std::make_shared<Descriptor>(received));
  });
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    arrived_.clear();
    truncated_ = true;
  }
  if ((message.msg_flags & MSG_TRUNC) != 0)
    return Error{Errc::malformed, "a packet over " + std::to_string(packet_size) + " bytes came"};
  if (arrived_.size() > max_message_descriptors)
    return Error{Errc::malformed, "more descriptors came than a message may have"};
  return std::ptrdiff_t{count};
}

Result<void> MessageInbox::feed_channel(int fd, bool block) {
  starved_ = false;
  PASSEL_TRY(const std::size_t wanted, tls_->wanted());
  std::byte* const to = packet_scratch();
  while (true) {
    const ssize_t count = ::recv(fd, to, wanted, block ? 0 : MSG_DONTWAIT);
    if (count > 0) {
      tls_->put({to, static_cast<std::size_t>(count)});
      return {};
    }
    if (count == 0 || is_gone(errno))
      return Error{Errc::peer_lost, "the line to the other end was cut"};
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      starved_ = true;
      return {};
    }
    if (errno != EINTR) return system_error("recv", errno);
  }
}

Result<std::ptrdiff_t> MessageInbox::receive_encrypted(int fd, std::span<std::byte> bytes,
                                                       bool block) {
  while (true) {
    auto got = tls_->read(bytes);
    if (!got && got.error() == Errc::closed) return std::ptrdiff_t{0};
    if (!got) return got.error();
    if (*got != 0) return static_cast<std::ptrdiff_t>(*got);
    PASSEL_CHECK(feed_channel(fd, block));
    if (starved_) return std::ptrdiff_t{-1};
  }
}

std::size_t MessageInbox::body_size() const noexcept {
  const std::uint64_t begin = std::uint64_t{header_.index} * packet_size;
  return static_cast<std::size_t>(std::min<std::uint64_t>(packet_size, header_.total - begin));
}

void MessageInbox::make_room(std::size_t size) {
  // Room for a message of usual size at once; for larger ones memory grows with what comes, not
  // with what is announced.
  const auto wanted = std::max<std::uint64_t>(usual_room, std::uint64_t{4} * filled_);
  const auto room = static_cast<std::size_t>(std::min(wanted, header_.total + packet_size));
  if (filled_ + size > message_.bytes.capacity())
    message_.bytes.reserve(std::max(room, filled_ + size));
  message_.bytes.resize(filled_ + size);
}

void MessageInbox::drop_partial() {
  in_message_ = false;
  next_index_ = 0;
  filled_ = 0;
  message_ = Message{};
}

Result<void> MessageInbox::check_header(std::size_t limit) {
  if (header_.kind == PacketKind::refusal && header_.total == 0) return refused_by_listener();
  if (header_.kind != expected_ || header_.reserved != 0)
    return Error{Errc::malformed, "what came is no message of a passel connection"};
  if (header_.total > limit) {
    return Error{Errc::too_large, "bad message length: a message of " +
                                      std::to_string(header_.total) + " bytes came, limit " +
                                      std::to_string(limit)};
  }
  if (header_.index >= packets_of(static_cast<std::size_t>(header_.total)) ||
      header_.descriptors > max_message_descriptors)
    return Error{Errc::malformed, "a packet that no message of its size has"};
  if (header_.index == 0) {
    drop_partial();
    in_message_ = true;
    return {};
  }
  if (!in_message_ || header_.index != next_index_)
    return Error{Errc::malformed,
                 "the pieces of several messages came mixed: an end of a "
                 "connection is for one sending process"};
  return {};
}

Result<std::optional<Message>> MessageInbox::end_of_stream() {
  const bool torn = in_message_ || header_have_ != 0;
  const std::string had = std::to_string(filled_ + body_have_);
  const std::string whole = std::to_string(header_.total);
  drop_partial();
  header_have_ = body_have_ = 0;
  if (!torn) return Error{Errc::closed, "the other end of the connection is closed"};
  return Error{Errc::peer_lost, "the other end went away in the middle of a message: " + had +
                                    " of " + whole + " bytes came"};
}

Result<std::optional<Message>> MessageInbox::packet_arrived() {
  filled_ += body_size();
  ++next_index_;
  header_have_ = body_have_ = 0;
  if (header_.index == 0) message_.descriptors = std::exchange(arrived_, {});
  if (std::exchange(truncated_, false)) {
    message_.descriptors.clear();
    header_.descriptors = 0;
    drop_partial();
    return Error{Errc::no_space,
                 "a message was lost: this process may not have the descriptors that came with it"};
  }
  if (!arrived_.empty() ||
      (header_.index == 0 && message_.descriptors.size() != header_.descriptors))
    return Error{Errc::malformed, "a message announced other descriptors than came"};
  if (filled_ < header_.total) return std::optional<Message>{};
  Message whole = std::move(message_);
  drop_partial();
  return std::optional<Message>{std::move(whole)};
}

Result<std::optional<Message>> MessageInbox::pull(int fd, bool block, std::size_t limit) {
  starved_ = false;
  auto* const raw_header = reinterpret_cast<std::byte*>(&header_);
  if (packets_) {
    // The next piece of a message goes where it belongs, a first one to the side.
    std::byte* body = packet_scratch();
    const bool in_place = in_message_;
    if (in_place) {
      make_room(packet_size);
      body = message_.bytes.data() + filled_;
    }
    auto came = receive(fd, {raw_header, sizeof header_}, {body, packet_size}, block);
    if (in_place) message_.bytes.resize(filled_ + (came && *came > 16 ? *came - 16 : 0));
    if (!came) return came.error();
    if (starved_) return std::optional<Message>{};
    if (*came == 0) return end_of_stream();
    const auto size = static_cast<std::size_t>(*came);
    if (size < sizeof header_)
      return Error{Errc::malformed, "what came is no message of a passel connection"};
    // A new message in place of the rest of the last one: out of the way before that is dropped.
    std::vector<std::byte> displaced;
    if (in_place && header_.index == 0) {
      displaced.assign(message_.bytes.begin() + static_cast<std::ptrdiff_t>(filled_),
                       message_.bytes.end());
      body = displaced.data();
    }
    PASSEL_CHECK(check_header(limit));
    if (size - sizeof header_ != body_size())
      return Error{Errc::malformed,
                   "a packet of " + std::to_string(size) + " bytes is not of the announced length"};
    if (header_.index == 0) {
      if (header_.total > packet_size) make_room(0);
      message_.bytes.assign(body, body + body_size());
    }
    return packet_arrived();
  }
  if (header_have_ < sizeof header_) {
    PASSEL_TRY(const std::ptrdiff_t came,
               receive(fd, {raw_header + header_have_, sizeof header_ - header_have_}, {}, block));
    if (starved_) return std::optional<Message>{};
    if (came == 0) return end_of_stream();
    header_have_ += static_cast<std::size_t>(came);
    if (header_have_ < sizeof header_) return std::optional<Message>{};
    PASSEL_CHECK(check_header(limit));
    make_room(body_size());
    if (body_size() == 0) return packet_arrived();
    return std::optional<Message>{};
  }
  const std::size_t missing = body_size() - body_have_;
  PASSEL_TRY(const std::ptrdiff_t came,
             receive(fd, {message_.bytes.data() + filled_ + body_have_, missing}, {}, block));
  if (starved_) return std::optional<Message>{};
  if (came == 0) return end_of_stream();
  body_have_ += static_cast<std::size_t>(came);
  if (body_have_ < body_size()) return std::optional<Message>{};
  return packet_arrived();
}

// ---- sending -----------------------------------------------------------------------------------

Result<void> MessageOutbox::finish_packet(int fd, Deadline deadline) {
  std::size_t done = 0;
  Result<void> outcome;
  while (done < unsent_.size()) {
    const ssize_t sent =
        ::send(fd, unsent_.data() + done, unsent_.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      PASSEL_TRY(const bool ready, wait_for_events(fd, POLLOUT, deadline));
      if (ready) continue;
      outcome = Error{Errc::timeout, "the other end of the connection did not read in time"};
      break;
    } else if (errno != EINTR) {
      outcome = connection_send_error(errno);
      break;
    }
  }
  unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(done));
  return outcome;
}

Result<void> MessageOutbox::flush_channel(int fd, Deadline deadline) {
  tls_->take(unsent_);
  return finish_packet(fd, deadline);
}

Result<void> MessageOutbox::send_encrypted(int fd, const PacketHeader& header,
                                           std::span<const std::byte> body, Deadline deadline) {
  const auto* raw = reinterpret_cast<const std::byte*>(&header);
  std::vector<std::byte> plain{raw, raw + sizeof header};
  plain.insert(plain.end(), body.begin(), body.end());
  PASSEL_CHECK(tls_->write(plain));
  return flush_channel(fd, deadline);
}

Result<void> MessageOutbox::send_packet(int fd, const PacketHeader& header,
                                        std::span<const std::byte> body, DescriptorSpan descriptors,
                                        Deadline deadline) {
  if (tls_ != nullptr) return send_encrypted(fd, header, body, deadline);
  iovec parts[2] = {{const_cast<PacketHeader*>(&header), sizeof header},
                    {const_cast<std::byte*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = body.empty() ? 1 : 2;
  CarriedDescriptors<max_message_descriptors> control;
  if (!descriptors.empty()) {
    control.attach(message, descriptors.size(),
                   [&](std::size_t i) { return descriptors[i]->get(); });
  }
  const int flags = MSG_NOSIGNAL | (deadline.is_never() ? 0 : MSG_DONTWAIT);
  while (true) {
    const ssize_t sent = ::sendmsg(fd, &message, flags);
    if (sent >= 0) {
      const auto done = static_cast<std::size_t>(sent);
      if (done == sizeof header + body.size()) return {};
      // Only a stream takes a part. The rest of the packet has to follow, whatever becomes of the
      // message.
      const auto* raw = reinterpret_cast<const std::byte*>(&header);
      unsent_.assign(raw, raw + sizeof header);
      unsent_.insert(unsent_.end(), body.begin(), body.end());
      unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
      return finish_packet(fd, deadline);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return connection_send_error(errno);
    PASSEL_TRY(const bool ready, wait_for_events(fd, POLLOUT, deadline));
    if (!ready) return Error{Errc::timeout, "the other end of the connection did not read in time"};
  }
}

Result<void> MessageOutbox::push(int fd, PacketKind kind, std::span<const std::byte> bytes,
                                 DescriptorSpan descriptors, Deadline deadline) {
  if (!unsent_.empty()) PASSEL_CHECK(finish_packet(fd, deadline));
  PacketHeader header{.total = bytes.size(),
                      .index = 0,
                      .descriptors = static_cast<std::uint16_t>(descriptors.size()),
                      .kind = kind};
  const auto packets = static_cast<std::uint32_t>(packets_of(bytes.size()));
  for (; header.index < packets; ++header.index) {
    const std::size_t begin = std::size_t{header.index} * packet_size;
    const auto body = bytes.subspan(begin, std::min(packet_size, bytes.size() - begin));
    PASSEL_CHECK(send_packet(fd, header, body, header.index == 0 ? descriptors : DescriptorSpan{},
                             deadline));
  }
  return {};
}

}  // namespace passel::inline v0::detail
