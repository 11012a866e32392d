// Tool passel: text tables for terminals and pipes.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

namespace passel_cli {

/// How a cell is shown where colour may be used.
enum class Tone { plain, good, warning, bad };

struct Cell {
  std::string text;
  Tone tone = Tone::plain;
};

/// Rows under a heading; columns as wide as their widest cell. Numbers stand to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) : heading_{std::move(heading)} {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  /// `in_colour`: with the escape sequences of terminals.
  void print(std::ostream& out, bool in_colour) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths() const;

  std::vector<std::string> heading_;
  std::vector<std::vector<Cell>> rows_;
};

/// The text in that tone.
[[nodiscard]] std::string toned(const std::string& text, Tone tone, bool in_colour);
/// "1.5 MiB"
[[nodiscard]] std::string size_text(std::uint64_t bytes);
/// "3.2 s", "4 min 5 s", "2 h 10 min"
[[nodiscard]] std::string time_text(double seconds);

}  // namespace passel_cli
