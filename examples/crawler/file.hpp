// Example crawler: an append-only file of lines that survives being cut off anywhere.
#pragma once

#include <passel/result.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crawler {

/// A file of whole lines. What was committed is on the disk; a last line without its end (the
/// writer was killed) is cut off when the file is opened again.
class LineFile {
 public:
  enum class Open { fresh, resume };

  /// Opens or makes `path`; "-" is standard output. Errors name the file.
  static passel::Result<LineFile> open(const std::string& path, Open how);
  LineFile(LineFile&& other) noexcept
      : path_{std::move(other.path_)},
        lines_{std::move(other.lines_)},
        pending_{std::move(other.pending_)},
        fd_{std::exchange(other.fd_, -1)} {}
  LineFile& operator=(LineFile&& other) noexcept {
    path_.swap(other.path_);
    lines_.swap(other.lines_);
    pending_.swap(other.pending_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~LineFile();

  /// The lines that were there at opening, handed over.
  std::vector<std::string> take_lines() { return std::move(lines_); }
  /// Adds one line, in memory until commit().
  void append(std::string_view line) { (pending_ += line) += '\n'; }
  /// Writes what was appended.
  passel::Result<void> flush();
  /// Writes what was appended and waits until the disk has it.
  passel::Result<void> commit();

 private:
  LineFile(std::string path, int fd) : path_{std::move(path)}, fd_{fd} {}
  passel::Result<void> read_lines();

  std::string path_;
  std::vector<std::string> lines_;
  std::string pending_;
  int fd_;
};

}  // namespace crawler
