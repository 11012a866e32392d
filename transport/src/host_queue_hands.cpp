// Layer transport: items in hand of the consumers of a joinable host queue, and how they come back.
#include "host_queue_layout.hpp"

namespace passel::inline v0::detail {

Result<std::uint32_t> HostQueue::new_entry() {
  if (shared_->first_free_entry != none) {
    const std::uint32_t index = shared_->first_free_entry;
    shared_->first_free_entry = shared_->entry(index).next;
    return index;
  }
  const std::uint32_t index = shared_->entries_made;
  if (index == entry_count) {
    return Error{Errc::no_space,
                 std::to_string(entry_count) + " items of the queue are in hand and not done"};
  }
  const std::size_t begin = index * sizeof(Entry);
  if (begin / page_size != (begin + sizeof(Entry) - 1) / page_size ||
      begin % page_size < sizeof(Entry)) {
    PASSEL_CHECK(segment_.populate(shared_->entries_at + begin, sizeof(Entry)));
  }
  shared_->entry(index).state = entry_free;
  shared_->entries_made = index + 1;
  return index;
}

void HostQueue::link_held(std::uint32_t index) noexcept {
  Entry& entry = shared_->entry(index);
  Slot& slot = shared_->slot(entry.slot);
  // Nearly always at the end: tickets grow.
  std::uint32_t before = slot.last_held;
  while (before != none && shared_->entry(before).ticket > entry.ticket)
    before = shared_->entry(before).previous;
  entry.previous = before;
  entry.next = before == none ? slot.first_held : shared_->entry(before).next;
  (before == none ? slot.first_held : shared_->entry(before).next) = index;
  (entry.next == none ? slot.last_held : shared_->entry(entry.next).previous) = index;
}

void HostQueue::unlink_held(std::uint32_t index) noexcept {
  const Entry& entry = shared_->entry(index);
  Slot& slot = shared_->slot(entry.slot);
  (entry.previous == none ? slot.first_held : shared_->entry(entry.previous).next) = entry.next;
  (entry.next == none ? slot.last_held : shared_->entry(entry.next).previous) = entry.previous;
}

void HostQueue::link_returned(std::uint32_t index) noexcept {
  Entry& entry = shared_->entry(index);
  std::uint32_t before = shared_->last_returned;
  while (before != none && shared_->entry(before).number > entry.number)
    before = shared_->entry(before).previous;
  entry.previous = before;
  entry.next = before == none ? shared_->first_returned : shared_->entry(before).next;
  (before == none ? shared_->first_returned : shared_->entry(before).next) = index;
  (entry.next == none ? shared_->last_returned : shared_->entry(entry.next).previous) = index;
  shared_->returned.fetch_add(1, std::memory_order_release);
}

/// Puts an item in hand back at the head, or away when the queue was dropped.
void HostQueue::give_back(std::uint32_t index) noexcept {
  unlink_held(index);
  if (shared_->state.load(std::memory_order_relaxed) == queue_dropped) {
    free_entry(index);
    shared_->done.fetch_add(1, std::memory_order_seq_cst);
    return;
  }
  shared_->entry(index).state = entry_returned;
  link_returned(index);
}

std::uint32_t HostQueue::entry_to_finish(std::uint32_t own) const noexcept {
  const std::uint32_t thread = this_thread();
  const std::uint32_t first = shared_->slot(own).first_held;
  for (std::uint32_t i = first; i != none; i = shared_->entry(i).next) {
    if (shared_->entry(i).thread == thread) return i;
  }
  if (first != none) return first;
  std::uint32_t oldest = none;
  const std::uint32_t made = shared_->slots_made.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < made; ++i) {
    const Slot& slot = shared_->slot(i);
    if (slot.state.load(std::memory_order_acquire) == slot_free || slot.first_held == none)
      continue;
    if (oldest == none || shared_->entry(slot.first_held).ticket < shared_->entry(oldest).ticket) {
      oldest = slot.first_held;
    }
  }
  return oldest;
}

/// The item is done with: its memory is free.
void HostQueue::free_entry(std::uint32_t index) noexcept {
  Entry& entry = shared_->entry(index);
  const Position at{.chunk = entry.chunk, .offset = entry.offset};
  const bool is_large = shared_->record(at).kind == record_large;
  const LargeItem item = is_large ? shared_->large(at) : LargeItem{};
  entry.state = entry_free;
  entry.next = shared_->first_free_entry;
  shared_->first_free_entry = index;
  if (is_large) deallocate(item.first, chunks_for(item.size));
  unpin(at.chunk);
}

