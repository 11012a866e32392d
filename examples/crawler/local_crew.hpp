// Example crawler: fetchers on this host.
#pragma once

#include "crew.hpp"
#include "worker.hpp"

#include <passel/process.hpp>

#include <thread>
#include <utility>
#include <vector>

namespace crawler {

/// N fetchers between a queue of jobs and a queue of results. Processes that die are started anew;
/// what they had in hand goes to the others by the queue itself.
class LocalCrew final : public Crew {
 public:
  LocalCrew(JobQueue jobs, ResultQueue results, FetchOptions options)
      : jobs_{std::move(jobs)}, results_{std::move(results)}, options_{std::move(options)} {}
  ~LocalCrew() override { LocalCrew::kill(); }
  passel::Result<void> start(Reach reach, std::size_t fetchers);

  bool give(const Job& job) override { return jobs_.try_put(job).is_ok(); }
  std::optional<PageResult> receive(std::chrono::nanoseconds wait) override;
  std::vector<Job> take_back() override;
  passel::Result<std::vector<std::size_t>> restart_dead(std::uint64_t answers) override;
  void dismiss(std::chrono::milliseconds limit) override;
  void kill() override;

 private:
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
