// The logger: levels, what reaches stderr and the sink, and that a line holds nobody up.
#include <passel/codec.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/log.hpp>

#include <gtest/gtest.h>

#include "log_line.hpp"
#include "support/blocked_thread.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::get_logger;
using passel::LogLevel;
using passel::LogRecord;
using passel::detail::Descriptor;
using passel::detail::LineWrite;
using passel::detail::write_within;
using passel::detail::write_without_waiting;

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;

  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end = Descriptor{ends[0]};
    write_end = Descriptor{ends[1]};
  }
  /// Takes what is there, without waiting.
  std::string take() const {
    std::string text;
    char bytes[4096];
    pollfd ready{.fd = read_end.get(), .events = POLLIN, .revents = 0};
    while (::poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0) {
      const ssize_t got = ::read(read_end.get(), bytes, sizeof bytes);
      if (got <= 0) break;
      text.append(bytes, static_cast<std::size_t>(got));
    }
    return text;
  }
  /// Leaves no room for another byte.
  void fill() const {
    const std::string block(4096, 'x');
    while (write_without_waiting(write_end.get(), block) == LineWrite::done) {
    }
    while (write_without_waiting(write_end.get(), "x") == LineWrite::done) {
    }
  }
};

/// Puts another file in the place of stderr for a while.
class StderrIs {
 public:
  explicit StderrIs(int descriptor) : kept_{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)} {
    ::dup2(descriptor, STDERR_FILENO);
  }
  StderrIs(const StderrIs&) = delete;
  StderrIs& operator=(const StderrIs&) = delete;
  ~StderrIs() { ::dup2(kept_.get(), STDERR_FILENO); }

 private:
  Descriptor kept_;
};

/// Every case begins silent, as a program does, and leaves it so.
class Log : public ::testing::Test {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override {
    ::unsetenv("PASSEL_LOG");
    reset();
  }
  static void reset() {
    passel::set_log_sink(nullptr);
    passel::detail::begin_logging_in_child("MainProcess", 0);
  }
};

TEST_F(Log, IsSilentUntilAskedFor) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  get_logger().error("nobody hears this");
  EXPECT_FALSE(get_logger().is_enabled_for(LogLevel::critical));
  get_logger().set_level(LogLevel::debug);
  get_logger().error("a level alone is not asking for it");
  EXPECT_EQ(pipe.take(), "");
}

TEST_F(Log, LinesLookAsPythons) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  const auto logger = passel::log_to_stderr(LogLevel::subdebug);
  logger.subdebug("a");
  logger.debug("b");
  logger.info("c");
  logger.subwarning("d");
  logger.warning("e");
  logger.error("f");
  logger.log(LogLevel{33}, "g");
  EXPECT_EQ(pipe.take(),
            "[SUBDEBUG/MainProcess] a\n[DEBUG/MainProcess] b\n[INFO/MainProcess] c\n"
            "[SUBWARNING/MainProcess] d\n[WARNING/MainProcess] e\n[ERROR/MainProcess] f\n"
            "[Level 33/MainProcess] g\n");
}

TEST_F(Log, ASecondCallDoesNotDoubleTheLines) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  passel::log_to_stderr(LogLevel::info);
  passel::log_to_stderr();
  EXPECT_EQ(get_logger().level(), LogLevel::info);
  get_logger().info("once");
  EXPECT_EQ(pipe.take(), "[INFO/MainProcess] once\n");
}

TEST_F(Log, WithoutALevelWarningsAndErrorsAreShown) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  const auto logger = passel::log_to_stderr();
  EXPECT_EQ(logger.level(), LogLevel::notset);
  EXPECT_EQ(logger.effective_level(), LogLevel::warning);
  logger.subwarning("below");
  logger.warning("at");
  EXPECT_EQ(pipe.take(), "[WARNING/MainProcess] at\n");
}

TEST_F(Log, AnyNumberIsALevel) {
  const auto logger = passel::log_to_stderr(LogLevel{32});
  EXPECT_EQ(logger.level(), LogLevel{32});
  EXPECT_FALSE(logger.is_enabled_for(LogLevel{31}));
  EXPECT_TRUE(logger.is_enabled_for(LogLevel{32}));
  logger.set_level(LogLevel{-5});
  EXPECT_EQ(logger.level(), LogLevel::notset);
  logger.set_level(LogLevel{1 << 20});
  EXPECT_EQ(logger.level(), LogLevel{65535});
}

