// Layer transport: Connection, one end of a line that carries whole messages.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

class Listener;
class Waitable;
struct Client;

/// What an end of a Pipe may be used for.
enum class ConnectionMode : std::uint8_t { duplex = 1, read_only, write_only };

/// Carried by the too_large of `recv_bytes_into`: the message that did not fit, whole (Python's
/// BufferTooShort and its args[0]).
struct PASSEL_API BufferTooShort : ErrorDetail {
  std::vector<std::byte> message;
  ~BufferTooShort() override;
};

namespace detail {
class ConnectionEnd;
struct Message {
  std::vector<std::byte> bytes;
  std::vector<std::shared_ptr<Descriptor>> descriptors;
};
/// The error of trying when there is nothing, in place of timeout.
[[nodiscard]] PASSEL_API Result<Message> nothing_there(Result<Message> tried);
inline constexpr std::size_t any_length = std::numeric_limits<std::size_t>::max();
}  // namespace detail

/// One end of a line between two processes, or two threads, that keeps the boundaries of messages:
/// an end of a Pipe. Values travel by codec<T>; an end is itself a value, so it can be an argument
/// of a Process or be sent through another Connection.
///
///     auto [here, there] = passel::Pipe::create().unwrap();
///     auto child = passel::Process::spawn<work>(std::move(there)).unwrap();
///     here.send(std::vector{1, 2, 3}).unwrap();
///     auto answer = here.recv<std::string>().unwrap();
///
/// | the other end     | recv                                | send                    |
/// | ----------------- | ----------------------------------- | ----------------------- |
/// | is slow           | waits                               | waits once it is full   |
/// | closed, or killed | what was sent before, then `closed` | `closed`, never SIGPIPE |
/// | died in a message | `peer_lost`, then `closed`          |                         |
///
/// The other end counts as closed when every process that has a copy of it has closed it or is
/// gone. Give an end away by std::move: then the parent keeps no copy after the start, and the
/// death of the child is the end of the line at once.
///
/// Threads: any function may be called by several threads at once; each message goes to one of
/// them, whole. `close` ends their waits with `closed`, except where another process was given a
/// copy of this end: then they go on waiting for the other end. Processes: an end is meant for one
/// process at a time. Messages of up to 64 KiB stay whole even when several share it; larger ones
/// travel in pieces, and when two processes mix theirs the reader gets `malformed`.
///
/// Move-only. The destructor closes. A moved-from Connection is a closed one.
/// Source of the semantics: Python's multiprocessing.connection.Connection.
class PASSEL_API Connection {
 public:
  /// No message may be longer: 2 GiB less one byte.
  static constexpr std::size_t max_message_size = 0x7fffffff;

