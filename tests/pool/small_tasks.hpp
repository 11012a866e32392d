// Test support: small tasks, and pools to run them in.
#pragma once

#include <passel/pool.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"

#include <gtest/gtest.h>

#include <unistd.h>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace passel_test {

/// A type without a default constructor, as a result.
class Meters {
 public:
  explicit Meters(double value) : value_{value} {}
  [[nodiscard]] double value() const { return value_; }

 private:
  double value_;
};

inline int square(int n) { return n * n; }
inline int add(int a, int b) { return a + b; }
inline int process_id() { return ::getpid(); }
inline std::string shout(const std::string& text) { return text + "!"; }
inline void nothing(int) {}
inline Meters walk(int steps) { return Meters{steps * 0.75}; }
inline int three_is_bad(int n) {
  if (n == 3) throw std::invalid_argument{"no three"};
  return n;
}
/// Waits until the queue gives it a word: a task that is as long as the test wants it to be.
inline std::string wait_for_word(const passel::Queue<std::string>& words) {
  return words.get().unwrap();
}

inline passel::Pool make_pool(int processes) {
  return passel::Pool::start({.processes = processes}).unwrap();
}
/// What this process owns, once it has had a pool: the first one starts the threads that all actors
/// share.
inline ProcessCensus pool_census() {
  static const bool warm = passel::Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return ProcessCensus::take();
}

inline std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}
inline std::vector<int> squares(int count) {
  std::vector<int> all = numbers(count);
  for (int& n : all) n *= n;
  return all;
}

}  // namespace passel_test

template <>
struct passel::codec<passel_test::Meters> {
  static WireValue encode(const passel_test::Meters& meters) { return to_value(meters.value()); }
  static Result<passel_test::Meters> decode(const WireValue& value) {
    PASSEL_TRY(const double number, from_value<double>(value));
    return passel_test::Meters{number};
  }
};
