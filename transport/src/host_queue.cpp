// Layer transport: a host queue's creation, its table of processes, and what can be seen of it.
#include <passel/detail/host_queue.hpp>

#include "host_queue_layout.hpp"

#include <sys/stat.h>
#include <algorithm>
#include <cerrno>
#include <new>

namespace passel::inline v0::detail {
namespace {

struct Plan {
  std::size_t bitmap_at;
  std::size_t slots_at;
  std::size_t infos_at;
  std::size_t entries_at;
  std::size_t chunks_at;
  std::size_t whole;
};

Plan plan_for(std::uint32_t chunks, bool joinable) {
  Plan plan{};
  plan.bitmap_at = align_up(sizeof(HostQueueLayout), 64);
  plan.slots_at = align_up(plan.bitmap_at + (std::size_t{chunks} + 63) / 64 * 8, page_size);
  plan.infos_at = align_up(plan.slots_at + slot_count * sizeof(Slot), page_size);
  plan.entries_at = align_up(plan.infos_at + chunks * sizeof(ChunkInfo), page_size);
  plan.chunks_at =
      align_up(plan.entries_at + (joinable ? entry_count * sizeof(Entry) : 0), chunk_size);
  plan.whole = plan.chunks_at + std::size_t{chunks} * chunk_size;
  return plan;
}

Result<std::uint32_t> chunks_of(const HostQueueOptions& options) {
  constexpr std::uint64_t most = std::uint64_t{1} << 40;
  if (options.bytes_limit > most) {
    return Error{Errc::invalid_argument, "bytes_limit " + std::to_string(options.bytes_limit) +
                                             " is over " + std::to_string(most)};
  }
  if (options.type_name.size() > name_limit) {
    return Error{Errc::invalid_argument, "type name of " +
                                             std::to_string(options.type_name.size()) +
                                             " characters is over " + std::to_string(name_limit)};
  }
  // A few chunks for the stream beside a largest item.
  const std::uint64_t least = std::min(options.message_limit, most) + 4 * chunk_size;
  return chunks_for(std::max(options.bytes_limit, least));
}

}  // namespace

HostQueue::HostQueue(Segment segment) noexcept
    : segment_{std::move(segment)}, shared_{reinterpret_cast<HostQueueLayout*>(segment_.data())} {}

Result<std::shared_ptr<HostQueue>> HostQueue::create(const HostQueueOptions& options) {
  PASSEL_TRY(const std::uint32_t chunks, chunks_of(options));
  const Plan plan = plan_for(chunks, options.joinable);
  PASSEL_TRY(Segment segment, Segment::create("passel-queue", queue_kind, plan.whole));
  PASSEL_CHECK(segment.populate(0, plan.slots_at + page_size));
  PASSEL_CHECK(segment.populate(plan.infos_at, page_size));
  auto* shared = new (segment.data()) HostQueueLayout{};
  struct stat status {};
  if (::fstat(segment.descriptor().get(), &status) < 0)
    return system_error("fstat(shared queue)", errno);
  shared->id = status.st_ino + 2;
  shared->maxsize = options.maxsize;
  shared->message_limit = options.message_limit;
  shared->bytes_limit = std::uint64_t{chunks} * chunk_size;
  shared->bitmap_at = plan.bitmap_at;
  shared->slots_at = plan.slots_at;
  shared->infos_at = plan.infos_at;
  shared->entries_at = plan.entries_at;
  shared->chunks_at = plan.chunks_at;
  shared->chunk_count = chunks;
  shared->joinable = options.joinable ? 1 : 0;
  options.type_name.copy(shared->type_name, name_limit);
  if (!shared->put_lock.init() || !shared->get_lock.init() || !shared->heap_lock.init()) {
    return Error{Errc::unsupported, "the system has no robust process-shared mutexes"};
  }
  // The stream begins with an empty chunk 0, which gets its memory with the first item.
  shared->bitmap()[0] = 1;
  shared->chunks_made = page_size / sizeof(ChunkInfo);
  shared->used = 1;
  shared->first_free_entry = shared->first_returned = shared->last_returned = none;
  std::shared_ptr<HostQueue> queue{new HostQueue{std::move(segment)}};
  PASSEL_CHECK(queue->slot());
  return queue;
}

Result<std::shared_ptr<HostQueue>> HostQueue::attach(Descriptor descriptor) {
  PASSEL_TRY(Segment segment, Segment::attach(std::move(descriptor), queue_kind));
  const auto* shared = reinterpret_cast<const HostQueueLayout*>(segment.data());
  const Plan plan = plan_for(shared->chunk_count, shared->joinable != 0);
  if (segment.size() != align_up(plan.whole, page_size) || shared->bitmap_at != plan.bitmap_at ||
      shared->slots_at != plan.slots_at || shared->infos_at != plan.infos_at ||
      shared->entries_at != plan.entries_at || shared->chunks_at != plan.chunks_at) {
    return Error{Errc::malformed, "shared queue of " + std::to_string(segment.size()) +
                                      " bytes is not laid out as this build expects"};
  }
  std::shared_ptr<HostQueue> queue{new HostQueue{std::move(segment)}};
  PASSEL_CHECK(queue->slot());
  return queue;
}

HostQueue::~HostQueue() {
  const std::uint64_t me = me_.load(std::memory_order_relaxed);
  if (me == 0 || (me >> 32) != fork_generation()) return;
  release_slot(static_cast<std::uint32_t>(me) - 1);
}

Result<std::uint32_t> HostQueue::slot() {
  const std::uint64_t generation = fork_generation();
  std::uint64_t me = me_.load(std::memory_order_acquire);
  if (me != 0 && (me >> 32) == generation) return static_cast<std::uint32_t>(me) - 1;
  PASSEL_TRY(const std::uint32_t claimed, claim_slot());
  const std::uint64_t now = generation << 32 | (claimed + 1);
  if (me_.compare_exchange_strong(me, now, std::memory_order_acq_rel)) return claimed;
  // Another thread of this process was quicker.
  release_slot(claimed);
  return static_cast<std::uint32_t>(me) - 1;
}

Result<std::uint32_t> HostQueue::claim_slot() {
  const ProcessId self = this_process();
  for (int attempt = 0;; ++attempt) {
    std::vector<ProcessId> gone;
    {
      if (!lock_heap()) return Error{Errc::timeout, "the queue's table of processes is locked"};
      const Unlock unlock{shared_->heap_lock};
      for (std::uint32_t i = 0; i < slot_count; ++i) {
        Slot& slot = shared_->slot(i);
        const std::uint32_t made = shared_->slots_made.load(std::memory_order_relaxed);
        if (i >= made) {
          PASSEL_CHECK(segment_.populate(shared_->slots_at + i * sizeof(Slot), sizeof(Slot)));
          shared_->slots_made.store(i + 1, std::memory_order_release);
        }
        if (slot.state.load(std::memory_order_relaxed) != slot_free) {
          if (attempt == 0) gone.push_back({.pid = slot.pid, .start = slot.start});
          continue;
        }
        slot.pid = self.pid;
        slot.start = self.start;
        slot.first_held = slot.last_held = none;
        slot.state.store(slot_used, std::memory_order_release);
        return i;
      }
    }
    // All taken: maybe by processes that nobody reported as lost.
    for (const ProcessId& process : gone) {
      if (!is_running(process)) process_lost(process);
    }
    if (attempt != 0) {
      return Error{Errc::no_space,
                   "queue is used by " + std::to_string(slot_count) + " processes already"};
    }
  }
}

bool HostQueue::is_shutdown() const noexcept {
  return shared_->state.load(std::memory_order_acquire) != queue_open;
}

std::uint64_t HostQueue::qsize() const noexcept {
  // gets first: read the other way round, gets could have passed the puts that we saw.
  const std::uint64_t gets = shared_->gets.load(std::memory_order_acquire);
  const std::uint64_t puts = shared_->puts.load(std::memory_order_acquire);
  return puts - gets + shared_->returned.load(std::memory_order_relaxed);
}

bool HostQueue::full() const noexcept {
  return shared_->maxsize != 0 && qsize() >= shared_->maxsize;
}
std::uint64_t HostQueue::maxsize() const noexcept { return shared_->maxsize; }
bool HostQueue::joinable() const noexcept { return shared_->joinable != 0; }
std::uint64_t HostQueue::id() const noexcept { return shared_->id; }
std::string_view HostQueue::type_name() const noexcept { return shared_->type_name; }

HostQueueStats HostQueue::stats() const {
  HostQueueStats stats;
  stats.depth = qsize();
  stats.bytes = std::uint64_t{shared_->used.load(std::memory_order_relaxed)} * chunk_size;
  stats.getters = shared_->items.sleepers();
  stats.putters = shared_->room.sleepers();
  if (joinable()) {
    stats.unfinished = shared_->puts.load(std::memory_order_acquire) -
                       shared_->done.load(std::memory_order_acquire);
    stats.in_hand = stats.unfinished > stats.depth ? stats.unfinished - stats.depth : 0;
  }
  const std::uint32_t made = shared_->slots_made.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < made; ++i) {
    const Slot& slot = shared_->slot(i);
    if (slot.state.load(std::memory_order_acquire) == slot_used) stats.attached.push_back(slot.pid);
  }
  return stats;
}

bool HostQueue::used_by_others() const noexcept {
  const std::int32_t self = this_process().pid;
  const std::uint32_t made = shared_->slots_made.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < made; ++i) {
    const Slot& slot = shared_->slot(i);
    if (slot.state.load(std::memory_order_acquire) != slot_free && slot.pid != self) return true;
  }
  return false;
}

}  // namespace passel::inline v0::detail
