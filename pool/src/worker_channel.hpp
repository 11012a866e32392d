// Layer pool: the shared memory and the socket between a pool and one of its worker processes.
#pragma once

#include "payload_arena.hpp"

#include <passel/codec.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/detail/guardian.hpp>
#include <passel/detail/segment.hpp>
#include <passel/detail/spin.hpp>

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// The bytes both processes share. Tasks and results are numbered from 1; number n lives in cell n
/// % cells. Results are written there and not sent, so that what a worker had finished outlives it,
/// and so does the mark of what it had started.
struct ChannelLayout {
  static constexpr std::uint64_t kind = 0x706f6f6c'63680003;  // "pool" "ch", version 3
  static constexpr std::size_t cells = 256;
  static constexpr std::size_t inline_size = 80;

  /// What the state of a task cell says about task n, beside n itself.
  enum Mark : std::uint64_t {
    posted = 1,     ///< by the pool
    started = 2,    ///< by the worker
    revoked = 3,    ///< by the pool: it will not be started
    finished = 4,   ///< by the worker: its answer follows
    condemned = 5,  ///< by the pool: it will not be answered
  };
  static constexpr std::uint64_t state(std::uint64_t number, Mark mark) {
    return number * 8 + mark;
  }

  /// How a side is woken: what stands in worker_sleeps and pool_sleeps, taken by whoever wakes.
  enum Sleep : std::uint32_t {
    awake = 0,
    by_socket = 1,  ///< a bell on the socket, beside which it may wait for others
    by_futex = 2,   ///< its bell below; a thread that waits for this channel alone
  };

  /// What stands in a result cell.
  enum Kind : std::uint32_t {
    value = 0,
    error = 1,
    no_space = 2,  ///< the worker found no memory for what it had to say
    line = 3,      ///< no answer: the pool's end of a line for what the worker's task asks of it
    item = 4,      ///< no answer yet: one of the items that the task streams
  };

  struct alignas(64) TaskCell {
    std::atomic<std::uint64_t> state;
    std::uint64_t payload;  ///< offset in the segment, unless it is inline
    TaskId task;
    std::uint32_t length;
    std::uint16_t descriptors;
    std::uint16_t attempt;
    std::atomic<std::uint64_t> taken;  ///< by the pool: how many items of the task (lower half of
                                       ///< its number, above) have been taken (below)
    std::byte bytes[inline_size];
  };
  struct alignas(64) ResultCell {
    std::uint64_t number;  ///< of the task
    std::uint64_t payload;
    std::uint64_t took_ns;
    std::uint32_t length;
    std::uint32_t descriptors;
    std::uint32_t kind;
    std::byte bytes[inline_size];
  };

  alignas(64) std::atomic<std::uint64_t> posted_up_to;  ///< by the pool
  std::atomic<std::uint32_t> retire;  ///< by the pool: leave when nothing is left to do
  std::atomic<std::uint32_t> stop;    ///< by the pool: the task of this number (its lower half)
                                      ///< should end; a futex
  std::atomic<std::uint32_t> lent;    ///< by whoever posts: it only waits for what it has posted
  std::atomic<std::uint32_t> taken_bell;  ///< by the pool: counts changes of `stop` and of what
                                          ///< was taken; a futex
  CpuMark pool_cpu;
  alignas(64) std::atomic<std::uint64_t> results_up_to;  ///< by the worker
  std::atomic<std::uint64_t> passed_up_to;  ///< by the worker: tasks it will not look at again
  std::atomic<std::uint32_t> ready;         ///< by the worker: its initializer has run
  std::atomic<std::uint32_t> heavy;         ///< by the worker: it uses more memory than it should
  std::atomic<std::uint32_t> waits;         ///< by the worker: its task waits for its reader
  CpuMark worker_cpu;
  alignas(64)
      std::atomic<std::uint64_t> read_up_to;  ///< by the pool: results whose cells are free again
  alignas(64) std::atomic<std::uint32_t> worker_sleeps;  ///< set by the worker
  std::atomic<std::uint32_t> worker_bell;                ///< a futex
  std::atomic<std::uint32_t> worker_wants_room;          ///< the same, when it waits for read_up_to
  alignas(64) std::atomic<std::uint32_t> pool_sleeps;    ///< set by the pool
  std::atomic<std::uint32_t> pool_bell;                  ///< a futex
  TaskCell tasks[cells];
  ResultCell results[cells];

