// Example crawler: the loop of a fetcher.
#include "worker.hpp"

#include "fetcher.hpp"

#include <csignal>
#include <utility>

namespace crawler {
namespace {

// A page that has killed so many fetchers is not tried again. High, because fetchers may be killed
// for reasons of their own, and a page that takes long to parse is in the hand of many of them.
constexpr std::uint32_t max_deaths = 25;

PageResult deadly(const Job& job, std::uint32_t deaths) {
  return {.id = job.id,
          .failure = Failure::deadly,
          .error = std::to_string(deaths) + " fetchers died with this page in hand"};
}

}  // namespace

void fetch_pages(JobQueue jobs, ResultQueue results, FetchOptions options, std::uint32_t worker,
                 std::stop_token stop) {
  Fetcher fetcher{std::move(options), std::move(stop)};
  while (auto delivered = jobs.get_delivered()) {
    const Job& job = delivered->item;
    const std::uint32_t deaths = delivered->count - 1;
    PageResult result = deaths < max_deaths ? fetcher.fetch(job) : deadly(job, deaths);
    result.worker = worker;
    // First the answer, then the tick: death between them makes a second answer, never a lost one.
    if (!results.put(std::move(result))) return;  // nobody listens any more
    jobs.task_done().unwrap();
  }
}

void fetch_pages_in_process(JobQueue jobs, ResultQueue results, FetchOptions options,
                            std::uint32_t worker) {
  std::signal(SIGINT, SIG_IGN);
  fetch_pages(std::move(jobs), std::move(results), std::move(options), worker, {});
}

}  // namespace crawler
