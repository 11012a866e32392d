// Layer transport: a queue of byte messages that any number of processes of a host put into and get
// from.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/segment.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/spin.hpp>
#include <passel/result.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace passel::inline v0::detail {

struct HostQueueLayout;

struct HostQueueOptions {
  std::uint64_t maxsize = 0;  ///< items; 0 is unbounded
  bool joinable = false;      ///< items stay in hand until task_done()
  std::string type_name{};    ///< what the items are, checked by whoever attaches
  std::uint64_t message_limit = std::uint64_t{1} << 30;  ///< bytes of one item
  std::uint64_t bytes_limit = std::uint64_t{1} << 30;    ///< shared memory for all items
};

/// What get tells about an item beside its bytes.
struct Delivery {
  std::uint32_t count =
      1;  ///< how often it was handed out; more than 1 when a process died with it in hand
};

/// What can be seen of a queue from outside, all of one moment or nearly.
struct HostQueueStats {
  std::uint64_t depth = 0;               ///< items that a get would find
  std::uint64_t in_hand = 0;             ///< items got but not yet done (joinable only)
  std::uint64_t unfinished = 0;          ///< items put but not yet done (joinable only)
  std::uint64_t bytes = 0;               ///< shared memory in use for items
  std::uint32_t getters = 0;             ///< sleeping in get
  std::uint32_t putters = 0;             ///< sleeping in put
  std::vector<std::int32_t> attached{};  ///< pids
};

/// A first-in first-out queue of byte messages in shared memory, for many producers and consumers
/// in many processes, each with many threads. What `queue.Queue` of Python 3.13 is for threads,
/// with its shutdown.
///
/// A process may be killed at any instruction: an item is in the queue whole or not at all, nobody
/// else is blocked, and in a joinable queue an item whose consumer dies before task_done() comes
/// back at the head. `process_lost` must be called for that, and to free what else the dead process
/// held.
///
/// Nobody makes a system call while the other side is awake. Copies of a handle share one object by
/// shared_ptr; a forked child may go on using the object it inherited and counts as a process of
/// its own.
class PASSEL_API HostQueue final : public SharedObject {
 public:
  /// Errors: no_space, invalid_argument when the limits make no sense.
  [[nodiscard]] static Result<std::shared_ptr<HostQueue>> create(const HostQueueOptions& options);
  /// The queue behind a descriptor that came from `descriptor()` in this or another process of the
  /// same build. Errors: malformed, no_space when too many processes are attached already.
  [[nodiscard]] static Result<std::shared_ptr<HostQueue>> attach(Descriptor descriptor);
  ~HostQueue() override;

  /// Adds a copy of `item` at the end. Waits while `maxsize` items are in it. Errors: full
  /// (also when the deadline passes), closed after shutdown, too_large over the message limit,
  /// no_space when the bytes limit or the memory is used up.
  [[nodiscard]] Result<void> put(std::span<const std::byte> item, Deadline deadline);
  /// The same, with `write(std::byte* to)` filling `size` bytes of shared memory in place. `write`
  /// must not use the queue and not throw.
  template <class Write>
  [[nodiscard]] Result<void> put_with(std::size_t size, Write&& write, Deadline deadline) {
    using Function = std::remove_reference_t<Write>;
    return put_item(
        size, [](void* f, std::byte* to) { (*static_cast<Function*>(f))(to); }, erase(write),
        deadline);
  }

  /// Items to be put together: `size(i)` bytes each, written by `write(i, to)`.
  template <class Size, class Write>
  struct Batch {
    std::size_t count;
    Size size;
    Write write;
  };
  /// Adds them in order, as many at a time as there is room for, each time under one lock and with
  /// one wake-up. Errors: as put_with; `put` says how many are in.
  template <class Size, class Write>
  [[nodiscard]] Result<void> put_many(const Batch<Size, Write>& batch, std::size_t& put,
                                      Deadline deadline) {
    return put_items(erased(batch), put, deadline);
  }
  /// All of them at once, or none. Errors: as put_with; after no_space some may be in. Never waits.
  template <class Size, class Write>
  [[nodiscard]] Result<void> try_put_many(const Batch<Size, Write>& batch) {
    return try_put_items(erased(batch));
  }

