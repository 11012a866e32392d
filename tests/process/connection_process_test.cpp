// Pipes between processes: ends as arguments, children that are killed, waiting for several.
#include <passel/client.hpp>
#include <passel/connection.hpp>
#include <passel/connection_wait.hpp>
#include <passel/listener.hpp>
#include <passel/pipe.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Client;
using passel::Connection;
using passel::connection_wait;
using passel::Errc;
using passel::Listener;
using passel::Pipe;
using passel::PipeDirection;
using passel::Process;
using passel::ProcessOptions;
using passel::StartMethod;
using passel::UnixAddress;
using passel::Waitable;
using passel_test::ProcessCensus;
using testing::ElementsAre;

void echo(Connection line) {
  while (auto message = line.recv_bytes()) line.send_bytes(*message).unwrap();
}

void send_pid_and_wait(Connection line) {
  line.send(::getpid()).unwrap();
  for (;;) ::pause();
}

class PipeTo : public testing::TestWithParam<StartMethod> {
 protected:
  void TearDown() override { EXPECT_EQ(ProcessCensus::settle(before_), ""); }

 private:
  // The first child also starts what the family keeps.
  ProcessCensus before_ = [] {
    Process::spawn([] {}).unwrap().join().unwrap();
    return ProcessCensus::take();
  }();
};
INSTANTIATE_TEST_SUITE_P(Methods, PipeTo,
                         testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& method) { return to_string(method.param); });

TEST_P(PipeTo, AChildThatEchoes) {
  auto [here, there] = Pipe::create().unwrap();
  auto child = Process::spawn<echo>({.method = GetParam()}, std::move(there)).unwrap();
  here.send_bytes("hello").unwrap();
  EXPECT_EQ(here.recv_bytes().unwrap().size(), 5U);
  const std::vector<std::byte> large(std::size_t{16} << 20, std::byte{7});
  here.send_bytes(large).unwrap();
  EXPECT_EQ(here.recv_bytes().unwrap(), large);
  here.close();  // nobody else has this end: the child's loop ends
  EXPECT_EQ(child.join().unwrap(), 0);
}

TEST_P(PipeTo, TheEndOfAChildIsTheEndOfItsLine) {
  auto [here, there] = Pipe::create().unwrap();
  auto child =
      Process::spawn(
          {.method = GetParam()}, [](Connection line) { line.send(std::string{"bye"}).unwrap(); },
          std::move(there))
          .unwrap();
  EXPECT_TRUE(there.closed());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(here.recv<std::string>().unwrap(), "bye");
  EXPECT_EQ(here.recv<std::string>().error(), Errc::closed);
}

TEST_P(PipeTo, AKilledChildEndsAWaitingRecv) {
  auto [here, there] = Pipe::create().unwrap();
  auto child = Process::spawn<send_pid_and_wait>({.method = GetParam()}, std::move(there)).unwrap();
  EXPECT_EQ(here.recv<int>().unwrap(), *child.pid());
  child.kill().unwrap();
  EXPECT_EQ(here.recv<int>().error(), Errc::closed);
  EXPECT_EQ(here.send(1).error(), Errc::closed);
  EXPECT_EQ(child.join().unwrap(), -SIGKILL);
}

TEST_P(PipeTo, AChildClosesItsEndBeforeItEnds) {
  auto [here, there] = Pipe::create().unwrap();
  auto [go, gone] = Pipe::create().unwrap();
  auto child = Process::spawn(
                   {.method = GetParam()},
                   [](Connection line, Connection wait) {
                     line.close();
                     wait.recv<int>().unwrap();
                   },
                   std::move(there), std::move(gone))
                   .unwrap();
  EXPECT_EQ(here.recv<int>().error(), Errc::closed);  // while the child is alive
  EXPECT_TRUE(child.is_alive());
  go.send(1).unwrap();
}

