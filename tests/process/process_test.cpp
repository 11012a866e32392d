// Behaviour of Process, after CPython's _TestProcess; one body over the start methods where the
// method could matter.
#include <passel/context.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"

#include <poll.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

/// An argument that knows how many of its kind there are in this process.
struct Counted {
  Counted() { ++alive; }
  Counted(const Counted&) { ++alive; }
  Counted(Counted&&) noexcept { ++alive; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive; }
  static inline int alive = 0;
};

}  // namespace

template <>
struct passel::codec<Counted> {
  static WireValue encode(const Counted&) { return WireValue{}; }
  static Result<Counted> decode(const WireValue&) { return Counted{}; }
};

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Process;
using passel::ProcessOptions;
using passel::Queue;
using passel::StartMethod;

struct About {
  std::string name;
  int pid = 0;
  int parent_pid = 0;
  std::string parent_name;
  bool daemon = false;
};

void nothing() {}
void sleep_for_ever() {
  for (;;) ::pause();
}
void report_self(const Queue<About>& out) {
  const auto self = passel::current_process();
  const auto parent = passel::parent_process();
  out.put(About{self.name, ::getpid(), parent->pid(), parent->name(), self.daemon}).unwrap();
}
void exit_with(int code) { std::exit(code); }
void throw_error() { throw std::runtime_error{"boiled over"}; }
void wait_for_word(const Queue<std::string>& in) { in.get().unwrap(); }

