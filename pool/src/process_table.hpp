// Layer pool: the processes of this host that use this library.
#pragma once

#include <passel/inspect.hpp>

#include <cstdint>
#include <vector>

namespace passel::inline v0::detail {

/// A process, and when it was started (in the kernel's ticks): what two processes are told apart
/// and ordered by.
struct ListedProcess {
  ProcessReport report;
  int kernel_parent = 0;
  std::uint64_t start = 0;
};

/// Every process of this user (of root: every process) that may be looked at. Roles and roots are
/// not known yet. Errors: system.
[[nodiscard]] Result<std::vector<ListedProcess>> list_processes();
/// Finds out who belongs to whom; those without guardian, that `uses` does not name, are dropped.
[[nodiscard]] std::vector<ListedProcess> find_families(std::vector<ListedProcess> processes,
                                                       const std::vector<int>& uses);

}  // namespace passel::inline v0::detail
