// Example crawler: canonical URLs by libcurl's URL parser, with the normalisations that it leaves
// to its user.
#include "url.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <utility>

namespace crawler {
namespace {

using passel::Errc;
using passel::Error;
using passel::Result;

struct FreeUrl {
  void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
};
struct FreeText {
  void operator()(char* text) const { curl_free(text); }
};
using UrlHandle = std::unique_ptr<CURLU, FreeUrl>;

bool is_unreserved(unsigned char c) {
  return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '~';
}

bool may_stand(unsigned char c) {
  constexpr std::string_view forbidden = "\"<>\\^`{|}";
  return c > 0x20 && c < 0x7f && forbidden.find(static_cast<char>(c)) == forbidden.npos;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_escaped(std::string& out, unsigned char c) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  out += '%';
  out += digits[c >> 4];
  out += digits[c & 15];
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// Without surrounding blanks, inner line breaks and tabs (as browsers read an attribute) and
/// without the fragment.
std::string cleaned(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c != '\t' && c != '\n' && c != '\r') out += c;
  }
  out.erase(0, out.find_first_not_of(" \f"));
  out.erase(out.find_last_not_of(" \f") + 1);
  out.erase(std::min(out.find('#'), out.size()));
  return out;
}

/// "mailto" of "mailto:x", nothing for a relative reference.
std::string_view scheme_of(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == ':') return text.substr(0, i);
    const bool fits = std::isalpha(c) != 0 ||
                      (i > 0 && (std::isdigit(c) != 0 || c == '+' || c == '-' || c == '.'));
    if (!fits) break;
  }
  return {};
}

/// Where the authority ends: escapes are normalised behind it only, because a host has other rules
/// (IDN).
std::size_t end_of_authority(std::string_view text) {
  const std::size_t slashes = text.find("//");
  const std::size_t expected = scheme_of(text).empty() ? 0 : scheme_of(text).size() + 1;
  if (slashes != expected) return 0;
  return std::min(text.find_first_of("/?", slashes + 2), text.size());
}

Error malformed(std::string_view text, CURLUcode code) {
  return {Errc::malformed,
          "malformed URL \"" + std::string{text} + "\": " + curl_url_strerror(code)};
}

Result<std::string> part(CURLU* handle, CURLUPart which, unsigned flags) {
  char* text = nullptr;
  const CURLUcode code = curl_url_get(handle, which, &text, flags);
  const std::unique_ptr<char, FreeText> owned{text};
  if (code == CURLUE_NO_QUERY || code == CURLUE_NO_PORT) return std::string{};
  if (code != CURLUE_OK) return malformed("", code);
  return std::string{text};
}

Result<std::string> spelled(CURLU* handle) {
  PASSEL_TRY(std::string scheme, part(handle, CURLUPART_SCHEME, 0));
  PASSEL_TRY(std::string host, part(handle, CURLUPART_HOST, 0));
  PASSEL_TRY(std::string port, part(handle, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT));
  PASSEL_TRY(std::string path, part(handle, CURLUPART_PATH, 0));
  PASSEL_TRY(std::string query, part(handle, CURLUPART_QUERY, 0));
  std::string url = lower(scheme) + "://" + lower(host);
  if (!port.empty()) url += ':' + port;
  url += path.empty() ? "/" : normalised_escapes(path);
  if (!query.empty()) url += '?' + normalised_escapes(query);
  return url;
}

Result<std::string> parse(const std::string* base, std::string_view text) {
  const std::string reference = cleaned(text);
  if (base != nullptr && reference.empty()) return *base;
  const std::string scheme = lower(scheme_of(reference));
  if (!scheme.empty() && scheme != "http" && scheme != "https") {
    return Error{Errc::unsupported, "\"" + scheme + ":\" is not a scheme that can be crawled"};
  }
  const std::size_t path = end_of_authority(reference);
  const std::string normalised =
      reference.substr(0, path) + normalised_escapes(std::string_view{reference}.substr(path));
  const UrlHandle handle{curl_url()};
  if (base != nullptr) {
    if (auto code = curl_url_set(handle.get(), CURLUPART_URL, base->c_str(), 0)) {
      return malformed(*base, code);
    }
  } else if (scheme.empty()) {
    return Error{Errc::malformed,
                 "malformed URL \"" + std::string{text} + "\": no http:// or https:// in front"};
  }
  if (auto code = curl_url_set(handle.get(), CURLUPART_URL, normalised.c_str(), 0)) {
    return malformed(text, code);
  }
  return spelled(handle.get()).map_err([&](Error error) {
    return Error{error.code(), error.what() + " (in \"" + std::string{text} + "\")"};
  });
}

}  // namespace

std::string normalised_escapes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const int high = c == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low >= 0) {
      const auto escaped = static_cast<unsigned char>(high * 16 + low);
      if (is_unreserved(escaped)) {
        out += static_cast<char>(escaped);
      } else {
        append_escaped(out, escaped);
      }
      i += 2;
    } else if (c == '%' || !may_stand(c)) {
      append_escaped(out, c);
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

Result<std::string> canonical_url(std::string_view text) { return parse(nullptr, text); }

Result<std::string> resolve_url(const std::string& base, std::string_view reference) {
  return parse(&base, reference);
}

UrlParts split_url(std::string_view url) {
  const std::size_t host = url.find("//") + 2;
  const std::size_t path = std::min(url.find('/', host), url.size());
  return {.origin = url.substr(0, path),
          .host = url.substr(host, path - host),
          .path = url.substr(path)};
}

}  // namespace crawler
