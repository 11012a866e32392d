// Install test: a program of a user. It sees the installed headers and library only.
#include <passel/process.hpp>
#include <passel/result.hpp>
#include <passel/runtime.hpp>
#include <passel/version.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

void greet(const std::string& who, int times) {
  for (int i = 0; i < times; ++i) std::printf("hello %s\n", who.c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::printf("passel %s\n", passel::version);
  auto greeter = passel::Process::spawn<greet>("bob", 2).unwrap();
  if (greeter.join().unwrap() != 0) return 1;
  auto lambda = passel::Process::spawn([](int code) { std::exit(code); }, 7).unwrap();
  if (lambda.join().unwrap() != 7) return 2;
  const passel::Error error{passel::Errc::full, "queue holds 5 of 5 items"};
  return error.to_string() == "full: queue holds 5 of 5 items" ? 0 : 3;
}
