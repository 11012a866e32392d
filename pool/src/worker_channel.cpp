// Layer pool: the shared memory and the socket between a pool and one of its worker processes.
#include "worker_channel.hpp"

#include <passel/codec.hpp>
#include <passel/detail/futex.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t header_room = (sizeof(ChannelLayout) + 4095) / 4096 * 4096;
// A sleeping pool learns of an answer no later than this, unless the worker is in the middle of its
// next task.
constexpr std::chrono::microseconds longest_silence{50};

// Instead of 1: the worker found no memory for what it had to say.
constexpr std::uint32_t no_space_mark = 2;

/// Room for one payload of the largest size beside others.
std::size_t arena_size_for(std::uint64_t max_message) {
  constexpr std::size_t step = std::size_t{1} << 20;
  const std::size_t rounded = (static_cast<std::size_t>(max_message) + 2 * step - 1) / step * step;
  return rounded * 2;
}

}  // namespace

// --- both ends

WorkerLine::Heard WorkerLine::hear(bool wait) {
  std::uint64_t number = 0;
  iovec part{.iov_base = &number, .iov_len = sizeof number};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * most_descriptors)> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Heard::nothing : Heard::end;
  if (got == 0) return Heard::end;
  std::vector<std::shared_ptr<Descriptor>> descriptors;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
      descriptors.push_back(std::make_shared<Descriptor>(fd));
    }
  }
  if (got == sizeof number) heard_[number] = std::move(descriptors);
  return Heard::something;
}

void WorkerLine::ring() noexcept {
  // A full socket holds bells enough, and a broken one is noticed by whoever reads it.
  const char bell = 0;
  static_cast<void>(::send(socket_.get(), &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool WorkerLine::send_descriptors(std::uint64_t number,
                                  std::span<const std::shared_ptr<Descriptor>> descriptors) {
  iovec part{.iov_base = &number, .iov_len = sizeof number};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * most_descriptors)> control{};
  const std::size_t count = std::min(descriptors.size(), most_descriptors);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int) * count);
  for (std::size_t i = 0; i < count; ++i) {
    const int fd = descriptors[i] ? descriptors[i]->get() : -1;
    std::memcpy(CMSG_DATA(head) + i * sizeof(int), &fd, sizeof fd);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  // On a broken socket the message is as good as sent: the other process is gone.
  return sent >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);
}

std::vector<std::shared_ptr<Descriptor>> WorkerLine::take_descriptors(std::uint64_t number,
                                                                      bool wait) {
  for (;;) {
    if (const auto found = heard_.find(number); found != heard_.end()) {
      auto descriptors = std::move(found->second);
      // Messages come in order: what is older belonged to tasks that were withdrawn.
      heard_.erase(heard_.begin(), std::next(found));
      return descriptors;
    }
    if (hear(wait) != Heard::something) return {};
  }
}

// --- the pool's end

PoolEnd::PoolEnd(std::unique_ptr<Segment> segment, Descriptor socket, std::size_t arena_size)
    : WorkerLine{std::move(segment), std::move(socket)},
      arena_{*segment_, header_room, arena_size} {}

Result<PoolEnd::Created> PoolEnd::create(std::uint64_t max_message) {
  const std::size_t arena = arena_size_for(max_message);
  PASSEL_TRY(Segment memory,
             Segment::create("passel-pool", ChannelLayout::kind, header_room + 2 * arena));
  PASSEL_CHECK(memory.populate(0, header_room));
  new (memory.data()) ChannelLayout{};
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return system_error("socketpair", errno);
  }
  Descriptor ours{pair[0]};
  Descriptor theirs{pair[1]};
  PASSEL_TRY(Descriptor copy, Descriptor::duplicate(memory.descriptor().get()));
  Created created;
  created.end = std::make_unique<PoolEnd>(std::make_unique<Segment>(std::move(memory)),
                                          std::move(ours), arena);
  created.for_worker.push_back(std::make_shared<Descriptor>(std::move(theirs)));
  created.for_worker.push_back(std::make_shared<Descriptor>(std::move(copy)));
  return created;
}

