// Example crawler: the fetchers, all of them, and who replaces the dead.
#pragma once

#include "messages.hpp"
#include "options.hpp"

#include <passel/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace crawler {

/// N fetchers, to whom the parent gives jobs and from whom it gets results. One thread uses it.
class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  /// Ends whoever is left, at once.
  virtual ~Crew() = default;

  /// False when so many jobs are waiting that this one has no room.
  virtual bool give(const Job& job) = 0;
  /// The next result; waits for it at most so long.
  virtual std::optional<PageResult> receive(std::chrono::nanoseconds wait) = 0;
  /// Jobs that nobody has begun, as far as they can be had back.
  virtual std::vector<Job> take_back() = 0;
  /// Starts the dead anew and returns their places. Errors: refused when fetchers die again and
  /// again and nothing is answered in between (`answers` counts what was).
  virtual passel::Result<std::vector<std::size_t>> restart_dead(std::uint64_t answers) = 0;
  /// No more jobs: waits until everybody has gone home, and ends those who have not after `limit`.
  virtual void dismiss(std::chrono::milliseconds limit) = 0;
  /// Ends everybody now.
  virtual void kill() = 0;
};

/// Fetchers on this host, processes or threads. Errors: whatever starting a process says.
passel::Result<std::unique_ptr<Crew>> start_local_crew(Reach reach, std::size_t fetchers,
                                                       const FetchOptions& options);

/// Fetchers on any hosts: those who come to the address with the key (work_far_away). Errors: the
/// address cannot be used, the key file cannot be read.
passel::Result<std::unique_ptr<Crew>> start_far_crew(const FarOptions& far,
                                                     const FetchOptions& options);
/// Fetches for a crawler at another host, in so many processes, until this process is told to end.
/// Errors: nobody there, another key.
passel::Result<void> work_far_away(const FarOptions& far, std::size_t fetchers);

}  // namespace crawler
