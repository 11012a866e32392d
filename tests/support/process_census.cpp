// Test support: reads the census from /proc.
#include "support/process_census.hpp"

#include <dirent.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

namespace passel_test {
namespace {

template <class F>
void for_each_entry(const std::string& path, F&& f) {
  struct Closer {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };
  const std::unique_ptr<DIR, Closer> dir{::opendir(path.c_str())};
  if (!dir) return;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") f(name, ::dirfd(dir.get()));
  }
}

struct Stat {
  pid_t parent = 0;
  ProcessCensus::Child child;
};

// "17 (name with ) in it) S 1 ...": the name ends at the last parenthesis.
bool read_stat(const std::string& pid, Stat& out) {
  std::ifstream file{"/proc/" + pid + "/stat"};
  std::string line;
  if (!std::getline(file, line)) return false;
  const auto open = line.find('(');
  const auto close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  out.child.name = line.substr(open + 1, close - open - 1);
  std::istringstream rest{line.substr(close + 1)};
  return static_cast<bool>(rest >> out.child.state >> out.parent);
}

std::multimap<pid_t, std::pair<pid_t, ProcessCensus::Child>> by_parent() {
  std::multimap<pid_t, std::pair<pid_t, ProcessCensus::Child>> found;
  for_each_entry("/proc", [&](const std::string& name, int) {
    Stat stat;
    if (name.find_first_not_of("0123456789") != std::string::npos) return;
    if (!read_stat(name, stat)) return;
    found.emplace(stat.parent, std::pair{static_cast<pid_t>(std::stol(name)), stat.child});
  });
  return found;
}

std::vector<std::pair<pid_t, ProcessCensus::Child>> family() {
  const auto all = by_parent();
  std::vector<std::pair<pid_t, ProcessCensus::Child>> found;
  const auto add = [&](pid_t parent) {
    const auto [first, last] = all.equal_range(parent);
    for (auto it = first; it != last; ++it) found.push_back(it->second);
  };
  add(::getpid());
  for (std::size_t i = 0; i < found.size(); ++i) add(found[i].first);
  return found;
}

void read_descriptors(std::map<int, std::string>& out) {
  for_each_entry("/proc/self/fd", [&](const std::string& name, int self) {
    const int fd = std::stoi(name);
    if (fd == self) return;
    std::array<char, 4096> target{};
    const std::string path = "/proc/self/fd/" + name;
    const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
    if (length > 0) out.emplace(fd, std::string{target.data(), static_cast<std::size_t>(length)});
  });
}

void read_memfds(std::map<std::string, int>& out) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    if (const auto at = line.find("/memfd:"); at != std::string::npos) ++out[line.substr(at)];
  }
}

}  // namespace

std::vector<pid_t> descendants() {
  std::vector<pid_t> pids;
  for (const auto& [pid, child] : family()) pids.push_back(pid);
  return pids;
}

std::vector<pid_t> children() {
  const auto all = by_parent();
  std::vector<pid_t> pids;
  const auto [first, last] = all.equal_range(::getpid());
  for (auto it = first; it != last; ++it) pids.push_back(it->second.first);
  return pids;
}

ProcessCensus ProcessCensus::take() {
  ProcessCensus census;
  for (auto& [pid, child] : family()) census.descendants.emplace(pid, child);
  read_descriptors(census.descriptors);
  read_memfds(census.memfds);
  for_each_entry("/dev/shm", [&](const std::string& name, int) { census.shm.insert(name); });
  for_each_entry("/proc/self/task", [&](const std::string& task, int) {
    // The I/O thread is started by the first who needs it and stays.
    std::ifstream comm{"/proc/self/task/" + task + "/comm"};
    std::string name;
    std::getline(comm, name);
    if (name != "passel.io") ++census.threads;
  });
  return census;
}

std::string ProcessCensus::left_over(const ProcessCensus& after) const {
  std::ostringstream text;
  for (const auto& [pid, child] : after.descendants) {
    if (descendants.contains(pid)) continue;
    text << "process " << pid << " (" << child.name << "), state " << child.state << "\n";
  }
  if (after.descriptors.size() > descriptors.size()) {
    for (const auto& [fd, target] : after.descriptors) {
      if (!descriptors.contains(fd)) text << "descriptor " << fd << " -> " << target << "\n";
    }
  }
  for (const auto& [name, count] : after.memfds) {
    const auto it = memfds.find(name);
    const int had = it == memfds.end() ? 0 : it->second;
    if (count > had) text << count - had << " mapping(s) of " << name << "\n";
  }
  for (const auto& name : after.shm) {
    if (!shm.contains(name)) text << "/dev/shm/" << name << "\n";
  }
  if (after.threads > threads) {
    text << after.threads - threads << " more thread(s) than the " << threads << " before\n";
  }
  return text.str();
}

std::string ProcessCensus::settle(const ProcessCensus& before, std::chrono::milliseconds limit) {
  const auto give_up = std::chrono::steady_clock::now() + limit;
  std::string left;
  do {
    left = before.left_over(take());
    if (left.empty()) break;
    // The end of somebody else's process is no event that this process could wait for.
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  } while (std::chrono::steady_clock::now() < give_up);
  return left;
}

}  // namespace passel_test
