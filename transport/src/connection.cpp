// Layer transport: Connection, Pipe and the waiting for several of them.
#include <passel/connection.hpp>
#include <passel/connection_wait.hpp>
#include <passel/pipe.hpp>

#include "connection_end.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace passel::inline v0 {
namespace {

// What stands in the place of a handle's mode when there is no descriptor to send.
constexpr std::uint64_t was_closed = 0;
constexpr std::uint64_t no_descriptor_left = 100;
constexpr std::uint64_t is_encrypted = 101;

}  // namespace

BufferTooShort::~BufferTooShort() = default;

namespace detail {

Result<Message> nothing_there(Result<Message> tried) {
  if (tried || tried.error() != Errc::timeout) return tried;
  return Error{Errc::empty, "nothing to receive"};
}

}  // namespace detail

Connection::Connection() noexcept = default;
Connection::Connection(std::shared_ptr<detail::ConnectionEnd> end) noexcept
    : end_{std::move(end)} {}
Connection::Connection(Connection&&) noexcept = default;

Connection& Connection::operator=(Connection&& other) noexcept {
  if (this != &other) {
    close();
    end_ = std::move(other.end_);
  }
  return *this;
}

Connection::~Connection() { close(); }

Result<Connection> Connection::adopt(int fd, ConnectionMode mode) {
  detail::Descriptor socket{fd};
  auto end = detail::ConnectionEnd::make(std::move(socket), mode);
  if (!end) {
    static_cast<void>(socket.release());  // still the caller's
    return end.error();
  }
  return Connection{*std::move(end)};
}

void Connection::close() noexcept {
  if (end_) end_->close();
}
bool Connection::closed() const noexcept { return !end_ || end_->closed(); }
bool Connection::readable() const noexcept {
  return !closed() && end_->mode() != ConnectionMode::write_only && end_->intact();
}
bool Connection::writable() const noexcept {
  return !closed() && end_->mode() != ConnectionMode::read_only;
}
Result<int> Connection::fileno() const {
  if (closed()) return detail::ConnectionEnd::closed_here();
  return end_->socket().get();
}

Error Connection::only_inherited(const detail::Encoded&) {
  return {Errc::invalid_state,
          "Queue, Lock and the like should only be shared between processes through inheritance: "
          "as arguments of a Process"};
}

Result<void> Connection::send_bytes(std::span<const std::byte> bytes, std::size_t offset,
                                    std::optional<std::size_t> size) {
  if (offset > bytes.size()) {
    return Error{Errc::invalid_argument, "offset " + std::to_string(offset) + " in a buffer of " +
                                             std::to_string(bytes.size()) + " bytes"};
  }
  const std::size_t rest = bytes.size() - offset;
  if (size.value_or(0) > rest) {
    return Error{Errc::invalid_argument,
                 "buffer of " + std::to_string(bytes.size()) + " bytes is too short for offset " +
                     std::to_string(offset) + " and size " + std::to_string(*size)};
  }
  return send_bytes(bytes.subspan(offset, size.value_or(rest)));
}

Result<void> Connection::transmit(std::span<const std::byte> bytes,
                                  detail::DescriptorSpan descriptors, detail::Deadline deadline) {
  if (!end_) return detail::ConnectionEnd::closed_here();
  return end_->send(bytes, descriptors, deadline);
}

Result<detail::Message> Connection::receive(detail::Deadline deadline, std::size_t maxlength) {
  if (!end_) return detail::ConnectionEnd::closed_here();
  return end_->receive(deadline, maxlength);
}

Result<std::size_t> Connection::receive_into(std::span<std::byte> buffer, std::size_t offset,
                                             detail::Deadline deadline) {
  if (offset > buffer.size()) {
    return Error{Errc::invalid_argument, "offset " + std::to_string(offset) + " in a buffer of " +
                                             std::to_string(buffer.size()) + " bytes"};
  }
  PASSEL_TRY(detail::Message message, receive(deadline));
  const std::size_t size = message.bytes.size();
  if (size > buffer.size() - offset) {
    auto detail = std::make_shared<BufferTooShort>();
    detail->message = std::move(message.bytes);
    return Error{Errc::too_large,
                 "buffer too short: message of " + std::to_string(size) + " bytes, room for " +
                     std::to_string(buffer.size() - offset),
                 std::move(detail)};
  }
  if (size != 0) std::memcpy(buffer.data() + offset, message.bytes.data(), size);
  return size;
}

Result<bool> Connection::poll_until(detail::Deadline deadline) {
  if (!end_) return detail::ConnectionEnd::closed_here();
  return end_->poll(deadline);
}

Result<void> Connection::wait() {
  PASSEL_CHECK(poll_until(detail::Deadline::never()));
  return {};
}

