// Layer actors: channels between the threads of a process, Rust's and Go's way of passing items on.
#pragma once

#include <passel/detail/array_buffer.hpp>
#include <passel/detail/buffered_channel.hpp>
#include <passel/detail/channel_core.hpp>
#include <passel/detail/drain_iterator.hpp>
#include <passel/detail/list_buffer.hpp>
#include <passel/detail/rendezvous_channel.hpp>
#include <passel/detail/thread_queue.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

namespace detail {

/// What Sender and Receiver have in common: one counted share of a channel.
template <class T, void (ChannelCore<T>::*Add)() noexcept, void (ChannelCore<T>::*Drop)()>
class ChannelEnd {
 public:
  ChannelEnd(ChannelEnd&& other) noexcept : core_{std::exchange(other.core_, nullptr)} {}
  ChannelEnd& operator=(ChannelEnd&& other) noexcept {
    if (this != &other) {
      drop();
      core_ = std::exchange(other.core_, nullptr);
    }
    return *this;
  }
  ~ChannelEnd() { drop(); }

  /// Ends the channel for everybody: sends fail from now on, receives take what is in the buffer
  /// and then fail, and every thread that waits at it is told. May be repeated.
  void close() {
    if (core_ != nullptr) core_->close();
  }
  /// True after `close`, or when all handles of a side are gone. Items may still be in the buffer.
  [[nodiscard]] bool is_closed() const noexcept { return core_ == nullptr || core_->is_closed(); }
  /// Items in the buffer: exact while nobody else works on the channel, otherwise a past value.
  [[nodiscard]] std::size_t len() const noexcept { return core_ == nullptr ? 0 : core_->len(); }
  [[nodiscard]] bool is_empty() const noexcept { return len() == 0; }
  /// Whether the buffer holds `capacity()` items; always so for a rendezvous channel.
  [[nodiscard]] bool is_full() const noexcept {
    const auto most = capacity();
    return most.has_value() && len() >= *most;
  }
  /// How many items the buffer holds at most; nothing for an unbounded channel.
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept {
    return core_ == nullptr ? std::optional<std::size_t>{0} : core_->capacity();
  }

 protected:
  explicit ChannelEnd(ChannelCore<T>* core) noexcept : core_{core} {}
  [[nodiscard]] ChannelCore<T>* share() const noexcept {
    if (core_ != nullptr) (core_->*Add)();
    return core_;
  }

  ChannelCore<T>* core_;

 private:
  void drop() noexcept {
    if (core_ != nullptr) (core_->*Drop)();
  }
};

template <class T>
using SenderEnd = ChannelEnd<T, &ChannelCore<T>::add_sender, &ChannelCore<T>::drop_sender>;
template <class T>
using ReceiverEnd = ChannelEnd<T, &ChannelCore<T>::add_receiver, &ChannelCore<T>::drop_receiver>;

struct ChannelAccess;

}  // namespace detail

template <class T>
struct ChannelPair;

/// The end of a channel into which items go. Move-only; `clone` makes another sender of the same
/// channel, and when the last one goes, the channel is closed. A sender may be used by several
/// threads at once. A send that fails has not moved from its argument.
///
/// | channel | send | try_send | send_for |
/// | --- | --- | --- | --- |
/// | has room | puts the item in | puts the item in | puts the item in |
/// | full | waits | full | waits, then timeout |
/// | capacity 0 | waits for a receive | full unless a receive waits | waits, then timeout |
/// | closed | closed | closed | closed |
template <class T>
class [[nodiscard]] Sender : public detail::SenderEnd<T> {
 public:
  using value_type = T;

  Sender(Sender&&) noexcept = default;
  Sender& operator=(Sender&&) noexcept = default;
  ~Sender() = default;

  /// Another sender of the same channel.
  [[nodiscard]] Sender clone() const { return Sender{this->share()}; }

  /// Sends an item; waits while the channel is full. Error: closed, also when the channel is closed
  /// while this call waits: then nobody has the item, and `item` is as it was.
  ///
  ///     auto [tx, rx] = passel::channel<std::string>(5);
  ///     if (auto sent = tx.send(std::move(line)); !sent) keep(std::move(line));
  Result<void> send(T&& item) {
    return finish(attempt(item, detail::Deadline::never()), detail::channel_closed);
  }
  /// Sends a copy of `item`.
  Result<void> send(const T& item) requires std::is_copy_constructible_v<T> {
    return send(T{item});
  }

  /// Never waits. Errors: full, closed.
  Result<void> try_send(T&& item) {
    return finish(attempt(item, detail::Deadline::now_or_never()),
                  [&] { return detail::channel_full(this->capacity().value_or(0)); });
  }
  /// Sends a copy of `item`.
  Result<void> try_send(const T& item) requires std::is_copy_constructible_v<T> {
    return try_send(T{item});
  }

  /// Waits for `timeout` at most. Errors: timeout, closed, invalid_argument when `timeout` is
  /// negative.
  template <class Rep, class Period>
  Result<void> send_for(T&& item, std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return finish(attempt(item, deadline), detail::channel_send_timeout);
  }
  /// Sends a copy of `item`.
  template <class Rep, class Period>
  Result<void> send_for(const T& item, std::chrono::duration<Rep, Period> timeout) requires
      std::is_copy_constructible_v<T> {
    return send_for(T{item}, timeout);
  }

