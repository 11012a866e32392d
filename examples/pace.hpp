// Examples: how long "a second" is.
#pragma once

#include <chrono>
#include <cstdlib>
#include <thread>

/// Sleeps for that many of the program's seconds. PASSEL_EXAMPLE_SECOND_MS shortens them, so that
/// the tests of the examples need not wait as long as a reader may want to.
inline void sleep_seconds(double seconds) {
  const char* ms = std::getenv("PASSEL_EXAMPLE_SECOND_MS");
  const double second_ms = ms != nullptr ? std::atof(ms) : 1000.0;
  std::this_thread::sleep_for(std::chrono::duration<double, std::milli>{seconds * second_ms});
}
