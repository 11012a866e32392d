// Example crawler: the frontier's first half: pages come in, requests go out.
#include "frontier.hpp"

#include "url.hpp"

#include <utility>

namespace crawler {
namespace {
constexpr std::size_t max_other_referrers = 4;
}

void Frontier::add_seed(const std::string& url) {
  hosts_.emplace(split_url(url).host);
  if (known_.contains(url)) return;
  pages_[enter(url, 0, {})].seed = true;
  line_up(pages_.size() - 1, false);
}

bool Frontier::add(const std::string& url, int depth, const std::string& referrer) {
  if (auto found = known_.find(url); found != known_.end()) {
    Page& page = pages_[found->second];
    if (page.others.size() < max_other_referrers && page.referrer != referrer) {
      page.others.push_back(referrer);
    }
    return false;
  }
  if (options_.max_depth && depth > *options_.max_depth) return false;
  if (!in_scope(url)) return false;
  line_up(enter(url, depth, referrer), false);
  return true;
}

void Frontier::restore(const Record& record) {
  const auto found = known_.find(record.url);
  const std::size_t index =
      found != known_.end() ? found->second : enter(record.url, record.depth, record.referrer);
  Page& page = pages_[index];
  if (page.done) return;
  for (const std::string& hop : record.hops) known_.emplace(hop, index);
  if (page.seed) hosts_.emplace(split_url(record.final_url).host);
  if (!page.started) ++started_;
  close(index);
}

std::optional<Job> Frontier::next(Time now) {
  if (stopped_) return {};
  release(now);
  for (std::size_t left = round_.size(); left > 0; --left) {
    Site& site = *round_.front();
    round_.pop_front();
    auto job = next_of(site, now);
    site.listed = !site.line.empty();
    if (site.listed) round_.push_back(&site);
    if (job) return job;
  }
  return {};
}

std::optional<Job> Frontier::next_of(Site& site, Time now) {
  while (!site.line.empty()) {
    const std::size_t index = site.line.front();
    Page& page = pages_[index];
    const bool over_limit = !page.done && !page.started && limit_reached();
    if (page.done || over_limit) {
      site.line.pop_front();
      if (over_limit) {
        ++left_;
        if (--open_at_depth_[page.depth] == 0) open_at_depth_.erase(page.depth);
      }
      continue;
    }
    if (deeper_than_level(page)) return {};
    if (options_.robots && site.rules == Site::Rules::unknown) return ask_rules(site, now);
    if (options_.robots && site.rules == Site::Rules::asked) return {};
    if (site.rules == Site::Rules::unreachable ||
        !site.robots.allows(split_url(page.current).path)) {
      site.line.pop_front();
      const bool unreachable = site.rules == Site::Rules::unreachable;
      finish(index, {}, unreachable ? site.rules_error : "disallowed by robots.txt", !unreachable);
      continue;
    }
    const Duration pause = site.pause(options_.delay);
    const bool crowded = options_.per_host != 0 && site.in_flight >= options_.per_host;
    const bool no_hands = pause > Duration{} && tickets_.size() >= options_.fetchers;
    if (crowded || no_hands || now < site.not_before) return {};
    site.line.pop_front();
    if (!std::exchange(page.started, true)) ++started_;
    ++page.attempts;
    return hand_out({index, &site}, page.current, now);
  }
  return {};
}

std::optional<Job> Frontier::ask_rules(Site& site, Time now) {
  if (now < site.not_before) return {};
  site.rules = Site::Rules::asked;
  ++site.rules_attempts;
  if (site.rules_url.empty()) site.rules_url = site.origin + "/robots.txt";
  return hand_out({no_page, &site}, site.rules_url, now);
}

Job Frontier::hand_out(Ticket ticket, const std::string& url, Time now) {
  const Job job{.id = ++last_id_, .url = url, .robots = ticket.page == no_page};
  tickets_.emplace(job.id, ticket);
  ++ticket.site->in_flight;
  ticket.site->not_before =
      std::max(ticket.site->not_before, now + ticket.site->pause(options_.delay));
  return job;
}

void Frontier::take_back(const Job& job) {
  const auto found = tickets_.find(job.id);
  if (found == tickets_.end()) return;
  const Ticket ticket = found->second;
  tickets_.erase(found);
  --ticket.site->in_flight;
  if (ticket.page == no_page) {
    ticket.site->rules = Site::Rules::unknown;
    --ticket.site->rules_attempts;
  } else {
    --pages_[ticket.page].attempts;
    line_up(ticket.page, true);
  }
}

void Frontier::release(Time now) {
  while (!waiting_.empty() && waiting_.top().until <= now) {
    const Ticket ticket = waiting_.top().ticket;
    waiting_.pop();
    if (ticket.page == no_page) {
      ticket.site->rules = Site::Rules::unknown;  // its line asks again
    } else {
      line_up(ticket.page, true);
    }
  }
}

bool Frontier::idle() const {
  if (!tickets_.empty()) return false;
  return stopped_ || (waiting_.empty() && round_.empty());
}

std::optional<Time> Frontier::wake_at(Time now) const {
  if (stopped_) return {};
  std::optional<Time> earliest;
  if (!waiting_.empty()) earliest = waiting_.top().until;
  for (const Site* site : round_) {
    if (site->not_before <= now) continue;
    if (!earliest || site->not_before < *earliest) earliest = site->not_before;
  }
  return earliest;
}

std::vector<std::string> Frontier::referrers(const std::string& url) const {
  const auto found = known_.find(url);
  if (found == known_.end()) return {};
  const Page& page = pages_[found->second];
  std::vector<std::string> all;
  if (!page.referrer.empty()) all.push_back(page.referrer);
  all.insert(all.end(), page.others.begin(), page.others.end());
  return all;
}

Site& Frontier::site_of(const std::string& url) {
  const std::string_view origin = split_url(url).origin;
  auto found = sites_.find(origin);
  if (found == sites_.end()) {
    found = sites_.try_emplace(std::string{origin}).first;
    found->second.origin = origin;
  }
  return found->second;
}

bool Frontier::in_scope(const std::string& url) const {
  if (!options_.span_hosts && !hosts_.contains(std::string{split_url(url).host})) return false;
  return !options_.wanted || options_.wanted(url);
}

std::size_t Frontier::enter(const std::string& url, int depth, const std::string& referrer) {
  pages_.push_back(
      {.url = url, .current = url, .referrer = referrer, .depth = depth, .hops = {}, .others = {}});
  ++open_at_depth_[depth];
  known_.emplace(url, pages_.size() - 1);
  return pages_.size() - 1;
}

void Frontier::line_up(std::size_t page, bool first) {
  Site& site = site_of(pages_[page].current);
  if (first) {
    site.line.push_front(page);
  } else {
    site.line.push_back(page);
  }
  if (!std::exchange(site.listed, true)) round_.push_back(&site);
}

/// With a depth limit pages go out level by level, so that each has the depth of its shortest way
/// and none is missed.
bool Frontier::deeper_than_level(const Page& page) const {
  return options_.max_depth && page.depth > open_at_depth_.begin()->first;
}

bool Frontier::limit_reached() const {
  return options_.max_pages != 0 && started_ >= options_.max_pages;
}

}  // namespace crawler
