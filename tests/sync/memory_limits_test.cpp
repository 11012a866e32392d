// Shared memory that is not to be had: an error of the call that asks for it, never a signal later.
#include <passel/process.hpp>
#include <passel/shared_memory.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace {

using passel::Errc;
using passel::Process;
using passel::Result;
using passel::SharedMemory;
using ::testing::HasSubstr;

constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// The code of the error, as an exit code; 0 when there was none.
int code_of(const Result<SharedMemory>& result) {
  return result ? 0 : static_cast<int>(result.error().code());
}
constexpr int no_space = static_cast<int>(Errc::no_space);

TEST(MemoryLimits, MoreThanTheHostHasIsAnError) {
  const auto much = SharedMemory::create(std::size_t{1} << 50);
  ASSERT_TRUE(much.is_err());
  EXPECT_EQ(much.error(), Errc::no_space);
  EXPECT_THAT(much.error().what(), HasSubstr("1125899906842624 bytes"));
  EXPECT_THAT(much.error().what(), HasSubstr("available"));
}

int create_with_file_limit() {
  const rlimit limit{.rlim_cur = mebibyte, .rlim_max = mebibyte};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 100;
  if (const int code = code_of(SharedMemory::create(mebibyte / 2))) return code + 100;
  return code_of(SharedMemory::create(2 * mebibyte));
}

TEST(MemoryLimits, TheFileSizeLimitIsAnError) {
  auto p = Process::spawn([] { std::_Exit(create_with_file_limit()); }).unwrap();
  EXPECT_EQ(p.join().unwrap(), no_space);
}

int create_until_no_descriptors() {
  const rlimit limit{.rlim_cur = 64, .rlim_max = 64};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 100;
  std::vector<SharedMemory> all;
  for (int n = 0; n < 100; ++n) {
    auto one = SharedMemory::create(1);
    if (one) {
      all.push_back(*std::move(one));
      continue;
    }
    // A search needs a descriptor, too: that it could not look is not "there is none".
    const int searched = code_of(SharedMemory::attach("passel_test_nobody_has_this"));
    return searched == no_space ? code_of(one) : 101;
  }
  return 102;
}

TEST(MemoryLimits, NoMoreDescriptorsIsAnError) {
  auto p = Process::spawn([] { std::_Exit(create_until_no_descriptors()); }).unwrap();
  EXPECT_EQ(p.join().unwrap(), no_space);
}

/// A control group with `limit` bytes of memory, of either version; empty when this user or this
/// system has none to give.
class MemoryGroup {
 public:
  explicit MemoryGroup(std::size_t limit) {
    std::ifstream own{"/proc/self/cgroup"};
    for (std::string line; std::getline(own, line);) {
      const bool first = line.find(":memory:") != std::string::npos;
      if (!first && !line.starts_with("0::")) continue;
      const std::string root = first ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
      const std::string path =
          root + line.substr(line.rfind(':') + 1) + "/passel_test_" + std::to_string(::getpid());
      if (::mkdir(path.c_str(), 0755) != 0) continue;
      std::ofstream file{path + (first ? "/memory.limit_in_bytes" : "/memory.max")};
      if (file << limit << std::flush) {
        path_ = path;
        return;
      }
      ::rmdir(path.c_str());
    }
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  ~MemoryGroup() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

int create_in_group(const std::string& group) {
  std::ofstream members{group + "/cgroup.procs"};
  if (!(members << ::getpid() << std::flush)) return 100;
  if (const int code = code_of(SharedMemory::create(4 * mebibyte))) return code + 100;
  return code_of(SharedMemory::create(200 * mebibyte));
}

// Without asking first the kernel would kill the process.
TEST(MemoryLimits, Fault51TheLimitOfAControlGroupIsAnError) {
  const MemoryGroup group{100 * mebibyte};
  if (group.path().empty()) GTEST_SKIP() << "no control group with a memory limit can be made here";
  auto p = Process::spawn([](const std::string& path) { std::_Exit(create_in_group(path)); },
                          group.path())
               .unwrap();
  EXPECT_EQ(p.join().unwrap(), no_space);
}

}  // namespace
