// Test support: a range without an end, which tells how far it was read.
#pragma once

#include <iterator>

/// 0, 1, 2, ...; `read` counts what was looked at.
struct Endless {
  struct Iterator {
    int n;
    int* read;
    int operator*() const {
      ++*read;
      return n;
    }
    Iterator& operator++() {
      ++n;
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return false; }
  };
  int* read;
  [[nodiscard]] Iterator begin() const { return {0, read}; }
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }
};