  /// Takes the oldest item. Waits while there is none. Errors: empty (also when the deadline
  /// passes), closed after shutdown when nothing is left.
  [[nodiscard]] Result<std::vector<std::byte>> get(Deadline deadline);
  /// The same, with `read(std::span<const std::byte>)` looking at the item where it lies. `read`
  /// must not use the queue; when it throws (out of memory), an item of up to 16 KiB
  /// stays in the queue and a larger one comes back to a joinable queue; from another it is lost.
  template <class Read>
  [[nodiscard]] Result<Delivery> get_with(Read&& read, Deadline deadline) {
    using Function = std::remove_reference_t<Read>;
    return get_item(
        [](void* f, std::span<const std::byte> item) { (*static_cast<Function*>(f))(item); },
        erase(read), deadline);
  }

  /// Takes what is there, `most` items at most, under one lock and with one wake-up; waits while
  /// there is none. `read` is called for each, in order, as in get_with: what it throws ends the
  /// batch, and is thrown on when nothing was taken before. A large item comes alone.
  /// Returns how many were taken. Errors: as get.
  template <class Read>
  [[nodiscard]] Result<std::size_t> get_many(std::size_t most, Read&& read, Deadline deadline) {
    using Function = std::remove_reference_t<Read>;
    return get_items(
        most, [](void* f, std::span<const std::byte> item) { (*static_cast<Function*>(f))(item); },
        erase(read), deadline);
  }

  /// Says that an item in hand was dealt with: the calling thread's oldest, else the process's
  /// oldest, else the oldest of any process. Errors: invalid_argument "task_done() called too many
  /// times", invalid_state when not joinable.
  [[nodiscard]] Result<void> task_done();
  /// Waits until every item ever put was done. Errors: timeout, invalid_state when not joinable.
  [[nodiscard]] Result<void> join(Deadline deadline);

  /// No more puts; gets drain what is there, then fail with closed. `immediate` throws away what is
  /// there.
  void shutdown(bool immediate) noexcept;
  [[nodiscard]] bool is_shutdown() const noexcept;

