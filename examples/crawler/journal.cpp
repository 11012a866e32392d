// Example crawler: journal and results as JSON lines.
#include "journal.hpp"

#include <nlohmann/json.hpp>

#include <unordered_set>

namespace crawler {
namespace {

using nlohmann::json;
using passel::Errc;
using passel::Error;
using passel::Result;

/// Bytes of the web that are no UTF-8 must not end the crawl: they become U+FFFD.
std::string line_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : " ") + text;
  return all;
}

}  // namespace

Result<Journal> Journal::open(const std::string& path, const std::vector<std::string>& seeds) {
  PASSEL_TRY(LineFile file, LineFile::open(path, LineFile::Open::resume));
  const std::vector<std::string> lines = file.take_lines();
  Journal journal{std::move(file)};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    try {
      const json line = json::parse(lines[i]);
      if (i == 0) {
        const auto theirs = line.at("crawl").get<std::vector<std::string>>();
        if (theirs == seeds) continue;
        return Error{Errc::invalid_argument, "state file " + path + " belongs to a crawl of " +
                                                 joined(theirs) + ", not of " + joined(seeds)};
      }
      journal.finished_.push_back({.record = line.at("page").get<Record>(),
                                   .queued = line.at("queued").get<std::vector<std::string>>()});
    } catch (const json::exception& error) {
      return Error{Errc::malformed, "state file " + path + ", line " + std::to_string(i + 1) +
                                        " cannot be read: " + error.what()};
    }
  }
  if (lines.empty()) {
    journal.file_.append(line_of({{"crawl", seeds}}));
    PASSEL_CHECK(journal.commit());
  }
  return journal;
}

void Journal::restore(Frontier& frontier) const {
  for (const Frontier::Finished& page : finished_) frontier.restore(page.record);
  for (const Frontier::Finished& page : finished_) {
    for (const std::string& url : page.queued) {
      frontier.add(url, page.record.depth + 1, page.record.final_url);
    }
  }
}

void Journal::append(const Frontier::Finished& finished) {
  file_.append(line_of({{"page", finished.record}, {"queued", finished.queued}}));
}

Result<Output> Output::open(const std::string& path,
                            const std::vector<Frontier::Finished>& earlier) {
  const auto how = earlier.empty() ? LineFile::Open::fresh : LineFile::Open::resume;
  PASSEL_TRY(LineFile file, LineFile::open(path, how));
  std::unordered_set<std::string> written;
  for (const std::string& line : file.take_lines()) {
    const json value = json::parse(line, nullptr, false);
    if (value.is_object() && value.contains("url")) written.insert(value["url"].get<std::string>());
  }
  Output output{std::move(file)};
  for (const Frontier::Finished& page : earlier) {
    if (path != "-" && !written.contains(page.record.url)) output.append(page.record);
  }
  PASSEL_CHECK(output.flush());
  return output;
}

void Output::append(const Record& record) { file_.append(line_of(record)); }

}  // namespace crawler
