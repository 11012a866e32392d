// Example crawler: one host's line of pages, and the manners that it is owed.
#pragma once

#include "robots.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <vector>

namespace crawler {

using Time = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

/// What the frontier knows of one site ("http://host:port"). Plain data: the frontier decides, this
/// remembers.
struct Site {
  enum class Rules { unknown, asked, known, unreachable };

  std::string origin;
  Rules rules = Rules::unknown;
  Robots robots;
  std::string rules_error;  ///< why robots.txt could not be had
  std::string rules_url;    ///< where robots.txt is, behind its redirects
  int rules_hops = 0;
  int rules_attempts = 0;
  std::deque<std::size_t> line;  ///< pages that wait for their turn
  std::size_t in_flight = 0;     ///< requests handed out and not answered
  Time not_before{};             ///< no request before this
  bool listed = false;           ///< it stands in the frontier's round

  /// The pause between two requests: ours, or the site's Crawl-delay when that is longer. One of
  /// more than a minute is taken for a minute.
  [[nodiscard]] Duration pause(Duration ours) const {
    const auto theirs = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>{std::min(robots.crawl_delay().value_or(0), 60.0)});
    return std::max(ours, theirs);
  }
};

}  // namespace crawler
