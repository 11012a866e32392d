// Example: results one by one, in the order of the input (imap) or of completion (imap_unordered).
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <cstring>
#include <vector>

int get_html(int seconds) {
  sleep_seconds(seconds);
  return seconds;
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const bool unordered = argc > 1 && std::strcmp(argv[1], "unordered") == 0;
  auto pool = passel::Pool::start({.processes = 3}).unwrap();
  const std::vector<int> seconds{1, 5, 3};
  if (unordered)
    for (auto& result : pool.imap_unordered<get_html>(seconds).unwrap())
      std::printf("%d sleep success\n", result ? *result : -1);
  else
    for (auto& result : pool.imap<get_html>(seconds).unwrap())
      std::printf("%d success\n", result ? *result : -1);
  std::puts("done");
}
