// Layer transport: system calls of frame sockets.
#include "frame_socket.hpp"

#include <passel/detail/carried_descriptors.hpp>

#include <passel/detail/spare_buffers.hpp>

#include "socket_address.hpp"
#include "used_descriptor.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

// Descriptors that came before the frame they belong to was complete: no more than one frame may
// have, twice over, because the next frame's first byte may be in already.
constexpr std::size_t max_arrived = 2 * max_frame_descriptors;
constexpr std::size_t scratch_size = std::size_t{32} << 10;
constexpr std::size_t encrypted_at_once = std::size_t{256} << 10;

Error closed_error(int error_number) {
  if (error_number == EPIPE) return {Errc::closed, "the peer has closed its end"};
  if (error_number == ECONNRESET) return {Errc::closed, "the peer is gone (connection reset)"};
  return {Errc::closed, std::string{"the peer is gone ("} + std::strerror(error_number) + ")"};
}

Error send_error(int error_number) {
  if (is_gone(error_number)) return closed_error(error_number);
  if (error_number == ETOOMANYREFS) {
    return {Errc::no_space,
            "sendmsg: too many descriptors on their way and not yet received (ETOOMANYREFS)"};
  }
  if (error_number == ENOBUFS || error_number == ENOMEM) {
    return {Errc::no_space, std::string{"sendmsg: "} + std::strerror(error_number)};
  }
  return system_error("sendmsg", error_number);
}

Result<void> wait(int fd, short events, Deadline deadline) {
  PASSEL_TRY(const bool ready, wait_for_events(fd, events, deadline));
  if (ready) return {};
  return Error{Errc::timeout, events == POLLOUT ? "the peer did not read in time"
                                                : "the peer sent nothing in time"};
}

}  // namespace

Result<void> FrameSocket::send(std::span<const std::byte> payload,
                               std::span<const std::shared_ptr<Descriptor>> descriptors) {
  auto& out = open_frame();
  out.insert(out.end(), payload.begin(), payload.end());
  return close_frame(descriptors);
}

Result<void> FrameSocket::send(std::span<const std::byte> payload, std::span<const int> fds) {
  std::vector<std::shared_ptr<Descriptor>> owned;
  owned.reserve(fds.size());
  for (const int fd : fds) {
    PASSEL_TRY(Descriptor copy, Descriptor::duplicate(fd));
    owned.push_back(std::make_shared<Descriptor>(std::move(copy)));
  }
  return send(payload, owned);
}

std::vector<std::byte>& FrameSocket::open_frame() {
  frame_start_ = outbox_.size();
  outbox_.resize(frame_start_ + frame_header_size);
  return outbox_;
}

Result<void> FrameSocket::close_frame(std::span<const std::shared_ptr<Descriptor>> descriptors) {
  const std::size_t length = outbox_.size() - frame_start_ - frame_header_size;
  const auto refuse = [this](Errc code, std::string what) {
    outbox_.resize(frame_start_);
    return Error{code, std::move(what)};
  };
  if (length > limits_.frame) {
    return refuse(Errc::too_large, "frame of " + std::to_string(length) + " bytes, limit " +
                                       std::to_string(limits_.frame));
  }
  if (descriptors.size() > max_frame_descriptors) {
    return refuse(Errc::too_large, "frame with " + std::to_string(descriptors.size()) +
                                       " descriptors, limit " +
                                       std::to_string(max_frame_descriptors));
  }
  if (!descriptors.empty() && carrier_ == Carrier::network) {
    return refuse(Errc::unsupported, "frame with " + std::to_string(descriptors.size()) +
                                         " descriptors, which no network carries");
  }
  if (const std::size_t waiting = frame_start_ - sent_;
      waiting != 0 && waiting + length > limits_.outbox) {
    return refuse(Errc::full, "frame of " + std::to_string(length) + " bytes behind " +
                                  std::to_string(waiting) + " that the peer has not read, limit " +
                                  std::to_string(limits_.outbox));
  }
  const FrameHeader header{static_cast<std::uint32_t>(length),
                           static_cast<std::uint32_t>(descriptors.size())};
  std::memcpy(outbox_.data() + frame_start_, &header, sizeof header);
  for (std::size_t at = 0, byte = 0; at < descriptors.size();
       at += max_descriptors_at_once, ++byte) {
    const auto part =
        descriptors.subspan(at, std::min(max_descriptors_at_once, descriptors.size() - at));
    attachments_.push_back({frame_start_ + byte, {part.begin(), part.end()}});
  }
  return {};
}

Result<std::size_t> FrameSocket::send_once() {
  const bool attached = !attachments_.empty() && attachments_.front().position == sent_;
  const std::size_t next = attached ? 1 : 0;
  const std::size_t end = attachments_.size() > next ? attachments_[next].position : outbox_.size();
  iovec bytes{outbox_.data() + sent_, end - sent_};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  CarriedDescriptors<max_descriptors_at_once> control;
  if (attached) {
    const auto& descriptors = attachments_.front().descriptors;
    control.attach(message, descriptors.size(),
                   [&](std::size_t i) { return descriptors[i] ? descriptors[i]->get() : -1; });
  }
  while (true) {
    const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      sent_ += static_cast<std::size_t>(sent);
      if (attached && sent > 0) attachments_.pop_front();
      return static_cast<std::size_t>(sent);
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::size_t{0};
    return send_error(errno);
  }
}

