// Layer actors: the buffer of an unbounded channel, a list of blocks.
#pragma once

#include <passel/detail/brief_wait.hpp>
#include <passel/detail/channel_core.hpp>
#include <passel/detail/spin.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace passel::inline v0::detail {

/// A list of blocks of 31 slots after crossbeam's list flavour. Positions grow by `step`; one in 32
/// is no slot but the moment in which the next block is being linked. The lowest bit of the tail
/// means closed; that of the head means that the tail is in a later block, so that no look at the
/// tail is needed.
///
/// A block is freed by the last thread that reads from it, also when that is not the one which
/// takes its last slot.
template <class T>
class ListBuffer {
 public:
  ListBuffer() : ListBuffer{new Block} {}
  ~ListBuffer() {
    discard();
    delete head_.block.load(std::memory_order_relaxed);
    delete spare_.load(std::memory_order_relaxed);
  }
  ListBuffer(const ListBuffer&) = delete;
  ListBuffer& operator=(const ListBuffer&) = delete;

  ChannelStatus push(T& item) {
    BriefWait moment;
    std::unique_ptr<Block> next;
    std::size_t tail = tail_.index.load(std::memory_order_acquire);
    Block* block = tail_.block.load(std::memory_order_acquire);
    while ((tail & mark) == 0) {
      const std::size_t offset = slot_of(tail);
      if (offset != block_slots) {
        if (offset + 1 == block_slots && next == nullptr) next = new_block();
        if (tail_.index.compare_exchange_weak(tail, tail + step, std::memory_order_seq_cst,
                                              std::memory_order_acquire)) {
          if (offset + 1 == block_slots) link(*block, next.release());
          Slot& slot = block->slots[offset];
          ::new (static_cast<void*>(slot.bytes)) T(std::move(item));
          slot.written.store(true, std::memory_order_release);
          return ChannelStatus::done;
        }
        cpu_relax();
      } else {
        moment.pause();  // another sender links the next block
        tail = tail_.index.load(std::memory_order_acquire);
      }
      block = tail_.block.load(std::memory_order_acquire);
    }
    return ChannelStatus::closed;
  }

  ChannelStatus pop(std::optional<T>& item) noexcept {
    BriefWait moment;
    std::size_t head = head_.index.load(std::memory_order_acquire);
    Block* block = head_.block.load(std::memory_order_acquire);
    while (true) {
      const std::size_t offset = slot_of(head);
      if (offset != block_slots) {
        std::size_t new_head = head + step;
        if ((head & mark) == 0) {
          const std::size_t tail = tail_.index.load(std::memory_order_seq_cst);
          if (head / step == tail / step) {
            return (tail & mark) != 0 ? ChannelStatus::closed : ChannelStatus::not_ready;
          }
          if (head / step / lap != tail / step / lap) new_head |= mark;
        }
        if (head_.index.compare_exchange_weak(head, new_head, std::memory_order_seq_cst,
                                              std::memory_order_acquire)) {
          if (offset + 1 == block_slots) enter_next(*block, new_head);
          read(*block, offset, item);
          return ChannelStatus::done;
        }
        cpu_relax();
      } else {
        moment.pause();  // another receiver enters the next block
        head = head_.index.load(std::memory_order_acquire);
      }
      block = head_.block.load(std::memory_order_acquire);
    }
  }

  [[nodiscard]] bool can_push() const noexcept { return true; }
  [[nodiscard]] bool can_pop() const noexcept {
    const std::size_t head = head_.index.load(std::memory_order_seq_cst);
    const std::size_t tail = tail_.index.load(std::memory_order_seq_cst);
    return head / step != tail / step || (tail & mark) != 0;
  }

  /// False when it was closed before.
  bool close() noexcept {
    return (tail_.index.fetch_or(mark, std::memory_order_seq_cst) & mark) == 0;
  }
  [[nodiscard]] bool is_closed() const noexcept {
    return (tail_.index.load(std::memory_order_seq_cst) & mark) != 0;
  }

  /// Destroys the items. Closed, and nobody pops; a push that began before may still be at work.
  void discard() noexcept {
    std::size_t tail = tail_.index.load(std::memory_order_acquire);
    for (BriefWait moment; slot_of(tail) == block_slots;) {
      moment.pause();
      tail = tail_.index.load(std::memory_order_acquire);
    }
    std::size_t head = head_.index.load(std::memory_order_acquire);
    Block* block = head_.block.load(std::memory_order_acquire);
    while (head / step != tail / step) {
      const std::size_t offset = slot_of(head);
      if (offset == block_slots) {
        Block* next = block->wait_next();
        delete block;
        block = next;
        head_.block.store(block, std::memory_order_release);
      } else {
        block->slots[offset].wait_written();
        block->slots[offset].item().~T();
      }
      head = (head & ~mark) + step;
    }
    head_.index.store(head & ~mark, std::memory_order_release);
  }

