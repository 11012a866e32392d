// Pool under the faults of the fault table that are not about time: what is told of a dead worker,
// memory, stopped workers, descriptors, shutdown, signals.
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Future;
using passel::LossCause;
using passel::Pool;
using passel::PoolInitializer;
using passel::Queue;
using passel::Result;

/// What this process owns, once it has had a pool: the first one starts the threads that all actors
/// share.
passel_test::ProcessCensus census() {
  static const bool warm = Pool::start({.processes = 1}).is_ok();
  EXPECT_TRUE(warm);
  return passel_test::ProcessCensus::take();
}

int square(int n) { return n * n; }
int process_id() { return ::getpid(); }
std::string wait_for_word(const Queue<std::string>& words) { return words.get().unwrap(); }

void no_core_file() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

int die(const std::string& how) {
  no_core_file();
  std::fprintf(stderr, "about to die of %s\nlast words\n", how.c_str());
  if (how == "exit") std::exit(3);
  if (how == "_exit") ::_exit(4);
  if (how == "abort") std::abort();
  if (how == "terminate") std::terminate();
  if (how == "segfault") {
    std::signal(SIGSEGV, SIG_DFL);
    ::raise(SIGSEGV);
  }
  if (how == "kill") ::raise(SIGKILL);
  return 0;
}

TEST(PoolFault, Fault04EveryWayOfDyingIsToldWithItsCauseAndLastWords) {
  struct Way {
    const char* how;
    LossCause cause;
    int exit_code;
    int signal;
  };
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1, .stderr_lines = 2}).unwrap();
    for (const Way way :
         {Way{"exit", LossCause::exited, 3, 0}, Way{"_exit", LossCause::exited, 4, 0},
          Way{"abort", LossCause::crashed, 0, SIGABRT},
          Way{"terminate", LossCause::crashed, 0, SIGABRT},
          Way{"segfault", LossCause::crashed, 0, SIGSEGV},
          Way{"kill", LossCause::killed, 0, SIGKILL}}) {
      const auto lost = pool.submit<die>({.name = "mayfly"}, way.how).get();
      ASSERT_TRUE(lost.error() == Errc::worker_lost) << way.how;
      const auto* facts = lost.error().detail<passel::WorkerLost>();
      ASSERT_NE(facts, nullptr);
      EXPECT_EQ(facts->cause, way.cause) << way.how << ": " << lost.error().to_string();
      EXPECT_EQ(facts->exit_code, way.exit_code) << way.how;
      EXPECT_EQ(facts->signal, way.signal) << way.how;
      EXPECT_EQ(facts->task, "mayfly");
      EXPECT_GT(facts->peak_rss, std::uint64_t{1} << 20);
      ASSERT_EQ(facts->last_lines.size(), 2U) << way.how;
      if (std::strcmp(way.how, "terminate") != 0) {
        EXPECT_EQ(facts->last_lines[0], std::string{"about to die of "} + way.how);
        EXPECT_EQ(facts->last_lines[1], "last words");
        EXPECT_THAT(lost.error().what(), ::testing::HasSubstr("last words"));
      }
    }
    EXPECT_EQ(pool.apply<square>(7).unwrap(), 49);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolFault, Fault06AnInitializerThatFailsSlowsDownAndThenFailsThePool) {
  const auto before = census();
  {
    const auto start = std::chrono::steady_clock::now();
    Pool pool = Pool::start({.processes = 1,
                             .initializer =
                                 [] {
                                   no_core_file();
                                   std::abort();
                                 }})
                    .unwrap();
    const auto failed = pool.submit<square>(2).get();
    EXPECT_TRUE(failed.error() == Errc::pool_failed) << failed.error().to_string();
    EXPECT_THAT(failed.error().what(), ::testing::HasSubstr("signal 6"));
    EXPECT_THAT(failed.error().what(), ::testing::HasSubstr("after 4 failures"));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 10ms + 20ms + 40ms);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolFault, Fault07AStoppedWorkerIsShownItsTaskTimesOutAndNobodyElseWaits) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 4}).unwrap();
    auto deadline = 300ms;
    for (int turn = 0; turn < 4;) {
      Queue<int> pids;
      auto stopped = pool.submit(
          {.deadline = deadline, .grace = 10ms},
          [](const Queue<int>& out) {
            out.put(::getpid()).unwrap();
            ::raise(SIGSTOP);
          },
          pids);
      int pid = 0;
      bool shown = false;
      while (!shown && !stopped.done()) {
        if (pid == 0) pid = pids.try_get().unwrap_or(0);
        for (const auto& worker : pool.stats().workers)
          shown |= pid != 0 && worker.pid == pid && worker.stalled;
      }
      std::vector<int> items(200, 3);
      for (Result<int>& result : pool.imap_unordered<square>(items).unwrap()) ASSERT_EQ(*result, 9);
      EXPECT_TRUE(stopped.get().error() == Errc::timeout);
      // Where the time was up before we had looked.
      if (shown) {
        ++turn;
      } else {
        deadline *= 2;
      }
    }
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolFault, Fault07ATaskThatAStoppedWorkerNeverBeganGoesToAnother) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    // Both are ready, then one is stopped while it has nothing to do.
    const auto pid_of = [&](std::size_t which) { return pool.stats().workers.at(which).pid; };
    while (!pool.stats().workers.at(0).ready || !pool.stats().workers.at(1).ready)
      std::this_thread::yield();
    const int pid = pid_of(0);
    ::kill(pid, SIGSTOP);
    for (int i = 0; i < 20; ++i) ASSERT_EQ(pool.apply<square>(i).unwrap(), i * i);
    ::kill(pid, SIGCONT);
    EXPECT_EQ(pool.apply<square>(3).unwrap(), 9);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

