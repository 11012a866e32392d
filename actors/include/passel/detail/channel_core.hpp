// Layer actors: what the kinds of channels have in common.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/wait_list.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <type_traits>

namespace passel::inline v0::detail {

/// What came of an attempt at a channel.
enum class ChannelStatus { done, not_ready, closed };

/// Errors of channels, in one place so that all kinds say the same.
[[nodiscard]] PASSEL_API Error channel_closed();
[[nodiscard]] PASSEL_API Error channel_full(std::size_t capacity);
[[nodiscard]] PASSEL_API Error channel_empty();
[[nodiscard]] PASSEL_API Error channel_send_timeout();
[[nodiscard]] PASSEL_API Error channel_recv_timeout();
[[nodiscard]] PASSEL_API Error channel_handle_gone();

/// One channel, shared by its handles: a buffer of some kind (or none), two lines of waiters and
/// the counts of handles. Deleted when the last handle of both sides is gone.
template <class T>
class ChannelCore {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "items of a channel are moved between threads, so their move must not throw");

 public:
  ChannelCore() = default;
  ChannelCore(const ChannelCore&) = delete;
  ChannelCore& operator=(const ChannelCore&) = delete;
  virtual ~ChannelCore() = default;

  /// `item` is moved from only when the status is done. With Deadline::now_or_never nothing waits.
  virtual ChannelStatus send(T& item, Deadline deadline) = 0;
  virtual ChannelStatus recv(std::optional<T>& item, Deadline deadline) = 0;

  /// For select: stand in line; true when an attempt could succeed (or find the channel closed)
  /// now.
  virtual bool watch_send(Waiter& waiter) = 0;
  virtual bool watch_recv(Waiter& waiter) = 0;
  virtual void unwatch_send(Waiter& waiter) = 0;
  virtual void unwatch_recv(Waiter& waiter) = 0;
  /// True when a waiter that is settled has its item already; otherwise it tries again.
  [[nodiscard]] virtual bool hands_over() const noexcept = 0;

  virtual void close() = 0;
  /// Destroys what is in the buffer; only after `close`, when no receiver is left.
  virtual void discard() = 0;
  [[nodiscard]] virtual bool is_closed() const noexcept = 0;
  [[nodiscard]] virtual std::size_t len() const noexcept = 0;
  /// Nothing for an unbounded channel.
  [[nodiscard]] virtual std::optional<std::size_t> capacity() const noexcept = 0;

  void add_sender() noexcept { senders_.fetch_add(1, std::memory_order_relaxed); }
  void add_receiver() noexcept { receivers_.fetch_add(1, std::memory_order_relaxed); }
  void drop_sender() {
    if (senders_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    close();
    drop_side();
  }
  void drop_receiver() {
    if (receivers_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    close();
    discard();
    drop_side();
  }

 private:
  void drop_side() {
    if (sides_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  std::atomic<std::size_t> senders_{1};
  std::atomic<std::size_t> receivers_{1};
  std::atomic<int> sides_{2};
};

}  // namespace passel::inline v0::detail
