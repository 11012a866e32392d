// Example crawler: the fetchers, all of them, and who replaces the dead.
#pragma once

#include "options.hpp"
#include "worker.hpp"

#include <passel/process.hpp>

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace crawler {

/// N fetchers between a queue of jobs and a queue of results. Processes that die are started anew;
/// what they had in hand goes to the others by the queue itself.
class Crew {
 public:
  /// Starts them. Errors: whatever starting a process says.
  static passel::Result<std::unique_ptr<Crew>> start(Reach reach, std::size_t fetchers,
                                                     const FetchOptions& options);
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  /// Ends whoever is left, at once.
  ~Crew();

  JobQueue& jobs() { return jobs_; }
  ResultQueue& results() { return results_; }

  /// Starts the dead anew and returns their places. Errors: refused when fetchers die again and
  /// again and nothing is answered in between (`answers` counts what was).
  passel::Result<std::vector<std::size_t>> restart_dead(std::uint64_t answers);
  /// No more jobs: waits until everybody has gone home, and ends those who have not after `limit`.
  void dismiss(std::chrono::milliseconds limit);
  /// Ends everybody now.
  void kill();

 private:
  Crew(JobQueue jobs, ResultQueue results, FetchOptions options)
      : jobs_{std::move(jobs)}, results_{std::move(results)}, options_{std::move(options)} {}
  passel::Result<passel::Process> new_process(std::size_t place);

  JobQueue jobs_;
  ResultQueue results_;
  FetchOptions options_;
  std::vector<passel::Process> processes_;
  std::vector<std::jthread> threads_;
  std::uint64_t answers_at_last_death_ = 0;
  unsigned deaths_without_answer_ = 0;
};

}  // namespace crawler
