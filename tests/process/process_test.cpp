#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <gtest/gtest.h>

namespace {
void nothing() {}
int add_to_exit(int a, int b) { std::exit(a + b); }
TEST(Process, StartsAndJoins) {
  auto p = passel::Process::spawn<nothing>().unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  auto q = passel::Process::spawn<add_to_exit>(2, 3).unwrap();
  EXPECT_EQ(q.join().unwrap(), 5);
}
}  // namespace
