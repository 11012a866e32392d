// Layer actors: which hosted objects live, in steps and in the simulator.
#include "manager_registry.hpp"

#include <passel/testing.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel::detail::registry_event;
using passel::SimulateOptions;
using passel::Simulation;
using passel::detail::ManagerRegistry;
using passel::detail::RegistryEvent;
using passel::detail::RegistryOptions;

class Steps : public ::testing::Test {
 protected:
  /// The objects that go.
  std::vector<std::uint64_t> feed(RegistryEvent event) {
    std::vector<ManagerRegistry::Action> actions;
    registry.step(std::move(event), now, actions);
    std::vector<std::uint64_t> gone;
    for (const auto& action : actions) gone.push_back(action.object);
    return gone;
  }
  using Objects = std::vector<std::uint64_t>;

  ManagerRegistry registry{RegistryOptions{.lease = 10s, .orphan_lease = 1s, .max_leases = 3}};
  ManagerRegistry::Time now{1h};
};
using ManagerRegistrySteps = Steps;

TEST_F(ManagerRegistrySteps, AnObjectGoesWithItsLastProxy) {
  feed(Created{1, 7});
  feed(Hold{2, 7, 0});
  EXPECT_EQ(registry.references(7), 2U);
  EXPECT_EQ(feed(Drop{1, 7}), Objects{});
  EXPECT_FALSE(registry.holds(1, 7));
  EXPECT_EQ(feed(Drop{2, 7}), Objects{7});
  EXPECT_FALSE(registry.knows(7));
}

TEST_F(ManagerRegistrySteps, ASessionGivesBackOnlyWhatItHas) {
  feed(Created{1, 7});
  EXPECT_EQ(feed(Drop{2, 7}), Objects{});
  EXPECT_EQ(feed(Drop{1, 8}), Objects{});
  EXPECT_EQ(registry.references(7), 1U);
}

TEST_F(ManagerRegistrySteps, ASessionThatEndsGivesUpAllItHeld) {
  feed(Created{1, 7});
  feed(Created{1, 8});
  feed(Created{1, 8});
  feed(Hold{2, 8, 0});
  EXPECT_EQ(feed(Ended{1}), Objects{7});
  EXPECT_EQ(registry.references(8), 1U);
}

TEST_F(ManagerRegistrySteps, AProxyOnItsWayKeepsTheObject) {
  feed(Created{1, 7});
  feed(Lend{1, 7, 100});
  EXPECT_EQ(feed(Drop{1, 7}), Objects{});
  feed(Hold{2, 7, 100});
  EXPECT_EQ(registry.references(7), 1U);
  EXPECT_EQ(registry.leases(), 0U);
  EXPECT_EQ(feed(Drop{2, 7}), Objects{7});
}

TEST_F(ManagerRegistrySteps, AProxyMayArriveBeforeTheNewsOfItsDeparture) {
  feed(Created{1, 7});
  feed(Hold{2, 7, 100});
  feed(Lend{1, 7, 100});
  EXPECT_EQ(registry.leases(), 0U);
  feed(Drop{1, 7});
  EXPECT_EQ(feed(Drop{2, 7}), Objects{7});
}

TEST_F(ManagerRegistrySteps, AProxyThatNeverArrivesCountsAsLost) {
  feed(Created{1, 7});
  feed(Lend{1, 7, 100});
  feed(Drop{1, 7});
  EXPECT_EQ(registry.next_wakeup(), now + 10s);
  now += 9s;
  EXPECT_EQ(feed(Tick{}), Objects{});
  now += 1s;
  EXPECT_EQ(feed(Tick{}), Objects{7});
  EXPECT_EQ(registry.next_wakeup(), std::nullopt);
}

TEST_F(ManagerRegistrySteps, ThatIsSoonerWhenItsSenderIsGone) {
  feed(Created{1, 7});
  feed(Lend{1, 7, 100});
  EXPECT_EQ(feed(Ended{1}), Objects{});
  EXPECT_EQ(registry.next_wakeup(), now + 1s);
}

TEST_F(ManagerRegistrySteps, OnlyWhoHoldsAnObjectCanLendIt) {
  feed(Created{1, 7});
  feed(Lend{2, 7, 100});
  EXPECT_EQ(registry.leases(), 0U);
}

TEST_F(ManagerRegistrySteps, ASessionThatLendsAndLendsLosesItsOldestLeases) {
  feed(Created{1, 7});
  for (std::uint64_t ticket = 1; ticket <= 10; ++ticket) feed(Lend{1, 7, ticket});
  EXPECT_EQ(registry.leases(), 3U);
  EXPECT_EQ(registry.references(7), 4U);
  EXPECT_EQ(feed(Drop{1, 7}), Objects{});
}

