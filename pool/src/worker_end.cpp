// Layer pool: the worker's end of the shared memory between a pool and a worker process.
#include "worker_channel.hpp"

#include <passel/codec.hpp>
#include <passel/detail/futex.hpp>

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

// A sleeping pool learns of an answer no later than this, unless the worker is in the middle of its
// next task.
constexpr std::chrono::microseconds longest_silence{50};
// A task that waits longer for its reader lends its slot.
constexpr std::chrono::milliseconds reader_patience{10};
// The answer of a task that took no longer may be there before whoever submitted it has come to
// wait for it, and so long he is given to come.
constexpr std::chrono::microseconds short_task{5};
constexpr std::chrono::microseconds reader_delay{2};

/// Whoever comes reads the answer by himself, and the pool's thread need not be woken.
template <class Ready>
void let_the_reader_come(const ChannelLayout& memory, Ready ready) noexcept {
  const auto until = Deadline::Clock::now() + reader_delay;
  while (memory.pool_sleeps.load(std::memory_order_relaxed) == ChannelLayout::by_socket &&
         !ready() && Deadline::Clock::now() < until)
    cpu_relax();
}

}  // namespace

WorkerEnd::WorkerEnd(std::shared_ptr<Segment> segment, Descriptor socket, std::size_t arena_size)
    : WorkerLine{std::move(segment), std::move(socket)},
      arena_{*segment_, ChannelLayout::header_room + arena_size, arena_size} {}

Result<std::unique_ptr<WorkerEnd>> WorkerEnd::attach(
    std::span<const std::shared_ptr<Descriptor>> descriptors, std::uint64_t max_message) {
  if (descriptors.size() < 2)
    return Error{Errc::malformed, "a pool worker was started without its channel"};
  PASSEL_TRY(Segment memory, Segment::attach(std::move(*descriptors[1]), ChannelLayout::kind));
  const std::size_t arena = ChannelLayout::arena_size_for(max_message);
  if (memory.size() < ChannelLayout::header_room + 2 * arena)
    return Error{Errc::malformed, "a pool worker's memory is too small"};
  return std::make_unique<WorkerEnd>(std::make_shared<Segment>(std::move(memory)),
                                     std::move(*descriptors[0]), arena);
}

void WorkerEnd::begin() {
  // Its first task may be there already, and then it is not waited for.
  task_began_ = Deadline::Clock::now();
  shared().ready.store(1, std::memory_order_release);
  shared().worker_cpu.publish();
  announce();
}

void WorkerEnd::begin_failed(std::span<const std::byte> why) {
  static_cast<void>(answer(0, why, true, {}));
  announce();
}

std::optional<WorkerEnd::Task> WorkerEnd::claim(bool wait) {
  ChannelLayout& memory = shared();
  while (passed_ < memory.posted_up_to.load(std::memory_order_acquire)) {
    const std::uint64_t number = passed_ + 1;
    auto& cell = memory.tasks[number % ChannelLayout::cells];
    const std::uint32_t descriptors = cell.descriptors;
    std::uint64_t expected = ChannelLayout::state(number, ChannelLayout::posted);
    const bool mine = cell.state.compare_exchange_strong(
        expected, ChannelLayout::state(number, ChannelLayout::started), std::memory_order_acq_rel);
    passed_ = number;
    memory.passed_up_to.store(number, std::memory_order_release);
    if (!mine) continue;
    Task task;
    task.number = number;
    task.task = cell.task;
    task.attempt = cell.attempt;
    task.args = {
        cell.length > ChannelLayout::inline_size ? segment_->data() + cell.payload : cell.bytes,
        cell.length};
    if (descriptors != 0) task.descriptors = take_descriptors(number, wait);
    return task;
  }
  return {};
}

std::optional<WorkerEnd::Task> WorkerEnd::next() {
  for (;;) {
    if (auto task = claim(true)) return task;
    if (!wait_for_task()) return {};
    task_began_ = Deadline::Clock::now();
  }
}

