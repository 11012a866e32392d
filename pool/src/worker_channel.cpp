// Layer pool: the shared memory and the socket between a pool and one of its worker processes.
#include "worker_channel.hpp"

#include <passel/codec.hpp>
#include <passel/detail/carried_descriptors.hpp>
#include <passel/detail/futex.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <string>

namespace passel::inline v0::detail {

// --- both ends

WorkerLine::Heard WorkerLine::hear(bool wait) {
  std::uint64_t number = 0;
  iovec part{.iov_base = &number, .iov_len = sizeof number};
  CarriedDescriptors<most_descriptors> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  control.expect(message);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Heard::nothing : Heard::end;
  if (got == 0) return Heard::end;
  std::vector<std::shared_ptr<Descriptor>> descriptors;
  take_carried(message, [&](int fd) { descriptors.push_back(std::make_shared<Descriptor>(fd)); });
  if (got == sizeof number) heard_[number] = std::move(descriptors);
  return Heard::something;
}

void WorkerLine::ring() noexcept {
  // A full socket holds bells enough, and a broken one is noticed by whoever reads it.
  const char bell = 0;
  static_cast<void>(::send(socket_.get(), &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void WorkerLine::wake(std::atomic<std::uint32_t>& sleeps,
                      std::atomic<std::uint32_t>& bell) noexcept {
  if (sleeps.load(std::memory_order_seq_cst) == ChannelLayout::awake) return;
  switch (sleeps.exchange(ChannelLayout::awake)) {
    case ChannelLayout::awake: return;
    case ChannelLayout::by_futex:
      bell.fetch_add(1, std::memory_order_seq_cst);
      futex_wake(bell, std::numeric_limits<int>::max(), FutexScope::host);
      return;
    default: ring();
  }
}

Result<WorkerLine::Sent> WorkerLine::send_descriptors(
    std::uint64_t number, std::span<const std::shared_ptr<Descriptor>> descriptors) {
  iovec part{.iov_base = &number, .iov_len = sizeof number};
  CarriedDescriptors<most_descriptors> control;
  const std::size_t count = std::min(descriptors.size(), most_descriptors);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  control.attach(message, count,
                 [&](std::size_t i) { return descriptors[i] ? descriptors[i]->get() : -1; });
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return Sent::yes;
  switch (errno) {
    // The message is as good as sent: the other process is gone.
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN: return Sent::yes;
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS: return Sent::later;
    default: return system_error("sendmsg of " + std::to_string(count) + " handles", errno);
  }
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

bool WorkerLine::hear_all() {
  for (;;) {
    switch (hear(false)) {
      case Heard::nothing: return true;
      case Heard::end: return false;
      case Heard::something: break;
    }
  }
}

// --- the pool's end

PoolEnd::PoolEnd(std::shared_ptr<Segment> segment, Descriptor socket, std::size_t arena_size)
    : WorkerLine{std::move(segment), std::move(socket)},
      arena_{*segment_, ChannelLayout::header_room, arena_size} {}

PoolEnd::~PoolEnd() { retire(); }

Result<PoolEnd::Created> PoolEnd::create(std::uint64_t max_message) {
  const std::size_t arena = ChannelLayout::arena_size_for(max_message);
  PASSEL_TRY(Segment memory, Segment::create("passel-pool", ChannelLayout::kind,
                                             ChannelLayout::header_room + 2 * arena));
  PASSEL_CHECK(memory.populate(0, ChannelLayout::header_room));
  new (memory.data()) ChannelLayout{};
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return system_error("socketpair", errno);
  }
  Descriptor ours{pair[0]};
  Descriptor theirs{pair[1]};
  PASSEL_TRY(Descriptor copy, Descriptor::duplicate(memory.descriptor().get()));
  Created created;
  created.end = std::make_unique<PoolEnd>(std::make_shared<Segment>(std::move(memory)),
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
  const std::size_t size = message.args.size() + message.tail.size();
  if (size > ChannelLayout::inline_size) {
    PASSEL_TRY(const auto place, arena_.allocate(size));
    if (!place) return Posted::no_room;
    payload = *place;
    to = segment_->data() + payload;
  }
  if (!message.descriptors.empty()) {
    const auto sent = send_descriptors(number, message.descriptors);
    if (!sent || *sent == Sent::later) {
      if (payload != 0) arena_.release(payload);
      if (!sent) return sent.error();
      return Posted::later;
    }
  }
  if (!message.args.empty()) std::memcpy(to, message.args.data(), message.args.size());
  if (!message.tail.empty())
    std::memcpy(to + message.args.size(), message.tail.data(), message.tail.size());
  cell.payload = payload;
  cell.task = message.task;
  cell.length = static_cast<std::uint32_t>(size);
  cell.descriptors = static_cast<std::uint16_t>(message.descriptors.size());
  cell.attempt = static_cast<std::uint16_t>(std::min(message.attempt, 0xFFFFU));
  cell.state.store(ChannelLayout::state(number, ChannelLayout::posted), std::memory_order_relaxed);
  // Of a call that is answered late, behind others: its arguments have been read long ago.
  Place& before = payloads_[number % ChannelLayout::cells];
  if (before.offset != 0) arena_.release(before.offset);
  before = {.number = number, .offset = payload};
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
  shared().stop.store(static_cast<std::uint32_t>(number), std::memory_order_seq_cst);
  futex_wake(shared().stop, std::numeric_limits<int>::max(), FutexScope::host);
  // It may wait for somebody to take what it streams.
  shared().taken_bell.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(shared().taken_bell, std::numeric_limits<int>::max(), FutexScope::host);
}

void PoolEnd::tell_taken(std::uint64_t number, std::uint32_t items) noexcept {
  ChannelLayout& memory = shared();
  memory.tasks[number % ChannelLayout::cells].taken.store(number << 32 | items,
                                                          std::memory_order_seq_cst);
  memory.taken_bell.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(memory.taken_bell, std::numeric_limits<int>::max(), FutexScope::host);
  // A pool that passes it on sleeps as workers do.
  wake_worker();
}

bool PoolEnd::condemn(std::uint64_t number) noexcept {
  std::uint64_t expected = ChannelLayout::state(number, ChannelLayout::started);
  const std::uint64_t condemned = ChannelLayout::state(number, ChannelLayout::condemned);
  return shared().tasks[number % ChannelLayout::cells].state.compare_exchange_strong(
             expected, condemned, std::memory_order_acq_rel) ||
         expected == condemned;
}

void PoolEnd::release_payload(std::uint64_t number) noexcept {
  Place& place = payloads_[number % ChannelLayout::cells];
  if (place.number == number && place.offset != 0) arena_.release(std::exchange(place.offset, 0));
}

void PoolEnd::flush() noexcept {
  if (flushed_ == posted_) return;
  flushed_ = posted_;
  shared().pool_cpu.publish();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake_worker();
}

void PoolEnd::tell_lent(bool lent) noexcept {
  shared().lent.store(lent ? 1 : 0, std::memory_order_seq_cst);
  wake_worker();
}

void PoolEnd::retire() noexcept {
  shared().retire.store(1, std::memory_order_seq_cst);
  wake_worker();
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
  message.is_line = cell.kind == ChannelLayout::line;
  message.is_item = cell.kind == ChannelLayout::item;
  message.is_error = cell.kind != ChannelLayout::value && !message.is_item;
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
  if (cell.kind == ChannelLayout::no_space) {
    static const Encoded no_space =
        encode_error({Errc::no_space, "the worker found no shared memory for its result"});
    message.bytes = no_space.bytes;
  }
  if (cell.descriptors != 0) message.descriptors = take_descriptors(read_ + 1, false);
  if (message.number != 0) {
    if (message.number > posted_) return malformed("an answer to no task");
    // The arguments of a task that streams are still in use.
    if (!message.is_item) release_payload(message.number);
  }
  ++read_;
  return std::optional<WorkerAnswer>{std::move(message)};
}

bool PoolEnd::sleep_by(ChannelLayout& memory, std::uint64_t read,
                       ChannelLayout::Sleep how) noexcept {
  memory.pool_sleeps.store(how, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return memory.results_up_to.load(std::memory_order_acquire) != read;
}

}  // namespace passel::inline v0::detail
