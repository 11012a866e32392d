// Example: thirty tasks of a second in three processes, then in three threads: ten seconds each.
#include <passel/process_pool_executor.hpp>
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include "pace.hpp"

#include <cstdio>
#include <vector>

int random_sleep(int n) {
  sleep_seconds(n);
  return n;
}

template <class Executor>
void sleep_in(const char* name) {
  auto executor = Executor::start({.max_workers = 3}).unwrap();
  const Stopwatch watch;
  std::vector<passel::Future<int>> all_task;
  for (int i = 0; i < 30; ++i) all_task.push_back(executor.template submit<random_sleep>(1));
  for (auto future : passel::as_completed(std::move(all_task))) future.get().unwrap();
  std::printf("%s用时 :%.3f\n", name, watch.seconds());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  sleep_in<passel::ProcessPoolExecutor>("多进程");
  sleep_in<passel::ThreadPoolExecutor>("多线程");
}
