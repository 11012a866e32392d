// Test support: what this process owns of the machine, to be counted before and after a test.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

namespace passel_test {

/// What a process owns of the machine: descendants, threads, open descriptors, shared memory. Taken
/// before and after a test that kills things, to prove that nothing is left behind.
///
///     const auto before = ProcessCensus::take();
///     ...
///     EXPECT_EQ(ProcessCensus::settle(before), "");   // "" or a readable list of what is left
///     over
struct ProcessCensus {
  struct Child {
    std::string name;
    char state = '?';
    bool operator==(const Child&) const = default;
  };
  std::map<pid_t, Child> descendants;      ///< all living descendants, zombies (state Z) included
  std::map<int, std::string> descriptors;  ///< open descriptors and what each one is
  std::map<std::string, int> memfds;       ///< mapped memfd segments by name, and how often
  std::set<std::string> shm;               ///< names in /dev/shm
  int threads = 0;  ///< threads of this process, without the I/O thread of its Runtime

  /// Counts now.
  [[nodiscard]] static ProcessCensus take();

  /// What `after` has and this one does not have, a line for each thing; empty when nothing was
  /// left behind. Less than before is no difference.
  [[nodiscard]] std::string left_over(const ProcessCensus& after) const;

  /// Takes the census until nothing is left over against `before`, and gives up after `limit`: a
  /// killed process takes a moment to go. Returns the last `left_over`.
  [[nodiscard]] static std::string settle(const ProcessCensus& before,
                                          std::chrono::milliseconds limit = std::chrono::seconds{
                                              10});
};

/// The living children of this process, zombies included.
[[nodiscard]] std::vector<pid_t> children();

/// The living descendants of this process, zombies included: children before their own children.
[[nodiscard]] std::vector<pid_t> descendants();

}  // namespace passel_test
