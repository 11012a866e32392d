// Example crawler: URLs in one canonical spelling, so that equal pages have equal names.
#pragma once

#include <passel/result.hpp>

#include <string>
#include <string_view>

namespace crawler {

/// `text` as a canonical absolute http or https URL: scheme and host in lower case, default port,
/// fragment, dot segments and credentials removed, escapes normalised. Errors: `malformed` names
/// the text and what is wrong with it, `unsupported` is another scheme (mailto:, javascript:).
passel::Result<std::string> canonical_url(std::string_view text);

/// The same for a reference found in the page at `base` (canonical).
passel::Result<std::string> resolve_url(const std::string& base, std::string_view reference);

/// Escapes in one spelling: "%7ea%2fé b" becomes "~a%2F%C3%A9%20b". Unreserved characters are
/// unescaped, everything that may not stand in a URL is escaped, hexadecimal digits are upper case.
std::string normalised_escapes(std::string_view text);

/// The parts of a canonical URL: "http://a.org:81/x?y" has origin "http://a.org:81", host
/// "a.org:81" and path "/x?y".
struct UrlParts {
  std::string_view origin;
  std::string_view host;
  std::string_view path;
};
/// Views into `url`, which must be canonical.
UrlParts split_url(std::string_view url);

}  // namespace crawler
