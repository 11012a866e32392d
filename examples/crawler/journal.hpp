// Example crawler: the crawl's state on disk, from which it goes on after any kind of end.
#pragma once

#include "file.hpp"
#include "frontier.hpp"

#include <string>
#include <vector>

namespace crawler {

/// An append-only file: first line the start pages, then one line for each page that is done, with
/// the pages that were found in it. One line holds both, so that a cut leaves no page done whose
/// links are forgotten. What is found and not done was waiting or in flight, and is fetched again.
class Journal {
 public:
  /// Opens `path`, or makes it. Errors: it cannot be opened, a line is not ours (with its number),
  /// or it belongs to a crawl of other start pages.
  static passel::Result<Journal> open(const std::string& path,
                                      const std::vector<std::string>& seeds);

  /// The pages that earlier runs have finished, in their order.
  [[nodiscard]] const std::vector<Frontier::Finished>& finished() const { return finished_; }
  /// Puts what earlier runs have found and finished into `frontier`, whose seeds are in already.
  void restore(Frontier& frontier) const;

  void append(const Frontier::Finished& finished);
  /// Writes and syncs what was appended.
  passel::Result<void> commit() { return file_.commit(); }

 private:
  explicit Journal(LineFile file) : file_{std::move(file)} {}
  LineFile file_;
  std::vector<Frontier::Finished> finished_;
};

/// The results file. With a journal it holds each page once, whatever happened to the run before:
/// pages that the journal has and the file has not are written again.
class Output {
 public:
  /// Opens `path`; `earlier` are the pages of earlier runs, none for a fresh crawl.
  static passel::Result<Output> open(const std::string& path,
                                     const std::vector<Frontier::Finished>& earlier);
  void append(const Record& record);
  passel::Result<void> flush() { return file_.flush(); }

 private:
  explicit Output(LineFile file) : file_{std::move(file)} {}
  LineFile file_;
};

}  // namespace crawler
