// Layer transport: a host queue, looked at from outside.
#pragma once

#include <passel/detail/foreign_memory.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// What the memory of a host queue says at one moment.
struct QueueView {
  std::uint64_t id = 0;
  std::string type;
  std::uint64_t depth = 0;
  std::uint64_t maxsize = 0;  ///< 0: without limit
  std::uint64_t puts = 0;     ///< since it was made
  std::uint64_t bytes = 0;    ///< of memory for its items
  std::uint32_t getters = 0;  ///< that sleep
  std::uint32_t putters = 0;
  bool joinable = false;
  std::uint64_t unfinished = 0;  ///< of a joinable one: without their task_done
  bool shut_down = false;
  std::vector<int> users;  ///< processes that have it open
};

/// Empty where the memory is none of a queue's.
[[nodiscard]] PASSEL_API std::optional<QueueView> view_queue(const ForeignMemory& memory);

}  // namespace passel::inline v0::detail