bool WorkerEnd::wait_for_task() {
  ChannelLayout& memory = shared();
  const auto ready = [&] {
    return memory.posted_up_to.load(std::memory_order_acquire) != passed_ ||
           memory.retire.load(std::memory_order_relaxed) != 0;
  };
  const auto took = memory.results[answered_ % ChannelLayout::cells].took_ns;
  if (answered_ - announced_ == 1 && std::chrono::nanoseconds{took} < short_task &&
      memory.pool_cpu.load() != current_cpu())
    let_the_reader_come(memory, ready);
  announce();
  if (!spinner_.spin(memory.pool_cpu, Deadline::never(), ready)) {
    for (;;) {
      const std::uint32_t bell = memory.worker_bell.load(std::memory_order_seq_cst);
      memory.worker_sleeps.store(ChannelLayout::by_futex, std::memory_order_seq_cst);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (ready()) break;
      // A pool that goes lets its workers go; one that is killed takes them along.
      static_cast<void>(futex_wait(memory.worker_bell, bell, Deadline::never(), FutexScope::host));
    }
    memory.worker_sleeps.store(ChannelLayout::awake, std::memory_order_relaxed);
  }
  memory.worker_cpu.publish();
  return memory.posted_up_to.load(std::memory_order_acquire) != passed_;
}

/// Gives back the room of answers that have been read.
void WorkerEnd::release_read(std::uint64_t read) noexcept {
  while (!payloads_.empty() && payloads_.front().first <= read) {
    arena_.release(payloads_.front().second);
    payloads_.pop_front();
  }
}

std::byte* WorkerEnd::place(std::size_t size, std::uint64_t& offset) {
  ChannelLayout& memory = shared();
  for (;;) {
    const std::uint64_t read = memory.read_up_to.load(std::memory_order_seq_cst);
    release_read(read);
    auto found = arena_.allocate(size);
    if (!found) return nullptr;
    if (*found) {
      offset = **found;
      payloads_.emplace_back(answered_ + 1, offset);
      return segment_->data() + offset;
    }
    announce();
    // Bells that were not needed any more must not fill the socket.
    if (!hear_all()) return nullptr;
    memory.worker_wants_room.store(1, std::memory_order_seq_cst);
    if (memory.read_up_to.load(std::memory_order_seq_cst) == read && hear(true) == Heard::end)
      return nullptr;
  }
}

bool WorkerEnd::finish(std::uint64_t number) noexcept {
  std::uint64_t expected = ChannelLayout::state(number, ChannelLayout::started);
  return shared().tasks[number % ChannelLayout::cells].state.compare_exchange_strong(
      expected, ChannelLayout::state(number, ChannelLayout::finished), std::memory_order_acq_rel);
}