  /// A closed one.
  Connection() noexcept;
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&& other) noexcept;
  ~Connection();

  /// Takes over a connected socket (stream or seqpacket) whose other end is a Connection too.
  /// On a stream socket a message that was given up by a deadline within its last 64 KiB may still
  /// arrive. Errors: invalid_argument when `fd` is no open descriptor or no such socket; it is left
  /// open then. (Python: Connection(handle))
  [[nodiscard]] static Result<Connection> adopt(int fd,
                                                ConnectionMode mode = ConnectionMode::duplex);

  /// Sends one value; waits while the line is full. Errors: closed (the other end, or this one),
  /// invalid_state on an end that only reads and for objects that only inheritance shares (Queue,
  /// Lock), too_large (over 2 GiB, nested too deep, more than 253 handles; nothing was sent then),
  /// no_space. (Python: send)
  template <class T>
  Result<void> send(const T& value) {
    return send_until(value, detail::Deadline::never());
  }
  /// The same, waiting at most `timeout`. Errors: as send, timeout: then the message is given up
  /// and the receiver sees nothing of it; invalid_argument when `timeout` is negative.
  template <class T, class Rep, class Period>
  Result<void> send_for(const T& value, std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return send_until(value, deadline);
  }

  /// Waits for one value that was sent with `send`. Errors: closed when the other end is gone and
  /// nothing is left, peer_lost when it went in the middle of a message, invalid_state on an end
  /// that only writes, type_mismatch or malformed when the message is no T: it is gone then.
  /// (Python: recv)
  template <class T>
  Result<T> recv() {
    return decoded<T>(receive(detail::Deadline::never()));
  }
  /// The same, waiting at most `timeout`. Errors: as recv, timeout, invalid_argument when `timeout`
  /// is negative. What has come of a large message by then is kept for the next call.
  template <class T, class Rep, class Period>
  Result<T> recv_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return decoded<T>(receive(deadline));
  }
  /// Never waits. Errors: as recv, empty.
  template <class T>
  Result<T> try_recv() {
    return decoded<T>(detail::nothing_there(receive(detail::Deadline::now_or_never())));
  }

  /// Sends `bytes` as one message, also when there are none of them. Errors: as send. (Python:
  /// send_bytes)
  Result<void> send_bytes(std::span<const std::byte> bytes) {
    return transmit(bytes, {}, detail::Deadline::never());
  }
  Result<void> send_bytes(std::string_view text) {
    return send_bytes(std::as_bytes(std::span{text}));
  }
  /// Sends `size` bytes from `offset`, all of the rest when no size is given. Errors: also
  /// invalid_argument when there are fewer. (Python: send_bytes(buf, offset, size))
  Result<void> send_bytes(std::span<const std::byte> bytes, std::size_t offset,
                          std::optional<std::size_t> size = std::nullopt);
  /// As send_for. (Python has no such function)
  template <class Rep, class Period>
  Result<void> send_bytes_for(std::span<const std::byte> bytes,
                              std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return transmit(bytes, {}, deadline);
  }

  /// Waits for one message that was sent with `send_bytes`. A longer one than `maxlength` is
  /// too_large, and then this end cannot be read any more (one that only reads is closed). Errors:
  /// as recv. (Python: recv_bytes)
  Result<std::vector<std::byte>> recv_bytes(std::size_t maxlength = detail::any_length) {
    return bytes_of(receive(detail::Deadline::never(), maxlength));
  }
  /// The same, waiting at most `timeout`. Errors: as recv_for.
  template <class Rep, class Period>
  Result<std::vector<std::byte>> recv_bytes_for(std::chrono::duration<Rep, Period> timeout,
                                                std::size_t maxlength = detail::any_length) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return bytes_of(receive(deadline, maxlength));
  }
  /// Never waits. Errors: as recv_bytes, empty.
  Result<std::vector<std::byte>> try_recv_bytes(std::size_t maxlength = detail::any_length) {
    return bytes_of(detail::nothing_there(receive(detail::Deadline::now_or_never(), maxlength)));
  }

  /// Waits for one message, writes it to `buffer` from `offset` and returns its length. Errors: as
  /// recv; too_large with BufferTooShort when it does not fit: the end stays usable, and the
  /// message is in the detail; invalid_argument when `offset` is over the buffer's size. (Python:
  /// recv_bytes_into)
  Result<std::size_t> recv_bytes_into(std::span<std::byte> buffer, std::size_t offset = 0) {
    return receive_into(buffer, offset, detail::Deadline::never());
  }
  /// The same, waiting at most `timeout`. Errors: as recv_for.
  template <class Rep, class Period>
  Result<std::size_t> recv_bytes_into_for(std::span<std::byte> buffer,
                                          std::chrono::duration<Rep, Period> timeout,
                                          std::size_t offset = 0) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return receive_into(buffer, offset, deadline);
  }

  /// Whether there is something to receive, be it the news that the other end is gone. Never waits
  /// and takes nothing. Errors: closed when this end is, invalid_state on an end that only writes.
  /// (Python: poll())
  Result<bool> poll() { return poll_until(detail::Deadline::now_or_never()); }
  /// Waits at most `timeout` for it; a negative one counts as zero, as in Python. (Python:
  /// poll(timeout))
  template <class Rep, class Period>
  Result<bool> poll_for(std::chrono::duration<Rep, Period> timeout) {
    return poll_until(detail::Deadline::after(timeout));
  }
  /// Waits until there is. (Python: poll(None))
  Result<void> wait();

  /// Gives up this process's copy of the end; the second time is nothing. (Python: close)
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;
  [[nodiscard]] bool readable() const noexcept;
  [[nodiscard]] bool writable() const noexcept;
  /// The descriptor, which poll and epoll report readable exactly when `poll()` is true; it belongs
  /// to the Connection. Errors: closed. (Python: fileno)
  [[nodiscard]] Result<int> fileno() const;

 private:
  friend Client;
  friend Listener;
  friend Waitable;
  friend struct Pipe;
  friend struct codec<Connection>;

  explicit Connection(std::shared_ptr<detail::ConnectionEnd> end) noexcept;

  template <class T>
  Result<void> send_until(const T& value, detail::Deadline deadline) {
    PASSEL_TRY(const detail::Encoded encoded, detail::encode(value));
    if (!encoded.objects.empty()) return only_inherited(encoded);
    return transmit(encoded.bytes, encoded.descriptors, deadline);
  }
  template <class T>
  static Result<T> decoded(Result<detail::Message> message) {
    if (!message) return message.error();
    return detail::decode<T>(message->bytes, message->descriptors);
  }
  static Result<std::vector<std::byte>> bytes_of(Result<detail::Message> message) {
    if (!message) return message.error();
    return std::move(message->bytes);
  }

  static Error only_inherited(const detail::Encoded& encoded);
  Result<void> transmit(std::span<const std::byte> bytes, detail::DescriptorSpan descriptors,
                        detail::Deadline deadline);
  Result<detail::Message> receive(detail::Deadline deadline,
                                  std::size_t maxlength = detail::any_length);
  Result<std::size_t> receive_into(std::span<std::byte> buffer, std::size_t offset,
                                   detail::Deadline deadline);
  Result<bool> poll_until(detail::Deadline deadline);

  std::shared_ptr<detail::ConnectionEnd> end_;
};

/// An end travels as a descriptor, to a process that is being started or through a Connection. The
/// sender keeps its own copy until it closes it. A received value gives its descriptor to the first
/// Connection that is made of it.
template <>
struct PASSEL_API codec<Connection> {
  static std::string name() { return "Connection"; }
  static WireValue encode(const Connection& connection);
  static Result<Connection> decode(const WireValue& value);
};

}  // namespace passel::inline v0
