// Layer transport: putting items into a host queue and getting them out.
#include "host_queue_layout.hpp"

#include <algorithm>
#include <cstring>

namespace passel::inline v0::detail {

Error host_queue_closed() { return Error{Errc::closed, "queue is shut down"}; }

Error host_queue_locked() {
  return Error{Errc::timeout, "queue is locked by a process that does not run"};
}

Result<void> HostQueue::put(std::span<const std::byte> item, Deadline deadline) {
  const auto write = [item](std::byte* to) {
    if (!item.empty()) std::memcpy(to, item.data(), item.size());
  };
  return put_with(item.size(), write, deadline);
}

Result<void> HostQueue::check_size(std::size_t size) const {
  if (size <= shared_->message_limit) return {};
  return Error{Errc::too_large, "item of " + std::to_string(size) +
                                    " bytes is over the message limit of " +
                                    std::to_string(shared_->message_limit)};
}

Result<void> HostQueue::put_item(std::size_t size, WriteFunction write, void* context,
                                 Deadline deadline) {
  PASSEL_CHECK(check_size(size));
  PASSEL_CHECK(slot());
  if (size > inline_limit) return put_large(size, write, context, deadline);
  return put_record(record_inline, size, write, context, deadline);
}

Result<void> HostQueue::put_large(std::size_t size, WriteFunction write, void* context,
                                  Deadline deadline) {
  PASSEL_TRY(const std::uint32_t owner, slot());
  // A full queue is found before the copy is made, not after it.
  PASSEL_CHECK(wait_for_room(deadline));
  const std::uint32_t chunks = chunks_for(size);
  PASSEL_TRY(const std::uint32_t first, allocate(chunks, owner + 1));
  write(context, shared_->chunk(first));
  const LargeItem item{.size = size, .first = first, .unused = 0};
  const auto write_record = [&item](std::byte* to) { std::memcpy(to, &item, sizeof item); };
  using Function = decltype(write_record);
  const auto call = [](void* f, std::byte* to) { (*static_cast<Function*>(f))(to); };
  Result<void> put = put_record(record_large, sizeof item, call, erase(write_record), deadline);
  if (put.is_err()) deallocate(first, chunks);
  return put;
}

Result<void> HostQueue::wait_for_room(Deadline deadline) {
  const auto room = [this] {
    return shared_->maxsize == 0 || shared_->puts.load(std::memory_order_acquire) -
                                            shared_->gets.load(std::memory_order_acquire) <
                                        shared_->maxsize;
  };
  if (is_shutdown()) return host_queue_closed();
  if (room()) return {};
  if (deadline.is_try()) {
    return Error{Errc::full, "queue holds " + std::to_string(qsize()) + " of " +
                                 std::to_string(shared_->maxsize) + " items"};
  }
  const auto ready = [&] { return room() || is_shutdown(); };
  if (!shared_->room.wait(FutexScope::host, deadline, put_spinner_, shared_->get_cpu, ready)) {
    return Error{Errc::full, "queue held " + std::to_string(shared_->maxsize) +
                                 " items, its maxsize, until the time was up"};
  }
  return {};
}

Result<void> HostQueue::put_record(std::uint32_t kind, std::size_t size, WriteFunction write,
                                   void* context, Deadline deadline) {
  for (;;) {
    PASSEL_TRY(const bool put, append(kind, size, write, context, deadline));
    if (put) {
      shared_->items.wake_one(FutexScope::host);
      reclaim_if_needed();
      return {};
    }
    reclaim_if_needed();
    PASSEL_CHECK(wait_for_room(deadline));
  }
}

/// One attempt: false when the queue is full.
Result<bool> HostQueue::append(std::uint32_t kind, std::size_t size, WriteFunction write,
                               void* context, Deadline deadline) {
  if (!lock_puts(deadline)) return host_queue_locked();
  const Unlock unlock{shared_->put_lock};
  if (is_shutdown()) return host_queue_closed();
  return append_locked(kind, size, write, context);
}

Result<bool> HostQueue::append_locked(std::uint32_t kind, std::size_t size, WriteFunction write,
                                      void* context) {
  const std::uint64_t puts = shared_->puts.load(std::memory_order_relaxed);
  if (shared_->maxsize != 0 && puts - shared_->seen_gets >= shared_->maxsize) {
    shared_->seen_gets = shared_->gets.load(std::memory_order_acquire);
    if (puts - shared_->seen_gets >= shared_->maxsize) return false;
  }
  Position at = shared_->tail[puts & 1];
  if (chunk_size - at.offset < sizeof(Record) + align_up(size, 8)) {
    PASSEL_TRY(const std::uint32_t fresh, allocate(1, 0));
    shared_->info(fresh).pins = 0;
    shared_->info(fresh).retired = 0;
    if (at.offset < chunk_size) shared_->record(at) = Record{.size = 0, .kind = record_end};
    shared_->info(at.chunk).next = fresh;
    at = Position{.chunk = fresh, .offset = 0};
  } else if (at.offset == 0 && shared_->info(at.chunk).populated == 0) {
    PASSEL_CHECK(populate_chunks(at.chunk, 1));
  }
  const auto length = static_cast<std::uint32_t>(size);
  shared_->record(at) = Record{.size = length, .kind = kind};
  write(context, shared_->payload(at));
  shared_->tail[(puts + 1) & 1] = Position{.chunk = at.chunk, .offset = after(at, length)};
  shared_->put_cpu.publish();
  shared_->puts.store(puts + 1, std::memory_order_release);
  return true;
}

Result<std::vector<std::byte>> HostQueue::get(Deadline deadline) {
  std::vector<std::byte> bytes;
  const auto read = [&bytes](std::span<const std::byte> item) {
    bytes.assign(item.begin(), item.end());
  };
  PASSEL_CHECK(get_with(read, deadline));
  return bytes;
}

Result<Delivery> HostQueue::get_item(ReadFunction read, void* context, Deadline deadline) {
  PASSEL_TRY(const std::uint32_t slot_index, slot());
  Taken taken{.slot = slot_index, .delivery = {}};
  for (;;) {
    PASSEL_CHECK(wait_for_item(deadline));
    PASSEL_TRY(const bool got, take(taken, read, context, deadline));
    if (got) {
      if (shared_->maxsize != 0) shared_->room.wake_one(FutexScope::host);
      finish(taken, read, context);
      reclaim_if_needed();
      return taken.delivery;
    }
    reclaim_if_needed();
  }
}

/// Until there is one; another may be quicker to take it.
Result<void> HostQueue::wait_for_item(Deadline deadline) {
  const auto available = [this] {
    return shared_->puts.load(std::memory_order_acquire) !=
               shared_->gets.load(std::memory_order_relaxed) ||
           shared_->returned.load(std::memory_order_acquire) != 0;
  };
  for (;;) {
    const std::uint32_t state = shared_->state.load(std::memory_order_acquire);
    if (state == queue_dropped) return host_queue_closed();
    if (available()) return {};
    if (state != queue_open) return host_queue_closed();
    if (deadline.is_try()) return Error{Errc::empty, "queue is empty"};
    const auto ready = [&] { return available() || is_shutdown(); };
    if (!shared_->items.wait(FutexScope::host, deadline, get_spinner_, shared_->put_cpu, ready)) {
      return Error{Errc::empty, "queue was empty until the time was up"};
    }
  }
}

/// One attempt: false when somebody else was quicker.
Result<bool> HostQueue::take(Taken& taken, ReadFunction read, void* context, Deadline deadline) {
  if (!lock_gets(deadline)) return host_queue_locked();
  const Unlock unlock{shared_->get_lock};
  return take_locked(taken, read, context);
}

Result<bool> HostQueue::take_locked(Taken& taken, ReadFunction read, void* context) {
  if (shared_->first_returned != none && shared_->joinable != 0) {
    return take_returned(taken, read, context);
  }
  const std::uint64_t gets = shared_->gets.load(std::memory_order_relaxed);
  if (shared_->seen_puts <= gets) {
    shared_->seen_puts = shared_->puts.load(std::memory_order_acquire);
    if (shared_->seen_puts <= gets) return false;
  }
  PASSEL_CHECK(take_from_stream(taken, read, context));
  return true;
}

bool HostQueue::take_returned(Taken& taken, ReadFunction read, void* context) {
  const std::uint32_t index = shared_->first_returned;
  Entry& entry = shared_->entry(index);
  const Position at{.chunk = entry.chunk, .offset = entry.offset};
  const Record record = shared_->record(at);
  if (record.kind == record_large) {
    taken.first = shared_->large(at).first;
    taken.size = shared_->large(at).size;
  } else {
    read(context, {shared_->payload(at), record.size});
  }
  taken.entry = index;
  entry.deliveries += 1;
  taken.delivery.count = entry.deliveries;
  entry.slot = taken.slot;
  entry.thread = this_thread();
  entry.ticket = shared_->ticket++;
  shared_->first_returned = entry.next;
  (entry.next == none ? shared_->last_returned : shared_->entry(entry.next).previous) = none;
  entry.state = entry_held;
  shared_->returned.fetch_sub(1, std::memory_order_relaxed);
  link_held(index);
  return true;
}

Result<void> HostQueue::take_from_stream(Taken& taken, ReadFunction read, void* context) {
  const std::uint64_t gets = shared_->gets.load(std::memory_order_relaxed);
  Position at = shared_->head[gets & 1];
  std::uint32_t left = none;
  if (at.offset >= chunk_size || shared_->record(at).kind == record_end) {
    left = at.chunk;
    at = Position{.chunk = shared_->info(at.chunk).next, .offset = 0};
  }
  const Record record = shared_->record(at);
  const std::uint32_t behind = after(at, record.size);
  if (behind > chunk_size || (record.kind != record_inline && record.kind != record_large)) {
    return Error{Errc::malformed, "queue memory was overwritten: record of kind " +
                                      std::to_string(record.kind) + ", " +
                                      std::to_string(record.size) + " bytes"};
  }
  if (record.kind == record_large) {
    taken.first = shared_->large(at).first;
    taken.size = shared_->large(at).size;
    if (taken.first >= shared_->chunk_count ||
        chunks_for(taken.size) > shared_->chunk_count - taken.first) {
      return Error{Errc::malformed, "queue memory was overwritten: item of " +
                                        std::to_string(taken.size) + " bytes"};
    }
  } else {
    read(context, {shared_->payload(at), record.size});
  }
  if (shared_->joinable != 0) {
    PASSEL_TRY(taken.entry, new_entry());
    Entry& entry = shared_->entry(taken.entry);
    entry.slot = taken.slot;
    entry.thread = this_thread();
    entry.deliveries = 1;
    entry.number = gets;
    entry.ticket = shared_->ticket++;
    entry.chunk = at.chunk;
    entry.offset = at.offset;
    shared_->info(at.chunk).pins += 1;
    if (taken.first != none) shared_->info(taken.first).owner = 0;
    entry.state = entry_held;
  } else if (taken.first != none) {
    shared_->info(taken.first).owner = static_cast<std::uint16_t>(taken.slot + 1);
  }
  shared_->head[(gets + 1) & 1] = Position{.chunk = at.chunk, .offset = behind};
  shared_->get_cpu.publish();
  shared_->gets.store(gets + 1, std::memory_order_release);
  if (taken.entry != none) link_held(taken.entry);
  if (left != none) retire(left);
  return {};
}

/// Looks at a large item, which is ours alone now.
void HostQueue::finish(Taken& taken, ReadFunction read, void* context) {
  if (taken.first == none) return;
  struct Finally {
    HostQueue& queue;
    Taken& taken;
    bool looked = false;
    ~Finally() {
      if (taken.entry == none) {
        queue.deallocate(taken.first, chunks_for(taken.size));
      } else if (!looked && queue.lock_gets(Deadline::never())) {
        const Unlock unlock{queue.shared_->get_lock};
        queue.give_back(taken.entry);
      }
    }
  } finally{.queue = *this, .taken = taken};
  read(context, {shared_->chunk(taken.first), taken.size});
  finally.looked = true;
}

Result<void> HostQueue::task_done() {
  if (!joinable()) return Error{Errc::invalid_state, "task_done() is for joinable queues"};
  PASSEL_TRY(const std::uint32_t slot_index, slot());
  {
    if (!lock_gets(Deadline::never())) return host_queue_locked();
    const Unlock unlock{shared_->get_lock};
    const std::uint32_t entry = entry_to_finish(slot_index);
    if (entry == none) return Error{Errc::invalid_argument, "task_done() called too many times"};
    unlink_held(entry);
    free_entry(entry);
    shared_->done.fetch_add(1, std::memory_order_seq_cst);
  }
  if (shared_->done.load(std::memory_order_seq_cst) ==
      shared_->puts.load(std::memory_order_seq_cst)) {
    shared_->finished.wake_all(FutexScope::host);
  }
  reclaim_if_needed();
  return {};
}

Result<void> HostQueue::join(Deadline deadline) {
  if (!joinable()) return Error{Errc::invalid_state, "join() is for joinable queues"};
  PASSEL_CHECK(slot());
  const auto all_done = [this] {
    const std::uint64_t done = shared_->done.load(std::memory_order_seq_cst);
    return done >= shared_->puts.load(std::memory_order_seq_cst);
  };
  while (!all_done()) {
    if (deadline.passed() || !shared_->finished.wait(FutexScope::host, deadline, join_spinner_,
                                                     shared_->get_cpu, all_done)) {
      const HostQueueStats now = stats();
      return Error{Errc::timeout, std::to_string(now.unfinished) +
                                      " items of the queue were not done when the time was up"};
    }
  }
  return {};
}

void HostQueue::shutdown(bool immediate) noexcept {
  {
    // Both ends are held, so that no put or get that began before can end after.
    if (!lock_gets(Deadline::never())) return;
    const Unlock unlock_gets{shared_->get_lock};
    if (!lock_puts(Deadline::never())) return;
    const Unlock unlock_puts{shared_->put_lock};
    const std::uint32_t wanted = immediate ? queue_dropped : queue_draining;
    if (shared_->state.load(std::memory_order_relaxed) < wanted) {
      shared_->state.store(wanted, std::memory_order_seq_cst);
    }
    if (immediate) drain();
  }
  wake_everybody();
  reclaim_if_needed();
}

}  // namespace passel::inline v0::detail
