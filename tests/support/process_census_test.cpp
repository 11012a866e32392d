// Test support: the census sees what a test might leave behind.
#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace {

using passel_test::ProcessCensus;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST(ProcessCensus, SeesNothingWhereNothingChanged) {
  const auto before = ProcessCensus::take();
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(ProcessCensus, SeesAChildAndItsZombie) {
  const auto before = ProcessCensus::take();
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  EXPECT_THAT(ProcessCensus::settle(before, milliseconds{0}),
              HasSubstr("process " + std::to_string(child)));
  EXPECT_THAT(passel_test::children(), ::testing::Contains(child));
  ::kill(child, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_THAT(ProcessCensus::settle(before, milliseconds{0}), HasSubstr("state Z"));
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(ProcessCensus, SeesDescriptorsAndMappings) {
  const auto before = ProcessCensus::take();
  const int fd = ::memfd_create("census", MFD_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::ftruncate(fd, 4096), 0);
  void* mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const std::string left = ProcessCensus::settle(before, milliseconds{0});
  EXPECT_THAT(left, HasSubstr("descriptor " + std::to_string(fd)));
  EXPECT_THAT(left, HasSubstr("1 mapping(s) of /memfd:census"));
  ::munmap(mapped, 4096);
  ::close(fd);
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

}  // namespace
