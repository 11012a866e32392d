// Must not compile: a lambda with captures as the task of a pool.
#include <passel/pool.hpp>

void submit(passel::Pool& pool, int n) {
#ifndef CONTROL
  static_cast<void>(pool.submit([n] { return n; }));
#else
  static_cast<void>(pool.submit([](int m) { return m; }, n));
#endif
}