  [[nodiscard]] std::size_t len() const noexcept {
    while (true) {
      const std::size_t tail = tail_.index.load(std::memory_order_seq_cst);
      const std::size_t head = head_.index.load(std::memory_order_seq_cst);
      if (tail_.index.load(std::memory_order_seq_cst) == tail) return items(tail) - items(head);
    }
  }
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept { return std::nullopt; }

 private:
  static constexpr std::size_t mark = 1;
  static constexpr std::size_t step = 2;
  static constexpr std::size_t lap = 32;
  static constexpr std::size_t block_slots = lap - 1;

  // What a reader and the one who frees the block tell each other about a slot.
  static constexpr std::uint8_t was_read = 1;
  static constexpr std::uint8_t doomed = 2;  ///< whoever reads this slot goes on freeing the block

  struct Slot {
    alignas(T) unsigned char bytes[sizeof(T)];
    std::atomic<bool> written{false};
    std::atomic<std::uint8_t> state{0};
    T& item() noexcept { return *std::launder(reinterpret_cast<T*>(bytes)); }
    void wait_written() const noexcept {
      BriefWait moment;
      while (!written.load(std::memory_order_acquire)) moment.pause();
    }
  };

  struct Block {
    std::atomic<Block*> next{nullptr};
    Slot slots[block_slots];
    void reset() noexcept {
      next.store(nullptr, std::memory_order_relaxed);
      for (Slot& slot : slots) {
        slot.written.store(false, std::memory_order_relaxed);
        slot.state.store(0, std::memory_order_relaxed);
      }
    }
    Block* wait_next() const noexcept {
      BriefWait moment;
      while (true) {
        if (Block* found = next.load(std::memory_order_acquire)) return found;
        moment.pause();
      }
    }
  };

  struct alignas(64) End {
    std::atomic<std::size_t> index{0};
    std::atomic<Block*> block;
  };

  explicit ListBuffer(Block* first) {
    head_.block.store(first, std::memory_order_relaxed);
    tail_.block.store(first, std::memory_order_relaxed);
  }

  static std::size_t slot_of(std::size_t position) noexcept { return position / step % lap; }
  /// How many slots lie before a position.
  static std::size_t items(std::size_t position) noexcept {
    const std::size_t places = position / step;
    const std::size_t within = places % lap;
    return places / lap * block_slots + (within == block_slots ? block_slots : within);
  }

  void link(Block& block, Block* next) noexcept {
    tail_.block.store(next, std::memory_order_release);
    tail_.index.fetch_add(step, std::memory_order_release);
    block.next.store(next, std::memory_order_release);
  }

  void enter_next(Block& block, std::size_t new_head) noexcept {
    Block* next = block.wait_next();
    std::size_t index = (new_head & ~mark) + step;
    if (next->next.load(std::memory_order_relaxed) != nullptr) index |= mark;
    head_.block.store(next, std::memory_order_release);
    head_.index.store(index, std::memory_order_release);
  }

  void read(Block& block, std::size_t offset, std::optional<T>& item) noexcept {
    Slot& slot = block.slots[offset];
    slot.wait_written();
    item.emplace(std::move(slot.item()));
    slot.item().~T();
    if (offset + 1 == block_slots) {
      free_from(block, 0);
    } else if ((slot.state.fetch_or(was_read, std::memory_order_acq_rel) & doomed) != 0) {
      free_from(block, offset + 1);
    }
  }

  /// Frees the block, or leaves that to the first slot from `start` on that is still being read.
  /// The last slot is never asked: its reader is the one who began.
  void free_from(Block& block, std::size_t start) noexcept {
    for (std::size_t i = start; i + 1 < block_slots; ++i) {
      std::atomic<std::uint8_t>& state = block.slots[i].state;
      if ((state.load(std::memory_order_acquire) & was_read) == 0 &&
          (state.fetch_or(doomed, std::memory_order_acq_rel) & was_read) == 0) {
        return;
      }
    }
    block.reset();
    delete spare_.exchange(&block, std::memory_order_acq_rel);
  }

  [[nodiscard]] std::unique_ptr<Block> new_block() {
    Block* spare = spare_.exchange(nullptr, std::memory_order_acq_rel);
    return std::unique_ptr<Block>{spare != nullptr ? spare : new Block};
  }

  End head_;
  End tail_;
  std::atomic<Block*> spare_{nullptr};  ///< one block for the next need, instead of malloc and free
};

}  // namespace passel::inline v0::detail
