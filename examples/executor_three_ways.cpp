// Example: four tasks, two threads: results as they come, in the order of the input, or after the
// first is there (Python: as_completed, executor.map, wait with FIRST_COMPLETED).
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>
#include <vector>

std::string get_html(int times) {
  sleep_seconds(times);
  std::printf("use %d to success\n", times);
  return "我运行的时间是" + std::to_string(times) + "秒";
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const std::string way = argc > 1 ? argv[1] : "as_completed";
  auto executor = passel::ThreadPoolExecutor::start({.max_workers = 2}).unwrap();
  const std::vector<int> urls{3, 4, 9, 7};
  if (way == "map") {
    for (auto& data : executor.map(get_html, urls).unwrap()) std::puts(data->c_str());
    return 0;
  }
  std::vector<passel::Future<std::string>> all_task;
  for (const int url : urls) all_task.push_back(executor.submit(get_html, url));
  if (way == "wait") {
    passel::wait(all_task, passel::WaitFor::first_completed);
    std::puts("main");
  }
  for (auto future : passel::as_completed(std::move(all_task)))
    std::puts(future.get().unwrap().c_str());
}
