// Must not compile: a type code that Python does not have, either.
#include <passel/value.hpp>

int main() {
#ifndef CONTROL
  passel::Value<passel::typecode<'z'>> value;
#else
  passel::Value<passel::typecode<'d'>> value;
#endif
  return static_cast<int>(value.value());
}
