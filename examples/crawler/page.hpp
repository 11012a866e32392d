// Example crawler: what a page says, read with libgumbo.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace crawler {

struct PageOptions {
  bool images = false;
  bool obey_nofollow = true;
};

struct Page {
  std::string title;                   ///< UTF-8, blanks folded
  std::vector<std::string> links;      ///< canonical, each once, in page order
  std::vector<std::string> malformed;  ///< links that are no URL, as they stand in the page
  bool noindex = false;
};

/// Reads the page with these `bytes`, fetched from `url`. Links are a[href], area[href] and
/// link[rel=next|prev], resolved against <base href>; other schemes are no links.
Page parse_page(std::string_view bytes, std::string_view header_charset, const std::string& url,
                PageOptions options);

}  // namespace crawler
