// Example: a child process tells who it is (Python: Process(target=run_proc, args=('test',))).
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <unistd.h>
#include <cstdio>
#include <string>

void run_proc(std::string name) {
  std::printf("Run child process %s (%d)...\n", name.c_str(), ::getpid());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::printf("Parent process %d.\n", ::getpid());
  auto p = passel::Process::make<run_proc>({}, "test");
  std::puts("Child process will start.");
  p.start().unwrap();
  p.join().unwrap();
  std::puts("Child process end.");
}
