// Example crawler: robots.txt as RFC 9309 has it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crawler {

/// The rules of one site for one crawler.
///
///     auto robots = Robots::parse(text, "passel-crawler");
///     if (robots.allows("/private/x.html")) fetch();
class Robots {
 public:
  /// No rules: everything is allowed.
  Robots() = default;

  /// The groups that name `product` (case does not matter), or those for "*" when none does. Lines
  /// that cannot be understood are skipped, as the RFC asks; a byte order mark and any line ending
  /// are accepted.
  static Robots parse(std::string_view text, std::string_view product);

  /// Whether `path` (with query, canonical) may be fetched: the longest matching rule decides, and
  /// between equally long ones "allow". `*` matches anything, `$` at the end anchors. /robots.txt
  /// itself is always allowed.
  [[nodiscard]] bool allows(std::string_view path) const;

  /// Crawl-delay in seconds, when the site asks for one.
  [[nodiscard]] std::optional<double> crawl_delay() const { return delay_; }

 private:
  struct Rule {
    std::string pattern;
    bool allow;
  };
  std::vector<Rule> rules_;
  std::optional<double> delay_;
};

}  // namespace crawler
