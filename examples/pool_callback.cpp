// Example: callbacks run in the parent as results come in (Python: apply_async(func,
// callback=bar)).
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <unistd.h>
#include <cstdio>
#include <vector>

int foo(int i) {
  sleep_seconds(2);
  std::printf("in process %d\n", ::getpid());
  return i + 100;
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::printf("main process %d\n", ::getpid());
  auto pool = passel::Pool::start({.processes = 3}).unwrap();
  std::vector<passel::Future<int>> pending;
  for (int i = 0; i < 10; ++i) {
    pending.push_back(pool.submit<foo>(i));
    pending.back().on_done([](const passel::Result<int>& result) {
      std::printf("-->exec done: %d in process %d\n", *result, ::getpid());
    });
  }
  std::puts("end");
  pool.close();
  pool.join().unwrap();
}
