// Starts of processes and pools when descriptors run out, here or in the guardian: an error at
// once, and nothing that stays.
#include <passel/pool.hpp>
#include <passel/process.hpp>

#include <gtest/gtest.h>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

namespace {

using passel::Errc;
using passel::Pool;
using passel::Process;
using passel::StartMethod;
using passel_test::ProcessCensus;

/// While it lives a process can open so many more descriptors and no others.
class Shortage {
 public:
  Shortage(pid_t process, int free) : process_{process} {
    std::set<int> open;
    const auto folder = "/proc/" + std::to_string(process) + "/fd";
    for (const auto& entry : std::filesystem::directory_iterator{folder})
      open.insert(std::stoi(entry.path().filename()));
    // The folder was open itself while it was read; the first free number is what it had.
    if (process == ::getpid()) open.erase(own_folder(open));
    ::prlimit(process_, RLIMIT_NOFILE, nullptr, &before_);
    rlimit limit = before_;
    limit.rlim_cur = 0;
    for (int left = free;; ++limit.rlim_cur) {
      if (open.contains(static_cast<int>(limit.rlim_cur))) continue;
      if (left-- == 0) break;
    }
    ::prlimit(process_, RLIMIT_NOFILE, &limit, nullptr);
  }
  Shortage(const Shortage&) = delete;
  Shortage& operator=(const Shortage&) = delete;
  ~Shortage() { ::prlimit(process_, RLIMIT_NOFILE, &before_, nullptr); }

 private:
  static int own_folder(const std::set<int>& listed) {
    for (const int fd : listed)
      if (::fcntl(fd, F_GETFD) < 0) return fd;
    return -1;
  }

  pid_t process_;
  rlimit before_{};
};

void nothing() {}
int twice(int number) { return 2 * number; }

/// Also has the Runtime open what it opens with its first child.
pid_t guardian_pid() {
  Process::spawn<nothing>().unwrap().join().unwrap();
  for (const auto& [pid, child] : ProcessCensus::take().descendants)
    if (child.name == "passel.guardian") return pid;
  return 0;
}

/// True when it started; otherwise it said why.
bool starts(StartMethod method) {
  auto started = Process::spawn<nothing>({.method = method});
  if (!started) {
    EXPECT_EQ(started.error(), Errc::no_space) << started.error().to_string();
    return false;
  }
  EXPECT_EQ(started->join().unwrap(), 0);
  return true;
}

class DescriptorShortage : public testing::TestWithParam<StartMethod> {};

TEST_P(DescriptorShortage, HereAStartIsAnErrorAndLeavesNothing) {
  static_cast<void>(guardian_pid());
  const auto before = ProcessCensus::take();
  int fewest = 0;
  for (; fewest < 64; ++fewest) {
    const Shortage shortage{::getpid(), fewest};
    if (starts(GetParam())) break;
  }
  EXPECT_GT(fewest, 0);
  EXPECT_LT(fewest, 64);
  EXPECT_TRUE(starts(GetParam()));
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_P(DescriptorShortage, InTheGuardianAStartIsAnErrorAndLeavesNothing) {
  const pid_t guardian = guardian_pid();
  ASSERT_GT(guardian, 0);
  const auto before = ProcessCensus::take();
  int fewest = 0;
  for (; fewest < 64; ++fewest) {
    const Shortage shortage{guardian, fewest};
    if (starts(GetParam())) break;
  }
  EXPECT_GT(fewest, 0);
  EXPECT_LT(fewest, 64);
  EXPECT_TRUE(starts(GetParam()));
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

INSTANTIATE_TEST_SUITE_P(Methods, DescriptorShortage,
                         testing::Values(StartMethod::forkserver, StartMethod::spawn));

TEST(DescriptorShortageRace, WhoTakesTheLastOneDuringAStartLeavesNoProcess) {
  static_cast<void>(guardian_pid());
  const auto before = ProcessCensus::take();
  {
    const Shortage shortage{::getpid(), 2};
    std::atomic<bool> done{false};
    std::thread other{[&] {
      while (!done) {
        const int first = ::dup(2);
        const int second = ::dup(2);
        if (second >= 0) ::close(second);
        if (first >= 0) ::close(first);
      }
    }};
    // Whether one starts is a matter of luck; that it comes to an end is not.
    for (unsigned round = 0; round < passel_test::rounds(60); ++round) {
      auto started = Process::spawn<nothing>();
      if (started) {
        EXPECT_EQ(started->join().unwrap(), 0);
      } else {
        EXPECT_EQ(started.error(), Errc::no_space) << started.error().to_string();
      }
    }
    done = true;
    other.join();
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(DescriptorShortageOfPools, AStartIsAnErrorThatNamesTheCauseAndLeavesNothing) {
  // The first one starts the threads that all actors share.
  static_cast<void>(Pool::start({.processes = 1}).unwrap());
  const auto before = ProcessCensus::take();
  int fewest = 0;
  for (; fewest < 64; ++fewest) {
    const Shortage shortage{::getpid(), fewest};
    auto pool = Pool::start({.processes = 2});
    if (!pool) {
      EXPECT_EQ(pool.error(), Errc::no_space) << pool.error().to_string();
      continue;
    }
    EXPECT_EQ(pool->apply<twice>(21).unwrap(), 42);
    break;
  }
  EXPECT_GT(fewest, 4);
  EXPECT_LT(fewest, 64);
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

}  // namespace
