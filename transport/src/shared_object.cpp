// Layer transport: naming processes, and noticing that one is gone or was forked.
#include <passel/detail/process_stat.hpp>
#include <passel/detail/shared_object.hpp>

#include <pthread.h>
#include <unistd.h>
#include <array>
#include <atomic>

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

}  // namespace

SharedObject::~SharedObject() = default;

ProcessId this_process() noexcept {
  static_cast<void>(registered);
  const std::int32_t pid = ::getpid();
  std::uint64_t start = own_start.load(std::memory_order_relaxed);
  if (start == 0) {
    start = read_process_stat(pid).start;
    own_start.store(start, std::memory_order_relaxed);
  }
  return ProcessId{.pid = pid, .start = start};
}

ProcessId process_with_pid(std::int32_t pid) noexcept {
  return ProcessId{.pid = pid, .start = read_process_stat(pid).start};
}

bool is_running(const ProcessId& process) noexcept {
  const ProcessStat stat = read_process_stat(process.pid);
  return stat.is_running() && stat.start == process.start;
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