Result<PoolEnd::Posted> PoolEnd::post(const WorkerTask& message) {
  ChannelLayout& memory = shared();
  const std::uint64_t number = posted_ + 1;
  // Strictly less: the cell of a running task holds its arguments until it is through.
  if (number - memory.passed_up_to.load(std::memory_order_acquire) >= ChannelLayout::cells)
    return Posted::no_room;
  auto& cell = memory.tasks[number % ChannelLayout::cells];
  std::byte* to = cell.bytes;
  std::uint64_t payload = 0;
  if (message.args.size() > ChannelLayout::inline_size) {
    PASSEL_TRY(const auto place, arena_.allocate(message.args.size()));
    if (!place) return Posted::no_room;
    payload = *place;
    to = segment_->data() + payload;
  }
  if (!message.descriptors.empty() && !send_descriptors(number, message.descriptors)) {
    if (payload != 0) arena_.release(payload);
    return Posted::no_room;
  }
  if (!message.args.empty()) std::memcpy(to, message.args.data(), message.args.size());
  cell.payload = payload;
  cell.task = message.task;
  cell.length = static_cast<std::uint32_t>(message.args.size());
  cell.descriptors = static_cast<std::uint16_t>(message.descriptors.size());
  cell.attempt = static_cast<std::uint16_t>(std::min(message.attempt, 0xFFFFU));
  cell.state.store(ChannelLayout::state(number, ChannelLayout::posted), std::memory_order_relaxed);
  payloads_[number % ChannelLayout::cells] = payload;
  posted_ = number;
  memory.posted_up_to.store(number, std::memory_order_release);
  return Posted::yes;
}

bool PoolEnd::revoke(std::uint64_t number) noexcept {
  std::uint64_t expected = ChannelLayout::state(number, ChannelLayout::posted);
  const bool revoked = shared().tasks[number % ChannelLayout::cells].state.compare_exchange_strong(
      expected, ChannelLayout::state(number, ChannelLayout::revoked), std::memory_order_acq_rel);
  if (revoked) release_payload(number);
  return revoked;
}

bool PoolEnd::has_started(std::uint64_t number) noexcept {
  const std::uint64_t state =
      shared().tasks[number % ChannelLayout::cells].state.load(std::memory_order_acquire);
  return state == ChannelLayout::state(number, ChannelLayout::started) ||
         state == ChannelLayout::state(number, ChannelLayout::finished) ||
         state == ChannelLayout::state(number, ChannelLayout::condemned);
}

void PoolEnd::ask_stop(std::uint64_t number) noexcept {
  shared().stop.store(static_cast<std::uint32_t>(number), std::memory_order_release);
  futex_wake(shared().stop, std::numeric_limits<int>::max(), FutexScope::host);
}

bool PoolEnd::condemn(std::uint64_t number) noexcept {
  std::uint64_t expected = ChannelLayout::state(number, ChannelLayout::started);
  const std::uint64_t condemned = ChannelLayout::state(number, ChannelLayout::condemned);
  return shared().tasks[number % ChannelLayout::cells].state.compare_exchange_strong(
             expected, condemned, std::memory_order_acq_rel) ||
         expected == condemned;
}

void PoolEnd::release_payload(std::uint64_t number) noexcept {
  std::uint64_t& payload = payloads_[number % ChannelLayout::cells];
  if (payload != 0) arena_.release(std::exchange(payload, 0));
}

void PoolEnd::flush() noexcept {
  if (flushed_ == posted_) return;
  flushed_ = posted_;
  ChannelLayout& memory = shared();
  memory.pool_cpu.publish();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (memory.worker_sleeps.load(std::memory_order_relaxed) != 0 &&
      memory.worker_sleeps.exchange(0) != 0)
    ring();
}