TEST_P(PipeTo, AChildKilledInTheMiddleOfAMessage) {
  auto [here, there] = Pipe::create().unwrap();
  auto child = Process::spawn(
                   {.method = GetParam()},
                   [](Connection line) {
                     const std::vector<std::byte> large(std::size_t{64} << 20);
                     static_cast<void>(line.send_bytes(large).is_ok());
                   },
                   std::move(there))
                   .unwrap();
  here.wait().unwrap();  // the line is full by and by, and the child stuck in its message
  EXPECT_EQ(here.try_recv_bytes().error(), Errc::empty);
  child.kill().unwrap();
  EXPECT_EQ(here.recv_bytes().error(), Errc::peer_lost);
  EXPECT_EQ(here.recv_bytes().error(), Errc::closed);
}

TEST_P(PipeTo, TwoChildrenHaveALineOfTheirOwn) {
  auto [first, second] = Pipe::create({.direction = PipeDirection::one_way}).unwrap();
  auto [here, there] = Pipe::create().unwrap();
  auto consumer = Process::spawn(
                      {.method = GetParam()},
                      [](Connection in, Connection out) {
                        int sum = 0;
                        while (auto n = in.recv<int>()) sum += *n;
                        out.send(sum).unwrap();
                      },
                      std::move(first), std::move(there))
                      .unwrap();
  auto producer = Process::spawn(
                      {.method = GetParam()},
                      [](Connection out) {
                        for (int i = 1; i <= 1000; ++i) out.send(i).unwrap();
                      },
                      std::move(second))
                      .unwrap();
  EXPECT_EQ(here.recv<int>().unwrap(), 500500);
}

TEST_P(PipeTo, AnEndGivenToALivingChild) {
  auto [here, there] = Pipe::create().unwrap();
  auto child = Process::spawn(
                   {.method = GetParam()},
                   [](Connection line) {
                     auto other = line.recv<Connection>().unwrap();
                     other.send(std::string{"through the second"}).unwrap();
                   },
                   std::move(there))
                   .unwrap();
  auto [second, theirs] = Pipe::create().unwrap();
  here.send(theirs).unwrap();
  theirs.close();
  EXPECT_EQ(second.recv<std::string>().unwrap(), "through the second");
  EXPECT_EQ(second.recv<int>().error(), Errc::closed);
}

TEST_P(PipeTo, WaitingForChildrenAndTheirLines) {
  auto [a, a_there] = Pipe::create().unwrap();
  auto [b, b_there] = Pipe::create().unwrap();
  auto first = Process::spawn<echo>({.method = GetParam()}, std::move(a_there)).unwrap();
  auto second =
      Process::spawn<send_pid_and_wait>({.method = GetParam()}, std::move(b_there)).unwrap();
  b.recv<int>().unwrap();
  const std::vector<Waitable> objects{a, first.sentinel().unwrap(), b, second.sentinel().unwrap()};
  a.send_bytes("x").unwrap();
  EXPECT_THAT(connection_wait(objects).unwrap(), ElementsAre(0U));
  a.recv_bytes().unwrap();
  second.kill().unwrap();
  second.join().unwrap();
  EXPECT_THAT(connection_wait(objects).unwrap(), ElementsAre(2U, 3U));
  a.close();
}

TEST(PipeOf, QueuesGoByInheritanceOnly) {
  auto [here, there] = Pipe::create().unwrap();
  passel::Queue<int> queue;
  EXPECT_EQ(here.send(queue).error(), Errc::invalid_state);
  EXPECT_FALSE(there.poll().unwrap());
}

TEST(PipeOf, AClosedEndIsNoArgument) {
  auto [here, there] = Pipe::create().unwrap();
  there.close();
  auto child = Process::spawn<echo>(std::move(there)).unwrap();
  EXPECT_EQ(child.join().unwrap(), 1);
  EXPECT_EQ(here.recv_bytes().error(), Errc::closed);
}

