// Example crawler: how far the crawl is, for people who watch.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace crawler {

struct ProgressFigures {
  std::size_t done = 0;
  std::size_t open = 0;
  std::size_t in_flight = 0;
  std::size_t broken = 0;
};

/// On a terminal one line that is redrawn, with a bar; otherwise a plain line every two seconds.
/// Writes to standard error.
class Progress {
 public:
  enum class Style { none, lines, bar, coloured_bar };

  /// The style that fits standard error and NO_COLOR.
  static Style fitting_style();

  explicit Progress(Style style) : style_{style} {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// Shows `figures`, unless that was done a moment ago.
  void update(const ProgressFigures& figures, std::chrono::steady_clock::time_point now);
  /// Takes the bar off the terminal, so that other text can be written.
  void clear();

  /// The line itself, for a terminal of `width` columns.
  [[nodiscard]] std::string bar(const ProgressFigures& figures, double per_second,
                                std::size_t width) const;

 private:
  Style style_;
  bool shown_ = false;
  std::size_t done_at_start_ = 0;
  std::chrono::steady_clock::time_point begun_{};
  std::chrono::steady_clock::time_point drawn_{};
};

}  // namespace crawler