  /// Where the pool's payloads begin; the worker's follow behind them.
  static const std::size_t header_room;
  /// Room for one payload of the largest size beside others.
  static std::size_t arena_size_for(std::uint64_t max_message);
};

inline const std::size_t ChannelLayout::header_room = (sizeof(ChannelLayout) + 4095) / 4096 * 4096;
inline std::size_t ChannelLayout::arena_size_for(std::uint64_t max_message) {
  constexpr std::size_t step = std::size_t{1} << 20;
  const std::size_t rounded = (static_cast<std::size_t>(max_message) + 2 * step - 1) / step * step;
  return rounded * 2;
}

/// What a worker is told when it starts: bytes of the same build on both sides.
struct WorkerStart {
  std::uint64_t max_message = 0;
  std::uint64_t recycle_memory = 0;  ///< bytes above which it asks to be replaced; 0: never
  std::uint32_t processes = 1;       ///< of the pool
  std::uint32_t index = 0;           ///< see this_task::worker_index
  std::int32_t nice = 0;
  std::int32_t stack_signal = 0;
  std::uint32_t has_cpus = 0;
  cpu_set_t cpus{};
  TaskId initializer{};
  std::uint32_t has_initializer = 0;  ///< its arguments follow
  std::uint32_t has_stderr = 0;       ///< the third descriptor takes the place of stderr
};

/// A piece of work on its way to a worker. It is copied into the channel.
struct WorkerTask {
  TaskId task{};
  unsigned attempt = 1;
  std::span<const std::byte> args{};
  std::span<const std::byte> tail{};  ///< behind them
  std::span<const std::shared_ptr<Descriptor>> descriptors{};
};

/// A worker's answer. The bytes are in shared memory and good until the next one is asked for.
struct WorkerAnswer {
  std::uint64_t number = 0;
  std::chrono::nanoseconds took{0};
  bool is_error = false;
  bool is_line = false;  ///< no answer: the descriptors are the pool's end of a line of its own
  bool is_item = false;  ///< no answer yet: an item that the task streams
  std::span<const std::byte> bytes{};
  std::vector<std::shared_ptr<Descriptor>> descriptors{};
};

/// Both ends use the same segment, one socket each. A packet on the socket is a bell (1 byte: look
/// at the memory) or the descriptors of one message (its number). Nothing here waits, apart from
/// WorkerEnd::wait.
class WorkerLine {
 public:
  static constexpr std::size_t most_descriptors = 250;  ///< the kernel takes 253 in one message

  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  /// Takes all packets off the socket. False when the other end is closed.
  bool hear_all();
  /// `no_room`: try again after the next answer. `later`: after a while, nobody tells.
  enum class Posted { yes, no_room, later };
  [[nodiscard]] ChannelLayout& shared() const noexcept {
    return *reinterpret_cast<ChannelLayout*>(segment_->data());
  }

 protected:
  WorkerLine(std::shared_ptr<Segment> segment, Descriptor socket)
      : segment_{std::move(segment)}, socket_{std::move(socket)} {}

  enum class Heard { nothing, something, end };
  /// Takes one packet from the socket.
  Heard hear(bool wait);
  void ring() noexcept;
  /// Wakes the other side if it sleeps.
  void wake(std::atomic<std::uint32_t>& sleeps, std::atomic<std::uint32_t>& bell) noexcept;
  void wake_worker() noexcept { wake(shared().worker_sleeps, shared().worker_bell); }
  enum class Sent { yes, later };
  /// `later`: the socket is full, the kernel is short of memory, or too many descriptors of this
  /// user are on their way; nobody tells when that is over. Errors: of handles that are none.
  [[nodiscard]] Result<Sent> send_descriptors(
      std::uint64_t number, std::span<const std::shared_ptr<Descriptor>> descriptors);
  std::vector<std::shared_ptr<Descriptor>> take_descriptors(std::uint64_t number, bool wait);

  std::shared_ptr<Segment> segment_;
  Descriptor socket_;
  std::map<std::uint64_t, std::vector<std::shared_ptr<Descriptor>>> heard_;
};

/// The pool's end.
class PoolEnd : public WorkerLine {
 public:
  /// What the other end is given: the socket and the memory.
  struct Created;
  [[nodiscard]] static Result<Created> create(std::uint64_t max_message);

