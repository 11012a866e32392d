// A queue in shared memory whose user is killed at every instruction.
#include <passel/detail/host_queue.hpp>

#include <gtest/gtest.h>

#include <sys/ptrace.h>
#include <algorithm>
#include <functional>
#include <random>

#include "queue_victims.hpp"
#include "support/seed.hpp"

namespace {

using namespace passel_test;
using passel::Errc;
using passel::detail::Descriptor;

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

TEST_P(EveryInstruction, OfABatchThoseInFrontAreInAndWhole) {
  const Shared queue = HostQueue::create({.maxsize = 3, .joinable = true}).unwrap();
  const auto nothing_before = [](HostQueue&) {};
  for (const bool at_once_or_not : {false, true}) {
    const auto put = [&](HostQueue& to) { put_both(to, GetParam(), at_once_or_not); };
    at_every_point(*queue, nothing_before, put, [&] {
      const std::uint64_t count = queue->qsize();
      ASSERT_LE(count, 2U);
      ASSERT_TRUE(put_name(*queue, last));
      for (const Name name : {item, next}) {
        if (count < (name == item ? 1U : 2U)) continue;
        ASSERT_EQ(taken(*queue), name);
        queue->task_done().unwrap();
      }
      ASSERT_EQ(taken(*queue), last);
      queue->task_done().unwrap();
      queue->join(at_once).unwrap();
      ASSERT_LE(queue->stats().bytes, one_chunk);
    });
  }
}

TEST_P(EveryInstruction, ABatchInHandComesBackInOrder) {
  const Shared queue = HostQueue::create({.joinable = true}).unwrap();
  const auto put = [&](HostQueue& to) { put_both(to, GetParam(), false); };
  const auto get = [](HostQueue& from) {
    const auto look = [](std::span<const std::byte>) {};
    static_cast<void>(from.get_many(2, look, at_once));
  };
  at_every_point(*queue, put, get, [&] {
    ASSERT_EQ(queue->qsize(), 2U);
    for (const Name name : {item, next}) {
      ASSERT_EQ(taken(*queue), name);
      queue->task_done().unwrap();
    }
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

}  // namespace
