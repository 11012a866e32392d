// Example crawler: which page comes next. A pure machine: no clock, no socket, no thread, so tests
// drive it with a virtual clock.
#pragma once

#include "messages.hpp"
#include "record.hpp"
#include "site.hpp"

#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace crawler {

struct FrontierOptions {
  std::string product = "passel-crawler";  ///< our name in robots.txt
  bool robots = true;
  bool span_hosts = false;       ///< follow links to other hosts
  std::size_t max_pages = 0;     ///< 0: no limit
  std::optional<int> max_depth;  ///< links away from a start page
  std::size_t per_host = 4;      ///< requests to one host at a time
  Duration delay{};              ///< pause between two requests to one host
  std::size_t fetchers =
      4;            ///< a request that had to wait for its pause is given to an idle fetcher only
  int retries = 3;  ///< after the first attempt
  Duration backoff =
      std::chrono::milliseconds{500};  ///< before the first retry, doubled for each further one
  Duration max_backoff =
      std::chrono::seconds{60};  ///< also the longest Retry-After that is waited for
  int max_hops = 10;             ///< redirects of one page
  std::function<bool(const std::string&)> wanted;  ///< --include and --exclude; empty: everything
};

/// The set of all pages: found, waiting, handed out, done. The parent asks it for jobs and tells it
/// results; it never waits.
///
///     frontier.add_seed("http://example.com/");
///     while (auto job = frontier.next(now)) hand_out(*job);
///     frontier.take(result, now);
///     for (auto& finished : frontier.take_finished()) write(finished.record);
class Frontier {
 public:
  /// A page that is done, and the pages that were found in it for the first time.
  struct Finished {
    Record record;
    std::vector<std::string> queued;
  };

  explicit Frontier(FrontierOptions options) : options_{std::move(options)} {}

  /// A start page. Its host belongs to the crawl. `url` is canonical.
  void add_seed(const std::string& url);
  /// From a journal: a page that is done.
  void restore(const Record& record);
  /// A page that was found at `depth`; false when it is known already or not wanted.
  bool add(const std::string& url, int depth, const std::string& referrer);

  /// The next request that may be made now, if any.
  std::optional<Job> next(Time now);
  /// What came of a request. A second answer to one request (a fetcher died between answering and
  /// saying so) is dropped.
  void take(const PageResult& result, Time now);
  /// A job that was handed out and came back untouched: it waits again.
  void take_back(const Job& job);
  /// Pages that were done since the last call.
  std::vector<Finished> take_finished();
  /// Nothing more is handed out from now on.
  void stop() { stopped_ = true; }

  /// Nothing is handed out and nothing can be.
  [[nodiscard]] bool idle() const;
  /// When `next` may have something although it has nothing now and no result comes.
  [[nodiscard]] std::optional<Time> wake_at(Time now) const;
  [[nodiscard]] std::size_t done() const { return done_; }
  /// Pages that are known and neither done nor given up because of the page limit.
  [[nodiscard]] std::size_t open() const { return pages_.size() - done_ - left_; }
  [[nodiscard]] std::size_t in_flight() const { return tickets_.size(); }
  /// Pages that the page limit left unfetched.
  [[nodiscard]] std::size_t left() const { return left_; }
  [[nodiscard]] std::size_t duplicates() const { return duplicates_; }
  [[nodiscard]] std::size_t retries() const { return retries_; }
  /// Some of the pages that have a link to `url`, the first ones that were found.
  [[nodiscard]] std::vector<std::string> referrers(const std::string& url) const;

 private:
  struct Page {
    std::string url;
    std::string current;  ///< url, or the redirect's target
    std::string referrer;
    int depth = 0;
    int attempts = 0;
    std::vector<std::string> hops;
    std::vector<std::string> others;  ///< more referrers
    bool started = false;
    bool done = false;
    bool seed = false;
  };
  static constexpr std::size_t no_page = static_cast<std::size_t>(-1);
  struct Ticket {
    std::size_t page;  ///< no_page: the site's robots.txt
    Site* site;
  };
  struct Waiting {
    Time until;
    Ticket ticket;
    friend bool operator>(const Waiting& a, const Waiting& b) { return a.until > b.until; }
  };

  Site& site_of(const std::string& url);
  bool in_scope(const std::string& url) const;
  std::size_t enter(const std::string& url, int depth, const std::string& referrer);
  void line_up(std::size_t page, bool first);
  void release(Time now);
  std::optional<Job> next_of(Site& site, Time now);
  std::optional<Job> ask_rules(Site& site, Time now);
  Job hand_out(Ticket ticket, const std::string& url, Time now);
  bool deeper_than_level(const Page& page) const;
  bool limit_reached() const;

  void take_rules(Site& site, const PageResult& result, Time now);
  void take_page(std::size_t page, const PageResult& result, Time now);
  void redirect(std::size_t page, const PageResult& result);
  bool retry(Ticket ticket, int attempts, const PageResult& result, Time now, std::string& error);
  void finish(std::size_t page, const PageResult& result, std::string error, bool skipped = false);
  void close(std::size_t page);

  FrontierOptions options_;
  std::vector<Page> pages_;
  std::unordered_map<std::string, std::size_t> known_;  ///< every URL, redirect targets too
  std::unordered_set<std::string> hosts_;               ///< that belong to the crawl
  std::map<std::string, Site, std::less<>> sites_;
  std::deque<Site*> round_;  ///< sites with a line, in turn
  std::unordered_map<std::uint64_t, Ticket> tickets_;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> waiting_;
  std::map<int, std::size_t> open_at_depth_;
  std::vector<Finished> finished_;
  std::uint64_t last_id_ = 0;
  std::size_t started_ = 0;
  std::size_t done_ = 0;
  std::size_t left_ = 0;
  std::size_t duplicates_ = 0;
  std::size_t retries_ = 0;
  bool stopped_ = false;
};

}  // namespace crawler
