// Example: one call, or a few, in a thread of an executor (Python:
// ThreadPoolExecutor(max_workers=1), submit(...).result() and map).
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

std::pair<std::string, int> test(int number) {
  const std::time_t now = std::time(nullptr);
  char text[32];
  return {::ctime_r(&now, text), number};
}

void print(const std::pair<std::string, int>& result) {
  std::printf("(%.24s, %d)\n", result.first.c_str(), result.second);
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto executor = passel::ThreadPoolExecutor::start({.max_workers = 1}).unwrap();
  if (argc > 1 && std::strcmp(argv[1], "map") == 0) {
    for (auto& result : executor.map(test, std::vector{1, 2, 3}).unwrap()) print(*result);
  } else {
    print(executor.submit(test, 1).get().unwrap());
  }
}
