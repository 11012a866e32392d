// Example: timers, one that fires, one that is cancelled in time, and one where it is too late.
#include <passel/runtime.hpp>
#include <passel/timer.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

void hello(const std::string& who) { std::printf("hello, %s\n", who.c_str()); }

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const passel::Timer fires{seconds(1), hello, "world"};
  const passel::Timer cancelled{{.name = "cancelled"}, seconds(3600), hello, "nobody"};
  fires.start().unwrap();
  cancelled.start().unwrap();
  std::printf("cancelled: %s\n", cancelled.cancel() ? "it will not fire" : "too late");
  cancelled.join().unwrap();  // at once: nothing is left to wait for
  fires.join().unwrap();
  std::printf("fires: %s\n", fires.cancel() ? "it will not fire" : "too late");
}
