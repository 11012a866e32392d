// Supervisors over real actors.
#include <passel/supervisor.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Actor;
using passel::ChildOptions;
using passel::ChildSpec;
using passel::Errc;
using passel::Error;
using passel::ExitReason;
using passel::Restart;
using passel::RestartPolicy;
using passel::Result;
using passel::Supervisor;

/// What the children of a test did, in order, for waiting and comparing.
class Journal {
 public:
  void add(const std::string& line) {
    const std::scoped_lock lock{mutex_};
    text_ += line + " ";
    ++lines_;
    lines_.notify_all();
  }
  /// Waits until there are that many lines.
  std::string wait_for(int count) {
    for (int seen = lines_; seen < count; seen = lines_) lines_.wait(seen);
    const std::scoped_lock lock{mutex_};
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
  std::atomic<int> lines_{0};
};
using JournalPtr = std::shared_ptr<Journal>;

struct Fail {};
struct Count {};
struct Die {
  std::latch* inside;
  std::latch* begin;
};

class Worker {
 public:
  Worker(JournalPtr journal, std::string name)
      : journal_{std::move(journal)}, name_{std::move(name)} {
    journal_->add("+" + name_);
  }
  ~Worker() { journal_->add("-" + name_); }
  void on(Fail) { throw std::runtime_error{"failed on purpose"}; }
  int on(Count) { return ++count_; }
  void on(Die m) {
    m.inside->count_down();
    m.begin->wait();
    throw std::runtime_error{"later"};
  }

 private:
  JournalPtr journal_;
  std::string name_;
  int count_ = 0;
};

TEST(Supervisor, RestartsAFailedActorUnderTheSameHandle) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start().unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  EXPECT_EQ(*a.call(Count{}), 1);
  EXPECT_EQ(*a.call(Count{}), 2);
  EXPECT_TRUE(a.tell(Fail{}).is_ok());
  EXPECT_EQ(*a.call(Count{}), 1);  // a new object; the handle and the message survived
  EXPECT_TRUE(a.is_alive());
  EXPECT_EQ(journal->wait_for(3), "+a -a +a ");
  const auto status = sup.children();
  ASSERT_EQ(status.size(), 1U);
  EXPECT_EQ(status[0].name, "a");
  EXPECT_EQ(status[0].restarts, 1U);
  EXPECT_TRUE(sup.stop_for(20s).is_ok());
  EXPECT_FALSE(a.is_alive());
  EXPECT_TRUE(a.tell(Count{}).error() == Errc::closed);
  EXPECT_TRUE(sup.join() == ExitReason::Kind::stopped);
}

TEST(Supervisor, MessagesThatWaitReachTheNextLife) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start().unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  std::latch inside{1};
  std::latch begin{1};
  std::thread killer{[&] { a.tell(Die{&inside, &begin}).unwrap(); }};
  std::vector<passel::Future<int>> answers;
  inside.wait();
  for (int i = 0; i < 3; ++i) answers.push_back(a.ask(Count{}));
  begin.count_down();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*answers[static_cast<std::size_t>(i)].get(), i + 1);
  killer.join();
  EXPECT_EQ(journal->wait_for(3), "+a -a +a ");
}

TEST(Supervisor, AnAskerOfAFailingHandlerGetsTheException) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start().unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  EXPECT_TRUE(a.ask(Fail{}).get().error() == Errc::task_failed);
  EXPECT_EQ(*a.call(Count{}), 1);
}

TEST(Supervisor, OneForAllRestartsEverybodyInOrder) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start({.strategy = Restart::one_for_all}).unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  auto b = sup.spawn<Worker>("b", journal, "b").unwrap();
  auto c = sup.spawn<Worker>("c", journal, "c").unwrap();
  EXPECT_TRUE(b.tell(Fail{}).is_ok());
  EXPECT_EQ(journal->wait_for(9), "+a +b +c -b -c -a +a +b +c ");
  EXPECT_EQ(*c.call(Count{}), 1);
  EXPECT_TRUE(sup.stop_for(20s).is_ok());
  EXPECT_EQ(journal->wait_for(12), "+a +b +c -b -c -a +a +b +c -c -b -a ");
}

TEST(Supervisor, RestForOneRestartsTheLaterOnes) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start({.strategy = Restart::rest_for_one}).unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  auto b = sup.spawn<Worker>("b", journal, "b").unwrap();
  auto c = sup.spawn<Worker>("c", journal, "c").unwrap();
  EXPECT_TRUE(b.tell(Fail{}).is_ok());
  EXPECT_EQ(journal->wait_for(7), "+a +b +c -b -c +b +c ");
  EXPECT_EQ(*c.call(Count{}), 1);
}

