// Must not compile: an argument of a type that cannot cross a process border.
#include <passel/process.hpp>

#include <thread>

void use_thread(std::thread);
void use_text(std::string);

void start() {
#ifndef CONTROL
  static_cast<void>(passel::Process::spawn<use_thread>(std::thread{}));
#else
  static_cast<void>(passel::Process::spawn<use_text>("text"));
#endif
}
