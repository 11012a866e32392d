// Layer pool: what the kernel says about processes, in small files.
#pragma once

#include <string>

namespace passel::inline v0::detail {

/// "/proc/12/name"; pid 0 stands for this process.
[[nodiscard]] std::string proc_file(int pid, const char* name);
/// The beginning of a small file of /proc or /sys; empty when it cannot be read.
[[nodiscard]] std::string read_small(const std::string& path);

}  // namespace passel::inline v0::detail
