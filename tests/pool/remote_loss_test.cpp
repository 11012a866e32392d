// Pools that span hosts: workers that lose their work, or end it, without losing their session.
#include <passel/manager.hpp>
#include <passel/process.hpp>
#include <passel/remote_executor.hpp>
#include <passel/remote_worker.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker_messages.hpp"
#include "support/stopped_process.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::DynamicProxy;
using passel::Errc;
using passel::ExposedTasks;
using passel::Future;
using passel::Manager;
using passel::RemoteExecutor;
using passel::RemotePoolStats;
using passel::RemoteWorker;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

using Bytes = std::vector<std::byte>;
constexpr std::size_t mebibyte = std::size_t{1} << 20;
/// One alone fits into a message, and both do not.
constexpr std::size_t small_part = 79 * mebibyte / 10;
constexpr std::size_t large_part = 57 * mebibyte;

int square(int n) { return n * n; }
std::size_t length(Bytes bytes) { return bytes.size(); }
int die() {
  ::raise(SIGKILL);
  return 0;
}
/// Goes on when somebody opens that fifo for writing.
Bytes bytes_after(std::string fifo, std::size_t size) {
  std::ifstream{fifo}.get();
  return Bytes(size);
}
Bytes blob(std::size_t size) { return Bytes(size); }
void begin_unless(std::string path) {
  if (fs::exists(path)) throw std::runtime_error{"no licence"};
}

ExposedTasks all_tasks() { return ExposedTasks::of<&square, &length, &die, &bytes_after, &blob>(); }