void PoolEnd::retire() noexcept {
  shared().retire.store(1, std::memory_order_seq_cst);
  shared().worker_sleeps.store(0, std::memory_order_relaxed);
  ring();
}

void PoolEnd::free_results() noexcept {
  ChannelLayout& memory = shared();
  if (memory.read_up_to.load(std::memory_order_relaxed) == read_) return;
  memory.read_up_to.store(read_, std::memory_order_seq_cst);
  if (memory.worker_wants_room.load(std::memory_order_seq_cst) != 0 &&
      memory.worker_wants_room.exchange(0) != 0)
    ring();
}

Result<std::optional<WorkerAnswer>> PoolEnd::next_result() {
  ChannelLayout& memory = shared();
  const std::uint64_t there = memory.results_up_to.load(std::memory_order_acquire);
  if (there == read_) {
    free_results();
    return std::optional<WorkerAnswer>{};
  }
  const auto malformed = [](const char* what) {
    return Error{Errc::malformed, std::string{"worker's memory: "} + what};
  };
  if (there - read_ > ChannelLayout::cells) return malformed("more results than cells");
  if (read_ % 32 == 31) free_results();
  const auto& cell = memory.results[(read_ + 1) % ChannelLayout::cells];
  WorkerAnswer message;
  message.number = cell.number;
  message.took = std::chrono::nanoseconds{static_cast<std::int64_t>(cell.took_ns)};
  message.is_error = cell.is_error != 0;
  const std::size_t length = cell.length;
  const std::byte* from = cell.bytes;
  if (length > ChannelLayout::inline_size) {
    const std::uint64_t payload = cell.payload;
    const std::size_t base = arena_.base() + arena_.capacity();
    if (payload < base || payload - base > arena_.capacity() ||
        length > arena_.capacity() - (payload - base)) {
      return malformed("a result lies outside of it");
    }
    from = segment_->data() + payload;
  }
  message.bytes = {from, length};
  if (cell.is_error == no_space_mark) {
    static const Encoded no_space =
        encode_error({Errc::no_space, "the worker found no shared memory for its result"});
    message.bytes = no_space.bytes;
  }
  if (cell.descriptors != 0) message.descriptors = take_descriptors(read_ + 1, false);
  if (message.number != 0) {
    if (message.number > posted_ || posted_ - message.number >= ChannelLayout::cells)
      return malformed("an answer to no task");
    release_payload(message.number);
  }
  ++read_;
  return std::optional<WorkerAnswer>{std::move(message)};
}

bool PoolEnd::go_to_sleep() noexcept {
  ChannelLayout& memory = shared();
  memory.pool_sleeps.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return memory.results_up_to.load(std::memory_order_acquire) != read_;
}

bool PoolEnd::hear_all() {
  for (;;) {
    switch (hear(false)) {
      case Heard::nothing: return true;
      case Heard::end: return false;
      case Heard::something: break;
    }
  }
}

// --- the worker's end

WorkerEnd::WorkerEnd(std::unique_ptr<Segment> segment, Descriptor socket, std::size_t arena_size)
    : WorkerLine{std::move(segment), std::move(socket)},
      arena_{*segment_, header_room + arena_size, arena_size} {}

Result<std::unique_ptr<WorkerEnd>> WorkerEnd::attach(
    std::span<const std::shared_ptr<Descriptor>> descriptors, std::uint64_t max_message) {
  if (descriptors.size() < 2)
    return Error{Errc::malformed, "a pool worker was started without its channel"};
  PASSEL_TRY(Segment memory, Segment::attach(std::move(*descriptors[1]), ChannelLayout::kind));
  const std::size_t arena = arena_size_for(max_message);
  if (memory.size() < header_room + 2 * arena)
    return Error{Errc::malformed, "a pool worker's memory is too small"};
  return std::make_unique<WorkerEnd>(std::make_unique<Segment>(std::move(memory)),
                                     std::move(*descriptors[0]), arena);
}

