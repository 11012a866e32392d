// Layer transport: the memory of a host queue's items, and what is done when a process that used it
// is gone.
#include "host_queue_layout.hpp"

#include <algorithm>
#include <bit>

namespace passel::inline v0::detail {
namespace {

/// First of `count` clear bits in a row from word `from` on, or `none`.
std::uint32_t find_run(const std::uint64_t* bitmap, std::uint32_t bits, std::uint32_t from,
                       std::uint32_t count) {
  std::uint32_t length = 0;
  for (std::uint32_t i = from * 64; i < bits;) {
    const std::uint64_t word = bitmap[i / 64] >> (i % 64);
    const std::uint32_t rest = std::min(64 - i % 64, bits - i);
    const std::uint32_t clear = std::min(static_cast<std::uint32_t>(std::countr_zero(word)), rest);
    length += clear;
    if (length >= count) return i + clear - length;
    if (clear == rest) {
      i += rest;
      continue;
    }
    length = 0;
    i += clear;
    i +=
        std::min(static_cast<std::uint32_t>(std::countr_one(bitmap[i / 64] >> (i % 64))), bits - i);
  }
  return none;
}

void set_bits(std::uint64_t* bitmap, std::uint32_t first, std::uint32_t count, bool on) {
  for (std::uint32_t i = first; i < first + count;) {
    const std::uint32_t step = std::min(64 - i % 64, first + count - i);
    const std::uint64_t mask = (step == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << step) - 1)
                               << (i % 64);
    if (on) {
      bitmap[i / 64] |= mask;
    } else {
      bitmap[i / 64] &= ~mask;
    }
    i += step;
  }
}

}  // namespace

Result<std::uint32_t> HostQueue::allocate(std::uint32_t chunks, std::uint32_t owner) {
  std::uint32_t first = none;
  {
    if (!lock_heap()) return Error{Errc::timeout, "the queue's memory is locked"};
    const Unlock unlock{shared_->heap_lock};
    std::uint64_t* bitmap = shared_->bitmap();
    first = find_run(bitmap, shared_->chunk_count, shared_->hint, chunks);
    if (first == none) {
      const std::uint64_t used =
          std::uint64_t{shared_->used.load(std::memory_order_relaxed)} * chunk_size;
      return Error{Errc::no_space, "no room for " +
                                       std::to_string(std::uint64_t{chunks} * chunk_size) +
                                       " bytes: the queue uses " + std::to_string(used) + " of " +
                                       std::to_string(shared_->bytes_limit) + " (bytes_limit)"};
    }
    const std::uint32_t end = first + chunks;
    if (end > shared_->chunks_made) {
      const std::size_t from = shared_->chunks_made * sizeof(ChunkInfo);
      const std::size_t to = align_up(end * sizeof(ChunkInfo), page_size);
      PASSEL_CHECK(segment_.populate(shared_->infos_at + from, to - from));
      shared_->chunks_made = static_cast<std::uint32_t>(to / sizeof(ChunkInfo));
    }
    shared_->info(first).owner = static_cast<std::uint16_t>(owner);
    shared_->info(first).run = chunks;
    set_bits(bitmap, first, chunks, true);
    shared_->used.fetch_add(chunks, std::memory_order_relaxed);
    if (chunks == 1) shared_->hint = first / 64;
  }
  if (Result<void> populated = populate_chunks(first, chunks); populated.is_err()) {
    deallocate(first, chunks);
    return populated.error();
  }
  return first;
}

Result<void> HostQueue::populate_chunks(std::uint32_t first, std::uint32_t chunks) {
  for (std::uint32_t i = first; i < first + chunks;) {
    if (shared_->info(i).populated != 0) {
      ++i;
      continue;
    }
    std::uint32_t end = i + 1;
    while (end < first + chunks && shared_->info(end).populated == 0) ++end;
    PASSEL_CHECK(segment_.populate(shared_->chunks_at + std::uint64_t{i} * chunk_size,
                                   std::uint64_t{end - i} * chunk_size));
    shared_->populated.fetch_add(end - i, std::memory_order_relaxed);
    for (; i < end; ++i) shared_->info(i).populated = 1;
  }
  return {};
}

void HostQueue::deallocate(std::uint32_t first, std::uint32_t chunks) noexcept {
  const std::uint32_t idle = shared_->populated.load(std::memory_order_relaxed) -
                             shared_->used.load(std::memory_order_relaxed);
  // Both counts are hints that a killed process may have left wrong: compare as signed.
  if (static_cast<std::int32_t>(idle) > static_cast<std::int32_t>(idle_chunks)) {
    std::uint32_t released = 0;
    for (std::uint32_t i = first; i < first + chunks; ++i) {
      released += shared_->info(i).populated;
      shared_->info(i).populated = 0;
    }
    segment_.release(shared_->chunks_at + std::uint64_t{first} * chunk_size,
                     std::uint64_t{chunks} * chunk_size);
    shared_->populated.fetch_sub(released, std::memory_order_relaxed);
  }
  if (!lock_heap()) return;
  const Unlock unlock{shared_->heap_lock};
  shared_->info(first).owner = 0;
  set_bits(shared_->bitmap(), first, chunks, false);
  shared_->used.fetch_sub(chunks, std::memory_order_relaxed);
  shared_->hint = std::min(shared_->hint, first / 64);
}

