// Shared memory without a name.
#include <passel/detail/segment.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstring>

#include "support/process_census.hpp"

namespace {

using passel::Errc;
using passel::detail::Descriptor;
using passel::detail::Segment;

constexpr std::uint64_t kind = 17;

Descriptor copy_of(const Segment& segment) {
  return Descriptor::duplicate(segment.descriptor().get()).unwrap();
}

std::int64_t memory_of(const Segment& segment) {
  struct stat status {};
  EXPECT_EQ(::fstat(segment.descriptor().get(), &status), 0);
  return status.st_blocks * 512;
}

TEST(Segment, ASecondMappingSeesTheSameBytes) {
  Segment first = Segment::create("test", kind, 10'000).unwrap();
  ASSERT_GE(first.size(), 10'000U);
  first.populate(0, 10'000).unwrap();
  std::strcpy(reinterpret_cast<char*>(first.data()) + 9'000, "hello");
  const Segment second = Segment::attach(copy_of(first), kind).unwrap();
  EXPECT_EQ(second.size(), first.size());
  EXPECT_NE(second.data(), first.data());
  EXPECT_STREQ(reinterpret_cast<char*>(second.data()) + 9'000, "hello");
}

TEST(Segment, AForkedChildSharesIt) {
  Segment segment = Segment::create("test", kind, 4096).unwrap();
  segment.populate(0, 4096).unwrap();
  const pid_t child = ::fork();
  if (child == 0) {
    segment.data()[7] = std::byte{42};
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(segment.data()[7], std::byte{42});
}

TEST(Segment, SizeCostsNoMemoryUntilItIsPopulated) {
  constexpr std::size_t large = std::size_t{8} << 30;
  Segment segment = Segment::create("test", kind, large).unwrap();
  EXPECT_LT(memory_of(segment), 64 * 1024);
  segment.populate(large / 2, 1 << 20).unwrap();
  EXPECT_GE(memory_of(segment), 1 << 20);
  std::memset(segment.data() + large / 2, 1, 1 << 20);
  segment.release(large / 2, 1 << 20);
  EXPECT_LT(memory_of(segment), 64 * 1024);
  segment.populate(large / 2, 1 << 20).unwrap();
  EXPECT_EQ(segment.data()[large / 2], std::byte{0});
}

TEST(Segment, Fault52NobodyCanShrinkItUnderTheOthers) {
  const Segment segment = Segment::create("test", kind, 8192).unwrap();
  EXPECT_EQ(::ftruncate(segment.descriptor().get(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(Segment, PopulateOutsideOfItIsAnError) {
  Segment segment = Segment::create("test", kind, 8192).unwrap();
  EXPECT_TRUE(segment.populate(segment.size(), 1).error() == Errc::invalid_argument);
  EXPECT_TRUE(segment.populate(0, segment.size() + 1).error() == Errc::invalid_argument);
}

TEST(Segment, Fault52OtherDescriptorsAreRefused) {
  const auto refused = [](int fd) {
    const auto attached = Segment::attach(Descriptor{fd}, kind);
    return attached.is_err() && attached.error() == Errc::malformed;
  };
  EXPECT_TRUE(refused(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_TRUE(refused(ends[0]));
  ::close(ends[1]);
  // A memory file that its sender could still shrink.
  const int unsealed = ::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(::ftruncate(unsealed, 65536), 0);
  EXPECT_TRUE(refused(unsealed));
  // A sealed one without the header.
  const int foreign = ::memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(::ftruncate(foreign, 65536), 0);
  ASSERT_EQ(::fcntl(foreign, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  EXPECT_TRUE(refused(foreign));
}

TEST(Segment, AnotherKindIsRefusedByName) {
  const Segment segment = Segment::create("test", kind, 8192).unwrap();
  const auto attached = Segment::attach(copy_of(segment), 18);
  ASSERT_TRUE(attached.is_err());
  EXPECT_TRUE(attached.error() == Errc::malformed);
  EXPECT_NE(attached.error().what().find("17"), std::string::npos);
  EXPECT_NE(attached.error().what().find("18"), std::string::npos);
}

TEST(Segment, MovingAndDestroyingLeavesNothingBehind) {
  const auto before = passel_test::ProcessCensus::take();
  {
    Segment first = Segment::create("test", kind, 8192).unwrap();
    Segment second = std::move(first);
    EXPECT_FALSE(first);
    EXPECT_TRUE(second);
    second = Segment::create("test", kind, 8192).unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
