// Result and Error.
#include <passel/result.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace {

using passel::Errc;
using passel::Error;
using passel::Result;

Result<int> half(int n) {
  if (n % 2 != 0) return Error{Errc::invalid_argument, std::to_string(n) + " is odd"};
  return n / 2;
}

Result<int> quarter(int n) {
  PASSEL_TRY(const int first, half(n));
  PASSEL_TRY(const int second, half(first));
  return second;
}

Result<void> must_be_even(int n) {
  PASSEL_CHECK(half(n));
  return {};
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(*half(4), 2);
  EXPECT_TRUE(half(3).is_err());
  EXPECT_TRUE(half(3).error() == Errc::invalid_argument);
  EXPECT_EQ(half(3).error().to_string(), "invalid_argument: 3 is odd");
}

TEST(Result, UnwrapIsTheBridgeToExceptions) {
  EXPECT_EQ(half(8).unwrap(), 4);
  try {
    static_cast<void>(half(3).expect("halving"));
    FAIL() << "no exception";
  } catch (const passel::Exception& thrown) {
    EXPECT_TRUE(thrown.error() == Errc::invalid_argument);
    EXPECT_STREQ(thrown.what(), "invalid_argument: halving: 3 is odd");
  }
  EXPECT_EQ(half(3).unwrap_or(7), 7);
}

TEST(Result, MapAndThenAndMapErrCompose) {
  EXPECT_EQ(*half(4).map([](int n) { return std::to_string(n); }), "2");
  EXPECT_EQ(*half(8).and_then(half), 2);
  EXPECT_TRUE(half(6).and_then(half).is_err());
  const auto renamed = half(3).map_err([](Error e) { return Error{Errc::refused, e.what()}; });
  EXPECT_TRUE(renamed.error() == Errc::refused);
  EXPECT_TRUE(half(4).map([](int) {}).is_ok());
}

TEST(Result, TryReturnsTheErrorToTheCaller) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_TRUE(quarter(6).is_err());
  EXPECT_TRUE(must_be_even(2).is_ok());
  EXPECT_TRUE(must_be_even(1).error() == Errc::invalid_argument);
}

TEST(Result, CarriesMoveOnlyValues) {
  Result<std::unique_ptr<int>> result{std::make_unique<int>(5)};
  EXPECT_EQ(**result, 5);
  const std::unique_ptr<int> taken = std::move(result).unwrap();
  EXPECT_EQ(*taken, 5);
}

TEST(Result, ErrorsCarryStructuredDetail) {
  auto lost = std::make_shared<passel::WorkerLost>();
  lost->pid = 17;
  lost->signal = 9;
  const Error error{Errc::worker_lost, "worker 17 was killed by signal 9", lost};
  ASSERT_NE(error.detail<passel::WorkerLost>(), nullptr);
  EXPECT_EQ(error.detail<passel::WorkerLost>()->signal, 9);
  EXPECT_EQ(error.detail<passel::RemoteError>(), nullptr);
}

TEST(ResultDeathTest, ReadingTheValueOfAnErrorSaysWhich) {
  EXPECT_DEATH(static_cast<void>(*half(3)), "3 is odd");
  EXPECT_DEATH(static_cast<void>(half(4).error()), "holds a value");
}

TEST(Result, EveryCodeHasItsOwnName) {
  EXPECT_EQ(to_string(Errc::full), "full");
  EXPECT_EQ(to_string(Errc::system), "system");
}

}  // namespace
