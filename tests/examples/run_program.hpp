// Test support: an example program, run as a reader would run it.
#pragma once

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace passel_test {

/// Runs an example with short seconds, or ones of that many milliseconds; returns its lines. It
/// must end with exit code 0.
inline std::vector<std::string> run_program(const std::string& command, int second_ms = 50) {
  const std::string line = "PASSEL_EXAMPLE_SECOND_MS=" + std::to_string(second_ms) + " " +
                           std::string{PASSEL_EXAMPLES_DIR} + "/" + command + " 2>&1";
  std::FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return {"popen failed"};
  std::string text;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << command << ":\n" << text;
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string each; std::getline(in, each);) lines.push_back(each);
  return lines;
}

inline std::ptrdiff_t index_of(const std::vector<std::string>& lines, const std::string& line) {
  const auto found = std::find(lines.begin(), lines.end(), line);
  EXPECT_NE(found, lines.end()) << "no line \"" << line << "\"";
  return found - lines.begin();
}

/// The number at the end of a line, behind a space or a parenthesis.
inline int last_number(const std::string& line) {
  return std::atoi(line.substr(line.find_last_of(" (") + 1).c_str());
}

}  // namespace passel_test
