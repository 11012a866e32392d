// Test support: the history of many tasks, and what must hold of it when all is over.
#include "history.hpp"

#include <algorithm>

namespace passel_test {
namespace {

// Low half: how often it was begun, high half: how often it was finished.
using Runs = std::atomic<std::uint32_t>;
constexpr std::uint32_t one_end = 1U << 16;

Runs* runs_in(const passel::SharedMemory& memory) {
  return reinterpret_cast<Runs*>(memory.buf().data());
}
Runs* of_this_worker = nullptr;

}  // namespace

History::History(std::size_t capacity)
    : capacity_{capacity},
      memory_{passel::SharedMemory::create(capacity * sizeof(Runs)).unwrap()},
      entries_{std::make_unique<Entry[]>(capacity)} {}

void History::open(const passel::SharedMemory& memory) {
  static const passel::SharedMemory kept = memory;
  of_this_worker = runs_in(kept);
}
void History::begin(std::uint64_t id) { of_this_worker[id].fetch_add(1); }
void History::end(std::uint64_t id) { of_this_worker[id].fetch_add(one_end); }

std::optional<std::uint64_t> History::add(std::size_t count, unsigned attempts) {
  const std::uint64_t first = next_.fetch_add(count);
  if (first + count > capacity_) {
    next_.fetch_sub(count);
    return std::nullopt;
  }
  for (std::uint64_t id = first; id < first + count; ++id)
    entries_[id].attempts = static_cast<std::uint8_t>(attempts);
  return first;
}

void History::answered(std::uint64_t id, Outcome outcome) {
  entries_[id].outcome = outcome;
  if (entries_[id].answers.fetch_add(1) != 0)
    complain("task " + std::to_string(id) + " was answered twice");
  ++counts_[static_cast<std::size_t>(outcome)];
}

void History::complain(const std::string& what) {
  const std::lock_guard lock{mutex_};
  if (complaints_.size() < 50) complaints_.push_back(what);
}

Outcome History::outcome_of(const passel::Error& error) {
  switch (error.code()) {
    case passel::Errc::task_failed: return Outcome::failed;
    case passel::Errc::worker_lost: return Outcome::lost;
    case passel::Errc::cancelled: return Outcome::cancelled;
    case passel::Errc::timeout: return Outcome::timed_out;
    case passel::Errc::pool_failed: return Outcome::pool_failed;
    default: complain("unexpected error " + error.to_string()); return Outcome::none;
  }
}

std::uint64_t History::begun(std::uint64_t id) const {
  return runs_in(memory_)[id].load() % one_end;
}

void History::check(std::uint64_t id) {
  const Entry& entry = entries_[id];
  const std::uint32_t begun = runs_in(memory_)[id].load() % one_end;
  const std::uint32_t ended = runs_in(memory_)[id].load() / one_end;
  const auto wrong = [&](const char* what) {
    complain("task " + std::to_string(id) + " (outcome " +
             std::to_string(static_cast<int>(entry.outcome)) + ", begun " + std::to_string(begun) +
             ", ended " + std::to_string(ended) + ", may be tried " +
             std::to_string(entry.attempts) + " times): " + what);
  };
  if (begun > entry.attempts) wrong("ran more often than allowed");
  if (ended > begun) wrong("ended more often than it began");
  if (entry.answers == 0 && !entry.unseen) wrong("was never answered");
  if (entry.outcome == Outcome::done && ended == 0) wrong("has a result and did not run");
  if (entry.outcome == Outcome::failed && begun == 0) wrong("has failed and did not run");
  if (entry.never_runs && begun != 0) wrong("was cancelled and ran");
  if (entry.never_runs && entry.outcome != Outcome::cancelled) wrong("was cancelled in vain");
}

std::string History::complaints() {
  for (std::uint64_t id = 0; id < tasks(); ++id) check(id);
  std::uint64_t outcomes = unseen_;
  for (const auto& count : counts_) outcomes += count;
  if (outcomes != tasks())
    complain(std::to_string(tasks()) + " tasks came to " + std::to_string(outcomes) + " ends");
  const std::lock_guard lock{mutex_};
  std::string all;
  for (const std::string& each : complaints_) all += each + "\n";
  return all;
}

}  // namespace passel_test
