// Test support: children of a test that are killed while they use a host queue.
#pragma once

#include <passel/detail/host_queue.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>
#include <new>

namespace passel_test {

using passel::detail::Deadline;
using passel::detail::HostQueue;
using passel::detail::ProcessId;

using Shared = std::shared_ptr<HostQueue>;

inline const auto never = Deadline::never();
inline const auto at_once = Deadline::now_or_never();
inline constexpr std::uint64_t one_chunk = 65536;

/// A zeroed T that forked children share with the test.
template <class T>
class SharedByFork {
 public:
  SharedByFork()
      : memory_{
            ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
    if (memory_ == MAP_FAILED) throw std::bad_alloc{};
    new (memory_) T{};
  }
  SharedByFork(const SharedByFork&) = delete;
  SharedByFork& operator=(const SharedByFork&) = delete;
  ~SharedByFork() { ::munmap(memory_, sizeof(T)); }
  T* operator->() const { return static_cast<T*>(memory_); }

 private:
  void* memory_;
};

inline pid_t in_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  return child;
}

inline int wait_for(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

inline void kill_and_wait(pid_t child) {
  ::kill(child, SIGKILL);
  wait_for(child);
}

struct Step {
  ProcessId id;
};

using Name = std::array<char, 8>;

inline Name taken(HostQueue& queue) {
  Name name{"nothing"};
  const auto read = [&](std::span<const std::byte> item) {
    std::memcpy(name.data(), item.data(), sizeof name);
  };
  static_cast<void>(queue.get_with(read, at_once));
  return name;
}

inline bool put_name(HostQueue& queue, Name name, std::size_t size = 8) {
  const auto write = [&](std::byte* to) { std::memcpy(to, name.data(), sizeof name); };
  return queue.put_with(size, write, at_once).is_ok();
}

inline constexpr Name item{"item"};
inline constexpr Name next{"next"};
inline constexpr Name last{"last"};
inline constexpr Name nothing{"nothing"};

/// `item` and `next` in one batch.
inline void put_both(HostQueue& queue, std::size_t size, bool all_or_none) {
  const auto size_of = [size](std::size_t) { return size; };
  const auto write = [](std::size_t index, std::byte* to) {
    std::memcpy(to, (index == 0 ? item : next).data(), item.size());
  };
  const HostQueue::Batch<decltype(size_of), decltype(write)> batch{2, size_of, write};
  std::size_t put = 0;
  static_cast<void>(all_or_none ? queue.try_put_many(batch) : queue.put_many(batch, put, never));
}

}  // namespace passel_test