/// Makes lists, pins and counts agree with the states of the entries, after somebody died in the
/// lock.
void HostQueue::rebuild_hands() noexcept {
  const std::uint64_t gets = shared_->gets.load(std::memory_order_relaxed);
  shared_->first_free_entry = shared_->first_returned = shared_->last_returned = none;
  shared_->returned.store(0, std::memory_order_relaxed);
  for (std::uint32_t i = 0;
       i < slot_count && i < shared_->slots_made.load(std::memory_order_acquire); ++i) {
    shared_->slot(i).first_held = shared_->slot(i).last_held = none;
  }
  for (std::uint32_t i = 0; i < shared_->chunks_made; ++i) shared_->info(i).pins = 0;
  std::uint64_t unfinished = 0;
  for (std::uint32_t i = 0; i < shared_->entries_made; ++i) {
    Entry& entry = shared_->entry(i);
    // Not taken after all: the one who was about to died before he moved the head.
    if (entry.state == entry_held && entry.number >= gets) entry.state = entry_free;
    if (entry.state == entry_free) {
      entry.next = shared_->first_free_entry;
      shared_->first_free_entry = i;
      continue;
    }
    unfinished += 1;
    shared_->info(entry.chunk).pins += 1;
    if (entry.state == entry_held) {
      link_held(i);
    } else {
      link_returned(i);
    }
  }
  shared_->done.store(gets - unfinished, std::memory_order_seq_cst);
}

/// Throws away what is in the queue; what is in hand stays there. Both ends are locked.
void HostQueue::drain() noexcept {
  while (shared_->first_returned != none) {
    const std::uint32_t index = shared_->first_returned;
    shared_->first_returned = shared_->entry(index).next;
    (shared_->first_returned == none ? shared_->last_returned
                                     : shared_->entry(shared_->first_returned).previous) = none;
    shared_->returned.fetch_sub(1, std::memory_order_relaxed);
    free_entry(index);
    shared_->done.fetch_add(1, std::memory_order_seq_cst);
  }
  const std::uint64_t puts = shared_->puts.load(std::memory_order_acquire);
  for (std::uint64_t gets = shared_->gets.load(std::memory_order_relaxed); gets != puts; ++gets) {
    Position at = shared_->head[gets & 1];
    std::uint32_t left = none;
    if (at.offset >= chunk_size || shared_->record(at).kind == record_end) {
      left = at.chunk;
      at = Position{.chunk = shared_->info(at.chunk).next, .offset = 0};
    }
    const Record record = shared_->record(at);
    const LargeItem item = record.kind == record_large ? shared_->large(at) : LargeItem{};
    if (record.kind == record_large) shared_->info(item.first).owner = 0;
    shared_->head[(gets + 1) & 1] = Position{.chunk = at.chunk, .offset = after(at, record.size)};
    shared_->gets.store(gets + 1, std::memory_order_release);
    if (shared_->joinable != 0) shared_->done.fetch_add(1, std::memory_order_seq_cst);
    if (record.kind == record_large) deallocate(item.first, chunks_for(item.size));
    if (left != none) retire(left);
  }
}

/// The end of a process's use of the queue: what it held goes back.
void HostQueue::release_slot(std::uint32_t index) noexcept {
  Slot& slot = shared_->slot(index);
  bool returned = false;
  if (shared_->joinable != 0) {
    // Only a process that was stopped in the lock makes this fail; the slot then stays until its
    // process is lost.
    if (!lock_gets(Deadline::after(std::chrono::seconds{1}))) return;
    const Unlock unlock{shared_->get_lock};
    while (slot.first_held != none) {
      give_back(slot.first_held);
      returned = true;
    }
  }
  slot.state.store(slot_free, std::memory_order_release);
  if (returned) wake_everybody();
}

void HostQueue::process_lost(const ProcessId& process) noexcept {
  bool found = false;
  const std::uint32_t made = shared_->slots_made.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < made; ++i) {
    Slot& slot = shared_->slot(i);
    if (slot.state.load(std::memory_order_acquire) == slot_free) continue;
    // Its descendants died with it, and whoever would have told us of them is gone: look at
    // everybody.
    const ProcessId user{.pid = slot.pid, .start = slot.start};
    if (user != process && is_running(user)) continue;
    found = true;
    // From here on what it worked on counts as unreachable, and nobody else takes the slot.
    slot.state.store(slot_lost, std::memory_order_release);
  }
  if (found || needs_reclaim()) reclaim();
  for (std::uint32_t i = 0; found && i < made; ++i) {
    Slot& slot = shared_->slot(i);
    if (slot.state.load(std::memory_order_acquire) == slot_lost) release_slot(i);
  }
  // One of those that it was to wake, or that was woken in its place, may be asleep.
  wake_everybody();
}

void HostQueue::wake_everybody() noexcept {
  shared_->items.wake_all(FutexScope::host);
  shared_->room.wake_all(FutexScope::host);
  shared_->finished.wake_all(FutexScope::host);
}

}  // namespace passel::inline v0::detail
