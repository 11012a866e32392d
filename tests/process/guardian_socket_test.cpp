// The guardian: nobody but its own family can ask it for a process.
#include <passel/process.hpp>

#include "support/process_census.hpp"

#include <gtest/gtest.h>

#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace {

/// Inodes of the sockets that a process has open.
std::set<std::string> sockets_of(const std::string& pid) {
  std::set<std::string> inodes;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc/" + pid + "/fd", ignored}) {
    const std::string target = std::filesystem::read_symlink(entry, ignored).string();
    if (target.starts_with("socket:[")) inodes.insert(target.substr(8, target.size() - 9));
  }
  return inodes;
}

// Python's fork server listens at an address, and has to tell by a key who may ask it (3.14).
TEST(GuardianSocket, HasNoAddressAtWhichStrangersCouldConnect) {
  passel::Process child = passel::Process::spawn([] { ::pause(); }).unwrap();
  std::set<std::string> inodes = sockets_of("self");
  for (const pid_t pid : passel_test::descendants()) inodes.merge(sockets_of(std::to_string(pid)));
  ASSERT_FALSE(inodes.empty());
  std::ifstream table{"/proc/net/unix"};
  std::string line;
  std::getline(table, line);
  std::size_t seen = 0;
  while (std::getline(table, line)) {
    // Num RefCount Protocol Flags Type St Inode [Path]
    std::istringstream fields{line};
    std::string number, references, protocol, flags, type, state, inode, path;
    fields >> number >> references >> protocol >> flags >> type >> state >> inode >> path;
    if (!inodes.contains(inode)) continue;
    ++seen;
    EXPECT_EQ(path, "") << line;
    constexpr unsigned long listens = 0x10000;
    EXPECT_EQ(std::stoul(flags, nullptr, 16) & listens, 0UL) << line;
  }
  EXPECT_GT(seen, 0U);
  child.kill().unwrap();
  child.join().unwrap();
}

}  // namespace
