// Test support: a case that hangs with a child and a second thread, for the test of the watchdog.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <thread>

extern "C" {
// Has a name that the stack shows.
__attribute__((noinline, used)) void passel_hangs_here() {
  for (;;) ::pause();
}
}

TEST(Hanging, WithAChildAndAThread) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  std::printf("child %d\n", static_cast<int>(child));
  std::fflush(stdout);
  std::thread{[] { passel_hangs_here(); }}.join();
}