  [[nodiscard]] std::uint64_t qsize() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return qsize() == 0; }
  [[nodiscard]] bool full() const noexcept;
  [[nodiscard]] std::uint64_t maxsize() const noexcept;
  [[nodiscard]] bool joinable() const noexcept;
  [[nodiscard]] std::string_view type_name() const noexcept;
  /// The same number for all handles of one queue, another for every other queue of the host;
  /// over 1.
  [[nodiscard]] std::uint64_t id() const noexcept;
  [[nodiscard]] const Descriptor& descriptor() const noexcept { return segment_.descriptor(); }
  [[nodiscard]] HostQueueStats stats() const;

  void process_lost(const ProcessId& process) noexcept override;
  [[nodiscard]] bool used_by_others() const noexcept override;

 private:
  using WriteFunction = void (*)(void* context, std::byte* to);
  using ReadFunction = void (*)(void* context, std::span<const std::byte> item);
  struct Taken;
  struct ErasedBatch {
    std::size_t count;
    const void* batch;
    std::size_t (*size_of)(const void* batch, std::size_t index);
    void (*write_to)(const void* batch, std::size_t index, std::byte* to);

    [[nodiscard]] std::size_t size(std::size_t index) const { return size_of(batch, index); }
    void write(std::size_t index, std::byte* to) const { write_to(batch, index, to); }
  };
  struct LargeItems;

  template <class Size, class Write>
  static ErasedBatch erased(const Batch<Size, Write>& batch) noexcept {
    using Whole = Batch<Size, Write>;
    return {batch.count, &batch,
            [](const void* b, std::size_t i) { return static_cast<const Whole*>(b)->size(i); },
            [](const void* b, std::size_t i, std::byte* to) {
              static_cast<const Whole*>(b)->write(i, to);
            }};
  }

  explicit HostQueue(Segment segment) noexcept;

  template <class F>
  static void* erase(F& f) noexcept {
    return const_cast<void*>(static_cast<const void*>(std::addressof(f)));
  }

  Result<void> put_item(std::size_t size, WriteFunction write, void* context, Deadline deadline);
  Result<void> put_large(std::size_t size, WriteFunction write, void* context, Deadline deadline);
  Result<void> put_record(std::uint32_t kind, std::size_t size, WriteFunction write, void* context,
                          Deadline deadline);
  Result<bool> append(std::uint32_t kind, std::size_t size, WriteFunction write, void* context,
                      Deadline deadline);
  Result<bool> append_locked(std::uint32_t kind, std::size_t size, WriteFunction write,
                             void* context);
  Result<void> check_size(std::size_t size) const;
  Result<void> put_items(const ErasedBatch& batch, std::size_t& put, Deadline deadline);
  Result<std::size_t> append_items(const ErasedBatch& batch, std::size_t from, Deadline deadline);
  Result<void> try_put_items(const ErasedBatch& batch);
  Result<void> append_all(const ErasedBatch& batch, LargeItems& large);
  void wake_getters(std::size_t count) noexcept;
  Result<void> wait_for_room(Deadline deadline);
  Result<void> wait_for_item(Deadline deadline);
  Result<std::size_t> get_items(std::size_t most, ReadFunction read, void* context,
                                Deadline deadline);
  Result<std::size_t> take_several(std::size_t most, Taken& last, ReadFunction read, void* context,
                                   Deadline deadline);
  [[nodiscard]] bool next_is_large() const noexcept;
  Result<bool> take_locked(Taken& taken, ReadFunction read, void* context);
  Result<Delivery> get_item(ReadFunction read, void* context, Deadline deadline);
  Result<bool> take(Taken& taken, ReadFunction read, void* context, Deadline deadline);
  bool take_returned(Taken& taken, ReadFunction read, void* context);
  Result<void> take_from_stream(Taken& taken, ReadFunction read, void* context);
  void finish(Taken& taken, ReadFunction read, void* context);

  // Slots of attached processes.
  Result<std::uint32_t> slot();
  Result<std::uint32_t> claim_slot();
  void release_slot(std::uint32_t slot) noexcept;

  // Memory for items; the heap lock is taken inside.
  Result<std::uint32_t> allocate(std::uint32_t chunks, std::uint32_t owner);
  Result<void> populate_chunks(std::uint32_t first, std::uint32_t chunks);
  void deallocate(std::uint32_t first, std::uint32_t chunks) noexcept;
  void retire(std::uint32_t chunk) noexcept;
  void unpin(std::uint32_t chunk) noexcept;

  // Items in hand; the get lock is held.
  Result<std::uint32_t> new_entry();
  void link_held(std::uint32_t entry) noexcept;
  void unlink_held(std::uint32_t entry) noexcept;
  void link_returned(std::uint32_t entry) noexcept;
  void give_back(std::uint32_t entry) noexcept;
  std::uint32_t entry_to_finish(std::uint32_t slot) const noexcept;
  void free_entry(std::uint32_t entry) noexcept;

  // Repair after a death.
  bool lock_gets(Deadline deadline) noexcept;
  bool lock_puts(Deadline deadline) noexcept;
  bool lock_heap() noexcept;
  void rebuild_hands() noexcept;
  void drain() noexcept;
  void reclaim() noexcept;
  void reclaim_if_needed() noexcept {
    if (needs_reclaim()) reclaim();
  }
  [[nodiscard]] bool needs_reclaim() const noexcept;
  void mark_used(std::vector<bool>& used) const;
  void wake_everybody() noexcept;

  Segment segment_;
  HostQueueLayout* shared_;
  // Generation of the process (upper half) and its slot plus one (lower half).
  std::atomic<std::uint64_t> me_{0};
  Spinner get_spinner_;
  Spinner put_spinner_;
  Spinner join_spinner_;
};

}  // namespace passel::inline v0::detail
