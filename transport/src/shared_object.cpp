// Layer transport: naming processes, and noticing that one is gone or was forked.
#include <passel/detail/shared_object.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace passel::inline v0::detail {
namespace {

std::atomic<std::uint32_t> generation{0};
std::atomic<std::uint64_t> own_start{0};

void after_fork_in_child() {
  own_start.store(0, std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_relaxed);
}

const int registered = ::pthread_atfork(nullptr, nullptr, &after_fork_in_child);

using LossHook = void (*)(const ProcessId& process) noexcept;
std::array<std::atomic<LossHook>, 4> loss_hooks{};

struct Status {
  char state = 0;
  std::uint64_t start = 0;
};

/// State and start time from /proc/PID/stat; state 0 when there is no such process.
Status read_status(std::int32_t pid) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[1024];
  const ssize_t length = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (length <= 0) return {};
  text[length] = '\0';
  // The name in field 2 may hold spaces and parentheses: count fields from the last ')'.
  const char* field = std::strrchr(text, ')');
  if (field == nullptr || field[1] == '\0') return {};
  Status status{.state = field[2], .start = 0};
  // `field` stands before field 3; each step goes to the blank before the next one.
  ++field;
  for (int number = 3; number < 22 && field != nullptr; ++number)
    field = std::strchr(field + 1, ' ');
  if (field != nullptr) status.start = std::strtoull(field + 1, nullptr, 10);
  return status;
}

}  // namespace

SharedObject::~SharedObject() = default;

ProcessId this_process() noexcept {
  static_cast<void>(registered);
  const std::int32_t pid = ::getpid();
  std::uint64_t start = own_start.load(std::memory_order_relaxed);
  if (start == 0) {
    start = read_status(pid).start;
    own_start.store(start, std::memory_order_relaxed);
  }
  return ProcessId{.pid = pid, .start = start};
}

ProcessId process_with_pid(std::int32_t pid) noexcept {
  return ProcessId{.pid = pid, .start = read_status(pid).start};
}

bool is_running(const ProcessId& process) noexcept {
  const Status status = read_status(process.pid);
  return status.state != 0 && status.state != 'Z' && status.state != 'X' &&
         status.start == process.start;
}

std::uint32_t this_thread() noexcept {
  thread_local std::uint32_t id = 0;
  thread_local std::uint32_t known_in = 0;
  if (id == 0 || known_in != fork_generation()) {
    id = static_cast<std::uint32_t>(::gettid());
    known_in = fork_generation();
  }
  return id;
}

std::uint32_t fork_generation() noexcept { return generation.load(std::memory_order_relaxed); }

void add_loss_hook(LossHook hook) noexcept {
  for (auto& place : loss_hooks) {
    LossHook there = nullptr;
    if (place.compare_exchange_strong(there, hook) || there == hook) return;
  }
}

void tell_process_lost(const ProcessId& process) noexcept {
  for (const auto& place : loss_hooks) {
    if (const LossHook hook = place.load()) hook(process);
  }
}

}  // namespace passel::inline v0::detail
