// Example: one process with an argument (Python: Process(target=hello, args=('bob',))).
//
//   main ---spawn---> hello("bob")
//     \----join-------/
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

void hello(std::string name) {
  sleep_seconds(2);
  std::printf("hello %s\n", name.c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto p = passel::Process::spawn<hello>("bob").unwrap();
  p.join().unwrap();
}
