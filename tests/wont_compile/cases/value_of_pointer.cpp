// Must not compile: a shared pointer; an address means nothing in another process.
#include <passel/value.hpp>

int main() {
#ifndef CONTROL
  passel::Value<const char*> value;
#else
  passel::Value<int> value;
#endif
  return value.value() == 0 ? 0 : 1;
}