TEST_P(PipeTo, ChildrenHaveTheKeyOfTheirParent) {
  passel::set_authkey(passel::AuthKey::generate());
  auto listener = Listener::open({}, {.authkey = passel::authkey()}).unwrap();
  const auto grandchild = [](std::string path) {
    auto line = Client::connect(UnixAddress{path}, {.authkey = passel::current_process().authkey()})
                    .unwrap();
    line.send(std::string{"it is me"}).unwrap();
  };
  const std::string path = std::get<UnixAddress>(listener.address()).path;
  auto child = Process::spawn({.method = GetParam()}, grandchild, path).unwrap();
  EXPECT_EQ(listener.accept().unwrap().recv<std::string>().unwrap(), "it is me");
  passel::set_authkey(passel::AuthKey{""});  // an empty one is inherited, too
  auto next = Listener::open({}, {.authkey = passel::AuthKey{""}}).unwrap();
  auto second =
      Process::spawn({.method = GetParam()}, grandchild, std::get<UnixAddress>(next.address()).path)
          .unwrap();
  EXPECT_EQ(next.accept().unwrap().recv<std::string>().unwrap(), "it is me");
}

void serve(std::string path, Connection ready) {
  auto listener = Listener::open(UnixAddress{path}).unwrap();
  ready.send(1).unwrap();
  while (auto line = listener.accept()) line->send(line->recv<int>().unwrap() + 1).unwrap();
}

TEST(ListenerInAChild, KilledItLeavesAPlaceThatTheNextOneTakes) {
  std::string directory = (std::filesystem::temp_directory_path() / "passel-test-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/x.sock";
  for (int life = 0; life < 3; ++life) {
    auto [ready, there] = Pipe::create().unwrap();
    auto child = Process::spawn<serve>(path, std::move(there)).unwrap();
    ready.recv<int>().unwrap();
    EXPECT_EQ(Listener::open(UnixAddress{path}).error(), Errc::refused);  // it is alive
    auto line = Client::connect(UnixAddress{path}).unwrap();
    line.send(life).unwrap();
    EXPECT_EQ(line.recv<int>().unwrap(), life + 1);
    auto waiting = Client::connect(UnixAddress{path}).unwrap();
    child.kill().unwrap();
    EXPECT_EQ(waiting.recv<int>().error(), Errc::closed);
    child.join().unwrap();
    EXPECT_EQ(Client::connect(UnixAddress{path}).error(), Errc::refused);
  }
  Listener::open(UnixAddress{path}).unwrap().close();
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  std::filesystem::remove(directory);
}

TEST(ListenerInAParent, AnAcceptedConnectionIsGivenToAChild) {
  auto listener = Listener::open().unwrap();
  auto client = Client::connect(listener.address()).unwrap();
  auto child = Process::spawn<echo>(listener.accept().unwrap()).unwrap();
  client.send_bytes("x").unwrap();
  EXPECT_EQ(client.recv_bytes().unwrap().size(), 1U);
  client.close();
  EXPECT_EQ(child.join().unwrap(), 0);
}

/// Several processes at one end: small messages stay whole.
TEST(PipeOf, ManyWritersOfSmallMessages) {
  auto [reader, writer] = Pipe::create({.direction = PipeDirection::one_way}).unwrap();
  std::vector<Process> children;
  for (int n = 0; n < 4; ++n) {
    auto copy = passel::from_value<Connection>(passel::to_value(writer)).unwrap();
    children.push_back(Process::spawn(
                           [](Connection line, int number) {
                             for (int i = 0; i < 200; ++i)
                               line.send(std::vector<int>(1000, number)).unwrap();
                           },
                           std::move(copy), n)
                           .unwrap());
  }
  writer.close();
  std::vector<int> counts(4);
  while (auto got = reader.recv<std::vector<int>>()) {
    EXPECT_EQ(*got, std::vector<int>(1000, got->front()));
    ++counts.at(static_cast<std::size_t>(got->front()));
  }
  EXPECT_THAT(counts, ElementsAre(200, 200, 200, 200));
}

}  // namespace
