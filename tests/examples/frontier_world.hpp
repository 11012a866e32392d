// Test support: the crawler's frontier without a network, by a virtual clock.
#pragma once

#include "frontier.hpp"

#include <string>
#include <utility>
#include <vector>

namespace crawler {

/// The crawler's frontier, and a test in the place of clock and fetchers.
struct World {
  explicit World(FrontierOptions options) : frontier{std::move(options)} {}
  Time now{};
  Frontier frontier;

  std::vector<Job> jobs() {
    std::vector<Job> all;
    while (auto job = frontier.next(now)) all.push_back(*job);
    return all;
  }
  void answer(const Job& job, PageResult result) {
    result.id = job.id;
    frontier.take(result, now);
  }
  void page(const Job& job, std::vector<std::string> links = {}) {
    answer(job, {.status = 200, .html = true, .links = std::move(links)});
  }
  std::vector<Record> records() {
    std::vector<Record> all;
    for (auto& finished : frontier.take_finished()) all.push_back(finished.record);
    return all;
  }
};

inline FrontierOptions plain() {
  FrontierOptions options;
  options.robots = false;
  options.per_host = 0;
  return options;
}

inline std::vector<std::string> urls(const std::vector<Job>& jobs) {
  std::vector<std::string> all;
  for (const Job& job : jobs) all.push_back(job.url);
  return all;
}

}  // namespace crawler
