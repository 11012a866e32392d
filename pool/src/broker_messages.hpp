// Layer pool: what submitters, workers and the broker of a pool that spans hosts tell each other.
//
// All of them are calls of the object "TaskBroker" of a manager. A submitter's call "submit" is
// answered when the task is done, so that a task lives exactly as long as somebody waits for it. A
// worker keeps calls "take" open, which are answered when there is something for it.
#pragma once

#include <passel/detail/exposed_task.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

inline constexpr const char* broker_type = "TaskBroker";
/// Of one task's arguments, or its answer: what a message can hold besides the rest.
inline constexpr std::size_t most_payload = std::size_t{60} << 20;
[[nodiscard]] inline Error over_payload(std::string_view what, std::size_t bytes) {
  return {Errc::too_large, std::string{what} + " of " + std::to_string(bytes) +
                               " bytes, and a message may have " + std::to_string(most_payload)};
}

/// "meet": a submitter says which tasks it knows. Errors: not_found, type_mismatch.
struct SubmitterHello {
  std::string build;
  std::vector<TaskSign> tasks;
  bool may_wait = false;  ///< for workers that have not joined yet
};

/// "submit": one task. The answer is that of an ExposedChunk, as bytes. Errors also: too_large when
/// no worker could be told of it, not_found, full, invalid_state.
struct TaskOrder {
  std::string task;
  std::string label;  ///< in errors and reports
  std::uint32_t attempts = 1;
  bool retry_failures = false;
  std::int32_t priority = 0;
  std::int64_t backoff_ns = 0;
  std::optional<std::int64_t> deadline_ns;  ///< from now
  std::int64_t limit_ns = 0;
  std::int64_t grace_ns = 0;
  bool may_wait = false;
  std::vector<std::byte> args;
};

/// "join": the answer is the number of the worker. Errors: type_mismatch.
struct WorkerHello {
  std::string name;
  std::string host;
  std::int32_t pid = 0;
  std::string build;
  std::uint32_t processes = 1;
  std::vector<TaskSign> tasks;
};

/// "stay(worker)" is never answered: when it is given up, or fails, the other side is gone.
///
/// The answer of "take(worker)": tasks to run, and tasks that nobody waits for any more.
struct GivenTask {
  std::uint64_t task = 0;
  std::uint32_t which = 0;  ///< of the tasks in its hello
  std::string label;
  std::int64_t limit_ns = 0;
  std::int64_t grace_ns = 0;
  std::vector<std::byte> args;
};
struct TaskGrant {
  std::vector<GivenTask> tasks;
  std::vector<std::uint64_t> stops;
};

/// "done(worker, window, outcomes)": what became of tasks; how many it wants to have from now on.
struct TaskOutcome {
  std::uint64_t task = 0;
  std::uint8_t how = 0;  ///< BrokerLedger::Ending
  bool is_error = false;
  std::vector<std::byte> bytes;  ///< the answer of the chunk, or an encoded error
};

// "leave(worker)": it wants no more; answered when it has nothing left. "quit(worker)": it is gone.
// "report()": RemotePoolStats.

}  // namespace passel::inline v0::detail
