// The example service, driven over loopback: deadlines, a worker that is killed, an end in order.
#include "support/process_census.hpp"

#include <passel/detail/guardian.hpp>

#include <httplib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <csignal>
#include <cstdio>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
namespace detail = passel::detail;

const std::string endless = "/primes?below=4000000000";

/// The program, started with a free port.
class Service {
 public:
  explicit Service(const std::string& deadline_ms) {
    std::array<int, 2> out{};
    EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    const std::array<std::string, 7> words{SERVICE_BINARY,  "--port",   "0", "--workers", "2",
                                           "--deadline-ms", deadline_ms};
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, SERVICE_BINARY, &actions, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    out_ = ::fdopen(out[0], "r");
    port_ = std::stoi("0" + line().substr(std::string{"listening at http://127.0.0.1:"}.size()));
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    std::fclose(out_);
  }

  [[nodiscard]] std::string line() {
    std::string text;
    for (int c = std::fgetc(out_); c != EOF && c != '\n'; c = std::fgetc(out_))
      text += static_cast<char>(c);
    return text;
  }
  /// Status code (0: no answer) and text.
  [[nodiscard]] std::pair<int, std::string> get(const std::string& path) const {
    httplib::Client client{"127.0.0.1", port_};
    client.set_read_timeout(60s);
    const auto answer = client.Get(path);
    return answer ? std::pair{answer->status, answer->body} : std::pair{0, std::string{}};
  }
  /// The pid of a worker that is computing, as soon as there is one.
  [[nodiscard]] int busy_worker() const {
    for (;;) {
      std::istringstream workers{get("/workers").second};
      int pid = 0;
      for (std::string state; workers >> pid >> state;) {
        if (state == "busy") return pid;
      }
      std::this_thread::sleep_for(1ms);
    }
  }
  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return status;
  }

 private:
  pid_t pid_ = 0;
  int port_ = 0;
  std::FILE* out_ = nullptr;
};

TEST(Service, AnswersAndRefusesNonsense) {
  const Service service{"60000"};
  EXPECT_EQ(service.get("/primes?below=100"), (std::pair{200, std::string{"25\n"}}));
  EXPECT_EQ(service.get("/primes?below=many").first, 400);
  EXPECT_EQ(service.get("/primes").first, 400);
  EXPECT_EQ(service.get("/nothing").first, 404);
}

TEST(Service, ARequestOverItsDeadlineIsGivenUpAndTheNextIsAnswered) {
  const Service service{"300"};
  const auto late = service.get(endless);
  EXPECT_EQ(late.first, 504) << late.second;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(service.get("/primes?below=10").second, "4\n");
}

TEST(Service, AKilledWorkerCostsOneRequestAndNothingElse) {
  const auto before = passel_test::ProcessCensus::take();
  {
    Service service{"60000"};
    std::pair<int, std::string> doomed;
    std::thread client{[&] { doomed = service.get(endless); }};
    const int pid = service.busy_worker();
    const auto victim = detail::open_process(pid);
    // Still that worker, and not somebody who got its pid: the descriptor stays with it.
    ASSERT_EQ(service.busy_worker(), pid);
    detail::signal_process(*victim, SIGKILL).unwrap();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(service.get("/primes?below=100").second, "25\n");
    client.join();
    EXPECT_EQ(doomed.first, 503);
    EXPECT_THAT(doomed.second, HasSubstr("signal 9"));
    // Both workers are there again.
    for (int i = 0; i < 20; ++i) EXPECT_EQ(service.get("/primes?below=100").first, 200);
    service.signal(SIGTERM);
    EXPECT_EQ(service.wait(), 0);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Service, SigtermAnswersWhatIsInWorkAndEnds) {
  const auto before = passel_test::ProcessCensus::take();
  {
    Service service{"60000"};
    std::vector<std::thread> clients;
    std::array<int, 4> statuses{};
    for (int& status : statuses) {
      clients.emplace_back(
          [&service, &status] { status = service.get("/primes?below=1000000").first; });
    }
    static_cast<void>(service.busy_worker());
    service.signal(SIGTERM);
    for (std::thread& client : clients) client.join();
    // Those that came in time were answered in full; nobody was answered by half.
    int answered = 0;
    for (const int status : statuses) {
      EXPECT_TRUE(status == 200 || status == 0) << status;
      answered += status == 200 ? 1 : 0;
    }
    EXPECT_GE(answered, 1);
    EXPECT_EQ(service.line(), "drained");
    EXPECT_EQ(service.wait(), 0);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST(Service, KilledItselfItLeavesNoWorkerBehind) {
  const auto before = passel_test::ProcessCensus::take();
  {
    Service service{"60000"};
    std::thread client{[&] { static_cast<void>(service.get(endless)); }};
    static_cast<void>(service.busy_worker());
    service.signal(SIGKILL);
    static_cast<void>(service.wait());
    client.join();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