  PoolEnd(std::shared_ptr<Segment> segment, Descriptor socket, std::size_t arena_size);
  /// Whoever still waits at the other end is let go.
  ~PoolEnd();

  /// Writes a task; the worker is told by `flush`. Errors: no_space, and those of handles that
  /// cannot be sent.
  Result<Posted> post(const WorkerTask& message);
  /// Number of the task that post wrote last.
  [[nodiscard]] std::uint64_t last_posted() const noexcept { return posted_; }
  /// Tasks that the other side has not looked at.
  [[nodiscard]] std::uint64_t unclaimed() noexcept {
    return posted_ - shared().passed_up_to.load(std::memory_order_acquire);
  }
  /// True when the task had not started, and now never will.
  bool revoke(std::uint64_t number) noexcept;
  /// True when the task was started and not answered: unless an answer is being written just now,
  /// none will come.
  [[nodiscard]] bool has_started(std::uint64_t number) noexcept;
  /// Tells a running task that it should end.
  void ask_stop(std::uint64_t number) noexcept;
  /// True when the worker has begun the task and not finished it.
  [[nodiscard]] bool is_running(std::uint64_t number) const noexcept {
    return shared().tasks[number % ChannelLayout::cells].state.load(std::memory_order_acquire) ==
           ChannelLayout::state(number, ChannelLayout::started);
  }
  /// Tells a streaming task that so many of its items have been taken.
  void tell_taken(std::uint64_t number, std::uint32_t items) noexcept;
  /// True when the task had not finished, and now never will.
  bool condemn(std::uint64_t number) noexcept;
  /// The worker has seen all that was posted.
  [[nodiscard]] bool is_caught_up() noexcept {
    return shared().passed_up_to.load(std::memory_order_acquire) == posted_;
  }
  /// Wakes the worker if it sleeps and something was posted since the last flush.
  void flush() noexcept;
  /// Whether this side does nothing but wait for what it has posted.
  void tell_lent(bool lent) noexcept;
  /// Lets the worker leave when it has nothing left to do.
  void retire() noexcept;

  /// The next answer in order; empty when there is none. Errors: malformed when the memory makes no
  /// sense.
  Result<std::optional<WorkerAnswer>> next_result();
  /// What was read so far is not needed any more; next_result says so now and then, and at the end.
  void free_results() noexcept;
  /// From now on the worker rings when there is something. True when there is something already.
  [[nodiscard]] bool go_to_sleep() noexcept { return sleep_by(ChannelLayout::by_socket); }
  /// The same for a thread that sleeps at pool_bell, whose value it knows from before.
  [[nodiscard]] bool sleep_by(ChannelLayout::Sleep how) noexcept {
    return sleep_by(shared(), read_, how);
  }
  [[nodiscard]] static bool sleep_by(ChannelLayout& memory, std::uint64_t read,
                                     ChannelLayout::Sleep how) noexcept;
  /// A thread looks by itself: nobody needs to be woken.
  void stay_awake() noexcept {
    shared().pool_sleeps.store(ChannelLayout::awake, std::memory_order_relaxed);
  }
  /// Number of the last answer that was read.
  [[nodiscard]] std::uint64_t read() const noexcept { return read_; }
  [[nodiscard]] const std::shared_ptr<Segment>& memory() const noexcept { return segment_; }
  [[nodiscard]] bool is_ready() noexcept {
    return shared().ready.load(std::memory_order_acquire) != 0;
  }
  /// Its task has been waiting for whoever reads what it streams.
  [[nodiscard]] bool waits_for_reader() noexcept {
    return shared().waits.load(std::memory_order_acquire) != 0;
  }
  /// The worker uses more memory than it should.
  [[nodiscard]] bool is_heavy() noexcept {
    return shared().heavy.load(std::memory_order_relaxed) != 0;
  }

 private:
  void release_payload(std::uint64_t number) noexcept;

  PayloadArena arena_;
  std::uint64_t posted_ = 0;
  std::uint64_t flushed_ = 0;
  std::uint64_t read_ = 0;
  struct Place {
    std::uint64_t number = 0;
    std::uint64_t offset = 0;  // 0 for none
  };
  Place payloads_[ChannelLayout::cells] = {};  // of arguments, by cell
};

struct PoolEnd::Created {
  std::unique_ptr<PoolEnd> end;
  std::vector<std::shared_ptr<Descriptor>> for_worker;
};

