// Layer actors: the Runtime, the first line of a program that uses passel.
#pragma once

#include <passel/result.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace passel::inline v0 {

namespace detail {
class Family;
}

/// Settings of a Runtime.
struct RuntimeOptions {
  /// What `current_process().name` says in the program itself.
  std::string name = "MainProcess";
  /// How long starting a process may take before it counts as failed.
  std::chrono::milliseconds start_timeout{30'000};
};

/// Makes this process the root of a family of processes. Must be the first line of `main`:
///
///     int main(int argc, char** argv) {
///       passel::Runtime runtime{argc, argv};   // in a started copy of the program this never
///       returns
///       ...
///     }
///
/// It plays the part of Python's `if __name__ == "__main__"` and `freeze_support()`: child
/// processes begin here, run what they were started for and end here. While the program has one
/// thread the Runtime forks its guardian, a process of one thread that starts all others; with
/// threads around it executes the program anew for that. Nothing else happens: no signal handler,
/// no change of a signal mask, no output, no thread before one is needed. When the root ends, even
/// by SIGKILL, the guardian kills every descendant.
///
/// One Runtime at a time; several may follow one another. Throws passel::Exception when there is
/// one already (invalid_state), when the system refuses the guardian (no_space, system), or when a
/// started copy was built from something else (version_mismatch).
class PASSEL_API Runtime {
 public:
  Runtime(int argc, char** argv, RuntimeOptions options = {});
  /// Like shutdown with no limit on joining: joins the threads that are no daemons, terminates
  /// daemon children, joins the others, stops the library's own threads, ends the guardian
  /// (Python's exit of the main process).
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Ends in order, and by `limit` in any case: threads are joined until the limit and then left
  /// behind like daemons; daemon children are terminated, the others are joined until the limit and
  /// then killed. Returns the names of the threads that were left, of the children that had to be
  /// killed, and of actors whose handlers had not returned by then. A second call returns at once.
  Result<std::vector<std::string>> shutdown_for(std::chrono::nanoseconds limit);

  /// True while there is a Runtime in this process.
  [[nodiscard]] static bool exists() noexcept;

 private:
  detail::Family* family_ = nullptr;  // never destroyed
};

}  // namespace passel::inline v0
