// Example crawler: parsing and matching of robots.txt.
#include "robots.hpp"

#include "url.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace crawler {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

/// "passel-crawler" of "passel-crawler/0.1 (+http://...)".
std::string_view product_of(std::string_view agent) {
  if (agent == "*") return agent;
  const auto end = std::find_if_not(agent.begin(), agent.end(), [](unsigned char c) {
    return std::isalpha(c) != 0 || c == '-' || c == '_';
  });
  return agent.substr(0, static_cast<std::size_t>(end - agent.begin()));
}

/// The next line of `text`, taken off its front, without its comment.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return trimmed(line.substr(0, line.find('#')));
}

std::pair<std::string_view, std::string_view> key_and_value(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == line.npos) return {};
  return {trimmed(line.substr(0, colon)), trimmed(line.substr(colon + 1))};
}

/// Linear in the length of both: after a mismatch only the last `*` is tried further on.
bool matches(std::string_view pattern, std::string_view path) {
  const bool anchored = pattern.ends_with('$');
  if (anchored) pattern.remove_suffix(1);
  std::size_t p = 0;
  std::size_t s = 0;
  std::size_t star = pattern.npos;
  std::size_t resume = 0;
  while (true) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = s;
    } else if (p == pattern.size() && (!anchored || s == path.size())) {
      return true;
    } else if (p < pattern.size() && s < path.size() && pattern[p] == path[s]) {
      ++p;
      ++s;
    } else if (star != pattern.npos && resume < path.size()) {
      p = star + 1;
      s = ++resume;
    } else {
      return false;
    }
  }
}

}  // namespace

Robots Robots::parse(std::string_view text, std::string_view product) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Robots ours;
  Robots everybody;
  bool named = false;      // some group names us
  bool in_agents = false;  // the previous line was a user-agent line too
  bool for_us = false;
  bool for_everybody = false;
  while (!text.empty()) {
    const auto [key, value] = key_and_value(take_line(text));
    if (equal_ignoring_case(key, "user-agent")) {
      if (!std::exchange(in_agents, true)) for_us = for_everybody = false;
      for_us = for_us || equal_ignoring_case(product_of(value), product);
      for_everybody = for_everybody || value == "*";
      named = named || for_us;
      continue;
    }
    const bool allow = equal_ignoring_case(key, "allow");
    const bool rule = allow || equal_ignoring_case(key, "disallow");
    const bool delay = equal_ignoring_case(key, "crawl-delay");
    if (!rule && !delay) continue;
    in_agents = false;
    double seconds = 0;
    const bool number =
        delay &&
        std::from_chars(value.data(), value.data() + value.size(), seconds).ec == std::errc{};
    for (Robots* robots : {for_us ? &ours : nullptr, for_everybody ? &everybody : nullptr}) {
      if (robots == nullptr) continue;
      if (rule && !value.empty()) robots->rules_.push_back({normalised_escapes(value), allow});
      if (number && seconds >= 0) robots->delay_ = seconds;
    }
  }
  return named ? ours : everybody;
}

bool Robots::allows(std::string_view path) const {
  if (path == "/robots.txt") return true;
  std::size_t longest = 0;
  bool allowed = true;
  for (const Rule& rule : rules_) {
    if (!matches(rule.pattern, path)) continue;
    if (rule.pattern.size() > longest || (rule.pattern.size() == longest && rule.allow)) {
      longest = rule.pattern.size();
      allowed = rule.allow;
    }
  }
  return allowed;
}

}  // namespace crawler
