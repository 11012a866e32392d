// Example crawler: the loop: hand out, receive, write down, replace the dead.
#include "crawl.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <utility>

namespace crawler {
namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::Result;

// How long the loop sleeps at most: a death or a Ctrl-C is seen after that.
constexpr Duration longest_wait = 50ms;

Time clock_now() { return std::chrono::steady_clock::now(); }

}  // namespace

Crawl::Crawl(const Options& options)
    : options_{options},
      frontier_{options.frontier},
      report_{options.far.listen.empty() ? options.fetchers : 0},
      progress_{options.quiet ? Progress::Style::none : Progress::fitting_style()} {}

Result<std::unique_ptr<Crawl>> Crawl::prepare(const Options& options) {
  std::unique_ptr<Crawl> crawl{new Crawl{options}};
  for (const std::string& seed : options.seeds) crawl->frontier_.add_seed(seed);
  std::vector<Frontier::Finished> earlier;
  if (!options.state.empty()) {
    PASSEL_TRY(crawl->journal_, Journal::open(options.state, options.seeds));
    crawl->journal_->restore(crawl->frontier_);
    earlier = crawl->journal_->finished();
    for (const Frontier::Finished& page : earlier) crawl->report_.add(page.record, true);
  }
  if (!options.output.empty()) {
    PASSEL_TRY(crawl->output_, Output::open(options.output, earlier));
  }
  return crawl;
}

Result<void> Crawl::run() {
  const Interrupts interrupts;
  PASSEL_TRY(const auto started,
             options_.far.listen.empty()
                 ? start_local_crew(options_.reach, options_.fetchers, options_.fetch)
                 : start_far_crew(options_.far, options_.fetch));
  Crew& crew = *started;
  begun_ = clock_now();
  while (true) {
    hand_out(crew);
    PASSEL_CHECK(
        commit());  // the frontier may finish a page by itself, such as one that robots.txt forbids
    if (frontier_.idle()) break;
    receive(crew);
    PASSEL_CHECK(commit());
    PASSEL_CHECK(replace_dead(crew));
    if (obey_interrupts(crew, interrupts.count())) break;
    show_progress();
  }
  took_ = clock_now() - begun_;
  progress_.clear();
  if (interrupts.count() > 1) {
    crew.kill();
  } else {
    crew.dismiss(5s);
  }
  return {};
}

void Crawl::hand_out(Crew& crew) {
  const Time now = clock_now();
  while (held_ || (held_ = frontier_.next(now))) {
    if (!crew.give(*held_)) return;
    held_.reset();
  }
}

/// Waits for one result and takes along whatever else is there.
void Crawl::receive(Crew& crew) {
  const Time now = clock_now();
  Duration wait = longest_wait;
  if (const auto wake = frontier_.wake_at(now)) wait = std::clamp<Duration>(*wake - now, 0ms, wait);
  for (auto result = crew.receive(wait); result; result = crew.receive(0ns)) {
    ++answers_;
    report_.count(*result);
    frontier_.take(*result, clock_now());
  }
}

/// Writes what is done: first the journal, which decides, then the results, which it can restore.
Result<void> Crawl::commit() {
  const auto finished = frontier_.take_finished();
  for (const Frontier::Finished& page : finished) {
    report_.add(page.record, false);
    if (journal_) journal_->append(page);
    if (output_) output_->append(page.record);
  }
  if (finished.empty()) return {};
  if (journal_) PASSEL_CHECK(journal_->commit());
  if (output_) PASSEL_CHECK(output_->flush());
  return {};
}

Result<void> Crawl::replace_dead(Crew& crew) {
  PASSEL_TRY(const auto places, crew.restart_dead(answers_));
  for (std::size_t place : places) report_.restarted(place);
  return {};
}

bool Crawl::obey_interrupts(Crew& crew, int count) {
  if (count == 0) return false;
  if (count > 1) return true;
  if (std::exchange(interrupted_, true)) return false;
  frontier_.stop();
  if (held_) frontier_.take_back(*std::exchange(held_, {}));
  for (const Job& job : crew.take_back()) frontier_.take_back(job);
  progress_.clear();
  std::fprintf(stderr, "interrupted: finishing %zu pages in flight (once more to leave at once)\n",
               frontier_.in_flight());
  return false;
}

void Crawl::show_progress() {
  progress_.update({.done = frontier_.done(),
                    .open = frontier_.open(),
                    .in_flight = frontier_.in_flight(),
                    .broken = report_.broken()},
                   clock_now());
}

Result<ExitCode> Crawl::conclude() {
  std::ostringstream text;
  report_.write(text, frontier_, took_, interrupted_);
  if (options_.report.empty()) {
    std::cerr << text.str();
  } else {
    std::ofstream file{options_.report};
    file << text.str() << std::flush;
    if (!file) return Error{Errc::system, "cannot write the report to " + options_.report};
  }
  if (interrupted_) return exit_interrupted;
  const auto failed = failed_starts();
  if (failed.size() == options_.seeds.size()) {
    for (const std::string& line : failed) std::cerr << "crawler: " << line << '\n';
    return exit_no_start;
  }
  return options_.strict && report_.broken() > 0 ? exit_broken : exit_ok;
}

/// A sentence for each start page that brought nothing.
std::vector<std::string> Crawl::failed_starts() const {
  std::vector<std::string> failed;
  for (const Record& record : report_.pages()) {
    if (record.depth != 0 || !record.referrer.empty()) continue;
    if (record.broken() || record.skipped) {
      failed.push_back("start page " + record.url + ": " + record.error);
    } else if (!record.html && record.status == 200) {
      failed.push_back("start page " + record.url + " is " +
                       (record.content_type.empty() ? "of no known type" : record.content_type) +
                       ", not HTML");
    }
  }
  return failed;
}

}  // namespace crawler
