// Example crawler: what is known of a page when nothing more will be done for it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace crawler {

/// One line of the results, and of the journal.
struct Record {
  std::string url{};        ///< as it was found
  std::string final_url{};  ///< behind the redirects
  int status = 0;           ///< 0 when there was no answer
  int depth = 0;
  std::string referrer{};  ///< the page whose link was seen first, empty for a start page
  std::string title{};
  std::string content_type{};
  bool html = false;
  bool noindex = false;
  std::uint64_t bytes = 0;
  std::uint32_t ms = 0;
  std::uint32_t worker = 0;
  int attempts = 0;
  std::uint64_t links = 0;
  std::string error{};   ///< why it could not be had or was not wanted, empty when all is well
  bool skipped = false;  ///< not fetched on purpose: robots.txt, or a redirect out of the crawl
  std::vector<std::string> hops{};       ///< the redirects' targets, in order
  std::vector<std::string> malformed{};  ///< links in it that are no URL

  /// A dead link: an error status or no answer at all.
  [[nodiscard]] bool broken() const { return !skipped && (status >= 400 || !error.empty()); }
};

void to_json(nlohmann::json& json, const Record& record);
/// Throws nlohmann::json::exception when `json` is something else.
void from_json(const nlohmann::json& json, Record& record);

}  // namespace crawler
