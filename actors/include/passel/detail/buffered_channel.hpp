// Layer actors: a channel with a buffer, bounded or not.
#pragma once

#include <passel/detail/channel_core.hpp>
#include <passel/detail/spin.hpp>
#include <passel/detail/wait_list.hpp>

#include <cstddef>
#include <optional>
#include <utility>

namespace passel::inline v0::detail {

/// Adds waiting to a buffer that never waits.
template <class T, class Buffer>
class BufferedChannel final : public ChannelCore<T> {
 public:
  template <class... Args>
  explicit BufferedChannel(Args&&... args) : buffer_{std::forward<Args>(args)...} {}

  ChannelStatus send(T& item, Deadline deadline) override {
    return settle(
        senders_, receiver_cpu_, deadline,
        [&] {
          const ChannelStatus status = buffer_.push(item);
          if (status == ChannelStatus::done) {
            sender_cpu_.publish();
            receivers_.line.notify_one();
          }
          return status;
        },
        [this] { return buffer_.can_push(); });
  }

  ChannelStatus recv(std::optional<T>& item, Deadline deadline) override {
    return settle(
        receivers_, sender_cpu_, deadline,
        [&] {
          const ChannelStatus status = buffer_.pop(item);
          if (status == ChannelStatus::done) {
            receiver_cpu_.publish();
            senders_.line.notify_one();
          }
          return status;
        },
        [this] { return buffer_.can_pop(); });
  }

  bool watch_send(Waiter& waiter) override {
    senders_.line.add(waiter);
    return buffer_.can_push();
  }
  bool watch_recv(Waiter& waiter) override {
    receivers_.line.add(waiter);
    return buffer_.can_pop();
  }
  void unwatch_send(Waiter& waiter) override { senders_.line.remove(waiter); }
  void unwatch_recv(Waiter& waiter) override { receivers_.line.remove(waiter); }
  [[nodiscard]] bool hands_over() const noexcept override { return false; }

  void close() override {
    if (!buffer_.close()) return;
    senders_.line.notify_closed();
    receivers_.line.notify_closed();
  }
  void discard() override { buffer_.discard(); }
  [[nodiscard]] bool is_closed() const noexcept override { return buffer_.is_closed(); }
  [[nodiscard]] std::size_t len() const noexcept override { return buffer_.len(); }
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept override {
    return buffer_.capacity();
  }

 private:
  struct End {
    WaitList line;
    Spinner spinner;
  };

  /// Repeats the attempt until it succeeds, finds the channel closed or the deadline has passed.
  template <class Attempt, class Ready>
  static ChannelStatus settle(End& end, const CpuMark& peer, Deadline deadline, Attempt attempt,
                              Ready ready) {
    ChannelStatus status = attempt();
    if (status != ChannelStatus::not_ready || deadline.is_try()) [[likely]]
      return status;
    while (true) {
      bool in_time = true;
      if (!end.spinner.spin(peer, deadline, ready)) in_time = park(end, deadline, ready);
      status = attempt();
      if (status != ChannelStatus::not_ready || !in_time) return status;
    }
  }

  /// False when the deadline has passed.
  template <class Ready>
  static bool park(End& end, Deadline deadline, Ready ready) {
    Parker parker;
    Waiter waiter{.parker = &parker};
    end.line.add(waiter);
    if (ready()) parker.cancel();
    const auto begin = Deadline::Clock::now();
    const std::uint32_t outcome = parker.wait(deadline);
    if (outcome == Parker::first_case) {
      end.spinner.waited(Deadline::Clock::now() - begin);
      return true;  // whoever settled the call took the waiter out of the line before
    }
    end.line.remove(waiter);
    return outcome != Parker::cancelled || !deadline.passed();
  }

  Buffer buffer_;
  alignas(64) End receivers_;
  CpuMark sender_cpu_;
  alignas(64) End senders_;
  CpuMark receiver_cpu_;
};

}  // namespace passel::inline v0::detail
