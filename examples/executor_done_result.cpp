// Example: asking a future whether it is done, and for its result (Python: task1.done(),
// task1.result()).
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

std::string get_html(int times) {
  sleep_seconds(times);
  std::printf("use %d to success\n", times);
  return "运行的时间是" + std::to_string(times) + "秒";
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto executor = passel::ThreadPoolExecutor::start({.max_workers = 2}).unwrap();
  auto task1 = executor.submit(get_html, 2);
  auto task2 = executor.submit(get_html, 1);
  std::puts(task1.done() ? "True" : "False");
  sleep_seconds(3);
  task1.wait();  // three seconds are no promise
  std::puts(task1.done() ? "True" : "False");
  std::puts(task1.get().unwrap().c_str());
}
