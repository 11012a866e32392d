// Example: callbacks run in the parent as results come in (Python: apply_async(func=Foo, args=(i,),
// callback=Bar)).
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <unistd.h>
#include <cstdio>
#include <cstring>

int foo(int i) {
  sleep_seconds(2);
  return i + 100;
}
int foo_with_pid(int i) {
  const int result = foo(i);
  std::printf("in process %d\n", ::getpid());
  return result;
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // lines come as they are written, in a pipe, too
  const bool five = argc > 1 && std::strcmp(argv[1], "five") == 0;
  auto pool = passel::Pool::start({.processes = five ? 5 : 3}).unwrap();
  if (!five) std::printf("main process %d\n", ::getpid());
  for (int i = 0; i < 10; ++i) {
    if (five) {
      const passel::Callbacks bar{[](int n) { std::printf("-->exec done: %d\n", n); }};
      static_cast<void>(pool.apply_async<foo>(bar, i));
    } else {
      const passel::Callbacks bar{
          [](int n) { std::printf("-->exec done: %d in process %d\n", n, ::getpid()); }};
      static_cast<void>(pool.apply_async<foo_with_pid>(bar, i));
    }
  }
  std::puts("end");
  pool.close();
  pool.join().unwrap();
}
