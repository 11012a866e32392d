#include <passel/detail/host_queue.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "support/process_census.hpp"
#include "support/seed.hpp"

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::detail::Deadline;
using passel::detail::Descriptor;
using passel::detail::HostQueue;
using passel::detail::HostQueueOptions;
using passel::detail::ProcessId;

using Shared = std::shared_ptr<HostQueue>;

const auto never = Deadline::never();
const auto at_once = Deadline::now_or_never();
constexpr std::uint64_t one_chunk = 65536;

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

pid_t in_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

void kill_and_wait(pid_t child) {
  ::kill(child, SIGKILL);
  wait_for(child);
}

[[noreturn]] void die_here() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// An item that knows what it should be: producer, number, and bytes that follow from both.
struct ItemHead {
  std::uint32_t producer;
  std::uint32_t number;
};

std::size_t size_of_item(ItemHead head) {
  const std::size_t mixed = (head.producer * 7919U + head.number * 104729U) % 1000;
  // Most small, some of them over a chunk's worth.
  return sizeof(ItemHead) + (mixed > 970 ? mixed * 80 : mixed % 200);
}

std::byte fill_of(ItemHead head) {
  return static_cast<std::byte>(head.producer * 31U + head.number);
}

passel::Result<void> put_item(HostQueue& queue, ItemHead head, Deadline deadline) {
  const std::size_t size = size_of_item(head);
  const auto write = [&](std::byte* to) {
    std::memcpy(to, &head, sizeof head);
    std::memset(to + sizeof head, std::to_integer<int>(fill_of(head)), size - sizeof head);
  };
  return queue.put_with(size, write, deadline);
}

bool is_whole(std::span<const std::byte> item, ItemHead& head) {
  if (item.size() < sizeof head) return false;
  std::memcpy(&head, item.data(), sizeof head);
  const auto rest = item.subspan(sizeof head);
  return item.size() == size_of_item(head) &&
         std::all_of(rest.begin(), rest.end(), [&](std::byte b) { return b == fill_of(head); });
}

// ---- random kills -------------------------------------------------------------------------------

constexpr std::uint32_t producers_ever = 64;
constexpr std::uint32_t items_each = 4096;
constexpr int workers_ever = 256;

struct Board {
  std::atomic<std::uint32_t> put[producers_ever];  ///< puts that returned
  std::atomic<std::uint8_t> seen[producers_ever][items_each];
  std::atomic<std::uint32_t> torn;
  std::atomic<std::uint32_t> failed;
  ProcessId ids[workers_ever];
};

struct Children {
  struct One {
    pid_t pid;
    int id_at;
    bool consumer;
  };
  std::vector<One> alive;
  int started = 0;
  std::uint32_t producers = 0;
};

void produce(HostQueue& queue, const SharedByFork<Board>& board, std::uint32_t producer) {
  for (std::uint32_t i = 0; i < items_each; ++i) {
    if (put_item(queue, {producer, i}, never).is_err()) board->failed.fetch_add(1);
    board->put[producer].store(i + 1);
  }
}

bool consume_one(HostQueue& queue, const SharedByFork<Board>& board, Deadline deadline) {
  ItemHead head{};
  bool whole = false;
  const auto read = [&](std::span<const std::byte> item) { whole = is_whole(item, head); };
  const auto got = queue.get_with(read, deadline);
  if (!got) return false;
  if (!whole) {
    board->torn.fetch_add(1);
    return true;
  }
  board->seen[head.producer][head.number].fetch_add(1);
  if (queue.joinable() && queue.task_done().is_err()) board->failed.fetch_add(1);
  return true;
}

void start(Children& children, HostQueue& queue, const SharedByFork<Board>& board, bool consumer) {
  const int id_at = children.started++;
  const std::uint32_t producer = consumer ? 0 : children.producers++;
  const pid_t pid = in_child([&] {
    board->ids[id_at] = passel::detail::this_process();
    if (!consumer) return produce(queue, board, producer);
    while (consume_one(queue, board, never)) {
    }
  });
  children.alive.push_back({.pid = pid, .id_at = id_at, .consumer = consumer});
}

