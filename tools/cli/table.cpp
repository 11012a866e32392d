// Tool passel: text tables for terminals and pipes.
#include "table.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <ostream>

namespace passel_cli {
namespace {

/// Characters, not bytes: names may be in any language.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

bool is_number(const std::string& text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0;
}

/// What a terminal would obey is shown as a question mark: names come from other programs.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string padded(const std::string& text, std::size_t width, bool to_the_right, bool is_last) {
  const std::string gap(width - std::min(width, width_of(text)), ' ');
  if (to_the_right) return gap + text;
  return is_last ? text : text + gap;
}

}  // namespace

std::string toned(const std::string& text, Tone tone, bool in_colour) {
  if (!in_colour || tone == Tone::plain) return text;
  const char* colour = tone == Tone::good      ? "\x1b[32m"
                       : tone == Tone::warning ? "\x1b[33m"
                                               : "\x1b[31m";
  return colour + text + "\x1b[0m";
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> widths;
  for (const std::string& name : heading_) widths.push_back(width_of(name));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width_of(row[i].text));
  }
  return widths;
}

void Table::print(std::ostream& out, bool in_colour) const {
  const auto wide = widths();
  for (std::size_t i = 0; i < heading_.size(); ++i) {
    const bool numbers = !rows_.empty() && is_number(rows_.front()[i].text);
    out << (i > 0 ? "  " : "") << padded(heading_[i], wide[i], numbers, i + 1 == heading_.size());
  }
  out << '\n';
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string text =
          padded(printable(row[i].text), wide[i], is_number(row[i].text), i + 1 == row.size());
      out << (i > 0 ? "  " : "") << toned(text, row[i].tone, in_colour);
    }
    out << '\n';
  }
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string time_text(double seconds) {
  char text[48];
  const auto whole = static_cast<long>(seconds);
  if (whole < 60)
    std::snprintf(text, sizeof text, "%.1f s", seconds);
  else if (whole < 3600)
    std::snprintf(text, sizeof text, "%ld min %ld s", whole / 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%ld h %ld min", whole / 3600, whole / 60 % 60);
  return text;
}

}  // namespace passel_cli
