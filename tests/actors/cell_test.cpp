// Cells run on the stack of their sender, and the engine starts and stops.
#include <passel/detail/cell.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::ExitReason;
using passel::detail::call_in;
using passel::detail::Cell;
using passel::detail::CellBody;
using passel::detail::CellRef;
using passel::detail::Deadline;
using passel::detail::make_cell;
using passel::detail::make_op;

struct Body : CellBody {
  explicit Body(std::atomic<int>* ended_count = nullptr) : ended{ended_count} {}
  ~Body() override {
    if (ended != nullptr) ++*ended;
  }
  bool inside = false;
  bool overlapped = false;
  std::vector<std::vector<int>> seen = std::vector<std::vector<int>>(8);
  std::atomic<int>* ended;
};

CellRef new_cell(std::string name = "cell", std::atomic<int>* ended = nullptr) {
  return make_cell(std::make_unique<Body>(ended), {.name = std::move(name)}).unwrap();
}

TEST(Cell, AnIdleCellRunsOnTheCallersThread) {
  CellRef cell = new_cell();
  std::thread::id where;
  ASSERT_TRUE(call_in(*cell, [&where](Cell&) { where = std::this_thread::get_id(); }));
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(Cell, FourThreadsAreOrderedPerSenderAndNeverOverlap) {
  constexpr int count = 5000;
  CellRef cell = new_cell();
  std::vector<std::thread> senders;
  for (std::size_t sender = 0; sender < 4; ++sender) {
    senders.emplace_back([sender, cell] {
      const auto note = [sender](Cell& c, int i) {
        auto& body = c.body<Body>();
        body.overlapped |= std::exchange(body.inside, true);
        body.seen[sender].push_back(i);
        body.inside = false;
      };
      for (int i = 0; i < count; ++i) {
        if (i % 3 == 0) {
          ASSERT_TRUE(call_in(*cell, [&note, i](Cell& c) { note(c, i); }));
        } else {
          cell->post_or_cancel(make_op([note, i](Cell* c) { note(*c, i); }));
        }
      }
    });
  }
  for (auto& sender : senders) sender.join();
  ASSERT_TRUE(call_in(*cell, [](Cell& c) {
    auto& body = c.body<Body>();
    EXPECT_FALSE(body.overlapped);
    for (std::size_t sender = 0; sender < 4; ++sender) {
      ASSERT_EQ(body.seen[sender].size(), static_cast<std::size_t>(count));
      for (int i = 0; i < count; ++i) ASSERT_EQ(body.seen[sender][static_cast<std::size_t>(i)], i);
    }
  }));
}

TEST(Cell, NestedPostsAreBoundedAndAllArrive) {
  constexpr int length = 200;
  std::vector<CellRef> chain;
  for (int i = 0; i < length; ++i) chain.push_back(new_cell());
  std::atomic<int> reached{0};
  std::latch all{1};
  std::function<void(int)> hop = [&](int i) {
    if (i == length) {
      all.count_down();
      return;
    }
    chain[static_cast<std::size_t>(i)]->post_or_cancel(make_op([&, i](Cell*) {
      ++reached;
      hop(i + 1);
    }));
  };
  hop(0);
  all.wait();
  EXPECT_EQ(reached, length);
}

TEST(Cell, ACellThatPostsToItselfHandlesItLater) {
  CellRef cell = new_cell();
  std::string order;
  ASSERT_TRUE(call_in(*cell, [&order, &cell](Cell&) {
    cell->post_or_cancel(make_op([&order](Cell*) { order += "b"; }));
    order += "a";
  }));
  ASSERT_TRUE(call_in(*cell, [&order](Cell&) { order += "c"; }));
  EXPECT_EQ(order, "abc");
}

TEST(Cell, StopInMidStreamReleasesEveryWaiterExactlyOnce) {
  for (int round = 0; round < 100; ++round) {
    CellRef cell = new_cell();
    std::atomic<int> ran{0};
    std::atomic<int> cancelled{0};
    std::atomic<int> refused{0};
    std::vector<std::thread> senders;
    for (int sender = 0; sender < 4; ++sender) {
      senders.emplace_back([&, sender] {
        for (int i = 0; i < 100; ++i) {
          if (sender == 0 && i == 50) cell->stop();
          if (i % 2 == 0) {
            ++(call_in(*cell, [](Cell&) {}) ? ran : refused);
          } else {
            cell->post_or_cancel(make_op([&](Cell* c) { ++(c != nullptr ? ran : cancelled); }));
          }
        }
      });
    }
    for (auto& sender : senders) sender.join();
    EXPECT_TRUE(cell->wait_ended(Deadline::never()));
    EXPECT_EQ(ran + cancelled + refused, 400);
    EXPECT_GT(ran, 0);
    EXPECT_TRUE(cell->exit_reason() == ExitReason::Kind::stopped);
  }
}

TEST(Cell, KillOvertakesWaitingMessages) {
  std::atomic<int> ended{0};
  CellRef cell = new_cell("victim", &ended);
  int ran = 0;
  int cancelled = 0;
  ASSERT_TRUE(call_in(*cell, [&](Cell& c) {
    for (int i = 0; i < 5; ++i) {
      c.post_or_cancel(make_op([&](Cell* there) { ++(there != nullptr ? ran : cancelled); }));
    }
    c.kill();
  }));
  EXPECT_TRUE(cell->wait_ended(Deadline::never()));
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(cancelled, 5);
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(cell->exit_reason() == ExitReason::Kind::killed);
  EXPECT_FALSE(call_in(*cell, [](Cell&) {}));
}

TEST(Cell, TheLastHandleEndsItAfterWhatWasSent) {
  std::atomic<int> ended{0};
  std::atomic<int> ran{0};
  ExitReason::Kind kind{};
  {
    CellRef cell = new_cell("short", &ended);
    cell->monitor([&kind](const ExitReason& reason) { kind = reason.kind(); });
    cell->post_or_cancel(make_op([&ran](Cell*) { ++ran; }));
  }
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(kind, ExitReason::Kind::unreachable);
}

TEST(Cell, TheLastHandleMayGoWhileItRuns) {
  std::atomic<int> ended{0};
  auto cell = std::make_unique<CellRef>(new_cell("runs", &ended));
  Cell* const raw = cell->get();
  raw->post_or_cancel(make_op([&cell, &ended](Cell* c) {
    cell.reset();
    EXPECT_EQ(ended, 0);
    EXPECT_EQ(c->name(), "runs");
  }));
  EXPECT_EQ(ended, 1);

  for (int round = 0; round < 200; ++round) {
    ended = 0;
    std::atomic<int> ran{0};
    {
      CellRef shared = new_cell("shared", &ended);
      std::vector<std::thread> users;
      for (int i = 0; i < 3; ++i) {
        users.emplace_back([mine = shared, &ran]() mutable {
          for (int k = 0; k < 20; ++k) mine->post_or_cancel(make_op([&ran](Cell*) { ++ran; }));
          mine = {};
        });
      }
      shared = {};
      for (auto& user : users) user.join();
    }
    EXPECT_EQ(ran, 60);
    EXPECT_EQ(ended, 1);
  }
}

TEST(Cell, MonitorsHearTheReasonOnceAlsoWhenLate) {
  CellRef cell = new_cell();
  int told = 0;
  std::string text;
  cell->monitor([&](const ExitReason& reason) {
    ++told;
    text = reason.to_string();
  });
  cell->post_or_cancel(make_op([](Cell* c) { c->end(Error{Errc::task_failed, "boom"}); }));
  EXPECT_TRUE(cell->wait_ended(Deadline::never()));
  EXPECT_EQ(told, 1);
  EXPECT_EQ(text, "failed: task_failed: boom");
  cell->monitor([&](const ExitReason&) { ++told; });
  EXPECT_EQ(told, 2);
}

struct Suspending : CellBody {
  explicit Suspending(std::string* log) : log_{log} {}
  void on_exit(const ExitReason& reason) noexcept override {
    *log_ += "<" + reason.to_string() + ">";
  }
  std::string* log_;
};

TEST(Cell, ASupervisedCellIsSuspendedAndGoesOnWithItsMessages) {
  std::string log;
  CellRef cell = make_cell(std::make_unique<Suspending>(&log), {.name = "s"}).unwrap();
  ASSERT_TRUE(call_in(*cell, [](Cell& c) { c.supervise(true); }));
  cell->post_or_cancel(make_op([](Cell* c) { c->end(Error{Errc::task_failed, "x"}); }));
  cell->post_or_cancel(make_op([&log](Cell*) { log += "m"; }));
  EXPECT_EQ(log, "<failed: task_failed: x>");
  EXPECT_FALSE(cell->has_ended());
  cell->resume(make_op([&log](Cell*) { log += "r"; }));
  EXPECT_EQ(log, "<failed: task_failed: x>rm");
  cell->suspend();
  EXPECT_EQ(log, "<failed: task_failed: x>rm<stopped>");
  cell->resume(make_op([](Cell* c) { c->end_for_good(ExitReason::Kind::stopped); }));
  EXPECT_TRUE(cell->has_ended());
}

TEST(Engine, StopsNamesTheLateAndStartsAgain) {
  CellRef idle = new_cell("idle");
  EXPECT_GE(passel::detail::live_cells(), 1U);
  EXPECT_TRUE(passel::detail::stop_engine(Deadline::after(20s)).empty());
  EXPECT_TRUE(idle->has_ended());
  EXPECT_FALSE(call_in(*idle, [](Cell&) {}));
  EXPECT_EQ(passel::detail::live_cells(), 0U);

  CellRef busy = new_cell("busy one");
  std::latch inside{1};
  std::latch release{1};
  std::thread blocker{[&] {
    busy->post_or_cancel(make_op([&](Cell*) {
      inside.count_down();
      release.wait();
    }));
  }};
  inside.wait();
  EXPECT_EQ(passel::detail::stop_engine(Deadline::after(10ms)),
            std::vector<std::string>{"busy one"});
  release.count_down();
  blocker.join();
  EXPECT_TRUE(busy->wait_ended(Deadline::never()));

  CellRef again = new_cell("again");
  EXPECT_TRUE(call_in(*again, [](Cell&) {}));
}

TEST(Engine, AForkedChildMakesItsOwn) {
  CellRef cell = new_cell();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    CellRef own = new_cell();
    int ran = 0;
    const bool called = call_in(*own, [&ran](Cell&) { ++ran; });
    const bool stopped = passel::detail::stop_engine(Deadline::after(20s)).empty();
    const int code = called && ran == 1 && stopped ? 7 : 1;
#ifdef __SANITIZE_ADDRESS__
    // A leak check here would take what the parent's threads hold for leaked: they do not exist in
    // the child.
    std::_Exit(code);
#else
    std::exit(code);  // with static destructors, on purpose
#endif
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(call_in(*cell, [](Cell&) {}));
}

TEST(EngineDeathTest, ExitWithALiveEngineNeitherHangsNorAborts) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        static CellRef leaked = new_cell("leaked");
        CellRef busy = new_cell("busy");
        for (int i = 0; i < 40; ++i) new_cell()->post_or_cancel(make_op([](Cell*) {}));
        call_in(*leaked, [](Cell&) {});
        std::exit(3);
      },
      testing::ExitedWithCode(3), "");
}

TEST(EngineDeathTest, ACallToOneselfIsFoundOut) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  CellRef cell = new_cell("narcissus");
  EXPECT_DEATH(call_in(*cell, [](Cell& c) { call_in(c, [](Cell&) {}); }), "narcissus");
}

}  // namespace