/// Kills children at random moments and starts new ones in their place; returns how many consumers
/// died.
std::uint32_t torment(HostQueue& queue, const SharedByFork<Board>& board, std::uint64_t seed,
                      unsigned kills) {
  std::mt19937_64 random{seed};
  Children children;
  for (int i = 0; i < 2; ++i) {
    start(children, queue, board, false);
    start(children, queue, board, true);
  }
  std::uint32_t consumers_killed = 0;
  for (unsigned i = 0; i < kills; ++i) {
    ::usleep(static_cast<useconds_t>(random() % 3000));
    const std::size_t at = random() % children.alive.size();
    const Children::One victim = children.alive[at];
    children.alive.erase(children.alive.begin() + static_cast<std::ptrdiff_t>(at));
    kill_and_wait(victim.pid);
    queue.process_lost(board->ids[victim.id_at]);
    consumers_killed += victim.consumer ? 1 : 0;
    start(children, queue, board, victim.consumer);
  }
  // Producers to the end, then consumers by shutdown.
  for (const auto& child : children.alive) {
    if (!child.consumer) wait_for(child.pid);
  }
  if (queue.joinable()) {
    queue.join(never).unwrap();
  }
  queue.shutdown(false);
  for (const auto& child : children.alive) {
    if (child.consumer) wait_for(child.pid);
  }
  EXPECT_EQ(queue.qsize(), 0U);
  return consumers_killed;
}

struct Outcome {
  std::uint32_t missing = 0;
  std::uint32_t repeated = 0;
  std::uint32_t invented = 0;
};

Outcome outcome_of(const SharedByFork<Board>& board) {
  Outcome outcome;
  for (std::uint32_t p = 0; p < producers_ever; ++p) {
    const std::uint32_t put = board->put[p].load();
    for (std::uint32_t i = 0; i < items_each; ++i) {
      const int seen = board->seen[p][i].load();
      outcome.repeated += seen > 1 ? 1 : 0;
      outcome.missing += i < put && seen == 0 ? 1 : 0;
      // The put that a producer was killed in may have happened or not.
      outcome.invented += i > put && seen != 0 ? 1 : 0;
    }
  }
  return outcome;
}