TEST(Supervisor, GivesUpWhenItRestartsTooOften) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start({.name = "top", .max_restarts = 2, .within = 1h}).unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  auto b = sup.spawn<Worker>("b", journal, "b").unwrap();
  std::latch told{1};
  sup.monitor([&told](const ExitReason& reason) {
    if (reason == ExitReason::Kind::failed) told.count_down();
  });
  for (int i = 0; i < 3; ++i) static_cast<void>(a.tell(Fail{}));
  const ExitReason reason = sup.join();
  ASSERT_NE(reason.error(), nullptr);
  EXPECT_NE(reason.error()->what().find("child 'a'"), std::string::npos);
  EXPECT_NE(reason.error()->what().find("2 restarts"), std::string::npos);
  told.wait();
  EXPECT_EQ(journal->wait_for(8), "+a +b -a +a -a +a -a -b ");
  EXPECT_TRUE(b.join() == ExitReason::Kind::stopped);
  EXPECT_TRUE(sup.spawn<Worker>("c", journal, "c").error() == Errc::closed);
}

TEST(Supervisor, PoliciesDecideWhoComesBack) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start().unwrap();
  auto permanent = sup.spawn<Worker>("p", journal, "p").unwrap();
  auto transient =
      sup.spawn<Worker>(ChildOptions{.restart = RestartPolicy::transient}, "t", journal, "t")
          .unwrap();
  auto temporary =
      sup.spawn<Worker>(ChildOptions{.restart = RestartPolicy::temporary}, "x", journal, "x")
          .unwrap();
  permanent.stop();
  EXPECT_EQ(*permanent.call(Count{}), 1);
  EXPECT_TRUE(transient.tell(Fail{}).is_ok());
  EXPECT_EQ(*transient.call(Count{}), 1);
  transient.stop();
  EXPECT_TRUE(transient.join() == ExitReason::Kind::stopped);
  EXPECT_TRUE(temporary.tell(Fail{}).is_ok());
  EXPECT_TRUE(temporary.join() == ExitReason::Kind::failed);
  ASSERT_EQ(sup.children().size(), 1U);
  EXPECT_TRUE(sup.remove("p").is_ok());
  EXPECT_TRUE(permanent.join().is_orderly());
  EXPECT_TRUE(sup.remove("p").error() == Errc::not_found);
}

TEST(Supervisor, AConstructorThatThrowsIsTheErrorOfSpawn) {
  struct Bad {
    explicit Bad(int) { throw std::runtime_error{"no"}; }
    void on(Fail) {}
  };
  auto sup = Supervisor::start().unwrap();
  EXPECT_TRUE(sup.spawn<Bad>("bad", 1).error() == Errc::task_failed);
  EXPECT_TRUE(sup.children().empty());
  auto journal = std::make_shared<Journal>();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  EXPECT_TRUE(sup.spawn<Worker>("a", journal, "again").error() == Errc::refused);
}

struct Block {
  std::latch* inside;
  std::latch* release;
};
struct Blocker {
  void on(Block m) {
    m.inside->count_down();
    m.release->wait();
  }
};

TEST(Supervisor, NamesTheChildThatDoesNotStop) {
  std::latch inside{1};
  std::latch release{1};
  auto sup = Supervisor::start({.kill_grace = 1ms}).unwrap();
  auto stuck = sup.spawn<Blocker>(ChildOptions{.shutdown = 1ms}, "stuck").unwrap();
  auto journal = std::make_shared<Journal>();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  std::thread caller{[&] { stuck.tell(Block{&inside, &release}).unwrap(); }};
  inside.wait();
  {
    auto late = Supervisor::start({.kill_grace = 1h}).unwrap();
    std::latch in{1};
    auto slow = late.spawn<Blocker>(ChildOptions{.shutdown = 1h}, "slow one").unwrap();
    std::thread other{[&] { slow.tell(Block{&in, &release}).unwrap(); }};
    in.wait();
    const auto stopped = late.stop_for(20ms);
    EXPECT_TRUE(stopped.error() == Errc::timeout);
    EXPECT_NE(stopped.error().what().find("slow one"), std::string::npos);
    // With a short grace the supervisor itself gets over it.
    EXPECT_TRUE(sup.stop_for(20s).is_ok());
    EXPECT_EQ(journal->wait_for(2), "+a -a ");
    release.count_down();
    other.join();
  }
  caller.join();
  EXPECT_TRUE(stuck.join() == ExitReason::Kind::killed);
}

