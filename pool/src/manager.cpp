// Layer pool: a server of shared objects and of pools that span hosts.
#include <passel/manager.hpp>

#include <passel/detail/child.hpp>

#include "hosted_pool.hpp"
#include "task_broker.hpp"

#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0 {
namespace detail {
namespace {

/// The brokers of this process, by server and name. The I/O thread alone touches it.
using BrokerRoll = std::map<std::pair<const HostedSite*, std::string>, std::weak_ptr<TaskBroker>>;
BrokerRoll& broker_roll() {
  static auto* const all = new BrokerRoll;
  return *all;
}

std::vector<std::shared_ptr<TaskBroker>> all_brokers() {
  std::vector<std::shared_ptr<TaskBroker>> all;
  for (const auto& [key, weak] : broker_roll())
    if (auto broker = weak.lock()) all.push_back(std::move(broker));
  return all;
}

}  // namespace

Result<std::shared_ptr<HostedObject>> make_task_broker(const HostedCall& call) {
  PASSEL_TRY(auto args, call.arguments<std::string>());
  std::erase_if(broker_roll(), [](const auto& entry) { return entry.second.expired(); });
  auto& place = broker_roll()[{call.site.get(), std::get<0>(args)}];
  auto broker = place.lock();
  if (!broker) {
    broker = std::make_shared<TaskBroker>(call.site, std::move(std::get<0>(args)));
    place = broker;
  }
  return std::shared_ptr<HostedObject>{std::move(broker)};
}

}  // namespace detail

Manager::Manager(ManagerOptions options) : SyncManager{std::move(options)} {
  using namespace detail;
  add_type(broker_type, {HostedFactoryTask<&make_task_broker>::id(), {&make_task_broker}}).unwrap();
  add_type("Pool", {HostedFactoryTask<&make_hosted_pool>::id(), {&make_hosted_pool}}).unwrap();
}

Result<void> Manager::expose(const ExposedTasks& tasks) {
  PASSEL_CHECK(check_not_begun());
  return tasks_.add(tasks);
}

Result<void> Manager::start() {
  if (tasks_.empty()) return BaseManager::start();
  return BaseManager::start_with<&detail::expose_here>(detail::plan_of(tasks_));
}

Result<ManagerServer> Manager::get_server() {
  PASSEL_TRY(auto server, BaseManager::get_server());
  detail::expose_here(detail::plan_of(tasks_));
  return server;
}

Result<PoolProxy> Manager::pool(ManagedPoolOptions options) {
  PASSEL_TRY(PoolProxy pool,
             create("Pool").map([](DynamicProxy made) { return PoolProxy{std::move(made)}; }));
  const detail::HostedPoolPlan plan{options.processes, options.maxtasksperchild,
                                    std::move(options.name)};
  PASSEL_CHECK(pool.call<void>("start", plan));
  return pool;
}

Result<Manager> Manager::started(ManagerOptions options) {
  Manager manager{std::move(options)};
  PASSEL_CHECK(manager.start());
  return manager;
}

bool Manager::drain(detail::Deadline deadline) {
  const auto loop = detail::runtime_io();
  if (!loop || (*loop)->on_loop_thread()) return false;
  auto left = std::make_shared<std::promise<void>>();
  std::promise<void> begun;
  (*loop)->post([left, &begun] {
    const auto brokers = detail::all_brokers();
    // Told by the last of them; at once when there is none.
    const auto last = std::shared_ptr<void>{nullptr, [left](void*) { left->set_value(); }};
    for (const auto& broker : brokers) broker->drain([last] {});
    begun.set_value();
  });
  begun.get_future().wait();
  const auto done = left->get_future();
  if (!deadline.is_never()) return done.wait_until(deadline.when()) == std::future_status::ready;
  done.wait();
  return true;
}

}  // namespace passel::inline v0
