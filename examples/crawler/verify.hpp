// Example crawler: the proof that nothing was missed.
#pragma once

#include "record.hpp"

#include <passel/result.hpp>

#include <set>
#include <string>
#include <vector>

namespace crawler {

/// How a crawl and a walk over the same files differ.
struct Differences {
  std::size_t pages = 0;                ///< HTML pages that the walk has reached
  std::size_t dead = 0;                 ///< links of theirs that lead to no file
  std::set<std::string> missed;         ///< reached by the walk only
  std::set<std::string> invented;       ///< reached by the crawl only
  std::set<std::string> missed_dead;    ///< dead links that the crawl does not report
  std::set<std::string> invented_dead;  ///< dead links that the crawl alone reports
  std::vector<std::string> twice;       ///< pages that stand in the results more than once

  [[nodiscard]] bool none() const {
    return missed.empty() && invented.empty() && missed_dead.empty() && invented_dead.empty() &&
           twice.empty();
  }
};

/// Walks from "/" over the files of `directory` by their links: one thread, no server, no frontier.
/// `origin` is what the directory was served as ("http://127.0.0.1:8000/").
Differences verify(const std::string& directory, const std::string& origin,
                   const std::vector<Record>& crawled, bool images, bool obey_nofollow);

}  // namespace crawler
