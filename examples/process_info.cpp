// Example: who am I, who started me (Python: os.getppid and os.getpid in main and in a child).
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <unistd.h>
#include <cstdio>
#include <string>

void info(std::string title) {
  std::printf("\033[32;1m%s\033[0m\n", title.c_str());
  std::printf("module name: %s\n", passel::current_process().name.c_str());
  const auto parent = passel::parent_process();
  std::printf("parent process: %d\n", parent ? parent->pid() : ::getppid());
  std::printf("process id: %d\n", ::getpid());
}

void hello(std::string name) {
  info("function hello");
  std::printf("hello %s\n", name.c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  info("main process line");
  passel::Process::spawn<hello>("bob").unwrap().join().unwrap();
}
