// Example crawler: progress bar and progress lines.
#include "progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace crawler {
namespace {

constexpr std::size_t bar_cells = 24;
constexpr std::string_view green = "\x1b[32m";
constexpr std::string_view red = "\x1b[31m";
constexpr std::string_view plain = "\x1b[0m";

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Progress::Style Progress::fitting_style() {
  if (::isatty(STDERR_FILENO) == 0) return Style::lines;
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::string_view{term} == "dumb") return Style::lines;
  const char* no_color = std::getenv("NO_COLOR");
  return no_color != nullptr && *no_color != '\0' ? Style::bar : Style::coloured_bar;
}

void Progress::update(const ProgressFigures& figures, std::chrono::steady_clock::time_point now) {
  using namespace std::chrono_literals;
  if (style_ == Style::none) return;
  if (begun_ == std::chrono::steady_clock::time_point{}) {
    begun_ = drawn_ = now;
    done_at_start_ = figures.done;
  }
  if (now - drawn_ < (style_ == Style::lines ? 2000ms : 100ms)) return;
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - begun_).count();
  const double rate =
      seconds > 0 ? static_cast<double>(figures.done - done_at_start_) / seconds : 0;
  if (style_ == Style::lines) {
    std::fprintf(stderr, "%zu pages done, %zu waiting, %zu in flight, %zu broken, %.1f pages/s\n",
                 figures.done, figures.open - figures.in_flight, figures.in_flight, figures.broken,
                 rate);
    return;
  }
  std::fprintf(stderr, "\r%s\x1b[K", bar(figures, rate, terminal_width()).c_str());
  shown_ = true;
}

void Progress::clear() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

std::string Progress::bar(const ProgressFigures& figures, double per_second,
                          std::size_t width) const {
  const bool colours = style_ == Style::coloured_bar;
  const std::size_t total = std::max<std::size_t>(figures.done + figures.open, 1);
  const std::size_t full = figures.done * bar_cells / total;
  char text[128];
  std::snprintf(text, sizeof text, " %zu/%zu pages, %.0f/s, %zu in flight", figures.done, total,
                per_second, figures.in_flight);
  std::string tail = text;
  std::string broken = figures.broken > 0 ? ", " + std::to_string(figures.broken) + " broken" : "";
  const std::size_t room = width > bar_cells + 3 ? width - bar_cells - 3 : 0;
  tail.resize(std::min(tail.size(), room));
  if (tail.size() + broken.size() > room) broken.clear();
  std::string line = "[";
  if (colours) line += green;
  line.append(full, '#');
  if (colours) line += plain;
  line.append(bar_cells - full, '.');
  line += ']' + tail;
  if (colours && !broken.empty()) return line + std::string{red} + broken + std::string{plain};
  return line + broken;
}

}  // namespace crawler