void HostQueue::retire(std::uint32_t chunk) noexcept {
  ChunkInfo& info = shared_->info(chunk);
  if (info.pins == 0) {
    deallocate(chunk, 1);
  } else {
    info.retired = 1;
  }
}

void HostQueue::unpin(std::uint32_t chunk) noexcept {
  ChunkInfo& info = shared_->info(chunk);
  info.pins -= 1;
  if (info.pins != 0 || info.retired == 0) return;
  info.retired = 0;
  deallocate(chunk, 1);
}

bool HostQueue::lock_gets(Deadline deadline) noexcept {
  const Locked locked = shared_->get_lock.lock(deadline);
  if (locked == Locked::after_death) {
    shared_->dirty.store(1, std::memory_order_relaxed);
    if (shared_->joinable != 0) rebuild_hands();
  }
  return locked != Locked::no;
}

bool HostQueue::lock_puts(Deadline deadline) noexcept {
  const Locked locked = shared_->put_lock.lock(deadline);
  if (locked == Locked::after_death) shared_->dirty.store(1, std::memory_order_relaxed);
  return locked != Locked::no;
}

bool HostQueue::lock_heap() noexcept {
  const Locked locked = shared_->heap_lock.lock(Deadline::never());
  if (locked == Locked::after_death) {
    shared_->dirty.store(1, std::memory_order_relaxed);
    shared_->hint = 0;
  }
  return locked != Locked::no;
}

bool HostQueue::needs_reclaim() const noexcept {
  return shared_->dirty.load(std::memory_order_relaxed) != 0;
}

/// Marks every chunk that can be reached: from the stream, from items in hand, from what living
/// processes work on.
void HostQueue::mark_used(std::vector<bool>& used) const {
  const auto mark = [&used](std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = first; i < std::min<std::uint64_t>(first + count, used.size()); ++i)
      used[i] = true;
  };
  const auto mark_record = [&](Position at) {
    if (shared_->record(at).kind == record_large)
      mark(shared_->large(at).first, chunks_for(shared_->large(at).size));
  };
  for (std::uint32_t i = 0; i < shared_->chunks_made; ++i) {
    ChunkInfo& info = shared_->info(i);
    if (info.owner == 0) continue;
    if (shared_->slot(info.owner - 1U).state.load(std::memory_order_acquire) == slot_used) {
      mark(i, info.run);
    } else {
      info.owner = 0;
    }
    // The chunks of a run carry nothing of their own; a number left from earlier use is not to be
    // believed.
    i += info.run > 0 ? info.run - 1 : 0;
  }
  std::uint64_t left =
      shared_->puts.load(std::memory_order_relaxed) - shared_->gets.load(std::memory_order_relaxed);
  Position at = shared_->head[shared_->gets.load(std::memory_order_relaxed) & 1];
  mark(at.chunk, 1);
  for (; left != 0; --left) {
    if (at.offset >= chunk_size || shared_->record(at).kind == record_end) {
      at = Position{.chunk = shared_->info(at.chunk).next, .offset = 0};
      mark(at.chunk, 1);
    }
    mark_record(at);
    at.offset = after(at, shared_->record(at).size);
  }
  if (shared_->joinable == 0) return;
  std::vector<bool> in_stream = used;
  for (std::uint32_t i = 0; i < shared_->entries_made; ++i) {
    const Entry& entry = shared_->entry(i);
    if (entry.state == entry_free) continue;
    used[entry.chunk] = true;
    mark_record({.chunk = entry.chunk, .offset = entry.offset});
    shared_->info(entry.chunk).retired = in_stream[entry.chunk] ? 0 : 1;
  }
}

/// Frees what nobody can reach any more. Takes all locks; called seldom, after somebody died.
void HostQueue::reclaim() noexcept {
  try {
    std::vector<bool> used(shared_->chunk_count, false);
    shared_->dirty.store(0, std::memory_order_relaxed);
    if (!lock_gets(Deadline::after(std::chrono::seconds{1}))) return;
    const Unlock unlock_gets{shared_->get_lock};
    if (!lock_puts(Deadline::after(std::chrono::seconds{1}))) return;
    const Unlock unlock_puts{shared_->put_lock};
    if (shared_->state.load(std::memory_order_relaxed) == queue_dropped) drain();
    if (!lock_heap()) return;
    const Unlock unlock_heap{shared_->heap_lock};
    mark_used(used);
    std::uint32_t count = 0;
    std::uint32_t populated = 0;
    for (std::uint32_t i = 0; i < shared_->chunk_count; ++i) {
      set_bits(shared_->bitmap(), i, 1, used[i]);
      count += used[i] ? 1 : 0;
      if (i < shared_->chunks_made) populated += shared_->info(i).populated;
    }
    shared_->used.store(count, std::memory_order_relaxed);
    shared_->populated.store(populated, std::memory_order_relaxed);
    shared_->hint = 0;
  } catch (const std::bad_alloc&) {
    // Memory of the dead stays in use until the next repair; nobody waits for it.
  }
}

}  // namespace passel::inline v0::detail
