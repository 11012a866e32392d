// Example: a child and its parent greet each other through the two ends of a pipe.
#include <passel/pipe.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

void greet(passel::Connection parent) {
  sleep_seconds(1);
  parent.send(std::string{"吃了吗"}).unwrap();
  std::printf("来自父亲的问候: %s\n", parent.recv<std::string>().unwrap().c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto [child, there] = passel::Pipe::create().unwrap();
  auto p = passel::Process::spawn<greet>(std::move(there)).unwrap();
  std::printf("来自儿子的问候: %s\n", child.recv<std::string>().unwrap().c_str());
  std::fflush(stdout);
  child.send(std::string{"嗯"}).unwrap();
  p.join().unwrap();
}
