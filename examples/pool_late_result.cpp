// Example: a result is there after its pool has gone (Python: apply_async, close, join, then get).
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>

int get_html(int n) {
  sleep_seconds(n);
  std::puts("sub_progress sucess");
  return n;
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto pool = passel::Pool::start().unwrap();
  auto result = pool.apply_async<get_html>(3);
  pool.close();  // without it, join is an error
  pool.join().unwrap();
  std::printf("%d\n", result.get().unwrap());
}
