// Example crawler: the final report.
#include "report.hpp"

#include <algorithm>
#include <iomanip>
#include <ostream>

namespace crawler {
namespace {

constexpr std::size_t slowest_shown = 10;

std::string size_text(std::uint64_t bytes) {
  const auto text = [](std::uint64_t tenths, const char* unit) {
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + unit;
  };
  if (bytes >= 1u << 20) return text(bytes * 10 >> 20, " MiB");
  if (bytes >= 1u << 10) return text(bytes * 10 >> 10, " KiB");
  return std::to_string(bytes) + " bytes";
}

std::string status_name(const Record& record) {
  if (record.skipped) return record.error;
  if (record.status != 0) return "HTTP " + std::to_string(record.status);
  return "no answer";
}

}  // namespace

void Report::count(const PageResult& result) {
  if (result.worker >= workers_.size()) return;
  WorkerFigures& worker = workers_[result.worker];
  ++worker.requests;
  worker.bytes += result.bytes;
  worker.busy_ms += result.ms;
}

void Report::add(const Record& record, bool earlier) {
  ++statuses_[status_name(record)];
  if (earlier) {
    ++earlier_;
  } else {
    bytes_ += record.bytes;
  }
  if (record.html) ++html_;
  if (!record.html && record.status == 200) ++other_types_;
  malformed_ += record.malformed.size();
  if (record.broken()) broken_.push_back(pages_.size());
  pages_.push_back(record);
}

void Report::write(std::ostream& out, const Frontier& frontier, std::chrono::duration<double> took,
                   bool interrupted) const {
  if (interrupted) out << "interrupted: " << frontier.open() << " pages were waiting\n";
  write_totals(out, frontier, took.count());
  write_workers(out, took.count());
  write_slowest(out);
  write_broken(out, frontier);
}

void Report::write_totals(std::ostream& out, const Frontier& frontier, double seconds) const {
  const std::size_t now = pages_.size() - earlier_;
  out << std::fixed << std::setprecision(1) << now << " pages in " << seconds << " s ("
      << (seconds > 0 ? static_cast<double>(now) / seconds : 0) << " pages/s), "
      << size_text(bytes_) << ", " << html_ << " of HTML, " << other_types_ << " of other types";
  if (earlier_ > 0) out << ", " << earlier_ << " more from earlier runs";
  out << '\n';
  for (const auto& [name, count] : statuses_)
    out << "  " << std::setw(6) << count << "  " << name << '\n';
  if (frontier.retries() > 0) out << "  " << std::setw(6) << frontier.retries() << "  retries\n";
  if (frontier.duplicates() > 0) {
    out << "  " << std::setw(6) << frontier.duplicates() << "  answers that came twice, dropped\n";
  }
  if (frontier.left() > 0) {
    out << "  " << std::setw(6) << frontier.left() << "  pages left out by the page limit\n";
  }
}

void Report::write_workers(std::ostream& out, double seconds) const {
  if (workers_.empty()) return;  // at other hosts
  out << "fetchers:\n";
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const WorkerFigures& worker = workers_[i];
    const double busy = seconds > 0 ? static_cast<double>(worker.busy_ms) / 10 / seconds : 0;
    out << "  " << std::setw(4) << i << std::setw(8) << worker.requests << " requests, "
        << size_text(worker.bytes) << ", busy " << std::setprecision(0) << busy << " %, "
        << worker.restarts << " restarts\n"
        << std::setprecision(1);
  }
}

void Report::write_slowest(std::ostream& out) const {
  std::vector<const Record*> pages;
  for (const Record& record : pages_) {
    if (record.attempts > 0) pages.push_back(&record);
  }
  const std::size_t shown = std::min(pages.size(), slowest_shown);
  std::partial_sort(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(shown), pages.end(),
                    [](const Record* a, const Record* b) { return a->ms > b->ms; });
  if (shown > 0) out << "slowest pages:\n";
  for (std::size_t i = 0; i < shown; ++i) {
    out << "  " << std::setw(6) << pages[i]->ms << " ms  " << pages[i]->final_url << '\n';
  }
}

void Report::write_broken(std::ostream& out, const Frontier& frontier) const {
  if (broken() == 0) {
    out << "broken links: none\n";
    return;
  }
  out << "broken links: " << broken() << '\n';
  for (std::size_t index : broken_) {
    const Record& record = pages_[index];
    out << "  " << record.final_url << ": " << record.error << '\n';
    for (const std::string& from : frontier.referrers(record.url)) out << "    in " << from << '\n';
  }
  for (const Record& record : pages_) {
    for (const std::string& link : record.malformed) {
      out << "  \"" << link << "\": malformed URL\n    in " << record.final_url << '\n';
    }
  }
}

}  // namespace crawler