/// Runs over all start methods. Tests are started with one thread only (see the watchdog), so fork
/// is possible.
class ProcessByMethod : public ::testing::TestWithParam<StartMethod> {
 protected:
  static ProcessOptions options(std::string name = {}) {
    return ProcessOptions{.name = std::move(name), .method = GetParam()};
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, ProcessByMethod, ::testing::ValuesIn(passel::all_start_methods()),
                         [](const auto& method) { return to_string(method.param); });

TEST_P(ProcessByMethod, RunsItsTargetInAnotherProcess) {
  Queue<About> reports;
  auto p = Process::spawn<report_self>(options("reporter"), reports).unwrap();
  const About child = reports.get().unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(child.name, "reporter");
  EXPECT_EQ(child.pid, p.pid());
  EXPECT_NE(child.pid, ::getpid());
  EXPECT_EQ(child.parent_pid, ::getpid());
  EXPECT_EQ(child.parent_name, "MainProcess");
  EXPECT_FALSE(child.daemon);
}

TEST_P(ProcessByMethod, ArgumentsOfManyTypesArrive) {
  struct Job {
    std::string url;
    std::vector<int> sizes;
    std::map<std::string, double> weights;
  };
  Queue<std::string> out;
  auto p = Process::spawn(
               options(),
               [](const Queue<std::string>& to, int n, std::string_view text, const Job& job,
                  const std::vector<double>& many) {
                 to.put(std::to_string(n) + " " + std::string{text} + " " + job.url + " " +
                        std::to_string(job.sizes.at(1)) + " " +
                        std::to_string(static_cast<int>(job.weights.at("a"))) + " " +
                        std::to_string(many.size()))
                     .unwrap();
               },
               out, 42, "hello", Job{"http://x/", {1, 2}, {{"a", 3.0}}},
               std::vector<double>(200'000, 1.5))
               .unwrap();
  EXPECT_EQ(out.get().unwrap(), "42 hello http://x/ 2 3 200000");
  EXPECT_EQ(p.join().unwrap(), 0);
}

TEST_P(ProcessByMethod, ExitCodesAreThoseOfTheProcess) {
  EXPECT_EQ(Process::spawn<nothing>(options()).unwrap().join().unwrap(), 0);
  EXPECT_EQ(Process::spawn<exit_with>(options(), 7).unwrap().join().unwrap(), 7);
  EXPECT_EQ(Process::spawn<throw_error>(options()).unwrap().join().unwrap(), 1);
  auto p = Process::spawn<sleep_for_ever>(options()).unwrap();
  EXPECT_EQ(p.exitcode(), std::nullopt);
  p.terminate().unwrap();
  EXPECT_EQ(p.join().unwrap(), -SIGTERM);
  auto q = Process::spawn<sleep_for_ever>(options()).unwrap();
  q.kill().unwrap();
  EXPECT_EQ(q.join().unwrap(), -SIGKILL);
  EXPECT_EQ(q.exitcode(), -SIGKILL);
}

TEST_P(ProcessByMethod, MemoryIsNotShared) {
  static int global = 1;
  global = 2;
  auto p = Process::spawn(options(), [] { global = 99; }).unwrap();
  p.join().unwrap();
  EXPECT_EQ(global, 2);
}

TEST_P(ProcessByMethod, InheritsNoUnrelatedDescriptors) {
  if (GetParam() == StartMethod::fork) GTEST_SKIP() << "a fork inherits what its parent has open";
  std::vector<int> opened;
  for (int i = 0; i < 50; ++i) opened.push_back(::dup(0));  // without close-on-exec
  Queue<int> out;
  auto p = Process::spawn(
               options(),
               [](const Queue<int>& to) {
                 int count = 0;
                 for ([[maybe_unused]] const auto& entry :
                      std::filesystem::directory_iterator{"/proc/self/fd"})
                   ++count;
                 to.put(count).unwrap();
               },
               out)
               .unwrap();
  // 0, 1, 2, the line to the guardian, the parent's pidfd, the queue, the I/O loop's two and the
  // directory itself.
  EXPECT_LE(out.get().unwrap(), 10);
  p.join().unwrap();
  for (const int fd : opened) ::close(fd);
}

TEST_P(ProcessByMethod, NestedProcessesFormATree) {
  Queue<std::string> out;
  auto p = Process::spawn(
               options(),
               [](const Queue<std::string>& to) {
                 to.put(passel::current_process().name).unwrap();
                 auto child = Process::spawn(
                                  [](const Queue<std::string>& far) {
                                    far.put(passel::current_process().name).unwrap();
                                  },
                                  to)
                                  .unwrap();
                 child.join().unwrap();
               },
               out)
               .unwrap();
  const std::string outer = out.get().unwrap();
  const std::string inner = out.get().unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_THAT(outer, ::testing::StartsWith("Process-"));
  EXPECT_EQ(inner, outer + ":1");
}

TEST_P(ProcessByMethod, ManyShortProcessesAllEndWell) {
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = passel_test::ProcessCensus::take();
  {
    std::vector<Process> processes;
    for (int i = 0; i < 30; ++i) processes.push_back(Process::spawn<nothing>(options()).unwrap());
    for (const Process& p : processes) EXPECT_EQ(p.join().unwrap(), 0);
    std::vector<Process> sleepers;
    for (int i = 0; i < 30; ++i)
      sleepers.push_back(Process::spawn<sleep_for_ever>(options()).unwrap());
    for (const Process& p : sleepers) p.terminate().unwrap();
    for (const Process& p : sleepers) EXPECT_EQ(p.join().unwrap(), -SIGTERM);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Process, StartAndJoinObeyPythonsRules) {
  auto p = Process::make<nothing>({.name = "once"});
  EXPECT_FALSE(p.is_alive());
  EXPECT_EQ(p.pid(), std::nullopt);
  EXPECT_EQ(p.exitcode(), std::nullopt);
  EXPECT_EQ(p.join().error().what(), "can only join a started process");
  EXPECT_EQ(p.sentinel().error().what(), "process not started");
  p.start().unwrap();
  EXPECT_EQ(p.start().error().what(), "cannot start a process twice");
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(p.join_for(0s).unwrap(), 0);
  EXPECT_FALSE(p.is_alive());
  EXPECT_TRUE(p.set_daemon(true).error() == Errc::invalid_state);
}

TEST(Process, JoinForLeavesTheProcessAliveWhenTheTimeIsUp) {
  Queue<std::string> gate;
  auto p = Process::spawn<wait_for_word>(gate).unwrap();
  EXPECT_TRUE(p.join_for(0s).error() == Errc::timeout);
  EXPECT_TRUE(p.join_for(-1s).error() == Errc::timeout);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(p.join_for(30ms).error() == Errc::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
  EXPECT_TRUE(p.is_alive());
  gate.put("go").unwrap();
  EXPECT_EQ(p.join_for(1h).unwrap(), 0);
}

TEST(Process, CanBeJoinedByManyThreadsAtOnce) {
  Queue<std::string> gate;
  auto p = Process::spawn<wait_for_word>(gate).unwrap();
  std::vector<std::thread> joiners;
  std::atomic<int> joined{0};
  for (int i = 0; i < 8; ++i)
    joiners.emplace_back([&] {
      if (p.join().unwrap() == 0) ++joined;
    });
  gate.put("go").unwrap();
  for (auto& joiner : joiners) joiner.join();
  EXPECT_EQ(joined, 8);
}

TEST(Process, CloseFreesAnEndedProcessOnly) {
  Queue<std::string> gate;
  auto p = Process::spawn<wait_for_word>(gate).unwrap();
  EXPECT_TRUE(p.close().error() == Errc::invalid_state);
  gate.put("go").unwrap();
  p.join().unwrap();
  p.close().unwrap();
  p.close().unwrap();
  EXPECT_EQ(p.join().error().what(), "process object is closed");
  EXPECT_EQ(p.terminate().error().what(), "process object is closed");
  EXPECT_EQ(p.start().error().what(), "process object is closed");
  EXPECT_FALSE(p.is_alive());
  EXPECT_THAT(p.to_string(), ::testing::HasSubstr("closed"));
}

TEST(Process, TerminateAndKillOfAnEndedProcessDoNothing) {
  auto p = Process::spawn<nothing>().unwrap();
  p.join().unwrap();
  EXPECT_TRUE(p.terminate().is_ok());
  EXPECT_TRUE(p.kill().is_ok());
  EXPECT_EQ(p.exitcode(), 0);
}

TEST(Process, SentinelBecomesReadableAtTheEnd) {
  Queue<std::string> gate;
  auto p = Process::spawn<wait_for_word>(gate).unwrap();
  pollfd ready{.fd = p.sentinel().unwrap(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&ready, 1, 0), 0);
  gate.put("go").unwrap();
  EXPECT_EQ(::poll(&ready, 1, -1), 1);
  EXPECT_EQ(p.join().unwrap(), 0);
}

TEST(Process, NamesAreNumberedUnlessGiven) {
  auto p = Process::spawn<nothing>().unwrap();
  auto q = Process::spawn<nothing>().unwrap();
  EXPECT_THAT(p.name(), ::testing::MatchesRegex("Process-[0-9]+"));
  EXPECT_NE(p.name(), q.name());
  auto r = Process::make<nothing>({.name = "first"});
  r.set_name("second");
  r.start().unwrap();
  EXPECT_EQ(r.name(), "second");
  EXPECT_THAT(r.to_string(), ::testing::HasSubstr("<Process name='second' pid="));
  r.join().unwrap();
  EXPECT_THAT(r.to_string(), ::testing::HasSubstr("stopped exitcode=0"));
}

TEST(Process, DaemonsInheritTheirKindAndMayNotHaveChildren) {
  Queue<std::string> out;
  auto p = Process::spawn(
               {.daemon = true},
               [](const Queue<std::string>& to) {
                 const auto child = Process::spawn<nothing>();
                 to.put(child.is_err() ? child.error().what() : "started").unwrap();
                 auto unstarted = Process::make<nothing>({});
                 to.put(unstarted.daemon() ? "daemon" : "no daemon").unwrap();
               },
               out)
               .unwrap();
  EXPECT_TRUE(p.daemon());
  EXPECT_EQ(out.get().unwrap(), "daemonic processes are not allowed to have children");
  EXPECT_EQ(out.get().unwrap(), "daemon");
  p.join().unwrap();
}

TEST(Process, ActiveChildrenHoldsThoseThatRun) {
  Queue<std::string> gate;
  auto p = Process::spawn<wait_for_word>(gate).unwrap();
  const auto contains = [&] {
    for (const auto& child : passel::active_children())
      if (child.pid() == p.pid()) return true;
    return false;
  };
  EXPECT_TRUE(contains());
  gate.put("go").unwrap();
  p.join().unwrap();
  EXPECT_FALSE(contains());
}

TEST(Process, AnObjectTravelsToItsMemberFunction) {
  struct Counter {
    int from = 0;
    Queue<int> out{};
    void run(int steps) const {
      for (int i = 0; i < steps; ++i) out.put(from + i).unwrap();
    }
  };
  Counter counter{.from = 10};
  auto p = Process::spawn<&Counter::run>(counter, 3).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(counter.out.get().unwrap(), 10 + i);
  // Called directly it runs here, and there is nothing to join.
  counter.run(1);
  EXPECT_EQ(counter.out.get().unwrap(), 10);
}

TEST(Process, AChildMayJoinWithUnreadItemsInTheQueue) {
  Queue<std::string> out;
  auto p = Process::spawn(
               [](const Queue<std::string>& to) {
                 for (int i = 0; i < 10; ++i) to.put(std::string(1 << 20, 'x')).unwrap();
               },
               out)
               .unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);  // Python hangs here
  for (int i = 0; i < 10; ++i) EXPECT_EQ(out.get().unwrap().size(), std::size_t{1} << 20);
}

TEST(Process, ASignalHandlerOfTheParentIsNotTheChilds) {
  struct sigaction old {};
  struct sigaction mine {};
  mine.sa_handler = [](int) {};
  ::sigaction(SIGTERM, &mine, &old);
  sigset_t block;
  sigset_t before;
  ::sigemptyset(&block);
  ::sigaddset(&block, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &block, &before);
  for (const StartMethod method : {StartMethod::forkserver, StartMethod::fork}) {
    auto p = Process::spawn<sleep_for_ever>({.method = method}).unwrap();
    p.terminate().unwrap();
    EXPECT_EQ(p.join().unwrap(), -SIGTERM) << to_string(method);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::sigaction(SIGTERM, &old, nullptr);
}

TEST(Process, ForkIsRefusedBesideOtherThreads) {
  std::atomic<bool> stop{false};
  std::thread other{[&] { stop.wait(false); }};
  const auto refused = Process::spawn<nothing>({.method = StartMethod::fork});
  ASSERT_TRUE(refused.is_err());
  EXPECT_TRUE(refused.error() == Errc::unsupported);
  EXPECT_THAT(refused.error().what(), ::testing::HasSubstr("2 threads"));
  stop = true;
  stop.notify_one();
  other.join();
}

TEST(Process, StandardInputOfAChildIsEmpty) {
  auto p = Process::spawn([] {
             char c = 0;
             std::exit(::read(0, &c, 1) == 0 ? 0 : 3);
           }).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
}

TEST(Process, HandlersRegisteredInTheChildRunAtItsEnd) {
  Queue<std::string> out;
  static Queue<std::string>* target = nullptr;
  auto p = Process::spawn(
               [](const Queue<std::string>& to) {
                 target = new Queue<std::string>{to};
                 std::atexit([] { target->put("at exit").unwrap(); });
               },
               out)
               .unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(out.get().unwrap(), "at exit");
}

TEST(Process, AChildThatEndsJoinsItsOwnChildren) {
  Queue<std::string> out;
  auto p = Process::spawn(
               [](const Queue<std::string>& to) {
                 static auto grandchild = Process::spawn(
                                              [](const Queue<std::string>& far) {
                                                std::this_thread::sleep_for(50ms);
                                                far.put("grandchild is done").unwrap();
                                              },
                                              to)
                                              .unwrap();
               },
               out)
               .unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(out.try_get().unwrap(), "grandchild is done");
}

TEST(Process, CpuCountIsSensible) {
  EXPECT_GE(passel::cpu_count(), 1);
  EXPECT_GE(passel::usable_cpu_count(), 1);
  EXPECT_LE(passel::usable_cpu_count(), passel::cpu_count());
  ::setenv("PASSEL_CPU_COUNT", "3", 1);
  EXPECT_EQ(passel::usable_cpu_count(), 3);
  ::setenv("PASSEL_CPU_COUNT", "none", 1);
  EXPECT_LE(passel::usable_cpu_count(), passel::cpu_count());
  ::unsetenv("PASSEL_CPU_COUNT");
}

TEST(Process, StartingOneInAnExitHandlerIsRefusedNotADeadlock) {
  const Queue<std::string> gate;
  auto task = passel::detail::encode_pack(gate).unwrap();
  using Wait =
      passel::detail::task_for<passel::detail::FunctionTarget<wait_for_word>, Queue<std::string>>;
  auto child = passel::detail::start_child({.task = Wait::id(), .args = std::move(task)}).unwrap();
  std::promise<passel::Result<void>> tried;
  child->on_exit([&](passel::detail::ExitStatus) {
    auto second = Process::make<nothing>({});
    tried.set_value(second.start());
  });
  gate.put("go").unwrap();
  ASSERT_TRUE(child->wait(passel::detail::Deadline::never()).is_ok());
  const auto outcome = tried.get_future().get();
  ASSERT_TRUE(outcome.is_err());
  EXPECT_TRUE(outcome.error() == Errc::invalid_state) << outcome.error().to_string();
  EXPECT_EQ(Process::spawn<nothing>().unwrap().join().unwrap(), 0);
}

TEST(Process, TheParentKeepsNoCopyOfTheArgumentsOnceItHasStarted) {
  auto p = Process::make(
      {}, [](const Counted&) {}, Counted{});
  EXPECT_EQ(Counted::alive, 1);
  p.start().unwrap();
  EXPECT_EQ(Counted::alive, 0);
  EXPECT_EQ(p.join().unwrap(), 0);
}

TEST(StartMethods, HandlesWorkAcrossThem) {
  const Queue<int> shared;
  std::vector<Process> processes;
  int n = 0;
  for (const StartMethod method : passel::all_start_methods())
    processes.push_back(
        passel::get_context(to_string(method))
            .unwrap()
            .spawn([](const Queue<int>& to, int i) { to.put(i).unwrap(); }, shared, ++n)
            .unwrap());
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += shared.get().unwrap();
  EXPECT_EQ(sum, 6);
  for (const Process& p : processes) EXPECT_EQ(p.join().unwrap(), 0);
}

TEST(StartMethods, AContextIsBoundToOne) {
  const auto spawning = passel::get_context("spawn").unwrap();
  EXPECT_EQ(spawning.method(), StartMethod::spawn);
  EXPECT_EQ(spawning.spawn<exit_with>(4).unwrap().join().unwrap(), 4);
  EXPECT_TRUE(passel::get_context("threads").error() == Errc::invalid_argument);
}

TEST(StartMethods, AreListedNamedAndSetOnce) {
  EXPECT_EQ(passel::all_start_methods().front(), passel::start_method());
  for (const StartMethod method : passel::all_start_methods())
    EXPECT_EQ(passel::parse_start_method(to_string(method)).unwrap(), method);
  EXPECT_TRUE(passel::parse_start_method("teleport").error() == Errc::invalid_argument);
  passel::set_start_method(StartMethod::forkserver).unwrap();
  EXPECT_EQ(passel::set_start_method(StartMethod::spawn).error().what(),
            "context has already been set, to forkserver");
  passel::set_start_method(StartMethod::forkserver, true).unwrap();
}

}  // namespace
