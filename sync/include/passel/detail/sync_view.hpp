// Layer sync: the small shared objects of a process, looked at from outside.
#pragma once

#include <passel/detail/foreign_memory.hpp>
#include <passel/detail/sync_object.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

/// One who waits, or holds.
struct SyncParty {
  int pid = 0;
  int thread = 0;  ///< kernel thread id; 0: a future, or not known
};

/// What the memory of an object says at one moment.
struct SyncView {
  SyncKind kind = SyncKind::none;
  std::uint64_t id = 0;
  std::string name;
  std::vector<int> users;          ///< processes that hold a handle
  std::vector<SyncParty> holders;  ///< of a lock, or of permits that belong to their holder
  std::vector<SyncParty> waiters;  ///< in the order of their coming
  std::uint64_t token = 0;         ///< of a lock: how often it was granted
  std::uint64_t depth = 0;         ///< of an RLock that is held
  std::uint64_t available = 0;     ///< free permits
  std::uint64_t lock = 0;          ///< of a condition: the id of its lock
  std::uint32_t parties = 0;       ///< of a barrier
  bool is_set = false;             ///< of an event
  bool is_broken = false;          ///< of a barrier
};

/// "lock", "rlock", ...
[[nodiscard]] PASSEL_API std::string_view to_string(SyncKind kind) noexcept;

/// All objects in the memory but plain values; none where it is no arena.
[[nodiscard]] PASSEL_API std::vector<SyncView> view_sync(const ForeignMemory& memory);

}  // namespace passel::inline v0::detail
