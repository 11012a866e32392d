// Example crawler: counting open tags without parsing.
#include "nesting.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace crawler {
namespace {

constexpr std::array<std::string_view, 33> closed_by_html{
    "area",  "base",  "br",    "col",  "colgroup", "dd",       "dt",     "embed", "hr",
    "img",   "input", "li",    "link", "meta",     "optgroup", "option", "p",     "param",
    "rp",    "rt",    "tbody", "td",   "body",     "tfoot",    "source", "th",    "thead",
    "track", "tr",    "wbr",   "html", "head",     "keygen"};

constexpr std::array<std::string_view, 6> texts{"script", "style", "textarea",
                                                "title",  "xmp",   "iframe"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string name_at(std::string_view html, std::size_t at) {
  std::string name;
  while (at < html.size() && name.size() < 12 &&
         std::isalnum(static_cast<unsigned char>(html[at])) != 0) {
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(html[at++])));
  }
  return name;
}

/// Where `</name` begins at or behind `at`.
std::size_t end_of_text(std::string_view html, std::size_t at, const std::string& name) {
  for (; at < html.size(); ++at) {
    at = std::min(html.find("</", at), html.size());
    if (at < html.size() && name_at(html, at + 2) == name) break;
  }
  return std::min(at, html.size());
}

}  // namespace

std::size_t nesting_of(std::string_view html) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  for (std::size_t at = html.find('<'); at < html.size(); at = html.find('<', at)) {
    if (html.substr(at).starts_with("<!--")) {
      at = std::min(html.find("-->", at), html.size());
      continue;
    }
    const bool closing = at + 1 < html.size() && html[at + 1] == '/';
    const std::string name = name_at(html, at + (closing ? 2 : 1));
    ++at;
    if (name.empty() || contains(closed_by_html, name)) continue;
    if (closing) {
      if (depth > 0) --depth;
    } else {
      deepest = std::max(deepest, ++depth);
      if (contains(texts, name)) at = end_of_text(html, at, name);
    }
  }
  return deepest;
}

}  // namespace crawler
