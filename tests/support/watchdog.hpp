// Test support: turns a test that hangs into stacks, states and a failure.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace passel_test {

/// Watches the test cases of this process from a second process. A case that is not done within its
/// limit (60 s, or `PASSEL_TEST_TIMEOUT` seconds) gets the states and stacks of all threads of this
/// process and of its descendants printed; then the descendants are killed and this process exits
/// with code 3.
///
/// The watching process is no child of this one, so that it shows in no wait(); it goes when this
/// process goes.
class Watchdog {
 public:
  /// The part of `main` that must come first: when this very process was started to watch another
  /// one, it does so and its exit code is returned.
  [[nodiscard]] static std::optional<int> serve(int argc, char** argv);

  /// Starts watching the cases that googletest runs. Call it after InitGoogleTest and after the
  /// Runtime is there.
  static void start();

  /// A limit for the case that runs now, counted from now: for soak tests that are meant to take
  /// long.
  static void limit(std::chrono::seconds seconds);
};

}  // namespace passel_test