TEST_F(ManagerRegistrySteps, WhatTheServerKeepsStays) {
  feed(Created{1, 7});
  feed(Keep{7});
  EXPECT_EQ(feed(Ended{1}), Objects{});
  EXPECT_EQ(feed(Unkeep{7}), Objects{7});
}

// --- in the simulator

/// Clients that make objects, send proxies to each other, drop them and die.
class World {
 public:
  explicit World(Simulation& sim) : sim_{sim}, server_{sim.add_node("server")} {
    for (std::uint64_t id = 1; id <= 4; ++id) {
      clients_[id].node = sim.add_node("client" + std::to_string(id));
      sim.on_death(clients_[id].node, [this, id] {
        clients_[id].proxies.clear();
        tell(id, "the end", Ended{id});
      });
    }
    sim.explain("what somebody has is there", [this] { return missing(); });
    for (int round = 0; round < 30; ++round)
      sim.at(random_time(), server_, "something", [this] { act(); });
    sim.at(2s, server_, "the end", [this] {
      for (auto& [id, client] : clients_)
        while (!client.proxies.empty()) drop(id);
    });
  }

  [[nodiscard]] bool is_empty() const {
    return registry_.objects() == 0 && registry_.leases() == 0;
  }

 private:
  struct Client {
    Simulation::Node node = Simulation::nobody;
    std::vector<std::uint64_t> proxies;
  };

  Simulation::Time random_time() { return Simulation::Time{sim_.random().below(1'000'000'000)}; }

  /// News over the client's connection: in order, all of it.
  void tell(std::uint64_t client, const char* what, RegistryEvent event) {
    sim_.send(clients_[client].node, server_, what, [this, event] { feed(event); });
  }
  void feed(const RegistryEvent& event) {
    sim_.feed(registry_, event, [](const auto&) {});
    const auto due = registry_.next_wakeup();
    if (!due || due == armed_) return;
    armed_ = due;
    sim_.at(sim_.now() + (*due - sim_.time_point()), server_, "tick", [this] { feed(Tick{}); });
  }

  void act() {
    const std::uint64_t id = 1 + sim_.random().below(clients_.size());
    Client& client = clients_[id];
    if (!sim_.is_alive(client.node)) return;
    switch (sim_.random().below(6)) {
      case 0:
      case 1: return create(id);
      case 2:
      case 3: return lend(id);
      case 4: return drop(id);
      default:
        if (sim_.random().chance(0.3)) sim_.kill(client.node);
    }
  }
  void create(std::uint64_t id) {
    const std::uint64_t object = ++last_object_;
    sim_.send(clients_[id].node, server_, "create", [this, id, object] {
      feed(Created{id, object});
      sim_.send(server_, clients_[id].node, "created",
                [this, id, object] { clients_[id].proxies.push_back(object); });
    });
  }
  void lend(std::uint64_t id) {
    if (clients_[id].proxies.empty()) return;
    const std::uint64_t object = clients_[id].proxies.back();
    const std::uint64_t to = 1 + sim_.random().below(clients_.size());
    const std::uint64_t ticket = ++last_ticket_;
    tell(id, "lend", Lend{id, object, ticket});
    sim_.send(clients_[id].node, clients_[to].node, "proxy", [this, to, object, ticket] {
      clients_[to].proxies.push_back(object);
      tell(to, "hold", Hold{to, object, ticket});
    });
    if (sim_.random().chance(0.5)) drop(id);
  }
  void drop(std::uint64_t id) {
    if (clients_[id].proxies.empty()) return;
    const std::uint64_t object = clients_[id].proxies.back();
    clients_[id].proxies.pop_back();
    tell(id, "drop", Drop{id, object});
  }
  std::optional<std::string> missing() const {
    for (const auto& [id, client] : clients_)
      for (const std::uint64_t object : client.proxies)
        if (!registry_.knows(object))
          return "client" + std::to_string(id) + " has a proxy of " + std::to_string(object);
    return std::nullopt;
  }

  Simulation& sim_;
  Simulation::Node server_;
  ManagerRegistry registry_{RegistryOptions{.lease = 60s, .orphan_lease = 1s}};
  std::map<std::uint64_t, Client> clients_;
  std::optional<ManagerRegistry::Time> armed_;
  std::uint64_t last_object_ = 0;
  std::uint64_t last_ticket_ = 0;
};

TEST(ManagerRegistrySimulation, ObjectsLiveAsLongAsProxiesAndNoLonger) {
  const auto failure = passel::simulate(SimulateOptions{.seeds = 5000}, [](Simulation& sim) {
    World world{sim};
    if (sim.run() && !world.is_empty()) sim.fail("objects are left over");
  });
  EXPECT_FALSE(failure) << failure->to_string();
}

}  // namespace
