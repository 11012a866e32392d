// Layer transport: putting several items into a host queue at once, and getting several.
#include "host_queue_layout.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Large items of a batch, already written into memory of their own; those that did not get into
/// the queue give it back.
struct HostQueue::LargeItems {
  explicit LargeItems(HostQueue& of) : queue{of} {}
  LargeItems(const LargeItems&) = delete;
  LargeItems& operator=(const LargeItems&) = delete;
  ~LargeItems() {
    for (; next < items.size(); ++next)
      queue.deallocate(items[next].first, chunks_for(items[next].size));
  }

  HostQueue& queue;
  std::vector<LargeItem> items{};
  std::size_t next = 0;  // that is not in the queue yet
};

void HostQueue::wake_getters(std::size_t count) noexcept {
  if (count == 1) {
    shared_->items.wake_one(FutexScope::host);
  } else {
    shared_->items.wake_all(FutexScope::host);
  }
}

Result<void> HostQueue::put_items(const ErasedBatch& batch, std::size_t& put, Deadline deadline) {
  for (put = 0; put < batch.count;) {
    const std::size_t size = batch.size(put);
    if (size > inline_limit) {
      const auto write = [&](std::byte* to) { batch.write(put, to); };
      PASSEL_CHECK(put_with(size, write, deadline));
      ++put;
      continue;
    }
    PASSEL_CHECK(check_size(size));
    PASSEL_CHECK(slot());
    PASSEL_TRY(const std::size_t appended, append_items(batch, put, deadline));
    if (appended != 0) wake_getters(appended);
    put += appended;
    reclaim_if_needed();
    if (appended == 0) {
      PASSEL_CHECK(wait_for_room(deadline));
    }
  }
  return {};
}

/// Those from `from` on that are not large, as long as there is room: how many they were. An error
/// only when there was none.
Result<std::size_t> HostQueue::append_items(const ErasedBatch& batch, std::size_t from,
                                            Deadline deadline) {
  if (!lock_puts(deadline)) return host_queue_locked();
  const Unlock unlock{shared_->put_lock};
  if (is_shutdown()) return host_queue_closed();
  std::size_t at = from;
  for (; at < batch.count; ++at) {
    const std::size_t size = batch.size(at);
    if (size > inline_limit || check_size(size).is_err()) break;
    const auto write = [&](std::byte* to) { batch.write(at, to); };
    using Function = decltype(write);
    const auto appended = append_locked(
        record_inline, size, [](void* f, std::byte* to) { (*static_cast<Function*>(f))(to); },
        erase(write));
    if (!appended && at == from) return appended.error();
    if (!appended || !*appended) break;
  }
  return at - from;
}

Result<void> HostQueue::try_put_items(const ErasedBatch& batch) {
  PASSEL_TRY(const std::uint32_t owner, slot());
  LargeItems large{*this};
  large.items.reserve(batch.count);
  for (std::size_t i = 0; i < batch.count; ++i) {
    const std::size_t size = batch.size(i);
    PASSEL_CHECK(check_size(size));
    if (size <= inline_limit) continue;
    PASSEL_TRY(const std::uint32_t first, allocate(chunks_for(size), owner + 1));
    large.items.push_back({.size = size, .first = first, .unused = 0});
    batch.write(i, shared_->chunk(first));
  }
  auto outcome = append_all(batch, large);
  // Also when memory ran out: some are in then.
  wake_getters(batch.count);
  reclaim_if_needed();
  return outcome;
}

Result<void> HostQueue::append_all(const ErasedBatch& batch, LargeItems& large) {
  if (!lock_puts(Deadline::now_or_never())) return host_queue_locked();
  const Unlock unlock{shared_->put_lock};
  if (is_shutdown()) return host_queue_closed();
  const std::uint64_t held =
      shared_->puts.load(std::memory_order_relaxed) - shared_->gets.load(std::memory_order_acquire);
  if (shared_->maxsize != 0 && batch.count > shared_->maxsize - std::min(held, shared_->maxsize)) {
    return Error{Errc::full, "queue holds " + std::to_string(held) + " of " +
                                 std::to_string(shared_->maxsize) + " items: no room for " +
                                 std::to_string(batch.count)};
  }
  for (std::size_t i = 0; i < batch.count; ++i) {
    const bool is_large = batch.size(i) > inline_limit;
    const auto write = [&](std::byte* to) {
      if (is_large) {
        std::memcpy(to, &large.items[large.next], sizeof(LargeItem));
      } else {
        batch.write(i, to);
      }
    };
    using Function = decltype(write);
    PASSEL_TRY(
        const bool appended,
        append_locked(
            is_large ? record_large : record_inline, is_large ? sizeof(LargeItem) : batch.size(i),
            [](void* f, std::byte* to) { (*static_cast<Function*>(f))(to); }, erase(write)));
    if (appended && is_large) ++large.next;
  }
  return {};
}

Result<std::size_t> HostQueue::get_items(std::size_t most, ReadFunction read, void* context,
                                         Deadline deadline) {
  if (most == 0) return std::size_t{0};
  PASSEL_TRY(const std::uint32_t slot_index, slot());
  for (;;) {
    PASSEL_CHECK(wait_for_item(deadline));
    Taken last{.slot = slot_index, .delivery = {}};
    PASSEL_TRY(const std::size_t count, take_several(most, last, read, context, deadline));
    if (count != 0) {
      if (shared_->maxsize != 0 && count == 1) shared_->room.wake_one(FutexScope::host);
      if (shared_->maxsize != 0 && count > 1) shared_->room.wake_all(FutexScope::host);
      finish(last, read, context);
      reclaim_if_needed();
      return count;
    }
    reclaim_if_needed();
  }
}

/// One attempt: none when somebody else was quicker. A large item is still to be finished.
Result<std::size_t> HostQueue::take_several(std::size_t most, Taken& last, ReadFunction read,
                                            void* context, Deadline deadline) {
  if (!lock_gets(deadline)) return host_queue_locked();
  const Unlock unlock{shared_->get_lock};
  std::size_t count = 0;
  while (count < most && (count == 0 || !next_is_large())) {
    Taken taken{.slot = last.slot, .delivery = {}};
    try {
      const auto got = take_locked(taken, read, context);
      if (!got && count == 0) return got.error();
      if (!got || !*got) break;
    } catch (...) {
      // What it was about stays in the queue; those before it are with the caller.
      if (count == 0) throw;
      break;
    }
    last = taken;
    ++count;
    if (last.first != none) break;
  }
  return count;
}

/// With the get lock held. A large item is copied outside of it, and if that fails nothing else is
/// to be lost: it comes alone.
bool HostQueue::next_is_large() const noexcept {
  if (shared_->first_returned != none && shared_->joinable != 0) {
    const Entry& entry = shared_->entry(shared_->first_returned);
    return shared_->record({.chunk = entry.chunk, .offset = entry.offset}).kind == record_large;
  }
  const std::uint64_t gets = shared_->gets.load(std::memory_order_relaxed);
  if (shared_->puts.load(std::memory_order_acquire) <= gets) return false;
  Position at = shared_->head[gets & 1];
  if (at.offset >= chunk_size || shared_->record(at).kind == record_end)
    at = Position{.chunk = shared_->info(at.chunk).next, .offset = 0};
  return shared_->record(at).kind == record_large;
}

}  // namespace passel::inline v0::detail
