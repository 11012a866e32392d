// Example crawler: starting, watching and ending the fetchers of this host.
#include "local_crew.hpp"

#include <utility>

namespace crawler {
namespace {

constexpr std::size_t queue_bound = 1000;
constexpr unsigned max_deaths_without_answer = 50;

}  // namespace

passel::Result<std::unique_ptr<Crew>> start_local_crew(Reach reach, std::size_t fetchers,
                                                       const FetchOptions& options) {
  // Between threads jobs and results are moved, between processes they travel through shared
  // memory.
  const passel::QueueOptions queue{
      .maxsize = queue_bound,
      .reach = reach == Reach::threads ? passel::Reach::threads : passel::Reach::host};
  PASSEL_TRY(JobQueue jobs, JobQueue::create(queue));
  PASSEL_TRY(ResultQueue results, ResultQueue::create(queue));
  auto crew = std::make_unique<LocalCrew>(std::move(jobs), std::move(results), options);
  PASSEL_CHECK(crew->start(reach, fetchers));
  return std::unique_ptr<Crew>{std::move(crew)};
}

passel::Result<void> LocalCrew::start(Reach reach, std::size_t fetchers) {
  for (std::size_t place = 0; place < fetchers; ++place) {
    if (reach == Reach::processes) {
      PASSEL_TRY(passel::Process process, new_process(place));
      processes_.push_back(std::move(process));
    } else {
      threads_.emplace_back([this, place](std::stop_token stop) {
        fetch_pages(jobs_, results_, options_, static_cast<std::uint32_t>(place), std::move(stop));
      });
    }
  }
  return {};
}

std::optional<PageResult> LocalCrew::receive(std::chrono::nanoseconds wait) {
  auto result = wait.count() > 0 ? results_.get_for(wait) : results_.try_get();
  if (!result) return std::nullopt;
  return *std::move(result);
}

std::vector<Job> LocalCrew::take_back() {
  std::vector<Job> all;
  while (auto job = jobs_.try_get()) {
    all.push_back(*std::move(job));
    jobs_.task_done().unwrap();
  }
  return all;
}

passel::Result<passel::Process> LocalCrew::new_process(std::size_t place) {
  return passel::Process::spawn<fetch_pages_in_process>(
      passel::ProcessOptions{.name = "fetcher-" + std::to_string(place), .daemon = true}, jobs_,
      results_, options_, static_cast<std::uint32_t>(place));
}

passel::Result<std::vector<std::size_t>> LocalCrew::restart_dead(std::uint64_t answers) {
  std::vector<std::size_t> places;
  for (std::size_t place = 0; place < processes_.size(); ++place) {
    if (processes_[place].is_alive()) continue;
    const bool answered = answers != std::exchange(answers_at_last_death_, answers);
    deaths_without_answer_ = answered ? 1 : deaths_without_answer_ + 1;
    if (deaths_without_answer_ > max_deaths_without_answer) {
      return passel::Error{passel::Errc::refused,
                           std::to_string(deaths_without_answer_) +
                               " fetchers died in a row without an answer, the last one (" +
                               processes_[place].name() + ") with exit code " +
                               std::to_string(processes_[place].exitcode().value_or(0))};
    }
    PASSEL_TRY(processes_[place], new_process(place));
    places.push_back(place);
  }
  return places;
}

void LocalCrew::dismiss(std::chrono::milliseconds limit) {
  jobs_.shutdown();
  const auto until = std::chrono::steady_clock::now() + limit;
  for (passel::Process& process : processes_) {
    if (!process.join_for(until - std::chrono::steady_clock::now())) (void)process.kill();
  }
  threads_.clear();
  processes_.clear();
}

void LocalCrew::kill() {
  for (passel::Process& process : processes_) {
    if (process.is_alive()) (void)process.kill();
  }
  processes_.clear();
  jobs_.shutdown({.immediate = true});
  results_.shutdown({.immediate = true});
  threads_.clear();  // asks them to stop, and joins
}

}  // namespace crawler