/// Sends what goes with the next message, waiting until that is possible. Errors: peer_lost, and
/// those of handles that cannot be sent.
Result<void> WorkerEnd::carry(std::span<const std::shared_ptr<Descriptor>> descriptors) {
  while (!descriptors.empty()) {
    PASSEL_TRY(const Sent sent, send_descriptors(answered_ + 1, descriptors));
    if (sent == Sent::yes) break;
    announce();
    // Nobody tells when it is possible.
    pollfd news{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    ::poll(&news, 1, 1);
    if (!hear_all()) return Error{Errc::peer_lost, "the pool of this task is gone"};
  }
  return {};
}

std::byte* WorkerEnd::reserve(std::size_t size) {
  if (reserved_ != 0 || size <= ChannelLayout::inline_size) return nullptr;
  std::byte* const to = place(size, reserved_);
  reserved_size_ = to != nullptr ? size : 0;
  return to;
}

void WorkerEnd::give_back_reserved() noexcept {
  if (reserved_ == 0) return;
  arena_.release(reserved_);
  std::erase_if(payloads_, [this](const auto& payload) { return payload.second == reserved_; });
  reserved_ = 0;
  reserved_size_ = 0;
}

bool WorkerEnd::answer(std::uint64_t number, std::span<const std::byte> bytes, bool is_error,
                       std::span<const std::shared_ptr<Descriptor>> descriptors) {
  if (number != 0 && !finish(number)) return false;
  Encoded failure;
  if (const auto carried = carry(descriptors); !carried) {
    if (carried.error() == Errc::peer_lost) return false;
    failure = encode_error(carried.error());
    bytes = failure.bytes;
    is_error = true;
    descriptors = {};
  }
  std::uint32_t mark = is_error ? ChannelLayout::error : ChannelLayout::value;
  std::uint64_t offset = 0;
  if (reserved_ != 0 && bytes.empty()) {
    offset = std::exchange(reserved_, 0);
    bytes = {segment_->data() + offset, std::exchange(reserved_size_, 0)};
    // Items may have been sent since.
    for (auto& payload : payloads_) {
      if (payload.second == offset) payload.first = answered_ + 1;
    }
  } else if (bytes.size() > ChannelLayout::inline_size && place(bytes.size(), offset) == nullptr) {
    bytes = {};
    mark = ChannelLayout::no_space;
    descriptors = {};
  }
  publish(number, bytes, mark, offset, descriptors.size());
  const auto now = task_began_;
  if (answered_ - announced_ == 1) oldest_silent_ = now;
  announce_if_worth_it(now);
  return true;
}

/// Writes an answer whose payload has its place and whose descriptors were sent.
void WorkerEnd::publish(std::uint64_t number, std::span<const std::byte> bytes, std::uint32_t mark,
                        std::uint64_t offset, std::size_t descriptors) {
  ChannelLayout& memory = shared();
  auto& cell = memory.results[(answered_ + 1) % ChannelLayout::cells];
  std::byte* const to = offset != 0 ? segment_->data() + offset : cell.bytes;
  if (!bytes.empty() && bytes.data() != to) std::memcpy(to, bytes.data(), bytes.size());
  const auto now = Deadline::Clock::now();
  cell.number = number;
  cell.payload = offset;
  cell.took_ns = static_cast<std::uint64_t>((now - task_began_).count());
  cell.length = static_cast<std::uint32_t>(bytes.size());
  cell.descriptors = static_cast<std::uint32_t>(descriptors);
  cell.kind = mark;
  ++answered_;
  memory.results_up_to.store(answered_, std::memory_order_release);
  task_began_ = now;
}

WorkerLine::Posted WorkerEnd::try_answer(std::uint64_t number, std::span<const std::byte> bytes,
                                         ChannelLayout::Kind kind,
                                         std::span<const std::shared_ptr<Descriptor>> descriptors) {
  ChannelLayout& memory = shared();
  memory.worker_wants_room.store(1, std::memory_order_seq_cst);
  const std::uint64_t read = memory.read_up_to.load(std::memory_order_seq_cst);
  if (answered_ + 1 - read >= ChannelLayout::cells) return Posted::no_room;
  std::uint32_t mark = kind;
  std::uint64_t offset = 0;
  if (bytes.size() > ChannelLayout::inline_size) {
    release_read(read);
    const auto found = arena_.allocate(bytes.size());
    if (found && !*found) return Posted::no_room;
    if (found) {
      offset = **found;
      payloads_.emplace_back(answered_ + 1, offset);
    } else {
      bytes = {};
      mark = ChannelLayout::no_space;
      descriptors = {};
    }
  }
  if (!descriptors.empty()) {
    const auto sent = send_descriptors(answered_ + 1, descriptors);
    if (!sent || *sent == Sent::later) {
      if (offset != 0) {
        arena_.release(offset);
        payloads_.pop_back();
      }
      if (sent) return Posted::later;
      return try_answer(number, encode_error(sent.error()).bytes, ChannelLayout::error, {});
    }
  }
  memory.worker_wants_room.store(0, std::memory_order_relaxed);
  publish(number, bytes, mark, offset, descriptors.size());
  return Posted::yes;
}

std::uint32_t WorkerEnd::taken_of(std::uint64_t number) noexcept {
  const std::uint64_t taken =
      shared().tasks[number % ChannelLayout::cells].taken.load(std::memory_order_seq_cst);
  // The cell may speak of a task that had it before.
  return taken >> 32 == (number & 0xFFFF'FFFF) ? static_cast<std::uint32_t>(taken) : 0;
}

Result<void> WorkerEnd::wait_for_window(std::uint64_t number, std::uint32_t sent,
                                        std::uint32_t window, Deadline deadline) {
  ChannelLayout& memory = shared();
  const auto state = [&]() -> std::optional<Result<void>> {
    if (memory.stop.load(std::memory_order_seq_cst) == static_cast<std::uint32_t>(number))
      return Error{Errc::cancelled, "the task was asked to end: nobody wants further items"};
    if (sent - taken_of(number) < window) return Result<void>{};
    if (deadline.is_try())
      return Error{Errc::full, std::to_string(window) + " items have not been taken yet"};
    if (deadline.passed())
      return Error{Errc::timeout, "none of " + std::to_string(window) + " items was taken in time"};
    return {};
  };
  const Deadline patience = Deadline::after(reader_patience);
  bool lent = false;
  for (;;) {
    const std::uint32_t bell = memory.taken_bell.load(std::memory_order_seq_cst);
    const auto known = state();
    if (known && lent) {
      memory.waits.store(0, std::memory_order_seq_cst);
      announce();
    }
    if (known) return *known;
    const bool hold = !lent && patience.when() < deadline.when();
    if (futex_wait(memory.taken_bell, bell, hold ? patience : deadline, FutexScope::host) || lent)
      continue;
    // The pool runs something else meanwhile; perhaps what the reader waits for.
    lent = true;
    memory.waits.store(1, std::memory_order_seq_cst);
    announce();
  }
}

Result<void> WorkerEnd::send_item(std::uint64_t number, std::uint32_t sent, std::uint32_t window,
                                  const Encoded& item, Deadline deadline) {
  if (item.descriptors.size() > most_descriptors)
    return Error{Errc::too_large, "an item with " + std::to_string(item.descriptors.size()) +
                                      " handles is over the limit of " +
                                      std::to_string(most_descriptors)};
  PASSEL_CHECK(wait_for_window(number, sent, window, deadline));
  PASSEL_CHECK(carry(item.descriptors));
  std::uint64_t offset = 0;
  if (item.bytes.size() > ChannelLayout::inline_size && place(item.bytes.size(), offset) == nullptr)
    return Error{Errc::no_space,
                 "no shared memory for an item of " + std::to_string(item.bytes.size()) + " bytes"};
  const auto began = task_began_;
  publish(number, item.bytes, ChannelLayout::item, offset, item.descriptors.size());
  task_began_ = began;
  announce();
  return {};
}

bool WorkerEnd::go_to_sleep() noexcept {
  ChannelLayout& memory = shared();
  memory.worker_sleeps.store(ChannelLayout::by_socket, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return memory.posted_up_to.load(std::memory_order_acquire) != passed_;
}

Result<void> WorkerEnd::offer_line(std::span<const std::shared_ptr<Descriptor>> descriptors) {
  PASSEL_CHECK(carry(descriptors));
  const auto began = task_began_;
  publish(0, {}, ChannelLayout::line, 0, descriptors.size());
  task_began_ = began;
  announce();
  return {};
}

void WorkerEnd::announce_if_worth_it(Deadline::Clock::time_point now) noexcept {
  ChannelLayout& memory = shared();
  const std::uint64_t left = memory.posted_up_to.load(std::memory_order_relaxed) - passed_;
  const std::uint64_t silent = answered_ - announced_;
  // With nothing left wait_for_task announces. A pool on another CPU refills while this one works
  // on; on the same CPU waking it early would only take the CPU away from the tasks.
  const bool half = left <= silent && memory.pool_cpu.load() != current_cpu();
  if (left != 0 && (half || now - oldest_silent_ >= longest_silence)) announce();
}

void WorkerEnd::announce() noexcept {
  announced_ = answered_;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake(shared().pool_sleeps, shared().pool_bell);
}

}  // namespace passel::inline v0::detail
