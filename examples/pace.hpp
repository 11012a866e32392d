// Examples: how long "a second" is.
#pragma once

#include <chrono>
#include <cstdlib>
#include <thread>

using Milliseconds = std::chrono::duration<double, std::milli>;

/// That many of the program's seconds. PASSEL_EXAMPLE_SECOND_MS shortens them, so that the tests of
/// the examples need not wait as long as a reader may want to.
inline Milliseconds seconds(double count) {
  const char* ms = std::getenv("PASSEL_EXAMPLE_SECOND_MS");
  return Milliseconds{count * (ms != nullptr ? std::atof(ms) : 1000.0)};
}

inline void sleep_seconds(double count) { std::this_thread::sleep_for(seconds(count)); }

/// Counts the program's seconds from its making.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return Milliseconds{std::chrono::steady_clock::now() - start_} / ::seconds(1);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};
