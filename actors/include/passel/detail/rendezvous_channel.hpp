// Layer actors: a channel without a buffer, where a send meets a receive.
#pragma once

#include <passel/detail/channel_core.hpp>
#include <passel/detail/spin.hpp>
#include <passel/detail/wait_list.hpp>

#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

namespace passel::inline v0::detail {

/// Whoever comes second moves the item from the sender's variable into the receiver's, under the
/// channel's lock, and settles the call of the one who came first.
template <class T>
class RendezvousChannel final : public ChannelCore<T> {
 public:
  ChannelStatus send(T& item, Deadline deadline) override {
    return meet(senders_, receivers_, &item, deadline, [&](void* other) {
      static_cast<std::optional<T>*>(other)->emplace(std::move(item));
    });
  }
  ChannelStatus recv(std::optional<T>& item, Deadline deadline) override {
    return meet(receivers_, senders_, &item, deadline,
                [&](void* other) { item.emplace(std::move(*static_cast<T*>(other))); });
  }

  bool watch_send(Waiter& waiter) override { return watch(senders_, receivers_, waiter); }
  bool watch_recv(Waiter& waiter) override { return watch(receivers_, senders_, waiter); }
  void unwatch_send(Waiter& waiter) override { unwatch(senders_, waiter); }
  void unwatch_recv(Waiter& waiter) override { unwatch(receivers_, waiter); }
  [[nodiscard]] bool hands_over() const noexcept override { return true; }

  void close() override {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    settle_closed(senders_.line);
    settle_closed(receivers_.line);
  }
  void discard() override {}
  [[nodiscard]] bool is_closed() const noexcept override {
    const std::lock_guard lock{mutex_};
    return closed_;
  }
  [[nodiscard]] std::size_t len() const noexcept override { return 0; }
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept override { return 0; }

 private:
  struct End {
    WaiterChain line;
    Spinner spinner;
    CpuMark cpu;
  };

  template <class Move>
  ChannelStatus meet(End& mine, End& theirs, void* slot, Deadline deadline, Move move) {
    std::unique_lock lock{mutex_};
    mine.cpu.publish();
    if (closed_) return ChannelStatus::closed;
    while (Waiter* other = theirs.line.front()) {
      theirs.line.unlink(*other);
      Parker& parker = *other->parker;
      const std::uint32_t outcome = other->outcome;
      const std::atomic<std::uint32_t>& state = parker.state();
      const Parker::Claim claim = parker.settle(Parker::claimed);
      if (claim == Parker::Claim::lost) continue;  // it gave up, or met somebody elsewhere
      move(other->slot);
      parker.finish(outcome);
      lock.unlock();
      if (claim == Parker::Claim::got_asleep) Parker::wake(state);
      return ChannelStatus::done;
    }
    if (deadline.is_try()) return ChannelStatus::not_ready;
    Parker parker;
    Waiter waiter{.parker = &parker, .slot = slot};
    mine.line.append(waiter);
    lock.unlock();
    mine.spinner.spin(theirs.cpu, deadline, [&] { return parker.settled(); });
    const auto begin = Deadline::Clock::now();
    const std::uint32_t outcome = parker.wait(deadline);
    if (outcome == Parker::first_case) {
      mine.spinner.waited(Deadline::Clock::now() - begin);
      return ChannelStatus::done;
    }
    unwatch(mine, waiter);
    return outcome == Parker::closed ? ChannelStatus::closed : ChannelStatus::not_ready;
  }

  /// Of two selects that stand in line at both ends one must see the other, or both would sleep.
  bool watch(End& mine, End& theirs, Waiter& waiter) {
    const std::lock_guard lock{mutex_};
    mine.line.append(waiter);
    if (closed_) return true;
    for (Waiter* other = theirs.line.front(); other != nullptr; other = other->next) {
      if (other->parker != waiter.parker && !other->parker->settled()) return true;
    }
    return false;
  }
  void unwatch(End& mine, Waiter& waiter) {
    const std::lock_guard lock{mutex_};
    mine.line.unlink(waiter);
  }

  static void settle_closed(WaiterChain& line) {
    while (Waiter* waiter = line.front()) {
      line.unlink(*waiter);
      const std::atomic<std::uint32_t>& state = waiter->parker->state();
      if (waiter->parker->settle(Parker::closed) == Parker::Claim::got_asleep) Parker::wake(state);
    }
  }

  mutable std::mutex mutex_;
  End senders_;
  End receivers_;
  bool closed_ = false;
};

}  // namespace passel::inline v0::detail
