// Layer sync: arenas: the processes that use one, those who wait, and what a death leaves behind.
#include "arena.hpp"
#include "async_waits.hpp"
#include "mend.hpp"

#include <passel/finalize.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint32_t waiters_a_step = 256;

/// When this process ends in order, what it still holds is no accident.
void say_goodbye_at_end() {
  static std::atomic<std::uint32_t> generation{0};
  const std::uint32_t mine = fork_generation() + 1;
  if (generation.exchange(mine) == mine) return;
  Finalizer::add(
      [] {
        for (const auto& arena : SyncArena::all()) {
          if (const std::uint32_t place = arena->place(); place != nobody) {
            arena->process(place).leaving.store(1, std::memory_order_release);
          }
        }
      },
      {.priority = std::numeric_limits<int>::min()});
}

}  // namespace

Error too_many_processes() {
  return Error{Errc::no_space, "shared objects are used by " + std::to_string(sync_process_count) +
                                   " processes already, which is the limit"};
}

std::uint32_t SyncArena::place() noexcept {
  const std::uint64_t known = place_.load(std::memory_order_relaxed);
  if (static_cast<std::uint32_t>(known >> 32) == fork_generation() + 1) {
    return static_cast<std::uint32_t>(known);
  }
  return claim_place();
}

std::uint32_t SyncArena::claim_place() noexcept {
  const ProcessId self = this_process();
  const std::uint64_t generation = std::uint64_t{fork_generation() + 1} << 32;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!lock_table()) return nobody;
    std::uint32_t free = nobody;
    for (std::uint32_t i = 0; i < sync_process_count; ++i) {
      const std::uint32_t p = (layout().next_place + i) % sync_process_count + 1;
      ProcessPlace& taken = process(p);
      const std::int32_t pid = taken.pid.load(std::memory_order_relaxed);
      // Another thread was quicker, or this is an arena whose objects came here twice.
      if (pid == self.pid && taken.start.load(std::memory_order_relaxed) == self.start) {
        free = p;
        break;
      }
      if (pid <= 0 && free == nobody) free = p;
    }
    if (free != nobody) {
      // What a place says of the process before stays for as long as possible: see process_lost.
      layout().next_place = free;
      ProcessPlace& mine = process(free);
      mine.start.store(self.start, std::memory_order_relaxed);
      mine.leaving.store(0, std::memory_order_relaxed);
      mine.pid.store(self.pid, std::memory_order_release);
      place_.store(generation | free, std::memory_order_relaxed);
    }
    layout().table.unlock();
    if (free != nobody) {
      say_goodbye_at_end();
      return free;
    }
    // All taken: maybe by processes that nobody reported as lost.
    process_lost({});
  }
  return nobody;
}

void SyncArena::empty_place(std::uint32_t place) noexcept {
  if (!lock_table()) return;
  bool holds = false;
  for (std::uint32_t chunk = 1; chunk < layout().chunks_end && !holds;) {
    const ObjectHeader& header = object(chunk);
    const bool used = is_used(chunk);
    holds = used && (header.users[(place - 1) / 64].load() >> ((place - 1) % 64) & 1) != 0;
    chunk += used ? std::max<std::uint32_t>(header.chunks, 1) : 1;
  }
  auto& pid = process(place).pid;
  // A process that has left something taken is known here until it ends.
  if (!holds) pid.store(-pid.load(std::memory_order_relaxed), std::memory_order_release);
  layout().table.unlock();
}

Result<void> SyncArena::populate_waiters(std::uint32_t seen) {
  if (seen >= sync_waiter_count) {
    return Error{Errc::no_space, "more than " + std::to_string(sync_waiter_count) +
                                     " threads and futures wait for shared objects of one process"};
  }
  if (!lock_table()) return Error{Errc::timeout, "the table of shared objects is locked"};
  Result<void> done{};
  auto& populated = layout().populated_waiters;
  if (populated.load(std::memory_order_relaxed) == seen) {
    if (reach_ == Reach::host) {
      done = segment_.populate(waiters_offset + seen * sizeof(Waiter),
                               waiters_a_step * sizeof(Waiter));
    }
    if (done) populated.store(seen + waiters_a_step, std::memory_order_release);
  }
  layout().table.unlock();
  return done;
}

Result<std::uint32_t> SyncArena::claim_waiter(std::uint32_t place, std::uint32_t thread) {
  for (;;) {
    const std::uint32_t there = waiters();
    const std::uint32_t begin = there == 0 ? 0 : hint_.load(std::memory_order_relaxed) % there;
    for (std::uint32_t i = 0; i < there; ++i) {
      const std::uint32_t number = (begin + i) % there + 1;
      Waiter& mine = waiter(number);
      std::uint32_t free = nobody;
      if (mine.owner.load(std::memory_order_relaxed) != nobody ||
          !mine.owner.compare_exchange_strong(free, place, std::memory_order_acquire)) {
        continue;
      }
      mine.thread.store(thread, std::memory_order_relaxed);
      mine.nudged_at = 0;
      mine.grant.store(0, std::memory_order_relaxed);
      mine.permit.store(0, std::memory_order_relaxed);
      mine.is_future.store(0, std::memory_order_relaxed);
      mine.condition = 0;
      mine.told.store(0, std::memory_order_relaxed);
      // Pairs with Line::holds: who sees it wait again sees that it has left the line before.
      mine.state.store(waiter_waiting, std::memory_order_release);
      hint_.store(number - 1, std::memory_order_relaxed);
      return number;
    }
    PASSEL_CHECK(populate_waiters(there));
  }
}

