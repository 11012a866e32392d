// Must not compile: a lambda with captures as the target of a process.
#include <passel/process.hpp>

void start(int n) {
#ifndef CONTROL
  static_cast<void>(passel::Process::spawn([n] { static_cast<void>(n); }));
#else
  static_cast<void>(passel::Process::spawn([](int m) { static_cast<void>(m); }, n));
#endif
}
