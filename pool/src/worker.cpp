// Layer pool: what a worker process does.
#include "memory_watch.hpp"
#include "pool_core.hpp"
#include "worker_channel.hpp"
#include "worker_seat.hpp"

#include <passel/detail/result_place.hpp>
#include <passel/detail/task.hpp>

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <execinfo.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t longest_text = std::size_t{64} << 10;

/// An exception's text may be as long as it likes; what is sent is not.
Encoded encode_bounded(const Error& error) {
  if (error.what().size() <= longest_text) {
    const auto* remote = error.detail<RemoteError>();
    if (remote == nullptr || remote->what.size() <= longest_text) return encode_error(error);
  }
  auto detail = std::make_shared<RemoteError>();
  if (const auto* remote = error.detail<RemoteError>()) {
    detail->type_name = remote->type_name.substr(0, longest_text);
    detail->what = remote->what.substr(0, longest_text);
  }
  return encode_error(
      {error.code(), error.what().substr(0, longest_text) + "...", std::move(detail)});
}

Result<Encoded> run_initializer(const WorkerStart& start, std::span<const std::byte> args,
                                DescriptorSpan descriptors) {
  PASSEL_TRY(const TaskFunction initializer, find_task(start.initializer));
  return initializer(args, descriptors);
}

/// Where it may run, and how it gives way.
Result<void> take_place(const WorkerStart& start) {
  if (start.has_cpus != 0 && ::sched_setaffinity(0, sizeof start.cpus, &start.cpus) != 0)
    return system_error("sched_setaffinity for a pool worker", errno);
  errno = 0;
  if (start.nice != 0 && ::nice(start.nice) == -1 && errno != 0)
    return system_error("nice for a pool worker", errno);
  return {};
}

constexpr int most_frames = 64;

void write_stack(int) {
  const int before = errno;
  static constexpr char text[] = "stack of a pool worker:\n";
  static_cast<void>(!::write(2, text, sizeof text - 1));
  void* frames[most_frames];
  ::backtrace_symbols_fd(frames, ::backtrace(frames, most_frames), 2);
  errno = before;
}

/// The first backtrace loads a library, which a signal handler must not.
void write_stack_at(int signal) {
  void* frames[most_frames];
  static_cast<void>(::backtrace(frames, most_frames));
  struct sigaction action {};
  action.sa_handler = &write_stack;
  action.sa_flags = SA_RESTART;
  static_cast<void>(::sigaction(signal, &action, nullptr));
}

/// What a worker does before its first task.
Result<void> prepare_worker(const WorkerStart& start, std::span<const std::byte> args,
                            DescriptorSpan descriptors) {
  PASSEL_CHECK(take_place(start));
  if (start.stack_signal != 0) write_stack_at(start.stack_signal);
  if (start.has_initializer == 0) return {};
  const Result<Encoded> ran = run_initializer(start, args, descriptors);
  return ran ? Result<void>{} : Result<void>{ran.error()};
}

/// Looks, now and then, how much memory this process uses after a task.
class MemoryGauge {
 public:
  explicit MemoryGauge(std::uint64_t limit) : limit_{limit} {}
  void look(ChannelLayout& memory) {
    if (limit_ == 0) return;
    const auto now = Deadline::Clock::now();
    if (now < next_) return;
    if (own_memory(0) > limit_) memory.heavy.store(1, std::memory_order_relaxed);
    next_ = now + std::chrono::milliseconds{2};
  }

 private:
  std::uint64_t limit_;
  Deadline::Clock::time_point next_{};
};

/// Large results are written where the pool reads them.
class DirectResult final : public ResultPlace {
 public:
  DirectResult(WorkerEnd& end, std::uint64_t max_message) : end_{end}, max_message_{max_message} {}
  [[nodiscard]] std::byte* reserve(std::size_t size) noexcept override {
    return size <= max_message_ ? end_.reserve(size) : nullptr;
  }

 private:
  WorkerEnd& end_;
  const std::uint64_t max_message_;
};

/// False when the pool has given this worker up.
bool run_task(WorkerEnd& end, const WorkerEnd::Task& task, TaskFunction function,
              std::uint64_t max_message, MemoryGauge& gauge) {
  const Result<Encoded> outcome = function(task.args, task.descriptors);
  gauge.look(end.shared());
  if (!outcome || !outcome->bytes.empty()) end.give_back_reserved();
  if (!outcome) {
    return end.answer(task.number, encode_bounded(outcome.error()).bytes, true, {});
  } else if (outcome->bytes.size() > max_message) {
    const Error error{Errc::too_large, "result of " + std::to_string(outcome->bytes.size()) +
                                           " bytes is over the limit of " +
                                           std::to_string(max_message) + " bytes"};
    return end.answer(task.number, encode_error(error).bytes, true, {});
  } else {
    return end.answer(task.number, outcome->bytes, false, outcome->descriptors);
  }
}

/// A worker that answers large messages all day should not give the memory back after each and take
/// it anew page by page.
void keep_memory() {
#ifdef __GLIBC__
  constexpr int large = 32 << 20;
  ::mallopt(M_MMAP_THRESHOLD, large);
  ::mallopt(M_TRIM_THRESHOLD, 2 * large);
#endif
}

Result<Encoded> worker_main(std::span<const std::byte> bytes, DescriptorSpan descriptors) {
  WorkerStart start;
  if (bytes.size() < sizeof start)
    return Error{Errc::malformed, "a pool worker was started without its settings"};
  std::memcpy(&start, bytes.data(), sizeof start);
  PASSEL_TRY(const std::unique_ptr<WorkerEnd> end,
             WorkerEnd::attach(descriptors, start.max_message));
  const std::size_t own_descriptors = start.has_stderr != 0 ? 3 : 2;
  if (descriptors.size() < own_descriptors)
    return Error{Errc::malformed, "a pool worker was started without its stderr"};
  if (start.has_stderr != 0) {
    ::dup2(descriptors[2]->get(), 2);
    *descriptors[2] = Descriptor{};
  }
  if (const Result<void> prepared =
          prepare_worker(start, bytes.subspan(sizeof start), descriptors.subspan(own_descriptors));
      !prepared) {
    end->begin_failed(encode_bounded(prepared.error()).bytes);
    // The pool knows why; nothing else is to be seen of it.
    std::fflush(nullptr);
    ::_exit(1);
  }
  keep_memory();
  WorkerSeat seat{*end, start};
  DirectResult direct{*end, start.max_message};
  MemoryGauge gauge{start.recycle_memory};
  end->begin();
  TaskId known{};
  TaskFunction function = nullptr;
  while (const std::optional<WorkerEnd::Task> task = end->next()) {
    seat.take(*task);
    if (function == nullptr || known != task->task) {
      const Result<TaskFunction> found = find_task(task->task);
      if (!found) {
        if (!end->answer(task->number, encode_error(found.error()).bytes, true, {})) break;
        continue;
      }
      function = *found;
      known = task->task;
    }
    if (!run_task(*end, *task, function, start.max_message, gauge)) break;
  }
  return Encoded{};
}

// In the table of tasks from before main on, as every task is.
const TaskNode worker_node{&worker_main};

}  // namespace

namespace {
thread_local ResultPlace* result_place = nullptr;
}  // namespace

ResultPlace::ResultPlace() noexcept { result_place = this; }
ResultPlace::~ResultPlace() { result_place = nullptr; }
ResultPlace* ResultPlace::current() noexcept { return result_place; }

TaskId pool_worker_task() { return id_of_task(worker_node.function); }

}  // namespace passel::inline v0::detail