TEST_F(Log, LevelsHaveNames) {
  EXPECT_EQ(to_string(LogLevel::notset), "NOTSET");
  EXPECT_EQ(to_string(LogLevel::critical), "CRITICAL");
  EXPECT_EQ(to_string(LogLevel{7}), "Level 7");
  EXPECT_EQ(passel::parse_log_level("SubWarning").unwrap(), LogLevel::subwarning);
  EXPECT_EQ(passel::parse_log_level("32").unwrap(), LogLevel{32});
  for (const char* wrong : {"", "loud", "12x", "-1", "65536", " info"}) {
    const auto level = passel::parse_log_level(wrong);
    ASSERT_TRUE(level.is_err()) << wrong;
    EXPECT_EQ(level.error().code(), passel::Errc::invalid_argument);
    EXPECT_NE(level.error().what().find("SUBDEBUG"), std::string::npos);
  }
}

TEST_F(Log, ATextIsOnlyMadeWhenItIsSeen) {
  int made = 0;
  const auto text = [&] { return std::to_string(++made); };
  get_logger().log(LogLevel::critical, text);
  EXPECT_EQ(made, 0);
  std::string seen;
  passel::set_log_sink([&](const LogRecord& record) { seen += record.text; });
  get_logger().log(LogLevel::info, text);
  get_logger().log(LogLevel::error, text);
  EXPECT_EQ(seen, "1");
}

TEST_F(Log, TheSinkLearnsWhoSaidItAndWhere) {
  std::vector<LogRecord> records;
  passel::set_log_sink([&](const LogRecord& record) { records.push_back(record); });
  const auto before = std::chrono::system_clock::now();
  const unsigned line = __LINE__ + 1;
  get_logger().warning("watch out");
  passel::set_log_sink(nullptr);
  get_logger().warning("too late");
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].level, LogLevel::warning);
  EXPECT_EQ(records[0].process_name, "MainProcess");
  EXPECT_EQ(records[0].pid, ::getpid());
  EXPECT_EQ(records[0].text, "watch out");
  EXPECT_EQ(std::filesystem::path{records[0].file}.filename(), "log_test.cpp");
  EXPECT_EQ(records[0].line, line);
  EXPECT_EQ(records[0].function, "TestBody");
  EXPECT_GE(records[0].time, before);
}

TEST_F(Log, ARecordCanTravel) {
  const LogRecord sent{.level = LogLevel::error,
                       .process_name = "Process-1",
                       .pid = 7,
                       .text = "hello",
                       .time = std::chrono::system_clock::now(),
                       .file = "a.cpp",
                       .line = 3,
                       .function = "f"};
  const auto encoded = passel::detail::encode(sent).unwrap();
  const auto got = passel::detail::decode<LogRecord>(encoded.bytes).unwrap();
  EXPECT_EQ(got.level, sent.level);
  EXPECT_EQ(got.process_name, sent.process_name);
  EXPECT_EQ(got.text, sent.text);
  EXPECT_EQ(got.time, sent.time);
  EXPECT_EQ(got.line, sent.line);
}

TEST_F(Log, ASinkThatThrowsLosesItsLineAndNothingElse) {
  const std::uint64_t before = get_logger().dropped();
  int calls = 0;
  passel::set_log_sink([&](const LogRecord&) {
    if (++calls == 1) throw std::runtime_error{"no"};
  });
  get_logger().error("one");
  get_logger().error("two");
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(get_logger().dropped(), before + 1);
}

TEST_F(Log, WhatASinkWritesDoesNotComeBackToIt) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  int calls = 0;
  passel::log_to_stderr();
  passel::set_log_sink([&](const LogRecord&) {
    ++calls;
    get_logger().error("inner");
  });
  get_logger().error("outer");
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(pipe.take(), "[ERROR/MainProcess] outer\n[ERROR/MainProcess] inner\n");
}

TEST_F(Log, ASinkCanTakeItselfOut) {
  int calls = 0;
  passel::set_log_sink([&](const LogRecord&) {
    ++calls;
    passel::set_log_sink(nullptr);
  });
  get_logger().error("one");
  get_logger().error("two");
  EXPECT_EQ(calls, 1);
}

