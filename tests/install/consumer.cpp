// Install test: a program of a user. It sees the installed headers and library only.
#include <passel/result.hpp>
#include <passel/version.hpp>

#include <cstdio>
#include <cstring>

int main() {
  const passel::Result<int> answer{42};
  const passel::Error error{passel::Errc::full, "queue holds 5 of 5 items"};
  std::printf("passel %s: %d, %s\n", passel::version, *answer, error.to_string().c_str());
  return error.to_string() == "full: queue holds 5 of 5 items" ? 0 : 1;
}
