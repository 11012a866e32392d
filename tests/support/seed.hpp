// Test support: seeds for randomised tests, printed so that a failure can be repeated.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace passel_test {

/// The seed of a randomised test: `PASSEL_SEED` when it is set, else a fresh one. It is printed
/// either way, so that a failing run is repeated with `PASSEL_SEED=<number> <executable>
/// --gtest_filter=<test>`.
[[nodiscard]] inline std::uint64_t seed() {
  std::uint64_t value = 0;
  if (const char* text = std::getenv("PASSEL_SEED"); text != nullptr && *text != '\0') {
    value = std::strtoull(text, nullptr, 0);
  } else {
    std::random_device device;
    value = (std::uint64_t{device()} << 32U) | device();
  }
  std::printf("[   SEED   ] PASSEL_SEED=%llu\n", static_cast<unsigned long long>(value));
  std::fflush(stdout);
  return value;
}

/// How many rounds a randomised test runs: `PASSEL_ROUNDS` when it is set (tools/check --soak),
/// else `usual`.
[[nodiscard]] inline unsigned rounds(unsigned usual) {
  const char* text = std::getenv("PASSEL_ROUNDS");
  return text != nullptr && *text != '\0' ? static_cast<unsigned>(std::strtoul(text, nullptr, 0))
                                          : usual;
}

}  // namespace passel_test
