// Example crawler: the parent's loop, which brings all parts together.
#pragma once

#include "crew.hpp"
#include "frontier.hpp"
#include "interrupt.hpp"
#include "journal.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "report.hpp"

#include <memory>
#include <optional>

namespace crawler {

/// One crawl, from the start pages to the report.
class Crawl {
 public:
  /// Opens the files and takes up where an earlier run ended. Errors: a file that cannot be used.
  static passel::Result<std::unique_ptr<Crawl>> prepare(const Options& options);

  /// Runs until there is nothing left to do, or somebody interrupts. Errors: the fetchers keep
  /// dying, a file cannot be written.
  passel::Result<void> run();
  /// Writes the report and returns how the program shall end.
  passel::Result<ExitCode> conclude();

  [[nodiscard]] const std::vector<Record>& pages() const { return report_.pages(); }
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  explicit Crawl(const Options& options);
  void hand_out(Crew& crew);
  void receive(Crew& crew);
  passel::Result<void> commit();
  passel::Result<void> replace_dead(Crew& crew);
  /// True when it is time to go at once.
  bool obey_interrupts(Crew& crew, int count);
  void show_progress();
  [[nodiscard]] std::vector<std::string> failed_starts() const;

  const Options& options_;
  Frontier frontier_;
  Report report_;
  Progress progress_;
  std::optional<Journal> journal_;
  std::optional<Output> output_;
  std::optional<Job> held_;  ///< the frontier gave it out, the queue had no room
  Time begun_{};
  Duration took_{};
  std::uint64_t answers_ = 0;
  bool interrupted_ = false;
};

}  // namespace crawler
