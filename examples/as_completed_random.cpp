// Example: results as they come, whatever the order of submitting (Python: as_completed).
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include "pace.hpp"

#include <cstdio>
#include <random>
#include <string>
#include <vector>

std::string return_after_some_seconds(int number) {
  std::random_device device;
  sleep_seconds(std::uniform_int_distribution{1, 5}(device));
  return "Return of " + std::to_string(number);
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto pool = passel::ThreadPoolExecutor::start({.max_workers = 5}).unwrap();
  std::vector<passel::Future<std::string>> futures;
  for (int x = 0; x < 5; ++x) futures.push_back(pool.submit(return_after_some_seconds, x));
  std::puts("1");
  for (auto future : passel::as_completed(std::move(futures)))
    std::puts(future.get().unwrap().c_str());
  std::puts("2");
}