void WorkerEnd::begin() {
  shared().ready.store(1, std::memory_order_release);
  shared().worker_cpu.publish();
  announce();
}

void WorkerEnd::begin_failed(std::span<const std::byte> why) {
  static_cast<void>(answer(0, why, true, {}));
  announce();
}

std::optional<WorkerEnd::Task> WorkerEnd::claim() {
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
    if (descriptors != 0) task.descriptors = take_descriptors(number, true);
    return task;
  }
  return {};
}

std::optional<WorkerEnd::Task> WorkerEnd::next() {
  for (;;) {
    if (auto task = claim()) return task;
    if (!wait_for_task()) return {};
    task_began_ = Deadline::Clock::now();
  }
}

bool WorkerEnd::wait_for_task() {
  ChannelLayout& memory = shared();
  announce();
  const auto ready = [&] {
    return memory.posted_up_to.load(std::memory_order_acquire) != passed_ ||
           memory.retire.load(std::memory_order_relaxed) != 0;
  };
  if (!spinner_.spin(memory.pool_cpu, Deadline::never(), ready)) {
    for (;;) {
      memory.worker_sleeps.store(1, std::memory_order_seq_cst);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (ready()) break;
      if (hear(true) == Heard::end) return false;
    }
    memory.worker_sleeps.store(0, std::memory_order_relaxed);
  }
  memory.worker_cpu.publish();
  return memory.posted_up_to.load(std::memory_order_acquire) != passed_;
}

std::byte* WorkerEnd::place(std::size_t size, std::uint64_t& offset) {
  ChannelLayout& memory = shared();
  for (;;) {
    const std::uint64_t read = memory.read_up_to.load(std::memory_order_seq_cst);
    while (!payloads_.empty() && payloads_.front().first <= read) {
      arena_.release(payloads_.front().second);
      payloads_.pop_front();
    }
    auto found = arena_.allocate(size);
    if (!found) return nullptr;
    if (*found) {
      offset = **found;
      payloads_.emplace_back(answered_ + 1, offset);
      return segment_->data() + offset;
    }
    announce();
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

bool WorkerEnd::answer(std::uint64_t number, std::span<const std::byte> bytes, bool is_error,
                       std::span<const std::shared_ptr<Descriptor>> descriptors) {
  if (number != 0 && !finish(number)) return false;
  ChannelLayout& memory = shared();
  std::uint32_t error_mark = is_error ? 1 : 0;
  std::uint64_t offset = 0;
  std::byte* to = nullptr;
  if (bytes.size() > ChannelLayout::inline_size) {
    to = place(bytes.size(), offset);
    if (to == nullptr) {
      bytes = {};
      error_mark = no_space_mark;
      descriptors = {};
    }
  }
  auto& cell = memory.results[(answered_ + 1) % ChannelLayout::cells];
  if (to == nullptr) to = cell.bytes;
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  while (!descriptors.empty() && !send_descriptors(answered_ + 1, descriptors)) {
    announce();
    if (hear(true) == Heard::end) return false;
  }
  const auto now = Deadline::Clock::now();
  cell.number = number;
  cell.payload = offset;
  cell.took_ns = static_cast<std::uint64_t>((now - task_began_).count());
  cell.length = static_cast<std::uint32_t>(bytes.size());
  cell.descriptors = static_cast<std::uint32_t>(descriptors.size());
  cell.is_error = error_mark;
  ++answered_;
  memory.results_up_to.store(answered_, std::memory_order_release);
  task_began_ = now;
  if (answered_ - announced_ == 1) oldest_silent_ = now;
  announce_if_worth_it(now);
  return true;
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
  ChannelLayout& memory = shared();
  announced_ = answered_;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (memory.pool_sleeps.load(std::memory_order_relaxed) != 0 &&
      memory.pool_sleeps.exchange(0) != 0)
    ring();
}

}  // namespace passel::inline v0::detail
