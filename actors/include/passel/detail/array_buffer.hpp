// Layer actors: the buffer of a bounded channel, an array of stamped slots.
#pragma once

#include <passel/detail/brief_wait.hpp>
#include <passel/detail/channel_core.hpp>
#include <passel/detail/spin.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace passel::inline v0::detail {

/// Dmitry Vyukov's bounded queue in the form of crossbeam's array flavour: each slot's stamp says
/// which position it is for and whether it holds an item, so that senders and receivers meet only
/// at the slot. One atomic exchange for a send and one for a receive, no lock.
///
/// A position is an index below the mark bit and a lap above it; the mark in the tail means closed.
template <class T>
class ArrayBuffer {
 public:
  explicit ArrayBuffer(std::size_t capacity)
      : capacity_{capacity},
        mark_{std::bit_ceil(capacity + 1)},
        lap_{mark_ * 2},
        slots_{std::make_unique<Slot[]>(capacity)} {
    for (std::size_t i = 0; i < capacity; ++i) slots_[i].stamp.store(i, std::memory_order_relaxed);
  }
  ~ArrayBuffer() { discard(); }

  ChannelStatus push(T& item) noexcept {
    BriefWait moment;
    std::size_t tail = tail_.load(std::memory_order_relaxed);
    while ((tail & mark_) == 0) {
      Slot& slot = slots_[tail & (mark_ - 1)];
      const std::size_t stamp = slot.stamp.load(std::memory_order_acquire);
      if (stamp == tail) {
        if (tail_.compare_exchange_weak(tail, following(tail), std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
          ::new (static_cast<void*>(slot.bytes)) T(std::move(item));
          slot.stamp.store(tail + 1, std::memory_order_release);
          return ChannelStatus::done;
        }
        cpu_relax();
      } else {
        // The slot still holds the item of the lap before, or is just being emptied or filled.
        if (stamp + lap_ == tail + 1 && head_.load(std::memory_order_seq_cst) + lap_ == tail) {
          return ChannelStatus::not_ready;
        }
        moment.pause();
        tail = tail_.load(std::memory_order_relaxed);
      }
    }
    return ChannelStatus::closed;
  }

  ChannelStatus pop(std::optional<T>& item) noexcept {
    BriefWait moment;
    std::size_t head = head_.load(std::memory_order_relaxed);
    while (true) {
      Slot& slot = slots_[head & (mark_ - 1)];
      const std::size_t stamp = slot.stamp.load(std::memory_order_acquire);
      if (stamp == head + 1) {
        if (head_.compare_exchange_weak(head, following(head), std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
          item.emplace(std::move(slot.item()));
          slot.item().~T();
          slot.stamp.store(head + lap_, std::memory_order_release);
          return ChannelStatus::done;
        }
        cpu_relax();
      } else {
        if (stamp == head) {
          const std::size_t tail = tail_.load(std::memory_order_seq_cst);
          if ((tail & ~mark_) == head) {
            return (tail & mark_) != 0 ? ChannelStatus::closed : ChannelStatus::not_ready;
          }
        }
        moment.pause();
        head = head_.load(std::memory_order_relaxed);
      }
    }
  }

  [[nodiscard]] bool can_push() const noexcept {
    const std::size_t tail = tail_.load(std::memory_order_seq_cst);
    return (tail & mark_) != 0 || head_.load(std::memory_order_seq_cst) + lap_ != tail;
  }
  [[nodiscard]] bool can_pop() const noexcept {
    const std::size_t head = head_.load(std::memory_order_seq_cst);
    const std::size_t tail = tail_.load(std::memory_order_seq_cst);
    return tail != head;  // also when the tail carries the mark
  }

  /// False when it was closed before.
  bool close() noexcept { return (tail_.fetch_or(mark_, std::memory_order_seq_cst) & mark_) == 0; }
  [[nodiscard]] bool is_closed() const noexcept {
    return (tail_.load(std::memory_order_seq_cst) & mark_) != 0;
  }

  /// Destroys the items. Closed, and nobody pops; a push that began before may still be at work.
  void discard() noexcept {
    std::size_t head = head_.load(std::memory_order_relaxed);
    const std::size_t tail = tail_.load(std::memory_order_seq_cst) & ~mark_;
    for (; head != tail; head = following(head)) {
      Slot& slot = slots_[head & (mark_ - 1)];
      for (BriefWait moment; slot.stamp.load(std::memory_order_acquire) != head + 1;)
        moment.pause();
      head_.store(following(head), std::memory_order_seq_cst);
      slot.item().~T();
    }
  }

  [[nodiscard]] std::size_t len() const noexcept {
    while (true) {
      const std::size_t tail = tail_.load(std::memory_order_seq_cst);
      const std::size_t head = head_.load(std::memory_order_seq_cst);
      if (tail_.load(std::memory_order_seq_cst) != tail) continue;
      const std::size_t first = head & (mark_ - 1);
      const std::size_t last = tail & (mark_ - 1);
      if (first < last) return last - first;
      if (first > last) return capacity_ - first + last;
      return (tail & ~mark_) == head ? 0 : capacity_;
    }
  }
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept { return capacity_; }

 private:
  struct Slot {
    std::atomic<std::size_t> stamp;
    alignas(T) unsigned char bytes[sizeof(T)];
    T& item() noexcept { return *std::launder(reinterpret_cast<T*>(bytes)); }
  };

  [[nodiscard]] std::size_t following(std::size_t position) const noexcept {
    if ((position & (mark_ - 1)) + 1 < capacity_) return position + 1;
    return (position & ~(lap_ - 1)) + lap_;
  }

  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
  alignas(64) const std::size_t capacity_;
  const std::size_t mark_;
  const std::size_t lap_;
  const std::unique_ptr<Slot[]> slots_;
};

}  // namespace passel::inline v0::detail
