// Layer sync: SyncManager: a manager with the shared types of this layer.
#include <passel/sync_manager.hpp>

#include "hosted_dict.hpp"
#include "hosted_list.hpp"
#include "hosted_locks.hpp"
#include "hosted_queue.hpp"
#include "hosted_set.hpp"

namespace passel::inline v0 {
namespace {

template <detail::HostedFactory Factory>
detail::ManagerType type_made_by() {
  return {detail::HostedFactoryTask<Factory>::id(), {Factory}};
}

}  // namespace

SyncManager::SyncManager(ManagerOptions options) : BaseManager{std::move(options)} {
  using namespace detail;
  const std::pair<const char*, ManagerType> types[] = {
      {"Queue", type_made_by<&make_hosted_queue>()},
      {"JoinableQueue", type_made_by<&make_hosted_joinable_queue>()},
      {"LifoQueue", type_made_by<&make_hosted_lifo_queue>()},
      {"PriorityQueue", type_made_by<&make_hosted_priority_queue>()},
      {"list", type_made_by<&make_hosted_list>()},
      {"dict", type_made_by<&make_hosted_dict>()},
      {"set", type_made_by<&make_hosted_set>()},
      {"Namespace", type_made_by<&make_hosted_namespace>()},
      {"Value", type_made_by<&make_hosted_value>()},
      {"Array", type_made_by<&make_hosted_array>()},
      {"Lock", type_made_by<&make_hosted_lock>()},
      {"RLock", type_made_by<&make_hosted_rlock>()},
      {"Semaphore", type_made_by<&make_hosted_semaphore>()},
      {"BoundedSemaphore", type_made_by<&make_hosted_bounded_semaphore>()},
      {"Event", type_made_by<&make_hosted_event>()},
      {"Condition", type_made_by<&make_hosted_condition>()},
      {"Barrier", type_made_by<&make_hosted_barrier>()},
  };
  for (const auto& [name, type] : types) add_type(name, type).unwrap();
}

Result<SyncManager> SyncManager::started(ManagerOptions options) {
  SyncManager manager{std::move(options)};
  PASSEL_CHECK(manager.start());
  return manager;
}

}  // namespace passel::inline v0
