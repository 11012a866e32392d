// Test support: the main function of every test executable.
#include "support/user_namespace.hpp"
#include "support/watchdog.hpp"

#include <passel/runtime.hpp>

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  if (const auto code = passel_test::Watchdog::serve(argc, argv)) return *code;
  passel_test::enter_user_namespace_when_asked();
  passel::Runtime runtime{argc, argv};
  ::testing::InitGoogleTest(&argc, argv);
  // A process that has threads must not be forked as it is: death tests start a fresh copy.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  passel_test::Watchdog::start();
  return RUN_ALL_TESTS();
}