void SyncArena::free_waiter(std::uint32_t number) noexcept {
  Waiter& mine = waiter(number);
  mine.line.store(0, std::memory_order_relaxed);
  mine.state.store(waiter_idle, std::memory_order_relaxed);
  mine.owner.store(nobody, std::memory_order_release);
}

std::shared_ptr<AsyncWaits> SyncArena::async_waits(std::uint32_t place) {
  const std::lock_guard lock{async_mutex_};
  if (!async_ || async_generation_ != fork_generation()) {
    async_generation_ = fork_generation();
    async_ = std::make_shared<AsyncWaits>(place);
  }
  return async_;
}

bool SyncArena::lock_line(ObjectHeader& header, Deadline deadline) noexcept {
  const Locked locked = header.line.lock(deadline);
  if (locked == Locked::no) return false;
  if (locked == Locked::after_death) {
    WakeList wakes;
    rebuild_line(*this, header, wakes);
    perform(wakes);
  }
  return true;
}

void SyncArena::wake(std::uint32_t number) noexcept {
  Waiter& who = waiter(number);
  if (who.is_future == 0) {
    futex_wake(who.state, 1, scope());
    return;
  }
  const std::uint32_t place = who.owner.load(std::memory_order_relaxed);
  if (place == nobody) return;
  process(place).bell.fetch_add(1, std::memory_order_release);
  futex_wake(process(place).bell, std::numeric_limits<int>::max(), scope());
}

void SyncArena::perform(const WakeList& wakes) noexcept {
  if (wakes.everybody()) {
    for (std::uint32_t w = 1; w <= waiters(); ++w) wake(w);
    return;
  }
  for (const Wake& each : wakes) wake(each.waiter);
}

bool SyncArena::process_lost(const ProcessId& lost) noexcept {
  // A child's end is told once for each handle that it was given.
  std::unique_lock one_at_a_time{loss_mutex_};
  if (lost.pid != 0 && lost == last_lost_) return last_was_here_;
  // Asked before the table is locked, for all others wait for that: it reads files.
  const ProcessId self = this_process();
  const auto id_at = [this](std::uint32_t place) {
    return ProcessId{.pid = process(place).pid.load(std::memory_order_relaxed),
                     .start = process(place).start.load(std::memory_order_relaxed)};
  };
  std::array<ProcessId, sync_process_count + 1> dead{};
  for (std::uint32_t p = 1; p <= sync_process_count; ++p) {
    const ProcessId id = id_at(p);
    if (id.pid > 0 && id != self && (id == lost || !is_running(id))) dead[p] = id;
  }
  if (!lock_table()) return true;
  bool was_here = false;
  bool somebody_was = false;
  WakeList wakes;
  for (std::uint32_t p = 1; p <= sync_process_count; ++p) {
    ProcessPlace& gone = process(p);
    const ProcessId id = id_at(p);
    was_here = was_here || (std::abs(id.pid) == lost.pid && id.start == lost.start);
    // Its descendants went with it, and whoever else is gone may as well be looked after.
    if (id.pid <= 0 || id != dead[p]) continue;
    somebody_was = true;
    const Loss loss{
        .place = p, .pid = id.pid, .orderly = gone.leaving.load(std::memory_order_relaxed) != 0};
    for (std::uint32_t chunk = 1; chunk < layout().chunks_end;) {
      ObjectHeader& header = object(chunk);
      if (!is_used(chunk)) {
        ++chunk;
        continue;
      }
      chunk += std::max<std::uint32_t>(header.chunks, 1);
      mend_object(header, loss, wakes);
    }
    // None of its waiters stands in a line any more: it is not notified in its own place.
    for (std::uint32_t w = 1; w <= waiters(); ++w) {
      if (waiter(w).owner.load(std::memory_order_relaxed) != p) continue;
      const std::uint32_t condition = waiter(w).condition;
      free_waiter(w);
      if (condition != 0) pass_on_notify(*this, condition, wakes);
    }
    gone.pid.store(-id.pid, std::memory_order_release);
  }
  // Whom it had called, and died before it could wake him.
  for (std::uint32_t w = 1; somebody_was && w <= waiters(); ++w) {
    const std::uint32_t state = waiter(w).state.load();
    if (state == waiter_nudged || state == waiter_granted) wakes.push_back({.waiter = w});
  }
  layout().table.unlock();
  last_lost_ = lost;
  last_was_here_ = was_here;
  one_at_a_time.unlock();
  perform(wakes);
  return was_here;
}

void SyncArena::mend_object(ObjectHeader& header, const Loss& loss, WakeList& wakes) noexcept {
  auto& users = header.users[(loss.place - 1) / 64];
  const std::uint64_t bit = std::uint64_t{1} << ((loss.place - 1) % 64);
  if ((users.load() & bit) == 0) return;
  // A process that was stopped with the line in its hands is waited for: it holds it for a few
  // instructions, and nobody else could go on either.
  if (header.kind.load(std::memory_order_relaxed) != 0 && lock_line(header, Deadline::never())) {
    mend(*this, header, loss, wakes);
    header.line.unlock();
  }
  users.fetch_and(~bit);
  const bool used = std::any_of(header.users.begin(), header.users.end(),
                                [](const auto& rest) { return rest.load() != 0; });
  if (!used) release_run(header);
}

}  // namespace passel::inline v0::detail
