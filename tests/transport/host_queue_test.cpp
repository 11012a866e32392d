// The queue of bytes in shared memory.
#include <passel/detail/host_queue.hpp>

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::detail::Deadline;
using passel::detail::Delivery;
using passel::detail::Descriptor;
using passel::detail::HostQueue;
using passel::detail::HostQueueOptions;

using Shared = std::shared_ptr<HostQueue>;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span{text});
}

passel::Result<void> put(HostQueue& queue, const std::string& text,
                         Deadline deadline = Deadline::never()) {
  return queue.put(bytes_of(text), deadline);
}

passel::Result<std::string> get(HostQueue& queue, Deadline deadline = Deadline::never()) {
  std::string text;
  const auto read = [&text](std::span<const std::byte> item) {
    text.assign(reinterpret_cast<const char*>(item.data()), item.size());
  };
  PASSEL_CHECK(queue.get_with(read, deadline));
  return text;
}

Shared make(HostQueueOptions options = {}) { return HostQueue::create(options).unwrap(); }

Descriptor copy_of(const HostQueue& queue) {
  return Descriptor::duplicate(queue.descriptor().get()).unwrap();
}

/// Runs `body` in a forked child; its exit code is what the body returns.
pid_t in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  return child;
}

int exit_code(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

const auto never = Deadline::never();
const auto at_once = Deadline::now_or_never();

TEST(HostQueue, GivesItemsInTheOrderInWhichTheyCame) {
  const Shared queue = make();
  for (int i = 0; i < 1000; ++i) put(*queue, std::to_string(i)).unwrap();
  EXPECT_EQ(queue->qsize(), 1000U);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(get(*queue).unwrap(), std::to_string(i));
  EXPECT_TRUE(queue->empty());
  EXPECT_TRUE(get(*queue, at_once).error() == Errc::empty);
  EXPECT_TRUE(get(*queue, Deadline::after(1ms)).error() == Errc::empty);
}

TEST(HostQueue, KeepsEverySizeWholeAndInOrder) {
  const Shared queue = make();
  std::vector<std::size_t> sizes{0,     1,     7,     8,       9, 16383,   16384,
                                 16385, 65536, 65537, 1 << 20, 3, 5 << 20, 0};
  for (const std::size_t size : sizes)
    put(*queue, std::string(size, static_cast<char>('a' + size % 26))).unwrap();
  for (const std::size_t size : sizes) {
    const std::string item = get(*queue).unwrap();
    ASSERT_EQ(item.size(), size);
    ASSERT_EQ(item, std::string(size, static_cast<char>('a' + size % 26)));
  }
}

TEST(HostQueue, HoldsFarMoreThanOneChunkAndGivesTheMemoryBack) {
  const Shared queue = make();
  const std::string item(1000, 'x');
  for (int i = 0; i < 20'000; ++i) put(*queue, item).unwrap();
  EXPECT_GT(queue->stats().bytes, 20'000'000U);
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(get(*queue).unwrap(), item);
  EXPECT_LE(queue->stats().bytes, 65536U);
}

TEST(HostQueue, MaxsizeCountsItems) {
  const Shared queue = make({.maxsize = 2});
  EXPECT_EQ(queue->maxsize(), 2U);
  put(*queue, "a").unwrap();
  EXPECT_FALSE(queue->full());
  put(*queue, std::string(100'000, 'b')).unwrap();
  EXPECT_TRUE(queue->full());
  const auto small = put(*queue, "c", at_once);
  EXPECT_TRUE(small.error() == Errc::full);
  EXPECT_NE(small.error().what().find("2 of 2"), std::string::npos);
  EXPECT_TRUE(put(*queue, std::string(100'000, 'c'), at_once).error() == Errc::full);
  EXPECT_TRUE(put(*queue, "c", Deadline::after(1ms)).error() == Errc::full);
  EXPECT_EQ(get(*queue).unwrap(), "a");
  put(*queue, "c", at_once).unwrap();
}

TEST(HostQueue, LimitsAreErrorsThatNameThem) {
  const Shared queue = make({.message_limit = 100, .bytes_limit = 1 << 20});
  const auto large = put(*queue, std::string(101, 'x'));
  EXPECT_TRUE(large.error() == Errc::too_large);
  EXPECT_NE(large.error().what().find("101"), std::string::npos);
  EXPECT_NE(large.error().what().find("100"), std::string::npos);
  passel::Result<void> last;
  int count = 0;
  while ((last = put(*queue, std::string(100, 'x'))).is_ok()) ++count;
  EXPECT_TRUE(last.error() == Errc::no_space);
  EXPECT_NE(last.error().what().find("1048576"), std::string::npos) << last.error().what();
  EXPECT_GT(count, 8000);
  for (int i = 0; i < count; ++i) ASSERT_EQ(get(*queue).unwrap().size(), 100U);
  put(*queue, "again").unwrap();
}

TEST(HostQueue, AReaderThatThrowsLeavesTheItemThere) {
  const Shared queue = make();
  put(*queue, "kept").unwrap();
  const auto refuse = [](std::span<const std::byte>) { throw std::runtime_error{"no"}; };
  EXPECT_THROW(static_cast<void>(queue->get_with(refuse, at_once)), std::runtime_error);
  EXPECT_EQ(queue->qsize(), 1U);
  EXPECT_EQ(get(*queue, at_once).unwrap(), "kept");
}

TEST(HostQueue, TwoHandlesAreOneQueue) {
  const auto before = passel_test::ProcessCensus::take();
  {
    const Shared first = make({.type_name = "int"});
    const Shared second = HostQueue::attach(copy_of(*first)).unwrap();
    EXPECT_EQ(second->type_name(), "int");
    put(*first, "hello").unwrap();
    EXPECT_EQ(get(*second, at_once).unwrap(), "hello");
    EXPECT_EQ(first->stats().attached.size(), 2U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(HostQueue, WakesAGetterAndAPutterInAnotherProcess) {
  const Shared there = make({.maxsize = 1});
  const Shared back = make({.maxsize = 1});
  const pid_t child = in_child([&] {
    for (int i = 0; i < 500; ++i) put(*back, get(*there).unwrap() + "!").unwrap();
    return 0;
  });
  for (int i = 0; i < 500; ++i) {
    put(*there, std::to_string(i)).unwrap();
    ASSERT_EQ(get(*back).unwrap(), std::to_string(i) + "!");
  }
  EXPECT_EQ(exit_code(child), 0);
}

TEST(HostQueue, ManyProducersAndConsumersLoseAndDuplicateNothing) {
  constexpr int producers = 3;
  constexpr int consumers = 3;
  constexpr int each = 2000;
  const Shared queue = make({.maxsize = 64});
  const Shared results = make();
  std::vector<pid_t> children;
  for (int p = 0; p < producers; ++p) {
    children.push_back(in_child([&, p] {
      for (int i = 0; i < each; ++i) {
        // Some of them large.
        put(*queue, std::to_string(p) + " " + std::to_string(i) +
                        (i % 100 == 0 ? std::string(20'000, ' ') : " "))
            .unwrap();
      }
      return 0;
    }));
  }
  for (int c = 0; c < consumers; ++c) {
    children.push_back(in_child([&] {
      for (;;) {
        const auto item = get(*queue);
        if (!item) return item.error() == Errc::closed ? 0 : 1;
        put(*results, *item).unwrap();
      }
    }));
  }
  std::map<int, std::vector<int>> seen;
  for (int i = 0; i < producers * each; ++i) {
    int producer = 0;
    int number = 0;
    ASSERT_EQ(std::sscanf(get(*results).unwrap().c_str(), "%d %d", &producer, &number), 2);
    seen[producer].push_back(number);
  }
  queue->shutdown(false);
  for (const pid_t child : children) EXPECT_EQ(exit_code(child), 0);
  for (int p = 0; p < producers; ++p) {
    ASSERT_EQ(seen[p].size(), static_cast<std::size_t>(each));
    std::sort(seen[p].begin(), seen[p].end());
    for (int i = 0; i < each; ++i) ASSERT_EQ(seen[p][static_cast<std::size_t>(i)], i);
  }
  EXPECT_TRUE(results->empty());
}

TEST(HostQueue, OneProducersItemsKeepTheirOrder) {
  const Shared queue = make();
  const pid_t child = in_child([&] {
    for (int i = 0; i < 20'000; ++i) put(*queue, std::to_string(i)).unwrap();
    return 0;
  });
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(get(*queue).unwrap(), std::to_string(i));
  EXPECT_EQ(exit_code(child), 0);
}

TEST(HostQueue, ThreadsOfOneProcessMayUseItTogether) {
  const Shared queue = make({.maxsize = 8});
  std::vector<std::thread> threads;
  std::atomic<long> sum{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 1; i <= 1000; ++i) put(*queue, std::to_string(i)).unwrap();
    });
    threads.emplace_back([&] {
      for (int i = 1; i <= 1000; ++i) sum += std::stol(get(*queue).unwrap());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum.load(), 4L * 1000 * 1001 / 2);
}

TEST(HostQueue, NobodySleepsPastItsDeadline) {
  const Shared queue = make({.maxsize = 1});
  const auto begin = Deadline::Clock::now();
  EXPECT_TRUE(get(*queue, Deadline::after(30ms)).error() == Errc::empty);
  put(*queue, "x").unwrap();
  EXPECT_TRUE(put(*queue, "y", Deadline::after(30ms)).error() == Errc::full);
  EXPECT_GE(Deadline::Clock::now() - begin, 60ms);
  // They have signed off, so that nobody makes system calls to wake them.
  EXPECT_EQ(queue->stats().getters, 0U);
  EXPECT_EQ(queue->stats().putters, 0U);
}

TEST(HostQueue, ShutdownLetsGettersDrainAndThenClosesThem) {
  const Shared queue = make();
  put(*queue, "left").unwrap();
  queue->shutdown(false);
  queue->shutdown(false);
  EXPECT_TRUE(queue->is_shutdown());
  EXPECT_TRUE(put(*queue, "x").error() == Errc::closed);
  EXPECT_TRUE(put(*queue, std::string(100'000, 'x')).error() == Errc::closed);
  EXPECT_EQ(get(*queue).unwrap(), "left");
  EXPECT_TRUE(get(*queue).error() == Errc::closed);
  EXPECT_TRUE(get(*queue, at_once).error() == Errc::closed);
}

TEST(HostQueue, ImmediateShutdownEmptiesIt) {
  const Shared queue = make();
  for (int i = 0; i < 5000; ++i) put(*queue, std::string(100, 'x')).unwrap();
  put(*queue, std::string(1 << 20, 'x')).unwrap();
  queue->shutdown(false);
  queue->shutdown(true);
  EXPECT_TRUE(get(*queue).error() == Errc::closed);
  EXPECT_EQ(queue->qsize(), 0U);
  EXPECT_LE(queue->stats().bytes, 65536U);
}

TEST(HostQueue, ShutdownWakesThoseWhoWait) {
  const Shared queue = make({.maxsize = 1, .joinable = true});
  const Shared full = make({.maxsize = 1, .joinable = true});
  put(*full, "x").unwrap();
  passel_test::BlockedThread getter{[&] { EXPECT_TRUE(get(*queue).error() == Errc::closed); }};
  passel_test::BlockedThread putter{[&] { EXPECT_TRUE(put(*full, "y").error() == Errc::closed); }};
  passel_test::BlockedThread joiner{[&] { EXPECT_TRUE(full->join(never).is_ok()); }};
  getter.wait_until_blocked();
  putter.wait_until_blocked();
  joiner.wait_until_blocked();
  queue->shutdown(false);
  full->shutdown(true);
}

TEST(HostQueue, JoinWaitsForEveryItemToBeDone) {
  const Shared queue = make({.joinable = true});
  queue->join(never).unwrap();
  for (int i = 0; i < 100; ++i) put(*queue, std::to_string(i)).unwrap();
  put(*queue, std::string(100'000, 'x')).unwrap();
  EXPECT_TRUE(queue->join(at_once).error() == Errc::timeout);
  const pid_t child = in_child([&] {
    for (int i = 0; i < 101; ++i) {
      get(*queue).unwrap();
      queue->task_done().unwrap();
    }
    return 0;
  });
  queue->join(never).unwrap();
  EXPECT_EQ(exit_code(child), 0);
  EXPECT_EQ(queue->stats().unfinished, 0U);
  EXPECT_LE(queue->stats().bytes, 65536U);
}

TEST(HostQueue, TooManyTaskDoneIsAnError) {
  const Shared queue = make({.joinable = true});
  EXPECT_TRUE(queue->task_done().error() == Errc::invalid_argument);
  put(*queue, "x").unwrap();
  get(*queue).unwrap();
  queue->task_done().unwrap();
  const auto late = queue->task_done();
  EXPECT_TRUE(late.error() == Errc::invalid_argument);
  EXPECT_EQ(late.error().what(), "task_done() called too many times");
  EXPECT_TRUE(make()->task_done().error() == Errc::invalid_state);
  EXPECT_TRUE(make()->join(at_once).error() == Errc::invalid_state);
}

TEST(HostQueue, TaskDoneMayComeFromAnotherProcess) {
  const Shared queue = make({.joinable = true});
  put(*queue, "x").unwrap();
  get(*queue).unwrap();
  EXPECT_EQ(exit_code(in_child([&] { return queue->task_done().is_ok() ? 0 : 1; })), 0);
  queue->join(never).unwrap();
}

TEST(HostQueue, ItemsInHandComeBackAtTheHeadWhenTheirProcessIsLost) {
  const Shared queue = make({.joinable = true});
  for (int i = 0; i < 4; ++i) put(*queue, std::to_string(i)).unwrap();
  put(*queue, std::string(100'000, 'x')).unwrap();
  passel::detail::ProcessId lost;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = in_child([&] {
    get(*queue).unwrap();
    get(*queue).unwrap();
    queue->task_done().unwrap();  // of "0"
    get(*queue).unwrap();
    const auto self = passel::detail::this_process();
    if (::write(ends[1], &self, sizeof self) != sizeof self) return 1;
    return 0;
  });
  ASSERT_EQ(::read(ends[0], &lost, sizeof lost), static_cast<ssize_t>(sizeof lost));
  ASSERT_EQ(exit_code(child), 0);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_TRUE(queue->used_by_others());
  queue->process_lost(lost);
  queue->process_lost(lost);
  EXPECT_FALSE(queue->used_by_others());
  std::string text;
  const auto read = [&](std::span<const std::byte> item) {
    text.assign(reinterpret_cast<const char*>(item.data()), item.size());
  };
  EXPECT_EQ(queue->get_with(read, at_once).unwrap().count, 2U);
  EXPECT_EQ(text, "1");
  EXPECT_EQ(queue->get_with(read, at_once).unwrap().count, 2U);
  EXPECT_EQ(text, "2");
  EXPECT_EQ(queue->get_with(read, at_once).unwrap().count, 1U);
  EXPECT_EQ(text, "3");
  EXPECT_EQ(queue->get_with(read, at_once).unwrap().count, 1U);
  EXPECT_EQ(text.size(), 100'000U);
  for (int i = 0; i < 4; ++i) queue->task_done().unwrap();
  queue->join(never).unwrap();
  EXPECT_LE(queue->stats().bytes, 65536U);
}

TEST(HostQueue, ItemsInHandComeBackWhenTheHandleCloses) {
  const Shared queue = make({.joinable = true});
  put(*queue, "x").unwrap();
  {
    const Shared other = HostQueue::attach(copy_of(*queue)).unwrap();
    EXPECT_EQ(get(*other).unwrap(), "x");
    EXPECT_EQ(queue->stats().in_hand, 1U);
  }
  EXPECT_EQ(get(*queue, at_once).unwrap(), "x");
}

TEST(HostQueue, ImmediateShutdownCountsWhatItThrowsAwayAsDone) {
  const Shared queue = make({.joinable = true});
  for (int i = 0; i < 10; ++i) put(*queue, "x").unwrap();
  get(*queue).unwrap();
  queue->shutdown(true);
  EXPECT_TRUE(queue->join(at_once).error() == Errc::timeout);
  queue->task_done().unwrap();
  queue->join(at_once).unwrap();
}

TEST(HostQueue, AForkedChildIsAProcessOfItsOwn) {
  const Shared queue = make();
  EXPECT_FALSE(queue->used_by_others());
  EXPECT_EQ(exit_code(in_child([&] {
              put(*queue, "x").unwrap();
              return queue->used_by_others() ? 0 : 1;
            })),
            0);
  EXPECT_TRUE(queue->used_by_others());
}

TEST(HostQueue, MoreThanATableOfDeadProcessesIsNoProblem) {
  const Shared queue = make();
  for (int i = 0; i < 1100; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(queue->put({}, at_once).is_ok() ? 0 : 1);
    ASSERT_EQ(exit_code(child), 0) << i;
  }
  EXPECT_EQ(queue->qsize(), 1100U);
}

TEST(HostQueue, ForeignMemoryIsRefused) {
  auto segment = passel::detail::Segment::create("test", 99, 1 << 20).unwrap();
  const auto attached =
      HostQueue::attach(Descriptor::duplicate(segment.descriptor().get()).unwrap());
  ASSERT_TRUE(attached.is_err());
  EXPECT_TRUE(attached.error() == Errc::malformed);
}

}  // namespace
