// Example crawler: the figures of a crawl, gathered as it goes and told at its end.
#pragma once

#include "frontier.hpp"
#include "messages.hpp"
#include "record.hpp"

#include <chrono>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace crawler {

/// What one place in the crew did.
struct WorkerFigures {
  std::uint64_t requests = 0;
  std::uint64_t bytes = 0;
  std::uint64_t busy_ms = 0;
  unsigned restarts = 0;
};

/// Counts results and pages, and writes the final report.
class Report {
 public:
  explicit Report(std::size_t workers) : workers_(workers) {}

  /// One answer of a fetcher, also of a retry or a robots.txt.
  void count(const PageResult& result);
  /// One page that is done; `earlier` when a previous run did it.
  void add(const Record& record, bool earlier);
  void restarted(std::size_t worker) { ++workers_.at(worker).restarts; }

  [[nodiscard]] std::size_t broken() const { return broken_.size() + malformed_; }
  [[nodiscard]] std::size_t html() const { return html_; }
  [[nodiscard]] const std::vector<Record>& pages() const { return pages_; }

  /// The whole report as text.
  void write(std::ostream& out, const Frontier& frontier, std::chrono::duration<double> took,
             bool interrupted) const;

 private:
  void write_totals(std::ostream& out, const Frontier& frontier, double seconds) const;
  void write_broken(std::ostream& out, const Frontier& frontier) const;
  void write_slowest(std::ostream& out) const;
  void write_workers(std::ostream& out, double seconds) const;

  std::vector<Record> pages_;
  std::vector<std::size_t> broken_;  ///< into pages_
  std::map<std::string, std::size_t> statuses_;
  std::vector<WorkerFigures> workers_;
  std::size_t earlier_ = 0;
  std::size_t html_ = 0;
  std::size_t other_types_ = 0;
  std::size_t malformed_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace crawler