struct NoText {
  int code;
};
struct Silent : std::exception {
  const char* what() const noexcept override { return ""; }
};
struct Huge : std::exception {
  const char* what() const noexcept override {
    static const std::string text(std::size_t{4} << 20, 'x');
    return text.c_str();
  }
};
class NoDefault : public std::runtime_error {
 public:
  explicit NoDefault(int code) : std::runtime_error{"code " + std::to_string(code)} {}
};
void throw_nested() {
  try {
    try {
      throw std::out_of_range{"no such fuse"};
    } catch (...) {
      std::throw_with_nested(std::logic_error{"no light"});
    }
  } catch (...) {
    std::throw_with_nested(std::runtime_error{"cannot read"});
  }
}
void throw_one(const std::string& kind) {
  if (kind == "int") throw 42;
  if (kind == "pointer") throw "text";
  if (kind == "struct") throw NoText{7};
  if (kind == "silent") throw Silent{};
  if (kind == "huge") throw Huge{};
  if (kind == "no default") throw NoDefault{9};
  if (kind == "passel") throw passel::Exception{passel::Error{Errc::not_found, "no page"}};
  throw_nested();
}

TEST(PoolFault, Fault10EveryExceptionArrivesWithTypeTextAndCauses) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const int pid = pool.apply<process_id>().unwrap();
  const auto thrown = [&](const char* kind) { return pool.apply<throw_one>(kind).error(); };
  const auto type = [](const passel::Error& error) {
    const auto* remote = error.detail<passel::RemoteError>();
    return remote == nullptr ? std::string{"none"} : remote->type_name;
  };
  EXPECT_EQ(type(thrown("int")), "int");
  EXPECT_THAT(type(thrown("pointer")), ::testing::HasSubstr("char const*"));
  EXPECT_THAT(type(thrown("struct")), ::testing::HasSubstr("NoText"));
  EXPECT_THAT(type(thrown("silent")), ::testing::HasSubstr("Silent"));
  EXPECT_THAT(type(thrown("no default")), ::testing::HasSubstr("NoDefault"));
  EXPECT_THAT(thrown("no default").what(), ::testing::HasSubstr("code 9"));
  EXPECT_THAT(type(thrown("huge")), ::testing::HasSubstr("Huge"));
  EXPECT_TRUE(thrown("passel") == Errc::not_found)
      << "an error that is thrown comes back as itself";
  const passel::Error nested = thrown("nested");
  const auto* remote = nested.detail<passel::RemoteError>();
  ASSERT_NE(remote, nullptr);
  EXPECT_EQ(remote->type_name, "std::_Nested_exception<std::runtime_error>");
  ASSERT_EQ(remote->causes.size(), 2U);
  EXPECT_EQ(remote->causes[0].what, "no light");
  EXPECT_EQ(remote->causes[1].type_name, "std::out_of_range");
  EXPECT_EQ(remote->causes[1].what, "no such fuse");
  EXPECT_EQ(pool.apply<process_id>().unwrap(), pid);
}

