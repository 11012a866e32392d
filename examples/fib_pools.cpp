// Example: the same computation in threads and in processes; the executor's type is all that
// differs. In Python the processes are faster, here both use every CPU.
#include <passel/process_pool_executor.hpp>
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include "pace.hpp"

#include <cstdio>
#include <vector>

long fib(int n) { return n <= 2 ? 1 : fib(n - 1) + fib(n - 2); }

template <class Executor>
void compute(const char* name) {
  auto executor = Executor::start({.max_workers = 3}).unwrap();
  std::vector<passel::Future<long>> all_task;
  for (int number = 25; number < 35; ++number)
    all_task.push_back(executor.template submit<fib>(number));
  const Stopwatch watch;
  long sum = 0;
  for (auto future : passel::as_completed(std::move(all_task))) sum += future.get().unwrap();
  std::printf("%s用时:%.3f\n", name, watch.seconds());
  std::printf("sum %ld\n", sum);
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  compute<passel::ThreadPoolExecutor>("多线程");
  compute<passel::ProcessPoolExecutor>("多进程");
}