 private:
  friend detail::ChannelAccess;
  explicit Sender(detail::ChannelCore<T>* core) noexcept : detail::SenderEnd<T>{core} {}

  std::optional<detail::ChannelStatus> attempt(T& item, detail::Deadline deadline) {
    if (this->core_ == nullptr) return std::nullopt;
    return this->core_->send(item, deadline);
  }
  template <class NotReady>
  static Result<void> finish(std::optional<detail::ChannelStatus> status, NotReady not_ready) {
    if (status == detail::ChannelStatus::done) [[likely]]
      return {};
    if (!status) return detail::channel_handle_gone();
    if (*status == detail::ChannelStatus::closed) return detail::channel_closed();
    return not_ready();
  }
};

/// The end of a channel out of which items come, each to one receiver. Move-only; `clone` makes
/// another receiver of the same channel, and when the last one goes, the channel is closed and what
/// is in it is destroyed. A receiver may be used by several threads at once. Items of one sender
/// come in the order in which it sent them.
///
/// | channel | recv | try_recv | recv_for |
/// | --- | --- | --- | --- |
/// | has an item | takes it | takes it | takes it |
/// | empty | waits | empty | waits, then timeout |
/// | capacity 0 | waits for a send | empty unless a send waits | waits, then timeout |
/// | closed, has items | takes one | takes one | takes one |
/// | closed and empty | closed | closed | closed |
template <class T>
class [[nodiscard]] Receiver : public detail::ReceiverEnd<T> {
 public:
  using value_type = T;
  using iterator = detail::DrainIterator<T, Receiver>;

  Receiver(Receiver&&) noexcept = default;
  Receiver& operator=(Receiver&&) noexcept = default;
  ~Receiver() = default;

  /// Another receiver of the same channel. The two share the items, they do not copy them.
  [[nodiscard]] Receiver clone() const { return Receiver{this->share()}; }

  /// Takes the next item; waits while the channel is empty. Error: closed when the channel is
  /// closed and empty, also while this call waits.
  ///
  ///     while (auto line = rx.recv()) print(*line);
  Result<T> recv() { return take(detail::Deadline::never(), detail::channel_closed); }

  /// Never waits. Errors: empty, closed.
  Result<T> try_recv() { return take(detail::Deadline::now_or_never(), detail::channel_empty); }

  /// Waits for `timeout` at most. Errors: timeout, closed, invalid_argument when `timeout` is
  /// negative.
  template <class Rep, class Period>
  Result<T> recv_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return take(deadline, detail::channel_recv_timeout);
  }

  /// `for (auto& item : rx)` receives until the channel is closed and empty.
  [[nodiscard]] iterator begin() { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend detail::ChannelAccess;
  friend iterator;
  explicit Receiver(detail::ChannelCore<T>* core) noexcept : detail::ReceiverEnd<T>{core} {}

  template <class NotReady>
  Result<T> take(detail::Deadline deadline, NotReady not_ready) {
    if (this->core_ == nullptr) return detail::channel_handle_gone();
    std::optional<T> item;
    const detail::ChannelStatus status = this->core_->recv(item, deadline);
    if (status == detail::ChannelStatus::done) [[likely]]
      return *std::move(item);
    return status == detail::ChannelStatus::closed ? detail::channel_closed() : not_ready();
  }
  Result<T> next_item() { return recv(); }
};

/// Both ends of a new channel, for `auto [tx, rx] = ...`.
template <class T>
struct ChannelPair {
  Sender<T> sender;
  Receiver<T> receiver;
};

namespace detail {

/// Makes handles, and lets select see behind them.
struct ChannelAccess {
  template <class T>
  static ChannelPair<T> pair(ChannelCore<T>* core) {
    return {Sender<T>{core}, Receiver<T>{core}};
  }
  template <class End>
  static auto* core(End& end) noexcept {
    return end.core_;
  }
};

}  // namespace detail

/// A channel for as many items as memory holds: a send never waits.
template <class T>
[[nodiscard]] ChannelPair<T> unbounded_channel() {
  using Channel = detail::BufferedChannel<T, detail::ListBuffer<T>>;
  return detail::ChannelAccess::pair<T>(new Channel);
}

/// The same as `unbounded_channel`.
template <class T>
[[nodiscard]] ChannelPair<T> channel() {
  return unbounded_channel<T>();
}

/// A channel for `capacity` items; a send waits while it is full. With capacity 0 there is no
/// buffer: a send waits until a receive takes the item from its hand (a rendezvous). The buffer of
/// a bounded channel is allocated here as a whole.
///
///     auto [tx, rx] = passel::channel<std::string>(5);
///     std::jthread producer{[tx = std::move(tx)]() mutable { tx.send("hello").unwrap(); }};
///     for (auto& line : rx) print(line);   // ends when the producer's sender is gone
///
/// T is any type whose move constructor does not throw; it need not be copyable and needs no codec,
/// because items stay within the process. For items between processes see Queue.
template <class T>
[[nodiscard]] ChannelPair<T> channel(std::size_t capacity) {
  if (capacity == 0) return detail::ChannelAccess::pair<T>(new detail::RendezvousChannel<T>);
  using Channel = detail::BufferedChannel<T, detail::ArrayBuffer<T>>;
  return detail::ChannelAccess::pair<T>(new Channel{capacity});
}

}  // namespace passel::inline v0
