// A queue in shared memory whose users are killed.
#include <passel/detail/host_queue.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <random>
#include <vector>

#include "queue_victims.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

namespace {

using namespace passel_test;

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

TEST(HostQueueKill, Fault27AJoinableQueueLosesNothingAtAll) {
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

TEST(HostQueueKill, Fault28AGetterKilledInItsSleepTakesNothingWithIt) {
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
TEST(HostQueueKill, Fault29AWriterKilledInHundredMegabytesBlocksNobody) {
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
