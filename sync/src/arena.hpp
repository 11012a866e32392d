// Layer sync: the memory that the small shared objects of a process live in, as one process sees
// it.
#pragma once

#include "arena_layout.hpp"
#include "wake_list.hpp"

#include <passel/detail/segment.hpp>
#include <passel/detail/sync_object.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

/// no_space: the table of processes is full.
[[nodiscard]] Error too_many_processes();

struct Loss;
class AsyncWaits;

/// One arena, mapped. An object that is made here lies in the arena of this process for its reach;
/// arenas of other processes are attached as handles of their objects come in. Safe from any
/// thread.
class SyncArena {
 public:
  /// The arena that new objects of this process are made in. Errors: no_space.
  [[nodiscard]] static Result<std::shared_ptr<SyncArena>> of_this_process(Reach reach);
  /// Another process's. Errors: malformed, no_space.
  [[nodiscard]] static Result<std::shared_ptr<SyncArena>> attach(Descriptor descriptor);
  /// Every arena that this process has mapped.
  [[nodiscard]] static std::vector<std::shared_ptr<SyncArena>> all();
  ~SyncArena();
  SyncArena(const SyncArena&) = delete;
  SyncArena& operator=(const SyncArena&) = delete;

  [[nodiscard]] Result<std::shared_ptr<SyncObject>> create(SyncKind kind, std::size_t size,
                                                           std::string_view name);
  /// The object at a chunk, when it has that serial number.
  [[nodiscard]] Result<std::shared_ptr<SyncObject>> find(std::uint32_t chunk, std::uint32_t serial);
  /// A handle of the object has gone; `place` is what it was used from, 0: it was not.
  void drop(ObjectHeader& header, std::uint32_t place) noexcept;
  /// Marks the object as used by the process at `place`.
  static void mark_user(ObjectHeader& header, std::uint32_t place) noexcept;

  /// The same, unless the object is gone: false then.
  [[nodiscard]] bool enter_user(ObjectHeader& header, std::uint32_t serial,
                                std::uint32_t place) noexcept;

  /// The place of this process; 0 when the table is full.
  [[nodiscard]] std::uint32_t place() noexcept;

  [[nodiscard]] ArenaLayout& layout() const noexcept {
    return *reinterpret_cast<ArenaLayout*>(base_);
  }
  [[nodiscard]] ObjectHeader& object(std::uint32_t chunk) const noexcept {
    return *reinterpret_cast<ObjectHeader*>(base_ + chunks_offset + chunk * sync_chunk);
  }
  [[nodiscard]] std::uint32_t chunk_of(const ObjectHeader& header) const noexcept {
    const auto at = reinterpret_cast<const std::byte*>(&header);
    return static_cast<std::uint32_t>(
        static_cast<std::size_t>(at - base_ - static_cast<std::ptrdiff_t>(chunks_offset)) /
        sync_chunk);
  }
  [[nodiscard]] static std::byte* state_of(ObjectHeader& header) noexcept {
    return reinterpret_cast<std::byte*>(&header) + state_offset;
  }
  [[nodiscard]] ProcessPlace& process(std::uint32_t place) const noexcept {
    return layout().processes[place - 1];
  }
  [[nodiscard]] Waiter& waiter(std::uint32_t number) const noexcept {
    return reinterpret_cast<Waiter*>(base_ + waiters_offset)[number - 1];
  }
  /// Waiters that have memory; numbers above it were never used.
  [[nodiscard]] std::uint32_t waiters() const noexcept {
    return layout().populated_waiters.load(std::memory_order_acquire);
  }
  /// Takes a free waiter for the process at `place`. Errors: no_space when too many wait.
  [[nodiscard]] Result<std::uint32_t> claim_waiter(std::uint32_t place, std::uint32_t thread);
  /// Gives it back; it stands in no line any more.
  void free_waiter(std::uint32_t number) noexcept;

  /// Locks the tables; what a death has left is mended first. False when that cannot be.
  [[nodiscard]] bool lock_table() noexcept;
  void unlock_table() noexcept { layout().table.unlock(); }
  /// Locks what is slow about an object; what a death has left is mended first. False when the
  /// deadline passed: only a stopped process can keep it for long.
  [[nodiscard]] bool lock_line(ObjectHeader& header, Deadline deadline) noexcept;
  /// Wakes whoever is to be woken. The caller holds no lock of an object.
  void perform(const WakeList& wakes) noexcept;

  /// The asynchronous waits of this process, which is at `place`.
  [[nodiscard]] std::shared_ptr<AsyncWaits> async_waits(std::uint32_t place);

  [[nodiscard]] Reach reach() const noexcept { return reach_; }
  [[nodiscard]] FutexScope scope() const noexcept {
    return reach_ == Reach::host ? FutexScope::host : FutexScope::process;
  }
  /// What others attach by; null at reach threads.
  [[nodiscard]] std::shared_ptr<Descriptor> descriptor() const;

  /// Gives back what processes that are gone held here; `process` is known to be. False when that
  /// one never had a place here.
  bool process_lost(const ProcessId& process) noexcept;

 private:
  struct Local {
    std::weak_ptr<SyncObject> object;
    std::uint32_t handles = 0;
  };

  SyncArena(Segment segment, std::byte* base, Reach reach) noexcept;
  static Result<std::shared_ptr<SyncArena>> make(Reach reach);
  static void enter(const std::shared_ptr<SyncArena>& arena);
  void mend_table() noexcept;
  [[nodiscard]] bool is_used(std::uint32_t chunk) const noexcept {
    return (layout().used[chunk / 64] >> (chunk % 64) & 1) != 0;
  }
  void take_chunks(std::uint32_t first, std::uint32_t end) noexcept;
  void give_chunks(std::uint32_t first, std::uint32_t end) noexcept;
  Result<std::uint32_t> find_room(std::uint32_t chunks);
  Result<void> populate(std::uint32_t end);
  Result<void> populate_waiters(std::uint32_t seen);
  std::uint32_t claim_place() noexcept;
  void empty_place(std::uint32_t place) noexcept;
  void wake(std::uint32_t number) noexcept;
  void mend_object(ObjectHeader& header, const Loss& loss, WakeList& wakes) noexcept;
  void release_run(ObjectHeader& header) noexcept;
  /// `mutex_` is held.
  [[nodiscard]] std::shared_ptr<SyncObject> adopt(ObjectHeader& header);

  Segment segment_;
  std::byte* base_;
  Reach reach_;
  std::weak_ptr<SyncArena> self_;
  std::atomic<std::uint64_t> place_{0};  // generation plus one, place
  std::atomic<std::uint32_t> hint_{0};   // where to look for a free waiter
  std::mutex mutex_;
  std::map<std::uint32_t, Local> local_;
  std::mutex loss_mutex_;
  ProcessId last_lost_;  // what it held has been given back
  bool last_was_here_ = false;
  std::mutex async_mutex_;
  std::shared_ptr<AsyncWaits> async_;
  std::uint32_t async_generation_ = 0;  // a forked child has no thread for the parent's
};

}  // namespace passel::inline v0::detail
