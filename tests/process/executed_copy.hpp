// Test support: one case of this test program, run in an executed copy of it.
#pragma once

#include <string>
#include <vector>

namespace passel_test {

/// Whether the copy's stderr is read while it runs, or only when it has ended.
enum class ReadErrors { all_along, at_the_end };

struct CopyRun {
  int exitcode = 0;
  std::string errors;  ///< what it and its children wrote to stderr
};

/// Runs `DISABLED_ExecutedCopy.NAME` in a copy, with these variables in its environment and none of
/// passel's besides. Its standard output is thrown away.
CopyRun run_copy(const std::string& name, const std::vector<std::string>& environment = {},
                 ReadErrors read = ReadErrors::all_along);

}  // namespace passel_test
