// Test support: the history of many tasks, and what must hold of it when all is over.
#pragma once

#include <passel/result.hpp>
#include <passel/shared_memory.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace passel_test {

/// How a task ended, as seen by who asked for it.
enum class Outcome : std::uint8_t { none, done, failed, lost, cancelled, timed_out, pool_failed };
inline constexpr std::size_t outcome_count = 7;

/// A number for each task. What workers do with it is written into memory that they share, what is
/// heard of it is written down here; `complaints` compares the two.
class History {
 public:
  explicit History(std::size_t capacity);

  /// For the initializer of a pool: `PoolInitializer::with<History::open>(history.memory())`.
  [[nodiscard]] const passel::SharedMemory& memory() const noexcept { return memory_; }
  static void open(const passel::SharedMemory& memory);

  /// In a worker, around what a task does.
  static void begin(std::uint64_t id);
  static void end(std::uint64_t id);

  /// Numbers for `count` tasks, the first of them; empty when there are none left. Each may be
  /// begun `attempts` times.
  [[nodiscard]] std::optional<std::uint64_t> add(std::size_t count, unsigned attempts = 1);
  /// It was cancelled before it ran, so that it must not run.
  void never_runs(std::uint64_t id) { entries_[id].never_runs.store(true); }
  /// Nobody will look at its answer.
  void unseen(std::uint64_t id) {
    entries_[id].unseen = true;
    ++unseen_;
  }
  [[nodiscard]] std::uint64_t unseen() const { return unseen_; }
  /// What its future, or the iteration, said.
  void answered(std::uint64_t id, Outcome outcome);
  [[nodiscard]] bool is_answered(std::uint64_t id) const { return entries_[id].answers != 0; }
  /// Something that must not be.
  void complain(const std::string& what);

  [[nodiscard]] Outcome outcome_of(const passel::Error& error);
  [[nodiscard]] std::uint64_t begun(std::uint64_t id) const;
  [[nodiscard]] std::uint64_t tasks() const { return std::min<std::uint64_t>(next_, capacity_); }
  [[nodiscard]] std::uint64_t count(Outcome outcome) const {
    return counts_[static_cast<std::size_t>(outcome)];
  }

  /// When nothing runs any more: what is wrong, a line for each, "" when nothing is.
  [[nodiscard]] std::string complaints();

 private:
  struct Entry {
    std::uint8_t attempts = 1;
    bool unseen = false;
    std::atomic<bool> never_runs{false};
    std::atomic<std::uint8_t> answers{0};
    Outcome outcome = Outcome::none;
  };
  void check(std::uint64_t id);

  const std::size_t capacity_;
  passel::SharedMemory memory_;
  std::unique_ptr<Entry[]> entries_;
  std::atomic<std::uint64_t> next_{0};
  std::array<std::atomic<std::uint64_t>, outcome_count> counts_{};
  std::atomic<std::uint64_t> unseen_{0};
  std::mutex mutex_;
  std::vector<std::string> complaints_;
};

}  // namespace passel_test
