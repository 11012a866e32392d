// How managers are reached: at all addresses of a host, over connections that break, from forked
// children, and when another one is at the same place.
#include <passel/process.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/chaos_proxy.hpp"
#include "support/own_address.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using passel::Address;
using passel::AuthKey;
using passel::BaseManager;
using passel::DictProxy;
using passel::Errc;
using passel::ListProxy;
using passel::Process;
using passel::Proxy;
using passel::SyncManager;
using passel::TcpAddress;
using passel::UnixAddress;
using ::testing::ElementsAre;

struct Counter {
  int add(int n) { return total += n; }
  int total = 0;
};

struct Shelf {
  Counter& counter() { return kept; }
  Counter kept{7};
};

/// One for all clients.
struct Numbers {
  void add(int n) { added.push_back(n); }
  [[nodiscard]] std::vector<int> all() const { return added; }
  std::vector<int> added;
};
Numbers& the_numbers() {
  static Numbers numbers;
  return numbers;
}

void register_types(BaseManager& manager) {
  manager
      .register_type<Numbers, passel::factory<&the_numbers>, &Numbers::add, &Numbers::all>(
          "Numbers")
      .unwrap();
  manager.register_type<Counter, &Counter::add>("Counter").unwrap();
  manager
      .register_type<Shelf, passel::hosted_result<"Counter", &Shelf::counter, &Counter::add>>(
          "Shelf")
      .unwrap();
}

class ManagerReach : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, ManagerReach,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& at) { return at.param.index() == 0 ? "Unix" : "Tcp"; });

TEST_P(ManagerReach, AManagerThatIsDeadEndsNothingOfItsSuccessor) {
  BaseManager first{{.address = passel_test::own_address(GetParam(), "successor")}};
  register_types(first);
  first.start().unwrap();
  ::kill(*first.pid(), SIGKILL);
  first.join().unwrap();
  BaseManager second{{.address = first.address()}};
  register_types(second);
  second.start().unwrap();
  auto fresh = second.create<Counter>("Counter").unwrap();
  fresh.call<&Counter::add>(2).unwrap();
  first.shutdown().unwrap();
  EXPECT_EQ(fresh.call<&Counter::add>(1).unwrap(), 3);
  EXPECT_EQ(second.number_of_objects().unwrap(), 1U);
}

// N-53: a forked child has a connection of its own, and leaves its parent's alone.
TEST_P(ManagerReach, AForkedChildUsesProxiesOverItsOwnConnection) {
  BaseManager manager{{.address = GetParam()}};
  register_types(manager);
  manager.start().unwrap();
  auto counter = manager.create<Counter>("Counter").unwrap();
  counter.call<&Counter::add>(1).unwrap();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto added = counter.call<&Counter::add>(2);
    ::_exit(added && *added == 3 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(counter.call<&Counter::add>(1).unwrap(), 4);
}

void use_nested(const DictProxy<std::string, ListProxy<int>>& dict) {
  dict.at("list").unwrap().append(2).unwrap();
}

// N-51: what lies in a container is reached as the container is, whatever the key.
TEST_P(ManagerReach, NestedProxiesKnowTheKeyOfTheirManager) {
  auto manager =
      SyncManager::started({.address = GetParam(), .authkey = AuthKey::generate()}).unwrap();
  const auto list = manager.list<int>({1}).unwrap();
  const auto dict = manager.dict<std::string, ListProxy<int>>({{"list", list}}).unwrap();
  EXPECT_EQ(Process::spawn<use_nested>(dict).unwrap().join().unwrap(), 0);
  EXPECT_EQ(list.text().unwrap(), "[1, 2]");
}

/// What a client on another host does: it knows the server by an address of its own.
void use_and_check(const std::string& host, std::uint16_t port) {
  BaseManager manager{{.address = TcpAddress{host, port}}};
  manager.connect().unwrap();
  const auto shelf = manager.create<Shelf>("Shelf").unwrap();
  const auto counter = shelf.call<Proxy<Counter>>("counter").unwrap();
  if (counter.address() != Address{TcpAddress{host, port}}) throw std::runtime_error{"address"};
  if (counter.call<&Counter::add>(1).unwrap() != 8) throw std::runtime_error{"counter"};
}

TEST(ManagerEverywhere, ProxiesNameTheAddressThatReachedTheirServer) {
  for (const std::string everywhere : {"0.0.0.0", "::"}) {
    const bool v6 = everywhere == "::";
    if (v6 && !passel_test::has_v6()) continue;
    BaseManager manager{{.address = TcpAddress{everywhere, 0}}};
    register_types(manager);
    manager.start().unwrap();
    const std::uint16_t port = std::get<TcpAddress>(manager.address()).port;
    const std::string host = v6 ? "::1" : "127.0.0.1";
    EXPECT_EQ(Process::spawn<use_and_check>(host, port).unwrap().join().unwrap(), 0);
  }
}

TEST(ManagerEverywhere, WhatIsFoundThroughATunnelIsReachedThroughIt) {
  BaseManager manager{{.address = TcpAddress{}}};
  register_types(manager);
  manager.start().unwrap();
  const passel_test::ChaosProxy tunnel{std::get<TcpAddress>(manager.address()).port};
  const Address through{TcpAddress{"127.0.0.1", tunnel.port()}};
  BaseManager client{{.address = through}};
  client.connect().unwrap();
  const auto shelf = client.create<Shelf>("Shelf").unwrap();
  client.publish("shelf", shelf).unwrap();
  EXPECT_EQ(client.named<Proxy<Shelf>>("shelf").unwrap().address(), through);
  EXPECT_EQ(shelf.call<Proxy<Counter>>("counter").unwrap().address(), through);
}

// N-56: whoever is cut off connects again with the same life of the server, and no call is
// repeated behind the caller's back.
TEST(ManagerEverywhere, AProxyConnectsAgainWhenItsConnectionBroke) {
  BaseManager manager{{.address = TcpAddress{}}};
  register_types(manager);
  manager.start().unwrap();
  const auto near = manager.create<Numbers>("Numbers").unwrap();  // keeps it
  passel_test::ChaosProxy line{std::get<TcpAddress>(manager.address()).port};
  BaseManager client{{.address = TcpAddress{"127.0.0.1", line.port()}}};
  client.connect().unwrap();
  const auto far = client.create<Numbers>("Numbers").unwrap();
  EXPECT_EQ(far, near);
  for (int cut = 0; cut < 3; ++cut) {
    const std::size_t before = line.lines();
    line.cut();
    // Whoever finds out that the line is cut is told, and the next call makes another one.
    for (bool again = false; !again;) {
      const auto all = far.call<&Numbers::all>();
      EXPECT_TRUE(all || all.error() == Errc::peer_lost) << all.error().to_string();
      again = all && line.lines() > before;
    }
    far.call<&Numbers::add>(cut).unwrap();
  }
  EXPECT_THAT(near.call<&Numbers::all>().unwrap(), ElementsAre(0, 1, 2));
}

}  // namespace