TEST(Supervisor, OtherChildrenAreFunctions) {
  auto sup = Supervisor::start().unwrap();
  auto journal = std::make_shared<Journal>();
  auto exit_now = std::make_shared<std::function<void(ExitReason)>>();
  ChildSpec spec;
  spec.name = "process";
  spec.start = [journal, exit_now](std::function<void(ExitReason)> exited) -> Result<void> {
    *exit_now = std::move(exited);
    journal->add("start");
    return {};
  };
  spec.stop = [journal, exit_now] {
    journal->add("stop");
    (*exit_now)(ExitReason::Kind::stopped);
  };
  spec.kill = [journal] { journal->add("kill"); };
  spec.release = [journal](const ExitReason&) { journal->add("release"); };
  EXPECT_TRUE(sup.add(spec).is_ok());
  std::thread reaper{[exit_now] { (*exit_now)(Error{Errc::worker_lost, "killed by signal 9"}); }};
  EXPECT_EQ(journal->wait_for(2), "start start ");
  reaper.join();
  EXPECT_TRUE(sup.stop_for(20s).is_ok());
  EXPECT_EQ(journal->wait_for(4), "start start stop release ");
}

TEST(Supervisor, TreesEscalate) {
  auto journal = std::make_shared<Journal>();
  auto top = Supervisor::start({.name = "top", .max_restarts = 1, .within = 1h}).unwrap();
  Actor<Worker> leaf;
  std::mutex mutex;
  const auto setup = [&](Supervisor& sub) -> Result<void> {
    PASSEL_TRY(auto made, sub.spawn<Worker>("leaf", journal, "leaf"));
    const std::scoped_lock lock{mutex};
    leaf = made;
    return {};
  };
  ASSERT_TRUE(top.add_supervisor({.name = "sub", .max_restarts = 0}, setup).is_ok());
  const auto present = [&] {
    const std::scoped_lock lock{mutex};
    return leaf;
  };
  const Actor<Worker> first = present();
  static_cast<void>(first.tell(Fail{}));  // the sub-supervisor gives up at once and is restarted
  EXPECT_EQ(journal->wait_for(3), "+leaf -leaf +leaf ");
  while (present() == first) std::this_thread::yield();
  static_cast<void>(present().tell(Fail{}));
  EXPECT_TRUE(top.join() == ExitReason::Kind::failed);
}

TEST(Supervisor, ADroppedSupervisorStopsItsChildren) {
  auto journal = std::make_shared<Journal>();
  Actor<Worker> a;
  {
    auto sup = Supervisor::start().unwrap();
    a = sup.spawn<Worker>("a", journal, "a").unwrap();
  }
  EXPECT_FALSE(a.is_alive());
  EXPECT_EQ(journal->wait_for(2), "+a -a ");
}

/// Calls something while its supervisor starts it.
struct Saboteur {
  explicit Saboteur(const std::function<void()>& act) { act(); }
  void on(int) {}
};

TEST(Supervisor, WaitingForItselfIsADeadlockThatIsTold) {
  auto supervisor = Supervisor::start().unwrap();
  passel::Result<void> outcome;
  static_cast<void>(supervisor.spawn<Saboteur>(
      "saboteur", std::function<void()>{[&] { outcome = supervisor.stop_for(1h); }}));
  EXPECT_EQ(outcome.error(), passel::Errc::deadlock);
  EXPECT_EQ(supervisor.join().kind(), passel::ExitReason::Kind::stopped);
}

TEST(Supervisor, TheEngineCanBeStoppedUnderIt) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start().unwrap();
  auto a = sup.spawn<Worker>("a", journal, "a").unwrap();
  EXPECT_TRUE(passel::detail::stop_engine(passel::detail::Deadline::after(20s)).empty());
  EXPECT_FALSE(sup.is_alive());
  EXPECT_FALSE(a.is_alive());
  EXPECT_TRUE(sup.spawn<Worker>("b", journal, "b").is_err());
}

TEST(Supervisor, ManyThreadsMayFailTheirActorsAtOnce) {
  auto journal = std::make_shared<Journal>();
  auto sup = Supervisor::start({.max_restarts = 100000}).unwrap();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    auto worker = sup.spawn<Worker>("w" + std::to_string(t), journal, "w").unwrap();
    threads.emplace_back([worker] {
      for (int i = 0; i < 200; ++i) {
        EXPECT_TRUE(worker.ask(Fail{}).get().error() == Errc::task_failed);
        EXPECT_EQ(*worker.call(Count{}), 1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(sup.stop_for(20s).is_ok());
}

}  // namespace
