// Example crawler: which characters the bytes of a page are.
#pragma once

#include <string>
#include <string_view>

namespace crawler {

/// The name of a page's charset: byte order mark, then the header's, then the first 1024 bytes'
/// <meta>, then UTF-8 when the bytes are valid UTF-8, else windows-1252. A name that this system
/// does not know becomes windows-1252.
std::string charset_of(std::string_view bytes, std::string_view header_charset);

/// `bytes` as UTF-8. Bytes that are nothing in that charset become U+FFFD.
std::string to_utf8(std::string_view bytes, const std::string& charset);

/// "utf-8" of "text/html; charset=UTF-8", empty when there is none.
std::string charset_parameter(std::string_view content_type);

}  // namespace crawler