/// What cannot be encoded here, or decoded there.
struct Stubborn {
  std::string when;
};

}  // namespace

template <>
struct passel::codec<Stubborn> {
  static passel::WireValue encode(const Stubborn& value) {
    if (value.when == "encode") throw std::runtime_error{"cannot be encoded"};
    return passel::to_value(value.when);
  }
  static passel::Result<Stubborn> decode(const passel::WireValue& value) {
    PASSEL_TRY(auto when, passel::from_value<std::string>(value));
    if (when == "decode") throw std::runtime_error{"cannot be decoded"};
    return Stubborn{std::move(when)};
  }
};

namespace {

std::size_t length_of(const Stubborn& value) { return value.when.size(); }
Stubborn become(const std::string& when) { return {when}; }

TEST(PoolFault, Fault11ACodecThatThrowsIsTheErrorOfItsCallAndEndsNobody) {
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const int pid = pool.apply<process_id>().unwrap();
  const auto expect = [](const passel::Error& error, const char* what) {
    EXPECT_TRUE(error == Errc::task_failed) << error.to_string();
    const auto* remote = error.detail<passel::RemoteError>();
    ASSERT_NE(remote, nullptr);
    EXPECT_EQ(remote->type_name, "std::runtime_error");
    EXPECT_EQ(remote->what, what);
  };
  for (int i = 0; i < 20; ++i) {
    expect(pool.submit<length_of>(Stubborn{"encode"}).get().error(), "cannot be encoded");
    expect(pool.submit<length_of>(Stubborn{"decode"}).get().error(), "cannot be decoded");
    expect(pool.submit<become>("encode").get().error(), "cannot be encoded");
    expect(pool.submit<become>("decode").get().error(), "cannot be decoded");
  }
  const std::vector<Stubborn> unsendable{{"one"}, {"encode"}};
  const std::vector<Stubborn> unreadable{{"one"}, {"decode"}};
  expect(pool.map<length_of>(unsendable).error(), "cannot be encoded");
  expect(pool.map<length_of>(unreadable, {.chunksize = 1}).error(), "cannot be decoded");
  expect(pool.map<length_of>(unreadable, {.chunksize = 2}).error(), "cannot be decoded");
  std::vector<bool> fine;
  for (Result<std::size_t>& each : pool.imap<length_of>(unreadable, {.chunksize = 1}).unwrap())
    fine.push_back(each.is_ok());
  EXPECT_EQ(fine, (std::vector{true, false}));
  EXPECT_EQ(pool.apply<length_of>(Stubborn{"well"}).unwrap(), 4U);
  EXPECT_EQ(pool.apply<process_id>().unwrap(), pid);
}

TEST(PoolFault, Fault12AResultOverTheLimitIsThatTasksErrorAlone) {
  Pool pool = Pool::start({.processes = 1, .max_message = 1'000}).unwrap();
  const int pid = pool.apply<process_id>().unwrap();
  const auto letters = [](std::size_t n) { return std::string(n, 'x'); };
  EXPECT_TRUE(pool.apply(letters, std::size_t{900}).is_ok());
  const auto failed = pool.apply(letters, std::size_t{1'001});
  EXPECT_TRUE(failed.error() == Errc::too_large);
  EXPECT_THAT(failed.error().what(), ::testing::HasSubstr("1000"));
  EXPECT_EQ(pool.apply<process_id>().unwrap(), pid);
}

std::size_t fill_memory(std::size_t megabytes, const Queue<std::string>& words) {
  std::vector<std::string> blocks;
  for (std::size_t i = 0; i < megabytes; ++i) blocks.emplace_back(std::size_t{1} << 20, 'x');
  if (megabytes > 64) static_cast<void>(words.get());
  return blocks.size();
}
std::string hoard;

TEST(PoolFault, Fault13AWorkerOverItsMemoryIsEndedAndOneThatGrewIsReplaced) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 1, .max_memory = std::size_t{64} << 20}).unwrap();
    Queue<std::string> words;
    EXPECT_EQ(pool.apply<fill_memory>(std::size_t{8}, words).unwrap(), 8U);
    const auto lost = pool.apply<fill_memory>(std::size_t{128}, words);
    ASSERT_TRUE(lost.error() == Errc::worker_lost) << lost.error().to_string();
    const auto* facts = lost.error().detail<passel::WorkerLost>();
    EXPECT_EQ(facts->cause, LossCause::out_of_memory);
    EXPECT_GT(facts->peak_rss, std::uint64_t{64} << 20);
    EXPECT_THAT(lost.error().what(), ::testing::HasSubstr("out of memory"));
    EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
  }
  {
    Pool pool = Pool::start({.processes = 1, .recycle_memory = std::size_t{32} << 20}).unwrap();
    const int pid = pool.apply<process_id>().unwrap();
    auto grown = pool.apply([] {
      hoard.assign(std::size_t{64} << 20, 'x');
      // The first look may be as late as this.
      std::this_thread::sleep_for(5ms);
      return hoard.size();
    });
    EXPECT_EQ(std::move(grown).unwrap(), std::size_t{64} << 20) << "its result is kept";
    EXPECT_NE(pool.apply<process_id>().unwrap(), pid);
    EXPECT_EQ(pool.stats().restarts, 0U);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

/// The first cgroup directory in which this process may make one with a memory limit; empty: none.
std::string make_memory_group(const std::string& name, const std::string& limit) {
  for (const std::string root : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
    const std::string path = root + "/" + name;
    if (::mkdir(path.c_str(), 0755) != 0) continue;
    for (const char* file : {"memory.max", "memory.limit_in_bytes"}) {
      if (std::ofstream out{path + "/" + file}; out && (out << limit << std::flush)) return path;
    }
    ::rmdir(path.c_str());
  }
  return {};
}

void own_a_hungry_pool(const std::string& group, const Queue<std::string>& out) {
  // All of this family's processes from here on, the workers of an executed guardian too.
  std::ofstream{group + "/cgroup.procs"} << ::getpid() << std::flush;
  Pool pool = Pool::start({.processes = 1, .initializer = PoolInitializer{}}).unwrap();
  Queue<std::string> never;
  pool.submit([](const std::string& to) { std::ofstream{to} << ::getpid() << std::flush; },
              group + "/cgroup.procs")
      .get()
      .unwrap();
  const auto lost = pool.apply<fill_memory>(std::size_t{400}, never);
  const auto* facts = lost.is_err() ? lost.error().detail<passel::WorkerLost>() : nullptr;
  out.put(facts == nullptr ? "no loss" : std::string{to_string(facts->cause)}).unwrap();
}

TEST(PoolFault, Fault13TheKernelsMemoryLimitIsNamedAsTheCause) {
  const std::string group =
      make_memory_group("passel-test-" + std::to_string(::getpid()), "120000000");
  if (group.empty()) GTEST_SKIP() << "needs a writable memory cgroup";
  Queue<std::string> out;
  auto owner = passel::Process::spawn<own_a_hungry_pool>(group, out).unwrap();
  EXPECT_EQ(out.get().unwrap(), "out_of_memory");
  EXPECT_EQ(owner.join().unwrap(), 0);
  ::rmdir(group.c_str());
}

std::vector<int> open_descriptors() {
  std::vector<int> found;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (const dirent* const entry = ::readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != ::dirfd(directory)) found.push_back(fd);
  }
  ::closedir(directory);
  return found;
}

TEST(PoolFault, Fault16WorkersSeeNoneOfTheDescriptorsOfTheProgram) {
  const auto own = Pool::start({.processes = 1}).unwrap().apply<open_descriptors>().unwrap();
  std::vector<passel::detail::Descriptor> opened;
  // Without close-on-exec, as careless programs have them.
  for (int i = 0; i < 500; ++i) opened.emplace_back(::open("/dev/null", O_RDONLY));
  Pool pool = Pool::start({.processes = 1}).unwrap();
  const auto seen = pool.apply<open_descriptors>().unwrap();
  EXPECT_EQ(seen, own);
  EXPECT_LE(seen.size(), 10U) << "0, 1, 2, the lines to its guardian and its pool";
}

TEST(PoolFault, Fault19ShutdownUnderLoadEndsEveryFutureAndNamesWhoWasKilled) {
  const auto before = census();
  {
    Pool pool = Pool::start({.processes = 2}).unwrap();
    Queue<std::string> never;
    std::vector<Future<std::string>> stuck;
    for (int i = 0; i < 2; ++i)
      stuck.push_back(pool.submit<wait_for_word>({.name = "stuck"}, never));
    std::vector<Future<int>> queued;
    for (int i = 0; i < 10'000; ++i) queued.push_back(pool.submit<square>(i));
    std::atomic<bool> stop{false};
    std::thread racing{[&] {
      while (!stop) static_cast<void>(pool.submit<square>(1).get());
    }};
    while (pool.stats().workers.at(0).task.empty() || pool.stats().workers.at(1).task.empty())
      std::this_thread::yield();
    const auto report = pool.shutdown_for(20ms);
    stop = true;
    racing.join();
    ASSERT_EQ(report.killed.size(), 2U);
    EXPECT_EQ(report.killed[0].task, "stuck");
    EXPECT_GT(report.killed[0].pid, 0);
    EXPECT_GE(report.unfinished, 10'002U);
    for (auto& future : stuck) EXPECT_TRUE(future.done());
    for (auto& future : queued) EXPECT_TRUE(future.done());
    EXPECT_TRUE(pool.stats().workers.empty());
  }
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    auto last = pool.submit<square>(3);
    const auto report = pool.shutdown_for(30s);
    EXPECT_TRUE(report.killed.empty());
    EXPECT_EQ(report.unfinished, 0U);
    EXPECT_EQ(last.get().unwrap(), 9);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(PoolFault, Fault20AStormOfSignalsDisturbsNothing) {
  const auto before = census();
  {
    std::signal(SIGUSR1, [](int) {});
    Pool pool = Pool::start({.processes = 2}).unwrap();
    pool.map([](int) { std::signal(SIGUSR1, [](int) {}); }, std::vector{1, 2}, {.chunksize = 1})
        .unwrap();
    // Only handlers that the workers set themselves are known to be there.
    for (const auto& worker : pool.stats().workers) EXPECT_TRUE(worker.ready || worker.pid > 0);
    std::atomic<bool> stop{false};
    std::thread storm{[&] {
      while (!stop) {
        ::kill(::getpid(), SIGUSR1);
        ::kill(::getpid(), SIGWINCH);
        ::kill(::getpid(), SIGCHLD);
        std::this_thread::sleep_for(100us);
      }
    }};
    const int rounds = static_cast<int>(passel_test::rounds(3'000));
    for (int i = 0; i < rounds; ++i) ASSERT_EQ(pool.apply<square>(i).unwrap(), i * i);
    // Workers ignore an interrupt from the terminal.
    for (const auto& worker : pool.stats().workers) ::kill(worker.pid, SIGINT);
    EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
    EXPECT_EQ(pool.stats().restarts, 0U);
    stop = true;
    storm.join();
    std::signal(SIGUSR1, SIG_DFL);
    pool.close();
    pool.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
