// Example crawler: an independent walk over the files.
#include "verify.hpp"

#include "page.hpp"
#include "url.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

namespace crawler {
namespace {

namespace fs = std::filesystem;

std::string unescaped(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size()) {
      out += static_cast<char>(std::stoi(std::string{path.substr(i + 1, 2)}, nullptr, 16));
      i += 2;
    } else {
      out += path[i];
    }
  }
  return out;
}

/// The file that a URL stands for.
std::optional<fs::path> file_of(const fs::path& root, const std::string& url) {
  std::string_view path = split_url(url).path;
  std::string name = unescaped(path.substr(1, path.find('?') - 1));
  if (name.empty() || name.ends_with('/')) name += "index.html";
  const fs::path file = root / name;
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return {};
  return file;
}

bool is_html(const fs::path& file) {
  return file.extension() == ".html" || file.extension() == ".htm";
}

void compare(const std::set<std::string>& expected, const std::set<std::string>& found,
             std::set<std::string>& missed, std::set<std::string>& invented) {
  std::set_difference(expected.begin(), expected.end(), found.begin(), found.end(),
                      std::inserter(missed, missed.end()));
  std::set_difference(found.begin(), found.end(), expected.begin(), expected.end(),
                      std::inserter(invented, invented.end()));
}

}  // namespace

Differences verify(const std::string& directory, const std::string& origin,
                   const std::vector<Record>& crawled, bool images, bool obey_nofollow) {
  std::set<std::string> reached;
  std::set<std::string> dead;
  std::set<std::string> known{origin};
  std::vector<std::string> ahead{origin};
  while (!ahead.empty()) {
    const std::string url = std::move(ahead.back());
    ahead.pop_back();
    const auto file = file_of(directory, url);
    if (!file) {
      dead.insert(url);
      continue;
    }
    if (!is_html(*file)) continue;
    reached.insert(url);
    std::ostringstream bytes;
    bytes << std::ifstream{*file, std::ios::binary}.rdbuf();
    const Page page =
        parse_page(bytes.str(), "", url, {.images = images, .obey_nofollow = obey_nofollow});
    for (const std::string& link : page.links) {
      if (link.starts_with(origin) && known.insert(link).second) ahead.push_back(link);
    }
  }

  Differences result{.pages = reached.size(),
                     .dead = dead.size(),
                     .missed = {},
                     .invented = {},
                     .missed_dead = {},
                     .invented_dead = {},
                     .twice = {}};
  std::set<std::string> pages;
  std::set<std::string> broken;
  for (const Record& record : crawled) {
    if (record.broken()) {
      broken.insert(record.final_url);
    } else if (record.html && !pages.insert(record.final_url).second) {
      result.twice.push_back(record.final_url);
    }
  }
  compare(reached, pages, result.missed, result.invented);
  compare(dead, broken, result.missed_dead, result.invented_dead);
  return result;
}

}  // namespace crawler
