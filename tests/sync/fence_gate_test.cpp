// FenceGate: tokens that are too old.
#include <passel/fence_gate.hpp>
#include <passel/lock.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::Errc;
using passel::FenceGate;
using passel::Result;

TEST(FenceGate, RefusesATokenThatIsOlderThanTheNewest) {
  FenceGate gate;
  gate.admit(3).unwrap();
  gate.admit(3).unwrap();
  gate.admit(7).unwrap();
  const auto late = gate.admit(6);
  ASSERT_TRUE(late.is_err());
  EXPECT_EQ(late.error().code(), Errc::refused);
  EXPECT_EQ(late.error().what(), "token 6 is older than 7, which was seen before");
  EXPECT_EQ(gate.newest(), 7U);
}

TEST(FenceGate, Fault22AFormerHolderOfALockCannotWrite) {
  const passel::Lock lock;
  FenceGate gate;
  std::string file;
  const std::uint64_t old_token = lock.acquire().unwrap().token();
  const auto guard = lock.acquire().unwrap();
  gate.write(guard.token(), [&] { file = "new"; }).unwrap();
  EXPECT_EQ(gate.write(old_token, [&] { file = "old"; }).error().code(), Errc::refused);
  EXPECT_EQ(file, "new");
}

TEST(FenceGate, WriteReturnsWhatTheFunctionReturns) {
  FenceGate gate;
  EXPECT_EQ(gate.write(1, [] { return 42; }).unwrap(), 42);
  EXPECT_EQ(gate.write(1, []() -> Result<int> { return 43; }).unwrap(), 43);
  EXPECT_EQ(gate.write(2,
                       []() -> Result<int> {
                         return passel::Error{Errc::full, "disk"};
                       })
                .error()
                .code(),
            Errc::full);
  EXPECT_EQ(gate.newest(), 2U);
}

TEST(FenceGate, WritesOfManyThreadsComeInTheOrderOfTheirTokens) {
  FenceGate gate;
  std::vector<std::uint64_t> written;  // protected by the gate
  std::vector<std::thread> writers;
  for (std::uint64_t first = 1; first <= 4; ++first) {
    writers.emplace_back([&, first] {
      for (std::uint64_t token = first; token < 400; token += 4) {
        static_cast<void>(gate.write(token, [&] { written.push_back(token); }));
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_TRUE(std::is_sorted(written.begin(), written.end()));
  EXPECT_EQ(gate.newest(), 399U);
}

}  // namespace