Result<bool> FrameSocket::flush_cipher() {
  while (cipher_sent_ < cipher_.size()) {
    const ssize_t sent = ::send(socket_.get(), cipher_.data() + cipher_sent_,
                                cipher_.size() - cipher_sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      cipher_sent_ += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return false;
    } else if (errno != EINTR) {
      return send_error(errno);
    }
  }
  cipher_.clear();
  if (cipher_.capacity() >= 2 * encrypted_at_once) std::vector<std::byte>{}.swap(cipher_);
  cipher_sent_ = 0;
  return true;
}

Result<bool> FrameSocket::flush_stream() {
  stream_->take(cipher_);
  while (true) {
    PASSEL_TRY(const bool gone, flush_cipher());
    if (!gone || !stream_->encrypts() || !established() || sent_ == outbox_.size()) return gone;
    const std::size_t piece = std::min(outbox_.size() - sent_, encrypted_at_once);
    PASSEL_CHECK(stream_->write(std::span{outbox_}.subspan(sent_, piece)));
    stream_->take(cipher_);
    sent_ += piece;
    drop_sent();
  }
}

Result<bool> FrameSocket::flush() {
  if (stream_) {
    PASSEL_TRY(const bool gone, flush_stream());
    if (!gone || !established() || stream_->encrypts()) return gone;
    // From now on bytes go as they are: all that came before has been read out of the stream.
    key_ = stream_->key();
    stream_.reset();
  }
  while (wants_write()) {
    PASSEL_TRY(const std::size_t sent, send_once());
    if (sent == 0) {
      drop_sent();
      return false;
    }
  }
  drop_sent();
  return true;
}

void FrameSocket::drop_sent() {
  if (sent_ == outbox_.size()) {
    outbox_.clear();
    if (outbox_.capacity() >= least_spare) give_buffer(std::exchange(outbox_, {}));
    sent_ = 0;
  } else if (sent_ >= outbox_.size() / 2) {
    // Moved at most once for every byte that was sent.
    outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(sent_));
    for (Attachment& attachment : attachments_) attachment.position -= sent_;
    sent_ = 0;
  }
}

Result<void> FrameSocket::decrypt(std::span<const std::byte> bytes) {
  if (!arrived_.empty() && !established())
    return Error{Errc::malformed, "descriptors came before the proof of the key"};
  const auto fed = stream_->feed(bytes);
  stream_->take(cipher_);
  if (!fed) stream_error_ = fed.error();
  while (stream_->established()) {
    const auto got = stream_->read(reader_.space());
    if (!got && !stream_error_) stream_error_ = got.error();
    if (!got || *got == 0) break;
    reader_.received(*got);
  }
  if (stream_error_ && !stream_->established()) return *stream_error_;
  return {};
}

Result<FrameSocket::Got> FrameSocket::receive_once() {
  if (stream_error_) return *stream_error_;
  std::array<std::byte, scratch_size> scratch;
  const std::span<std::byte> space = stream_ ? std::span<std::byte>{scratch} : reader_.space();
  iovec bytes{space.data(), space.size()};
  CarriedDescriptors<max_descriptors_at_once> control;
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  control.expect(message);
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Got::nothing;
    if (is_gone(errno)) return closed_error(errno);
    return system_error("recvmsg", errno);
  }
  received_ += static_cast<std::size_t>(count);
  // Owned first, whatever is wrong with the message.
  bool attached = false;
  take_carried(message, [&](int fd) {
    arrived_.push_back(std::make_shared<Descriptor>(fd));
    attached = true;
  });
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return Error{Errc::no_space,
                 "descriptors sent by the peer were lost: this process may not have more of them"};
  }
  if (arrived_.size() > max_arrived) {
    return Error{Errc::malformed,
                 std::to_string(arrived_.size()) + " descriptors came that belong to no frame"};
  }
  if (count == 0) {
    if (reader_.pending() == 0) return Error{Errc::closed, "the peer has closed its end"};
    return Error{Errc::closed, "the peer has closed its end in the middle of a frame, after " +
                                   std::to_string(reader_.pending()) + " bytes of it"};
  }
  if (stream_) {
    PASSEL_CHECK(decrypt(space.first(static_cast<std::size_t>(count))));
    if (stream_error_) return Got::something;
  } else {
    reader_.received(static_cast<std::size_t>(count));
  }
  // The kernel stops behind a byte that carries descriptors, full buffer or not.
  return attached || static_cast<std::size_t>(count) == space.size() ? Got::something : Got::all;
}

Result<std::optional<ReceivedFrame>> FrameSocket::next_frame() {
  PASSEL_TRY(const auto frame, reader_.next());
  if (!frame) return std::optional<ReceivedFrame>{};
  ReceivedFrame out{frame->payload, {}};
  if (frame->descriptors != 0) {
    if (arrived_.size() < frame->descriptors) {
      return Error{Errc::malformed, "frame announced " + std::to_string(frame->descriptors) +
                                        " descriptors, " + std::to_string(arrived_.size()) +
                                        " came"};
    }
    const auto last = arrived_.begin() + static_cast<std::ptrdiff_t>(frame->descriptors);
    out.descriptors.assign(std::make_move_iterator(arrived_.begin()),
                           std::make_move_iterator(last));
    arrived_.erase(arrived_.begin(), last);
  }
  return std::optional<ReceivedFrame>{std::move(out)};
}

Result<void> FrameSocket::wait_readable(Deadline deadline) const {
  return wait(socket_.get(), POLLIN, deadline);
}

Result<void> FrameSocket::flush_blocking(Deadline deadline) {
  while (true) {
    PASSEL_TRY(const bool done, flush());
    if (done) return {};
    PASSEL_CHECK(wait(socket_.get(), POLLOUT, deadline));
  }
}

}  // namespace passel::inline v0::detail
