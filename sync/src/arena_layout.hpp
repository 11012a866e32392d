// Layer sync: what lies where in the memory that the small shared objects of a process live in.
#pragma once

#include <passel/detail/robust_lock.hpp>
#include <passel/detail/sync_object.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace passel::inline v0::detail {

// An arena is a row of chunks. An object takes a run of them: a header, its state on a cache line
// of its own, then what else it needs. Beside the chunks there is a table of the processes that use
// the arena and a table of those who wait for something in it.
//
// Whatever a process may hold is written down as the number of its place in the table of processes:
// when it dies, that number is looked for.
//
// Locks are taken in the order table, line of an object, line of another object (a condition's
// before its lock's).

inline constexpr std::uint64_t arena_kind = 0x70736c'73790003;  // "psl" "sy", version 3
inline constexpr std::size_t sync_chunk = 256;
inline constexpr std::uint32_t sync_chunk_count = 1U << 18;
inline constexpr std::uint32_t sync_process_count = 512;
inline constexpr std::uint32_t sync_waiter_count = 8192;
inline constexpr std::uint32_t nobody = 0;  ///< places and waiters are counted from 1
inline constexpr std::size_t sync_name_limit = 27;

/// Where somebody who waits has got to.
enum WaiterState : std::uint32_t {
  waiter_idle = 0,
  waiter_waiting = 1,
  waiter_nudged = 2,   ///< something is free: go and try to take it
  waiter_granted = 3,  ///< it was taken for you: see `grant`
};

/// One who waits: a thread, or a future of an asynchronous request.
struct alignas(64) Waiter {
  std::atomic<std::uint32_t> state;   ///< what its thread sleeps on
  std::atomic<std::uint32_t> owner;   ///< place of its process; nobody: this waiter is free
  std::atomic<std::uint32_t> line;    ///< the object in whose line it stands; 0 outside of any
  std::atomic<std::uint32_t> thread;  ///< kernel thread id; 0 for a future
  std::uint32_t previous;
  std::uint32_t next;
  std::atomic<std::uint64_t> ticket;     ///< order of arrival
  std::int64_t nudged_at;                ///< nanoseconds of the monotonic clock; 0: never
  std::atomic<std::uint64_t> grant;      ///< what was granted, see Grant
  std::atomic<std::uint32_t> permit;     ///< the same
  std::atomic<std::uint32_t> is_future;  ///< has no thread that could try by itself
  std::uint32_t condition;               ///< it was notified in the line of that one
  std::atomic<std::uint32_t> told;       ///< the circle that it is in was told of; see wait_graph
};
static_assert(sizeof(Waiter) == 64);

/// Beginning of each object.
struct ObjectHeader {
  std::atomic<std::uint32_t> kind;  ///< SyncKind; 0: the run is free
  std::uint32_t chunks;             ///< length of the run
  std::uint32_t serial;             ///< goes up when the chunks are used again
  std::uint32_t condition;          ///< of a condition: the object of its lock
  std::uint32_t first;              ///< of those who stand in line
  std::uint32_t last;
  std::uint64_t next_ticket;
  RobustLock line;  ///< protects what is slow
  std::array<char, sync_name_limit + 1> name;
  std::array<std::atomic<std::uint64_t>, sync_process_count / 64> users;
};
inline constexpr std::size_t state_offset = 192;
static_assert(sizeof(ObjectHeader) <= state_offset);

/// A process that uses the arena.
struct alignas(64) ProcessPlace {
  std::atomic<std::int32_t> pid;  ///< 0: free; negative: free, and it was that process's before
  std::atomic<std::uint64_t> start;
  std::atomic<std::uint32_t> bell;     ///< counts what happened to its futures
  std::atomic<std::uint32_t> leaving;  ///< it ends in order: what it leaves behind is no accident
};

struct ArenaLayout {
  std::uint64_t id;
  std::atomic<std::uint32_t> ready;
  std::uint32_t next_serial;
  std::uint32_t next_place;  ///< where to look for a free one: those just left are taken last
  std::uint32_t populated_chunks;
  std::atomic<std::uint32_t> populated_waiters;
  std::uint32_t chunks_end;  ///< no chunk at or behind it was ever used
  RobustLock table;
  std::array<ProcessPlace, sync_process_count> processes;
  std::array<std::uint64_t, sync_chunk_count / 64> used;
};

inline constexpr std::size_t waiters_offset = (sizeof(ArenaLayout) + 4095) / 4096 * 4096;
inline constexpr std::size_t chunks_offset = waiters_offset + sync_waiter_count * sizeof(Waiter);
inline constexpr std::size_t arena_size = chunks_offset + sync_chunk_count * sync_chunk;

}  // namespace passel::inline v0::detail
