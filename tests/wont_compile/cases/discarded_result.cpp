// Must not compile with -Werror: a Result that nobody looks at.
#include <passel/result.hpp>

passel::Result<int> may_fail();

void careless() {
#ifndef CONTROL
  may_fail();
#else
  static_cast<void>(may_fail());
#endif
}