/// The worker's end.
class WorkerEnd : public WorkerLine {
 public:
  [[nodiscard]] static Result<std::unique_ptr<WorkerEnd>> attach(
      std::span<const std::shared_ptr<Descriptor>> descriptors, std::uint64_t max_message);

  WorkerEnd(std::shared_ptr<Segment> segment, Descriptor socket, std::size_t arena_size);

  struct Task {
    std::uint64_t number = 0;
    TaskId task{};
    unsigned attempt = 1;
    std::span<const std::byte> args{};
    std::vector<std::shared_ptr<Descriptor>> descriptors{};
  };
  /// Claims the next task, waiting for it; nothing when the pool has let this worker go or is gone.
  [[nodiscard]] std::optional<Task> next();
  /// Publishes an answer: from here on it is kept, whatever becomes of this process. False when the
  /// pool has condemned the task: this process is to end.
  bool answer(std::uint64_t number, std::span<const std::byte> bytes, bool is_error,
              std::span<const std::shared_ptr<Descriptor>> descriptors);
  /// Room in shared memory for the answer to the task in hand; nullptr when there is none. The next
  /// `answer` takes it instead of its bytes, or gives it back.
  [[nodiscard]] std::byte* reserve(std::size_t size);
  /// How much was reserved.
  [[nodiscard]] std::size_t reserved() const noexcept { return reserved_size_; }
  void give_back_reserved() noexcept;
  /// The next task, without waiting.
  [[nodiscard]] std::optional<Task> try_next() { return claim(false); }
  /// answer, without waiting: when there is no room the other side rings as soon as there is. It
  /// learns of the answer by `announce`.
  [[nodiscard]] Posted try_answer(std::uint64_t number, std::span<const std::byte> bytes,
                                  ChannelLayout::Kind kind,
                                  std::span<const std::shared_ptr<Descriptor>> descriptors);
  /// Streams an item of task `number`, which has sent `sent` before it, when fewer than `window` of
  /// those are not taken yet, and waits for that. Errors: full (the deadline is "try"), timeout,
  /// cancelled (the task shall end), no_space, too_large, peer_lost.
  [[nodiscard]] Result<void> send_item(std::uint64_t number, std::uint32_t sent,
                                       std::uint32_t window, const Encoded& item,
                                       Deadline deadline);
  /// Wakes the other side if it sleeps.
  void announce() noexcept;
  /// The other side does nothing but wait.
  [[nodiscard]] bool is_lent() noexcept {
    return shared().lent.load(std::memory_order_acquire) != 0;
  }
  /// From now on the other side rings when there is a task. True when there is one already.
  [[nodiscard]] bool go_to_sleep() noexcept;
  /// How many items of that task have been taken.
  [[nodiscard]] std::uint32_t taken_of(std::uint64_t number) noexcept;
  /// Gives the pool its end of another line. Error: peer_lost.
  [[nodiscard]] Result<void> offer_line(std::span<const std::shared_ptr<Descriptor>> descriptors);
  /// Says that the start went well.
  void begin();
  /// Says that it did not, with an encoded error; arrives as the answer to task 0.
  void begin_failed(std::span<const std::byte> why);

 private:
  [[nodiscard]] std::optional<Task> claim(bool wait);
  [[nodiscard]] Result<void> carry(std::span<const std::shared_ptr<Descriptor>> descriptors);
  void publish(std::uint64_t number, std::span<const std::byte> bytes, std::uint32_t mark,
               std::uint64_t offset, std::size_t descriptors);
  void release_read(std::uint64_t read) noexcept;
  [[nodiscard]] bool finish(std::uint64_t number) noexcept;
  [[nodiscard]] Result<void> wait_for_window(std::uint64_t number, std::uint32_t sent,
                                             std::uint32_t window, Deadline deadline);
  [[nodiscard]] bool wait_for_task();
  void announce_if_worth_it(Deadline::Clock::time_point now) noexcept;
  std::byte* place(std::size_t size, std::uint64_t& offset);

  PayloadArena arena_;
  Spinner spinner_;
  std::uint64_t passed_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t announced_ = 0;
  Deadline::Clock::time_point task_began_{};
  Deadline::Clock::time_point oldest_silent_{};
  std::deque<std::pair<std::uint64_t, std::uint64_t>> payloads_;  // result number, offset
  std::uint64_t reserved_ = 0;  // offset of the room for the next answer, 0 for none
  std::size_t reserved_size_ = 0;
};

}  // namespace passel::inline v0::detail
