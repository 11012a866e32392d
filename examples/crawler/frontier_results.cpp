// Example crawler: the frontier's second half: results come in, pages are done.
#include "frontier.hpp"

#include "url.hpp"

#include <algorithm>
#include <utility>

namespace crawler {
namespace {

constexpr int max_rules_hops = 5;  // RFC 9309, section 2.3.1.2

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_transient_status(int status) {
  return status == 429 || status == 500 || (status >= 502 && status <= 504);
}

std::string seconds(Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

}  // namespace

void Frontier::take(const PageResult& result, Time now) {
  const auto found = tickets_.find(result.id);
  if (found == tickets_.end()) {
    ++duplicates_;
    return;
  }
  const Ticket ticket = found->second;
  tickets_.erase(found);
  --ticket.site->in_flight;
  if (ticket.page == no_page) {
    take_rules(*ticket.site, result, now);
  } else {
    take_page(ticket.page, result, now);
  }
}

/// RFC 9309, section 2.3.1: an answer with rules is obeyed, 4xx and endless redirects mean that
/// there are no rules, and while there is no answer nothing may be fetched.
void Frontier::take_rules(Site& site, const PageResult& result, Time now) {
  if (result.failure == Failure::none && is_redirect(result.status) && !result.location.empty() &&
      ++site.rules_hops <= max_rules_hops) {
    site.rules_url = result.location;
    site.rules = Site::Rules::unknown;
    return;
  }
  std::string error = result.failure != Failure::none
                          ? result.error
                          : "robots.txt unreachable: HTTP " + std::to_string(result.status);
  if (retry({no_page, &site}, site.rules_attempts, result, now, error)) return;
  const bool unreachable =
      result.failure != Failure::none || result.status == 429 || result.status >= 500;
  site.rules = unreachable ? Site::Rules::unreachable : Site::Rules::known;
  if (unreachable) {
    site.rules_error = std::move(error);
  } else if (result.status >= 200 && result.status < 300) {
    site.robots = Robots::parse(result.body, options_.product);
    site.not_before = std::max(site.not_before, now + site.pause(options_.delay));
  }
}

void Frontier::take_page(std::size_t page, const PageResult& result, Time now) {
  if (result.failure == Failure::none && is_redirect(result.status)) {
    redirect(page, result);
    return;
  }
  std::string error = result.error;
  if (error.empty() && result.status >= 400) error = "HTTP " + std::to_string(result.status);
  Page& state = pages_[page];
  if (retry({page, &site_of(state.current)}, state.attempts, result, now, error)) return;
  finish(page, result, std::move(error));
}

void Frontier::redirect(std::size_t page, const PageResult& result) {
  Page& state = pages_[page];
  const std::string& target = result.location;
  if (target.empty()) {
    finish(page, result, result.error.empty() ? "redirect without a Location" : result.error);
    return;
  }
  const auto known = known_.find(target);
  if (known != known_.end() && known->second != page) {
    // Somebody else has that page: this one ends here, and a dead target names this one as its
    // referrer.
    add(target, state.depth, state.url);
    state.hops.push_back(target);
    finish(page, result, {});
    return;
  }
  if (known != known_.end()) {
    finish(page, result, "redirect loop: back to " + target);
    return;
  }
  if (state.hops.size() >= static_cast<std::size_t>(options_.max_hops)) {
    finish(page, result, "more than " + std::to_string(options_.max_hops) + " redirects");
    return;
  }
  if (state.seed && state.referrer.empty()) hosts_.emplace(split_url(target).host);
  state.hops.push_back(target);
  if (!in_scope(target)) {
    finish(page, result, "redirect out of the crawl", true);
    return;
  }
  known_.emplace(target, page);
  state.current = target;
  state.attempts = 0;
  line_up(page, true);
}

/// Whether the request is made again, later. `error` gets the reason why not when there is a
/// special one.
bool Frontier::retry(Ticket ticket, int attempts, const PageResult& result, Time now,
                     std::string& error) {
  const bool transient = is_transient(result.failure) ||
                         (result.failure == Failure::none && is_transient_status(result.status));
  if (!transient || attempts > options_.retries) return false;
  Duration wait = options_.backoff * (1 << std::min(attempts - 1, 16));
  wait = std::min(wait, options_.max_backoff);
  if (result.retry_after > 0) {
    const Duration asked = std::chrono::seconds{result.retry_after};
    if (asked > options_.max_backoff) {
      error += ", Retry-After " + seconds(asked) + " is over the limit of " +
               seconds(options_.max_backoff);
      return false;
    }
    wait = std::max(wait, asked);
    ticket.site->not_before = std::max(ticket.site->not_before, now + asked);
  }
  ++retries_;
  waiting_.push({now + wait, ticket});
  return true;
}

void Frontier::finish(std::size_t page, const PageResult& result, std::string error, bool skipped) {
  const Page state = pages_[page];  // a copy: the links below make pages_ grow
  close(page);
  const std::string& final_url = state.hops.empty() ? state.url : state.hops.back();
  Finished finished{.record = {.url = state.url,
                               .final_url = final_url,
                               .status = result.status,
                               .depth = state.depth,
                               .referrer = state.referrer,
                               .title = result.title,
                               .content_type = result.content_type,
                               .html = result.html,
                               .noindex = result.noindex,
                               .bytes = result.bytes,
                               .ms = result.ms,
                               .worker = result.worker,
                               .attempts = state.attempts,
                               .links = result.links.size(),
                               .error = std::move(error),
                               .skipped = skipped,
                               .hops = state.hops,
                               .malformed = result.malformed},
                    .queued = {}};
  for (const std::string& link : result.links) {
    if (add(link, state.depth + 1, final_url)) finished.queued.push_back(link);
  }
  finished_.push_back(std::move(finished));
}

void Frontier::close(std::size_t page) {
  Page& state = pages_[page];
  state.done = true;
  ++done_;
  if (auto open = open_at_depth_.find(state.depth); --open->second == 0) open_at_depth_.erase(open);
}

std::vector<Frontier::Finished> Frontier::take_finished() { return std::exchange(finished_, {}); }

}  // namespace crawler