TEST_F(Log, AReplacedSinkIsNeitherRunningNorAlive) {
  for (int round = 0; round < 200; ++round) {
    auto alive = std::make_shared<std::atomic<int>>(0);
    std::atomic<bool> stop{false};
    std::barrier started{3};
    passel::set_log_sink([alive](const LogRecord&) {
      alive->fetch_add(1);
      alive->fetch_sub(1);
    });
    std::vector<std::jthread> writers;
    for (int i = 0; i < 2; ++i)
      writers.emplace_back([&] {
        started.arrive_and_wait();
        while (!stop.load()) get_logger().error("line");
      });
    started.arrive_and_wait();
    passel::set_log_sink([](const LogRecord&) {});
    EXPECT_EQ(alive->load(), 0);
    EXPECT_EQ(alive.use_count(), 1);
    stop.store(true);
  }
}

TEST_F(Log, ALongLineIsCutWhereACharacterEnds) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  std::string text(1, 'x');
  while (text.size() < 9'000) text += "\u20ac";  // three bytes each
  passel::log_to_stderr().error(text);
  const std::string line = pipe.take();
  EXPECT_LE(line.size(), passel::detail::whole_line_limit);
  const std::size_t note = line.find(" ... (");
  ASSERT_NE(note, std::string::npos);
  const std::string_view head{"[ERROR/MainProcess] "};
  const std::size_t shown = note - head.size();
  EXPECT_EQ(shown % 3, 1U);
  EXPECT_EQ(line.substr(note), " ... (" + std::to_string(text.size() - shown) + " more bytes)\n");
}

TEST_F(Log, AFullPipeLosesLinesAndIsToldHowMany) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  const auto logger = passel::log_to_stderr();
  const std::uint64_t before = logger.dropped();
  pipe.fill();
  for (int i = 0; i < 5; ++i) logger.error("lost");
  EXPECT_EQ(logger.dropped(), before + 5);
  EXPECT_EQ(pipe.take().find("lost"), std::string::npos);
  logger.error("found");
  EXPECT_EQ(pipe.take(),
            "[WARNING/MainProcess] 5 log lines were lost here: stderr did not take them\n"
            "[ERROR/MainProcess] found\n");
  logger.error("more");
  EXPECT_EQ(pipe.take(), "[ERROR/MainProcess] more\n");
}

TEST_F(Log, ASlowReaderIsGivenTimeToMakeRoom) {
  const Pipe pipe;
  pipe.fill();
  LineWrite written = LineWrite::failed;
  passel_test::BlockedThread writer{
      [&] { written = write_within(std::chrono::hours{1}, pipe.write_end.get(), "late\n"); }};
  writer.wait_until_blocked();
  EXPECT_FALSE(writer.ended());
  std::string text = pipe.take();
  writer.join();
  EXPECT_EQ(written, LineWrite::done);
  text += pipe.take();
  EXPECT_EQ(text.substr(text.size() - 6), "xlate\n");
}

TEST_F(Log, TheFlagsOfAPipeAreLeftAlone) {
  const Pipe pipe;
  EXPECT_EQ(write_without_waiting(pipe.write_end.get(), "x"), LineWrite::done);
  EXPECT_EQ(::fcntl(pipe.write_end.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(Log, AStderrWithoutReaderRaisesNoSignal) {
  Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  pipe.read_end.reset();
  const auto logger = passel::log_to_stderr();
  const std::uint64_t before = logger.dropped();
  errno = 4711;
  logger.error("to nobody");  // SIGPIPE would end this process
  EXPECT_EQ(errno, 4711);
  EXPECT_EQ(logger.dropped(), before + 1);
}

TEST_F(Log, APendingSigpipeOfTheProgramStays) {
  sigset_t pipe_signal;
  sigset_t kept;
  ::sigemptyset(&pipe_signal);
  ::sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &kept);
  ::raise(SIGPIPE);
  const Pipe pipe;
  EXPECT_EQ(write_without_waiting(pipe.write_end.get(), "x"), LineWrite::done);
  const timespec none{};
  EXPECT_EQ(::sigtimedwait(&pipe_signal, nullptr, &none), SIGPIPE);
  ::pthread_sigmask(SIG_SETMASK, &kept, nullptr);
}

TEST_F(Log, AFullSocketIsNotWaitedFor) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Descriptor near{ends[0]};
  Descriptor far{ends[1]};
  const std::string block(4096, 'x');
  int taken = 0;
  while (write_without_waiting(near.get(), block) == LineWrite::done) ++taken;
  EXPECT_GT(taken, 0);
  EXPECT_EQ(write_within(std::chrono::milliseconds{1}, near.get(), block), LineWrite::would_wait);
  far.reset();
  EXPECT_EQ(write_without_waiting(near.get(), block), LineWrite::failed);
}

TEST_F(Log, AFullDiskAndAClosedDescriptorLoseTheLine) {
  const Descriptor full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  ASSERT_TRUE(full);
  // At once: what time does not heal is not waited for.
  constexpr std::chrono::hours long_time{1};
  EXPECT_EQ(write_within(long_time, full.get(), "x"), LineWrite::failed);
  EXPECT_EQ(write_within(long_time, -1, "x"), LineWrite::failed);
}

TEST_F(Log, AFileTakesEveryLine) {
  const auto path = std::filesystem::path{::testing::TempDir()} /
                    ("passel_log_test." + std::to_string(::getpid()));
  {
    const Descriptor file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    const StderrIs redirected{file.get()};
    passel::log_to_stderr().error("one");
    get_logger().error("two");
  }
  std::ifstream in{path};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  EXPECT_EQ(text, "[ERROR/MainProcess] one\n[ERROR/MainProcess] two\n");
  std::filesystem::remove(path);
}

TEST_F(Log, LinesOfManyThreadsStayWhole) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  ::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, 1 << 20);
  const auto logger = passel::log_to_stderr();
  constexpr int threads = 8;
  constexpr int lines = 200;
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < threads; ++i)
      writers.emplace_back([&, i] {
        const std::string text(static_cast<std::size_t>(50 + i), static_cast<char>('a' + i));
        for (int n = 0; n < lines; ++n) logger.error(text);
      });
  }
  std::istringstream in{pipe.take()};
  std::vector<int> counts(threads);
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.find("] ");
    ASSERT_NE(at, std::string::npos) << line;
    const std::string text = line.substr(at + 2);
    const int writer = text.at(0) - 'a';
    ASSERT_EQ(text, std::string(static_cast<std::size_t>(50 + writer), text[0]));
    ++counts.at(static_cast<std::size_t>(writer));
  }
  EXPECT_EQ(counts, std::vector<int>(threads, lines));
}

