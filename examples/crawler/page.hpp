// Example crawler: what a page says, read with libgumbo.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace crawler {

/// Pages nested more deeply are not parsed.
constexpr std::size_t max_nesting = 2000;

struct PageOptions {
  bool images = false;
  bool obey_nofollow = true;
};

struct Page {
  std::string title;                   ///< UTF-8, blanks folded
  std::vector<std::string> links;      ///< canonical, each once, in page order
  std::vector<std::string> malformed;  ///< links that are no URL, as they stand in the page
  bool noindex = false;
  bool too_deep = false;  ///< nested over max_nesting; nothing was read
};

/// Reads the page with these `bytes`, fetched from `url`. Links are a[href], area[href] and
/// link[rel=next|prev], resolved against <base href>; other schemes are no links.
Page parse_page(std::string_view bytes, std::string_view header_charset, const std::string& url,
                PageOptions options);

}  // namespace crawler
