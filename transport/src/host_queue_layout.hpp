// Layer transport: what lies where in the shared memory of a host queue.
#pragma once

#include <passel/detail/robust_lock.hpp>

#include <passel/detail/host_queue.hpp>
#include <passel/detail/wait_point.hpp>

namespace passel::inline v0::detail {

// Items are records in a stream of chunks. A small item lies in its record; a large one in a run of
// chunks of its own, to which its record points, so that it is copied without any lock and lies in
// one piece.
//
// The stream has two ends, each under its own lock. What an end looks like after n items is written
// to one of two places and then published by storing n: whoever dies before that store has done
// nothing, after it everything. Chunks that he had in his hands are found by `reclaim`, which
// compares the bitmap with what can be reached.
//
// Locks are taken in the order gets, puts, heap.

inline constexpr std::uint64_t queue_kind = 0x70736c'68710001;  // "psl" "hq", version 1
inline constexpr std::size_t chunk_size = 64 * 1024;
inline constexpr std::size_t inline_limit = 16 * 1024;
inline constexpr std::uint32_t none = 0xffff'ffff;
inline constexpr std::uint32_t slot_count = 1024;
inline constexpr std::uint32_t entry_count = 1U << 20;
inline constexpr std::size_t page_size = 4096;
// Chunks that were used and are not, up to this many, keep their memory for the next items.
inline constexpr std::uint32_t idle_chunks = 1024;
inline constexpr std::size_t name_limit = 255;

enum RecordKind : std::uint32_t { record_inline = 1, record_large = 2, record_end = 3 };

struct Record {
  std::uint32_t size;  ///< of what follows
  std::uint32_t kind;
};

/// What follows the Record of a large item.
struct LargeItem {
  std::uint64_t size;
  std::uint32_t first;
  std::uint32_t unused;
};

struct ChunkInfo {
  std::uint32_t next;      ///< the chunk behind it in the stream; meaningless in the last one
  std::uint32_t run;       ///< length of the run that starts here
  std::uint32_t pins;      ///< items in hand whose record lies here
  std::uint16_t owner;     ///< slot plus one of the process that works on this run outside of locks
  std::uint8_t populated;  ///< has memory
  std::uint8_t retired;    ///< the stream has left it behind; free it with its last pin
};

enum SlotState : std::uint32_t { slot_free = 0, slot_used = 1, slot_lost = 2 };

struct Slot {
  std::uint64_t start;
  std::int32_t pid;
  std::atomic<std::uint32_t> state;
  std::uint32_t first_held;
  std::uint32_t last_held;
};

enum EntryState : std::uint32_t { entry_free = 0, entry_held = 1, entry_returned = 2 };

/// An item in hand, or one that came back from a dead hand. `state` is the truth; the lists can be
/// rebuilt from it.
struct Entry {
  std::uint32_t state;
  std::uint32_t slot;
  std::uint32_t thread;
  std::uint32_t deliveries;
  std::uint64_t number;  ///< of the item in the stream: its place among those that came back, and
                         ///< whether it was taken
  std::uint64_t ticket;  ///< order of taking
  std::uint32_t chunk;
  std::uint32_t offset;
  std::uint32_t previous;
  std::uint32_t next;
};

struct Position {
  std::uint32_t chunk;
  std::uint32_t offset;
};

enum QueueState : std::uint32_t { queue_open = 0, queue_draining = 1, queue_dropped = 2 };

struct HostQueueLayout {
  // Written once.
  std::uint64_t id;
  std::uint64_t maxsize;
  std::uint64_t message_limit;
  std::uint64_t bytes_limit;
  std::uint64_t bitmap_at;
  std::uint64_t slots_at;
  std::uint64_t infos_at;
  std::uint64_t entries_at;
  std::uint64_t chunks_at;
  std::uint32_t chunk_count;
  std::uint32_t joinable;
  char type_name[name_limit + 1];