class RemoteLossTest : public ::testing::Test {
 protected:
  RemoteLossTest() {
    std::string name = (fs::temp_directory_path() / "passel-loss-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~RemoteLossTest() override { fs::remove_all(folder_); }

  [[nodiscard]] RemoteExecutor executor() const {
    return RemoteExecutor::connect({.address = manager_.address(), .tasks = all_tasks()}).unwrap();
  }
  [[nodiscard]] RemoteWorker worker(passel::PoolOptions processes) const {
    return RemoteWorker::join(all_tasks(),
                              {.address = manager_.address(), .processes = std::move(processes)})
        .unwrap();
  }
  static void settled(const RemoteExecutor& at,
                      const std::function<bool(const RemotePoolStats&)>& is_right) {
    while (!is_right(at.stats().unwrap())) std::this_thread::sleep_for(1ms);
  }

  fs::path folder_;
  Manager manager_;
};

TEST_F(RemoteLossTest, AnswersThatAreTooMuchForOneMessageComeInSeveral) {
  manager_.start().unwrap();
  const auto worker = this->worker({.processes = 4});
  auto executor = this->executor();
  std::vector<std::string> fifos;
  std::vector<Future<Bytes>> answers;
  for (const std::size_t size : {std::size_t{1}, std::size_t{1}, small_part, large_part}) {
    fifos.push_back(folder_ / std::to_string(fifos.size()));
    ASSERT_EQ(::mkfifo(fifos.back().c_str(), 0600), 0);
    answers.push_back(executor.submit<bytes_after>(fifos.back(), size));
  }
  while (worker.stats().has < answers.size()) std::this_thread::sleep_for(1ms);
  // The first two are on their way for as long as the server stands; the others collect.
  ASSERT_EQ(::kill(*manager_.pid(), SIGSTOP), 0);
  for (std::size_t i = 0; i < fifos.size(); ++i) {
    std::ofstream{fifos[i]}.flush();
    while (worker.stats().done <= i) std::this_thread::sleep_for(1ms);
  }
  ASSERT_EQ(::kill(*manager_.pid(), SIGCONT), 0);
  EXPECT_EQ(answers[2].get().unwrap().size(), small_part);
  EXPECT_EQ(answers[3].get().unwrap().size(), large_part);
  EXPECT_EQ(worker.stats().reconnects, 0U);
}

TEST_F(RemoteLossTest, TasksThatAreTooMuchForOneMessageComeInSeveral) {
  const auto server = manager_.get_server().unwrap();
  auto executor = this->executor();
  Future<std::size_t> first = executor.submit<length>(Bytes(small_part));
  Future<std::size_t> second = executor.submit<length>(Bytes(large_part));
  settled(executor, [](const auto& stats) { return stats.waiting == 2; });
  const auto worker = this->worker({.processes = 2});
  EXPECT_EQ(first.get().unwrap(), small_part);
  EXPECT_EQ(second.get().unwrap(), large_part);
  EXPECT_EQ(worker.stats().reconnects, 0U);
}

TEST_F(RemoteLossTest, ATaskOfWhichNoWorkerCouldBeToldIsRefused) {
  const auto server = manager_.get_server().unwrap();
  const auto worker = this->worker({.processes = 1});
  auto executor = this->executor();
  const auto refused = executor.submit<length>(Bytes(61 * mebibyte)).get();
  EXPECT_EQ(refused.error(), Errc::too_large);
  EXPECT_THAT(refused.error().what(), HasSubstr("a message may have 62914560"));
  EXPECT_EQ(executor.submit<square>(3).get().unwrap(), 9);
  EXPECT_EQ(worker.stats().reconnects, 0U);
}

TEST_F(RemoteLossTest, AWorkerWhosePoolHasFailedHoldsNoTasks) {
  const auto server = manager_.get_server().unwrap();
  const std::string licence = folder_ / "none";
  auto failing = worker({.processes = 1,
                         .initializer = passel::PoolInitializer::with<begin_unless>(licence),
                         .max_restarts = 0});
  auto executor = this->executor();
  EXPECT_EQ(executor.submit<square>(2).get().unwrap(), 4);
  std::ofstream{licence}.flush();
  EXPECT_EQ(executor.submit<die>().get().error(), Errc::worker_lost);
  std::vector<Future<int>> squares;
  for (int n = 0; n < 8; ++n) squares.push_back(executor.submit<square>({.attempts = 2}, n));
  const auto end = failing.wait();
  EXPECT_THAT(end.error().what(), HasSubstr("no licence"));
  settled(executor, [](const auto& stats) { return stats.workers.empty(); });
  EXPECT_FALSE(failing.stats().connected);
  const auto other = worker({.processes = 1});
  for (int n = 0; n < 8; ++n) EXPECT_EQ(squares[static_cast<std::size_t>(n)].get().unwrap(), n * n);
}

/// Takes connections at that port, and says nothing.
class SilentServer {
 public:
  explicit SilentServer(std::uint16_t port) {
    const int on = 1;
    ::setsockopt(door_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(door_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(door_, 8), 0);
  }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;
  ~SilentServer() {
    ::close(line_);
    ::close(door_);
  }
  void wait_for_a_client() { line_ = ::accept(door_, nullptr, nullptr); }

 private:
  int door_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int line_ = -1;
};

TEST(RemoteConnection, WhoMakesItAnewHoldsNobodyUpForLongerThanHeWants) {
  Manager manager{{.address = passel::TcpAddress{}}};
  std::optional<passel::ManagerServer> server{manager.get_server().unwrap()};
  const std::uint16_t port = std::get<passel::TcpAddress>(server->address()).port;
  auto executor =
      RemoteExecutor::connect({.address = server->address(), .tasks = all_tasks()}).unwrap();
  Future<int> lost = executor.submit<square>(1);
  while (executor.stats().unwrap().waiting == 0) std::this_thread::sleep_for(1ms);
  server.reset();
  EXPECT_EQ(lost.get().error(), Errc::peer_lost);

  std::optional<SilentServer> silent{port};
  std::atomic<bool> is_over{false};
  std::thread patient{[&] {
    EXPECT_TRUE(executor.submit<square>(2).get().is_err());
    is_over = true;
  }};
  silent->wait_for_a_client();
  EXPECT_EQ(executor.submit_for<square>(20ms, 3).unwrap().get().error(), Errc::timeout);
  EXPECT_EQ(executor.submit<square>({.deadline = -1h}, 3).get().error(), Errc::timeout);
  EXPECT_FALSE(is_over);
  silent.reset();
  patient.join();
}

/// Asks for more than its server keeps for it, and waits.
void ask_for_much(std::string socket) {
  auto executor =
      RemoteExecutor::connect({.address = passel::UnixAddress{socket}, .tasks = all_tasks()})
          .unwrap();
  std::vector<Future<Bytes>> large;
  for (int n = 0; n < 560; ++n) large.push_back(executor.submit<blob>(mebibyte / 4));
  std::vector<Future<int>> small;
  for (int n = 0; n < 8000; ++n) small.push_back(executor.submit<square>(n));
  for (auto& one : small) static_cast<void>(one.get());
}

TEST_F(RemoteLossTest, ASubmitterThatReadsNothingTakesNothingFromOthers) {
  const auto server = manager_.get_server().unwrap();
  auto executor = this->executor();
  const std::string socket = std::get<passel::UnixAddress>(manager_.address()).path;
  const auto submitter = passel::Process::spawn<ask_for_much>(socket).unwrap();
  settled(executor, [](const auto& stats) { return stats.waiting == 8560; });
  passel_test::stop_all_of(*submitter.pid());
  auto worker = this->worker({.processes = 1});
  EXPECT_EQ(executor.submit<square>(3).get().unwrap(), 9);
  submitter.kill().unwrap();
  settled(executor, [](const auto& stats) { return stats.workers.at(0).has == 0; });
  worker.leave();
  worker.wait().unwrap();
  static_cast<void>(submitter.join());
}

/// Asks for more than lies in a server for one client, and wants all of it.
void ask_for_all(std::string socket) {
  auto executor =
      RemoteExecutor::connect({.address = passel::UnixAddress{socket}, .tasks = all_tasks()})
          .unwrap();
  std::vector<Future<Bytes>> all;
  for (int n = 0; n < 160; ++n) all.push_back(executor.submit<blob>(mebibyte));
  for (auto& one : all) static_cast<void>(one.get().unwrap());
}

TEST_F(RemoteLossTest, AnswersWaitForASubmitterThatIsSlow) {
  const auto server = manager_.get_server().unwrap();
  auto executor = this->executor();
  const std::string socket = std::get<passel::UnixAddress>(manager_.address()).path;
  auto submitter = passel::Process::spawn<ask_for_all>(socket).unwrap();
  settled(executor, [](const auto& stats) { return stats.waiting == 160; });
  passel_test::stop_all_of(*submitter.pid());
  const auto worker = this->worker({.processes = 1});
  settled(executor, [](const auto& stats) { return stats.done == 160; });
  ::kill(*submitter.pid(), SIGCONT);
  submitter.join().unwrap();
  EXPECT_EQ(submitter.exitcode(), 0);
}

TEST_F(RemoteLossTest, AWorkerThatJoinsAgainOverTheSameSessionIsThereOnce) {
  const auto server = manager_.get_server().unwrap();
  const auto worker = this->worker({.processes = 1});
  auto executor = this->executor();
  // The worker's own call ends for it, and not for the broker.
  const DynamicProxy broker = manager_.create(passel::detail::broker_type, std::string{}).unwrap();
  auto usurper = broker.call_async<void>("stay", std::uint64_t{1});
  while (worker.stats().reconnects == 0) std::this_thread::sleep_for(1ms);
  settled(executor, [](const auto& stats) { return stats.workers.size() == 1; });
  EXPECT_EQ(executor.submit<square>(5).get().unwrap(), 25);
  EXPECT_EQ(usurper.get().error(), Errc::broken);
}

}  // namespace
