// Example: the fork of os.fork, as a start method: the child continues with a copy of what the
// parent has in memory.
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <unistd.h>
#include <cstdio>

static int counter = 0;

void child() {
  std::printf("I am child process (%d) and my parent is %d; counter is %d\n", ::getpid(),
              passel::parent_process()->pid(), counter);
  counter = 100;  // a copy: the parent does not see it
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::printf("Process (%d) start...\n", ::getpid());
  counter = 7;
  auto p = passel::Process::spawn<child>({.method = passel::StartMethod::fork}).unwrap();
  std::printf("I (%d) just created a child process (%d).\n", ::getpid(), *p.pid());
  p.join().unwrap();
  std::printf("counter is still %d\n", counter);
}
