// Layer pool: the processes of this host that use this library.
#include "process_table.hpp"

#include "proc_files.hpp"

#include <passel/detail/process_stat.hpp>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace passel::inline v0::detail {
namespace {

using Listing = std::unique_ptr<DIR, int (*)(DIR*)>;

std::optional<int> to_pid(std::string_view text) {
  int pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc{} || end != text.data() + text.size() || pid <= 0) return std::nullopt;
  return pid;
}

unsigned count_descriptors(int pid) {
  const Listing entries{::opendir(proc_file(pid, "fd").c_str()), &::closedir};
  unsigned count = 0;
  if (entries) {
    while (const dirent* entry = ::readdir(entries.get())) count += entry->d_name[0] != '.' ? 1 : 0;
  }
  return count;
}

std::chrono::milliseconds since_boot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds{now.tv_sec} + std::chrono::milliseconds{now.tv_nsec / 1'000'000};
}

std::chrono::milliseconds of_ticks(std::uint64_t ticks) {
  static const auto per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return std::chrono::milliseconds{ticks * 1000 / per_second};
}

std::optional<ListedProcess> look_at(int pid) {
  const ProcessStat stat = read_process_stat(pid);
  if (stat.state == 0) return std::nullopt;
  ListedProcess process;
  process.report.pid = pid;
  process.report.name = stat.name.data();
  process.report.state = stat.state;
  process.kernel_parent = stat.parent;
  process.report.threads = stat.threads;
  process.start = stat.start;
  process.report.memory = stat.pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  process.report.cpu = of_ticks(stat.user_time + stat.system_time);
  process.report.running = std::max(since_boot() - of_ticks(stat.start), {});
  std::string command = read_small(proc_file(pid, "cmdline"));
  std::replace(command.begin(), command.end(), '\0', ' ');
  while (command.ends_with(' ')) command.pop_back();
  process.report.command = std::move(command);
  return process;
}

const ListedProcess* find(const std::vector<ListedProcess>& processes, int pid) {
  const auto found =
      std::find_if(processes.begin(), processes.end(),
                   [pid](const ListedProcess& process) { return process.report.pid == pid; });
  return found == processes.end() ? nullptr : &*found;
}

bool is_guardian(const ListedProcess& process) { return process.report.name == "passel.guardian"; }

}  // namespace

Result<std::vector<ListedProcess>> list_processes() {
  const Listing entries{::opendir("/proc"), &::closedir};
  if (!entries) return system_error("opendir(/proc)", errno);
  std::vector<ListedProcess> processes;
  const uid_t user = ::geteuid();
  while (const dirent* entry = ::readdir(entries.get())) {
    const auto pid = to_pid(entry->d_name);
    struct stat status {};
    if (!pid || ::stat(proc_file(*pid, "").c_str(), &status) != 0) continue;
    if (user != 0 && status.st_uid != user) continue;
    if (auto process = look_at(*pid)) processes.push_back(*std::move(process));
  }
  std::sort(processes.begin(), processes.end(), [](const auto& a, const auto& b) {
    return std::pair{a.start, a.report.pid} < std::pair{b.start, b.report.pid};
  });
  return processes;
}

std::vector<ListedProcess> find_families(std::vector<ListedProcess> processes,
                                         const std::vector<int>& uses) {
  const auto is_user = [&](int pid) {
    return std::find(uses.begin(), uses.end(), pid) != uses.end();
  };
  const auto has_guardian = [&](int pid) {
    return std::any_of(processes.begin(), processes.end(), [pid](const ListedProcess& process) {
      return is_guardian(process) && process.kernel_parent == pid;
    });
  };
  std::vector<ListedProcess> members;
  for (const ListedProcess& process : processes) {
    ListedProcess member = process;
    ProcessReport& report = member.report;
    const ListedProcess* parent = find(processes, process.kernel_parent);
    if (is_guardian(process)) {
      report.role = "guardian";
      report.root = process.kernel_parent;
    } else if (parent != nullptr && is_guardian(*parent)) {
      report.role = "child";
      report.root = parent->kernel_parent;
    } else if (is_user(report.pid) || (report.pid != 1 && has_guardian(report.pid))) {
      // Process 1 inherits the guardians whose process has died, until they have ended.
      report.role = "main";
      report.root = report.pid;
    } else {
      continue;
    }
    report.descriptors = count_descriptors(report.pid);
    members.push_back(std::move(member));
  }
  return members;
}

}  // namespace passel::inline v0::detail