  // Seldom written.
  alignas(64) std::atomic<std::uint32_t> state;
  std::atomic<std::uint32_t> dirty;  ///< somebody died in a lock: reclaim
  std::atomic<std::uint32_t> slots_made;

  alignas(64) RobustLock put_lock;
  std::uint64_t seen_gets;
  Position tail[2];
  alignas(64) std::atomic<std::uint64_t> puts;
  CpuMark put_cpu;

  alignas(64) RobustLock get_lock;
  std::uint64_t seen_puts;
  Position head[2];
  alignas(64) std::atomic<std::uint64_t> gets;
  CpuMark get_cpu;
  std::atomic<std::uint32_t> returned;

  alignas(64) std::uint64_t ticket;
  std::uint32_t entries_made;
  std::uint32_t first_free_entry;
  std::uint32_t first_returned;
  std::uint32_t last_returned;
  std::atomic<std::uint64_t> done;

  alignas(64) RobustLock heap_lock;
  std::uint32_t chunks_made;  ///< chunks whose ChunkInfo has memory
  std::uint32_t hint;         ///< no free chunk lies in the bitmap words before this one
  std::atomic<std::uint32_t> used;
  std::atomic<std::uint32_t> populated;

  alignas(64) WaitPoint items;
  alignas(64) WaitPoint room;
  alignas(64) WaitPoint finished;

  [[nodiscard]] std::byte* at(std::uint64_t offset) noexcept {
    return reinterpret_cast<std::byte*>(this) + offset;
  }
  [[nodiscard]] std::uint64_t* bitmap() noexcept {
    return reinterpret_cast<std::uint64_t*>(at(bitmap_at));
  }
  [[nodiscard]] Slot& slot(std::uint32_t i) noexcept {
    return reinterpret_cast<Slot*>(at(slots_at))[i];
  }
  [[nodiscard]] ChunkInfo& info(std::uint32_t i) noexcept {
    return reinterpret_cast<ChunkInfo*>(at(infos_at))[i];
  }
  [[nodiscard]] Entry& entry(std::uint32_t i) noexcept {
    return reinterpret_cast<Entry*>(at(entries_at))[i];
  }
  [[nodiscard]] std::byte* chunk(std::uint32_t i) noexcept {
    return at(chunks_at) + std::uint64_t{i} * chunk_size;
  }
  [[nodiscard]] Record& record(Position p) noexcept {
    return *reinterpret_cast<Record*>(chunk(p.chunk) + p.offset);
  }
  [[nodiscard]] std::byte* payload(Position p) noexcept {
    return chunk(p.chunk) + p.offset + sizeof(Record);
  }
  [[nodiscard]] const LargeItem& large(Position p) noexcept {
    return *reinterpret_cast<LargeItem*>(payload(p));
  }
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

inline constexpr std::size_t align_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}
inline std::uint32_t chunks_for(std::uint64_t size) {
  return static_cast<std::uint32_t>((size + chunk_size - 1) / chunk_size);
}
/// Where the record after this one starts.
inline std::uint32_t after(Position p, std::uint32_t size) {
  return p.offset + static_cast<std::uint32_t>(sizeof(Record) + align_up(size, 8));
}

/// Gives a lock back when the scope is left, also by an exception of the user's code.
class Unlock {
 public:
  explicit Unlock(RobustLock& lock) noexcept : lock_{lock} {}
  Unlock(const Unlock&) = delete;
  Unlock& operator=(const Unlock&) = delete;
  ~Unlock() { lock_.unlock(); }

 private:
  RobustLock& lock_;
};

[[nodiscard]] Error host_queue_closed();
[[nodiscard]] Error host_queue_locked();

/// What a get has taken and still has to look at, outside of the lock.
struct HostQueue::Taken {
  std::uint32_t slot = 0;
  std::uint32_t entry = none;
  std::uint32_t first = none;  ///< of a large item
  std::uint64_t size = 0;
  Delivery delivery;
};

}  // namespace passel::inline v0::detail