TEST(HostQueueKill, RandomKillsLoseNoMoreThanWhatDeadConsumersHadTaken) {
  const std::uint64_t seed = passel_test::seed();
  const auto before = passel_test::ProcessCensus::take();
  {
    const SharedByFork<Board> board;
    const Shared queue = HostQueue::create({.maxsize = 50}).unwrap();
    const std::uint32_t killed = torment(*queue, board, seed, passel_test::rounds(40));
    const Outcome outcome = outcome_of(board);
    EXPECT_EQ(board->torn.load(), 0U);
    EXPECT_EQ(board->failed.load(), 0U);
    EXPECT_EQ(outcome.repeated, 0U);
    EXPECT_EQ(outcome.invented, 0U);
    EXPECT_LE(outcome.missing, killed);
    EXPECT_LE(queue->stats().bytes, one_chunk);
    EXPECT_FALSE(queue->used_by_others() && queue->stats().attached.size() > 5);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(HostQueueKill, AJoinableQueueLosesNothingAtAll) {
  const std::uint64_t seed = passel_test::seed();
  const auto before = passel_test::ProcessCensus::take();
  {
    const SharedByFork<Board> board;
    const Shared queue = HostQueue::create({.maxsize = 50, .joinable = true}).unwrap();
    torment(*queue, board, seed, passel_test::rounds(40));
    const Outcome outcome = outcome_of(board);
    EXPECT_EQ(board->torn.load(), 0U);
    EXPECT_EQ(board->failed.load(), 0U);
    EXPECT_EQ(outcome.missing, 0U);
    EXPECT_EQ(outcome.invented, 0U);
    EXPECT_EQ(queue->stats().unfinished, 0U);
    EXPECT_LE(queue->stats().bytes, one_chunk);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// ---- death at every instruction -----------------------------------------------------------------

struct Step {
  ProcessId id;
};

using Body = std::function<void(HostQueue&)>;

/// Runs `body` in a child that has attached itself, one instruction at a time, and kills it after
/// `count` of them. False when it had ended by itself.
bool killed_after(HostQueue& queue, HostQueue& other, long count, const Body& body) {
  const SharedByFork<Step> step;
  const pid_t child = in_child([&] {
    step->id = passel::detail::this_process();
    const Shared mine =
        HostQueue::attach(Descriptor::duplicate(queue.descriptor().get()).unwrap()).unwrap();
    // Once elsewhere, so that the dynamic linker's work is done.
    body(other);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(3);
    ::raise(SIGSTOP);
    body(*mine);
    ::raise(SIGSTOP);
    ::_exit(0);
  });
  int status = wait_for(child);
  EXPECT_TRUE(WIFSTOPPED(status)) << "the child cannot be traced";
  bool ended = false;
  for (long i = 0; i < count && !ended && WIFSTOPPED(status); ++i) {
    if (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0) break;
    status = wait_for(child);
    ended = !WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP;
  }
  if (!WIFEXITED(status) && !WIFSIGNALED(status)) kill_and_wait(child);
  queue.process_lost(step->id);
  other.process_lost(step->id);
  return !ended;
}

/// Calls `check` after a child was killed at points spread over all instructions of `body`.
/// `prepare` brings a queue into the state in which the body finds it.
void at_every_point(HostQueue& queue, const Body& prepare, const Body& body,
                    const std::function<void()>& check) {
  std::mt19937_64 random{passel_test::seed()};
  const Shared other = HostQueue::create({.joinable = queue.joinable()}).unwrap();
  const auto killed = [&](long count) {
    prepare(queue);
    prepare(*other);
    const bool result = killed_after(queue, *other, count, body);
    check();
    return result;
  };
  // How many instructions it has.
  long length = 64;
  while (killed(length)) length *= 2;
  const long stride = std::max(1L, length / static_cast<long>(passel_test::rounds(40)));
  long at = static_cast<long>(random() % static_cast<std::uint64_t>(stride));
  while (killed(at) && !testing::Test::HasFailure()) at += stride;
}

using Name = std::array<char, 8>;

Name taken(HostQueue& queue) {
  Name name{"nothing"};
  const auto read = [&](std::span<const std::byte> item) {
    std::memcpy(name.data(), item.data(), sizeof name);
  };
  static_cast<void>(queue.get_with(read, at_once));
  return name;
}

bool put_name(HostQueue& queue, Name name, std::size_t size = 8) {
  const auto write = [&](std::byte* to) { std::memcpy(to, name.data(), sizeof name); };
  return queue.put_with(size, write, at_once).is_ok();
}

constexpr Name item{"item"};
constexpr Name next{"next"};
constexpr Name nothing{"nothing"};

class EveryInstruction : public testing::TestWithParam<std::size_t> {};

// In the record; in chunks of its own.
INSTANTIATE_TEST_SUITE_P(ItemSizes, EveryInstruction, testing::Values(8U, 17'000U));

TEST_P(EveryInstruction, APutIsWholeOrAbsent) {
  const Shared queue = HostQueue::create({.maxsize = 3, .joinable = true}).unwrap();
  const std::size_t size = GetParam();
  const auto nothing_before = [](HostQueue&) {};
  const auto put = [size](HostQueue& to) { put_name(to, item, size); };
  at_every_point(*queue, nothing_before, put, [&] {
    const std::uint64_t count = queue->qsize();
    ASSERT_LE(count, 1U);
    ASSERT_TRUE(put_name(*queue, next));
    if (count == 1) {
      ASSERT_EQ(taken(*queue), item);
      queue->task_done().unwrap();
    }
    ASSERT_EQ(taken(*queue), next);
    queue->task_done().unwrap();
    queue->join(at_once).unwrap();
    ASSERT_LE(queue->stats().bytes, one_chunk);
  });
}

TEST_P(EveryInstruction, AGetTakesTheItemOrLeavesIt) {
  const Shared queue = HostQueue::create({}).unwrap();
  const std::size_t size = GetParam();
  const auto put = [size](HostQueue& to) { put_name(to, item, size); };
  const auto get = [](HostQueue& from) { taken(from); };
  at_every_point(*queue, put, get, [&] {
    ASSERT_TRUE(put_name(*queue, next));
    const Name first = taken(*queue);
    if (first != next) {
      ASSERT_EQ(first, item);
      ASSERT_EQ(taken(*queue), next);
    }
    ASSERT_EQ(taken(*queue), nothing);
    ASSERT_LE(queue->stats().bytes, one_chunk);
  });
}

TEST_P(EveryInstruction, AnItemInHandComesBackExactlyOnce) {
  const Shared queue = HostQueue::create({.joinable = true}).unwrap();
  const std::size_t size = GetParam();
  const auto put_two = [size](HostQueue& to) {
    put_name(to, item, size);
    put_name(to, next);
  };
  const auto get = [](HostQueue& from) { taken(from); };
  at_every_point(*queue, put_two, get, [&] {
    ASSERT_EQ(queue->qsize(), 2U);
    ASSERT_EQ(taken(*queue), item);
    ASSERT_EQ(taken(*queue), next);
    ASSERT_EQ(taken(*queue), nothing);
    queue->task_done().unwrap();
    queue->task_done().unwrap();
    queue->join(at_once).unwrap();
    ASSERT_LE(queue->stats().bytes, one_chunk);
  });
}

TEST_P(EveryInstruction, TaskDoneHappensOrTheItemComesBack) {
  const Shared queue = HostQueue::create({.joinable = true}).unwrap();
  const std::size_t size = GetParam();
  const auto put = [size](HostQueue& to) { put_name(to, item, size); };
  const auto work = [](HostQueue& from) {
    taken(from);
    static_cast<void>(from.task_done());
  };
  at_every_point(*queue, put, work, [&] {
    if (queue->qsize() == 1) {
      ASSERT_TRUE(queue->join(at_once).error() == Errc::timeout);
      ASSERT_EQ(taken(*queue), item);
      queue->task_done().unwrap();
    }
    queue->join(at_once).unwrap();
    ASSERT_EQ(taken(*queue), nothing);
    ASSERT_LE(queue->stats().bytes, one_chunk);
  });
}

// ---- death in chosen places ---------------------------------------------------------------------

TEST(HostQueueKill, AProducerThatDiesWithTheLockBlocksNobody) {
  const Shared queue = HostQueue::create({}).unwrap();
  const SharedByFork<Step> step;
  for (const std::size_t size : {std::size_t{8}, std::size_t{1} << 20}) {
    const int status = wait_for(in_child([&] {
      step->id = passel::detail::this_process();
      static_cast<void>(queue->put_with(
          size, [](std::byte*) { die_here(); }, never));
    }));
    ASSERT_TRUE(WIFSIGNALED(status));
    // Also before anybody has heard of the death.
    EXPECT_TRUE(queue->empty());
    ASSERT_TRUE(put_name(*queue, next));
    EXPECT_EQ(taken(*queue), next);
    queue->process_lost(step->id);
    EXPECT_LE(queue->stats().bytes, one_chunk);
  }
}

TEST(HostQueueKill, AConsumerThatDiesWithTheLockBlocksNobody) {
  for (const bool joinable : {false, true}) {
    const Shared queue = HostQueue::create({.joinable = joinable}).unwrap();
    ASSERT_TRUE(put_name(*queue, item));
    const int status = wait_for(in_child([&] {
      static_cast<void>(queue->get_with([](std::span<const std::byte>) { die_here(); }, never));
    }));
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(taken(*queue), item);
    EXPECT_EQ(taken(*queue), nothing);
  }
}

TEST(HostQueueKill, AGetterKilledInItsSleepTakesNothingWithIt) {
  const Shared queue = HostQueue::create({}).unwrap();
  const SharedByFork<Board> board;
  std::vector<pid_t> sleepers;
  for (int i = 0; i < 8; ++i) {
    sleepers.push_back(in_child([&, i] {
      board->ids[i] = passel::detail::this_process();
      consume_one(*queue, board, never);
    }));
  }
  while (queue->stats().getters != 8) ::usleep(1000);
  for (std::size_t i = 0; i < 4; ++i) {
    kill_and_wait(sleepers[i]);
    queue->process_lost(board->ids[i]);
  }
  for (std::uint32_t i = 0; i < 4; ++i) put_item(*queue, {0, i}, at_once).unwrap();
  for (std::size_t i = 4; i < 8; ++i) EXPECT_EQ(wait_for(sleepers[i]), 0);
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(board->seen[0][i].load(), 1);
}

// birdnet-team/birdnet#77: with Python the reader and all other writers block for ever.
TEST(HostQueueKill, AWriterKilledInHundredMegabytesBlocksNobody) {
  std::mt19937_64 random{passel_test::seed()};
  const Shared queue = HostQueue::create({}).unwrap();
  const SharedByFork<Step> step;
  for (unsigned round = 0; round < passel_test::rounds(5); ++round) {
    constexpr std::size_t size = std::size_t{100} << 20;
    const pid_t writer = in_child([&] {
      step->id = passel::detail::this_process();
      for (;;) {
        const auto fill = [&](std::byte* to) { std::memset(to, 7, size); };
        static_cast<void>(queue->put_with(size, fill, never));
      }
    });
    while (queue->stats().bytes < size) ::usleep(100);
    ::usleep(static_cast<useconds_t>(random() % 30'000));
    kill_and_wait(writer);
    std::size_t wrong = 0;
    const auto look = [&](std::span<const std::byte> bytes) {
      wrong +=
          bytes.size() != size || bytes.front() != std::byte{7} || bytes.back() != std::byte{7};
    };
    while (queue->get_with(look, at_once).is_ok()) {
    }
    EXPECT_EQ(wrong, 0U);
    ASSERT_TRUE(put_name(*queue, next));
    EXPECT_EQ(taken(*queue), next);
    queue->process_lost(step->id);
    EXPECT_LE(queue->stats().bytes, one_chunk);
  }
}

}  // namespace