TEST_F(Log, TheEnvironmentTurnsItOn) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  ::setenv("PASSEL_LOG", "info", 1);
  passel::detail::begin_logging("root");
  get_logger().info("hello");
  EXPECT_EQ(pipe.take(), "[INFO/root] hello\n");
}

TEST_F(Log, TheProgramsOwnSettingGoesBeforeTheEnvironments) {
  ::setenv("PASSEL_LOG", "debug", 1);
  get_logger().set_level(LogLevel::error);
  passel::detail::begin_logging("root");
  EXPECT_EQ(get_logger().level(), LogLevel::error);
  EXPECT_FALSE(get_logger().is_enabled_for(LogLevel::critical));
}

TEST_F(Log, AnUnknownLevelInTheEnvironmentIsNamed) {
  const Pipe pipe;
  const StderrIs redirected{pipe.write_end.get()};
  ::setenv("PASSEL_LOG", "loud", 1);
  passel::detail::begin_logging("root");
  const std::string line = pipe.take();
  EXPECT_EQ(line.rfind("[WARNING/root] PASSEL_LOG: \"loud\" is no log level", 0), 0U) << line;
}

TEST_F(Log, SettingsTravelAsOneNumber) {
  passel::log_to_stderr(LogLevel{32});
  const std::uint32_t settings = passel::detail::log_settings();
  reset();
  EXPECT_FALSE(get_logger().is_enabled_for(LogLevel::critical));
  passel::detail::begin_logging_in_child("Process-1", settings);
  EXPECT_EQ(get_logger().level(), LogLevel{32});
  EXPECT_TRUE(get_logger().is_enabled_for(LogLevel{32}));
}

TEST_F(Log, AForkWhileOthersLogAndChangeSettingsLeavesAUsableLogger) {
  const Pipe pipe;
  std::atomic<bool> stop{false};
  std::jthread changer{[&] {
    while (!stop.load()) {
      passel::set_log_sink([](const LogRecord&) {});
      passel::set_log_sink(nullptr);
    }
  }};
  std::jthread writer{[&] {
    while (!stop.load()) get_logger().error("line");
  }};
  for (int round = 0; round < 50; ++round) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(pipe.write_end.get(), STDERR_FILENO);
      passel::detail::begin_logging_in_child("forked", 0);
      passel::log_to_stderr().error("here");
      passel::set_log_sink([](const LogRecord&) {});
      passel::set_log_sink(nullptr);
      ::_exit(get_logger().dropped() == 0 ? 0 : 1);
    }
    ASSERT_GT(pid, 0);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(pipe.take(), "[ERROR/forked] here\n");
  }
  stop.store(true);
}

}  // namespace