WireValue codec<Connection>::encode(const Connection& connection) {
  Handle handle{
      .kind = "Connection", .type = "", .id = was_closed, .descriptor = nullptr, .object = nullptr};
  if (!connection.end_) return WireValue{std::move(handle)};
  const detail::UsedDescriptor::Use use{connection.end_->socket()};
  if (!use) return WireValue{std::move(handle)};
  if (connection.end_->encrypted()) {
    handle.id = is_encrypted;
    return WireValue{std::move(handle)};
  }
  // A copy, because whoever decodes this takes the descriptor.
  auto copy = detail::Descriptor::duplicate(connection.end_->socket().get());
  handle.id = no_descriptor_left;
  if (!copy) return WireValue{std::move(handle)};
  connection.end_->mark_shared();
  handle.id = static_cast<std::uint64_t>(connection.end_->mode());
  handle.descriptor = std::make_shared<detail::Descriptor>(*std::move(copy));
  return WireValue{std::move(handle)};
}

Result<Connection> codec<Connection>::decode(const WireValue& value) {
  const Handle* handle = value.handle();
  if (handle == nullptr || handle->kind != "Connection")
    return detail::mismatch("Connection", value);
  if (handle->id == was_closed) {
    return Error{Errc::closed, "handle is closed: the Connection was closed before it was sent"};
  }
  if (handle->id == no_descriptor_left) {
    return Error{Errc::no_space,
                 "the sender of the Connection could not have one more descriptor for it"};
  }
  if (handle->id == is_encrypted) {
    return Error{Errc::unsupported,
                 "an encrypted Connection cannot go to another process: its keys stay here"};
  }
  if (handle->id < static_cast<std::uint64_t>(ConnectionMode::duplex) ||
      handle->id > static_cast<std::uint64_t>(ConnectionMode::write_only) || !handle->descriptor)
    return Error{Errc::malformed, "a Connection without a descriptor or a mode came"};
  if (!*handle->descriptor) {
    return Error{Errc::invalid_state,
                 "this value's descriptor already belongs to another Connection"};
  }
  auto end = detail::ConnectionEnd::make(std::move(*handle->descriptor),
                                         static_cast<ConnectionMode>(handle->id));
  if (!end) return Error{Errc::malformed, "a Connection came without its socket"};
  (*end)->mark_shared();  // whoever sent it may have kept a copy
  return Connection{*std::move(end)};
}

Result<Pipe> Pipe::create(PipeOptions options) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return detail::system_error("socketpair", errno);
  const bool duplex = options.direction == PipeDirection::duplex;
  const auto end = [](int fd, ConnectionMode mode) {
    return Connection{
        std::make_shared<detail::ConnectionEnd>(detail::Descriptor{fd}, mode, true, true)};
  };
  return Pipe{end(ends[0], duplex ? ConnectionMode::duplex : ConnectionMode::read_only),
              end(ends[1], duplex ? ConnectionMode::duplex : ConnectionMode::write_only)};
}

// ---- waiting for several ------------------------------------------------------------------------

Waitable::Waitable(const Connection& connection) {
  if (connection.end_) held_ = {connection.end_, &connection.end_->socket()};
}

struct WaitableAccess {
  static const std::shared_ptr<detail::UsedDescriptor>& held(const Waitable& object) {
    return object.held_;
  }
  static int descriptor(const Waitable& object) { return object.descriptor_; }
};

namespace detail {
namespace {

Result<std::size_t> poll_all(std::vector<pollfd>& watched, Deadline deadline) {
  while (true) {
    const timespec left = to_timespec(deadline.left());
    const int ready =
        ::ppoll(watched.data(), watched.size(), deadline.is_never() ? nullptr : &left, nullptr);
    if (ready > 0) return static_cast<std::size_t>(ready);
    if (ready < 0 && errno != EINTR) return system_error("ppoll", errno);
    if (ready == 0 && deadline.passed()) return std::size_t{0};
  }
}

}  // namespace

Result<std::vector<std::size_t>> wait_for_any(std::span<const Waitable> objects,
                                              Deadline deadline) {
  std::vector<std::size_t> places;
  if (objects.empty()) return places;
  std::vector<UsedDescriptor::Use> uses;
  std::vector<pollfd> watched;
  uses.reserve(objects.size());
  watched.reserve(objects.size());
  for (const Waitable& object : objects) {
    int fd = WaitableAccess::descriptor(object);
    if (fd < 0) {
      const auto& held = WaitableAccess::held(object);
      if (!held) return ConnectionEnd::closed_here();
      uses.emplace_back(*held);
      if (!uses.back()) return ConnectionEnd::closed_here();
      fd = held->get();
    }
    watched.push_back({fd, POLLIN, 0});
  }
  PASSEL_CHECK(poll_all(watched, deadline));
  for (std::size_t place = 0; place < watched.size(); ++place) {
    if ((watched[place].revents & POLLNVAL) != 0) {
      return Error{Errc::invalid_argument,
                   "descriptor " + std::to_string(watched[place].fd) + " is not open"};
    }
    if (watched[place].revents == 0) continue;
    const auto& held = WaitableAccess::held(objects[place]);
    if (held && held->closed()) return ConnectionEnd::closed_here();
    places.push_back(place);
  }
  return places;
}

}  // namespace detail
}  // namespace passel::inline v0
