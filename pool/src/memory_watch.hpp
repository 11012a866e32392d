// Layer pool: how much memory a process uses, whether the kernel has been killing for it, and what
// it is doing.
#pragma once

#include <cstdint>
#include <string>

namespace passel::inline v0::detail {

/// Bytes that the process has in use for itself, without what it shares; 0 when it is gone. A `pid`
/// of 0 is the calling process.
[[nodiscard]] std::uint64_t own_memory(int pid) noexcept;

/// How many processes of this process's memory cgroup the kernel has killed for memory so far; 0
/// where that cannot be known.
[[nodiscard]] std::uint64_t memory_kills() noexcept;

/// True for a process that is stopped, by SIGSTOP or a debugger.
[[nodiscard]] bool is_stopped(int pid) noexcept;

/// "it computes", "it sleeps in futex_do_wait", for a sentence about a process.
[[nodiscard]] std::string doing_of(int pid);

}  // namespace passel::inline v0::detail
