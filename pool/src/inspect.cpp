// Layer pool: what the processes of this host share, as anybody of the same user may see it.
#include <passel/inspect.hpp>

#include "process_table.hpp"
#include "worker_channel.hpp"

#include <passel/detail/foreign_memory.hpp>
#include <passel/detail/queue_view.hpp>
#include <passel/detail/sync_view.hpp>

#include <unistd.h>
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

namespace passel::inline v0 {
namespace {

using detail::ChannelLayout;
using detail::ForeignMemory;
using detail::ListedProcess;
using detail::MemoryCopy;
using detail::SyncParty;
using detail::SyncView;

QueueReport report_of(const detail::QueueView& view, const ForeignMemory& memory) {
  return {.id = std::to_string(memory.inode()),
          .type = view.type,
          .depth = view.depth,
          .maxsize = view.maxsize,
          .puts = view.puts,
          .bytes = view.bytes,
          .getters = view.getters,
          .putters = view.putters,
          .joinable = view.joinable,
          .unfinished = view.unfinished,
          .shut_down = view.shut_down,
          .pids = memory.pids()};
}

std::vector<PartyReport> parties_of(const std::vector<SyncParty>& parties) {
  std::vector<PartyReport> reports;
  for (const SyncParty& party : parties)
    reports.push_back({.pid = party.pid, .thread = party.thread});
  return reports;
}

std::string lock_id(const ForeignMemory& memory, std::uint64_t id) {
  return std::to_string(memory.inode()) + "." + std::to_string(id & 0xffff'ffff) + "." +
         std::to_string(id >> 32);
}

LockReport report_of(const SyncView& view, const ForeignMemory& memory) {
  return {.id = lock_id(memory, view.id),
          .kind = std::string{to_string(view.kind)},
          .name = view.name,
          .holders = parties_of(view.holders),
          .waiters = parties_of(view.waiters),
          .token = view.token,
          .depth = view.depth,
          .available = view.available,
          .lock = view.lock != 0 ? lock_id(memory, view.lock) : std::string{},
          .parties = view.parties,
          .is_set = view.is_set,
          .is_broken = view.is_broken,
          .pids = view.users};
}

/// A pool's memory is open in two processes: the pool's is the older one.
std::optional<WorkerReport> worker_in(const ForeignMemory& memory,
                                      const std::vector<ListedProcess>& processes) {
  MemoryCopy<ChannelLayout> channel;
  if (memory.kind() != ChannelLayout::kind || !channel.take(memory, 0)) return std::nullopt;
  WorkerReport worker;
  worker.id = std::to_string(memory.inode());
  for (const ListedProcess& process : processes) {
    const int pid = process.report.pid;
    if (std::find(memory.pids().begin(), memory.pids().end(), pid) == memory.pids().end()) continue;
    (worker.owner == 0 ? worker.owner : worker.pid) = pid;
  }
  const std::uint64_t seen = channel->passed_up_to.load();
  worker.given = channel->posted_up_to.load();
  worker.done = std::min(channel->results_up_to.load(), worker.given);
  const bool busy = channel->tasks[seen % ChannelLayout::cells].state.load() ==
                    ChannelLayout::state(seen, ChannelLayout::started);
  worker.state = worker.pid == 0 || channel->ready.load() == 0 ? "starting"
                 : busy                                        ? "busy"
                 : channel->retire.load() != 0                 ? "retiring"
                                                               : "idle";
  return worker;
}

/// Of a thread that waits for a lock: which grant of it, to whom.
struct Wait {
  LockWait report;
  std::uint64_t token = 0;
};
using Waits = std::map<std::pair<int, int>, Wait>;

Waits waits_in(const std::vector<LockReport>& locks) {
  Waits waits;
  for (const LockReport& lock : locks) {
    if ((lock.kind != "lock" && lock.kind != "rlock") || lock.holders.empty()) continue;
    const PartyReport& holder = lock.holders.front();
    for (const PartyReport& waiter : lock.waiters) {
      if (waiter.thread == 0 || holder.thread == 0) continue;
      waits[{waiter.pid, waiter.thread}] = {
          .report = {.waiting_pid = waiter.pid,
                     .waiting_thread = waiter.thread,
                     .lock = lock.name.empty() ? "lock " + lock.id : "'" + lock.name + "'",
                     .holding_pid = holder.pid,
                     .holding_thread = holder.thread},
          .token = lock.token};
    }
  }
  return waits;
}

/// Circles among `waits`, each from its lowest thread on; `again` must show the same.
std::vector<DeadlockReport> circles_in(const Waits& waits, const Waits& again) {
  std::vector<DeadlockReport> circles;
  for (const auto& [start, first] : waits) {
    DeadlockReport circle;
    for (auto at = waits.find(start); at != waits.end() && circle.waits.size() < waits.size();) {
      const Wait& wait = at->second;
      const auto seen = again.find(at->first);
      if (at->first < start || seen == again.end() || seen->second.token != wait.token) break;
      circle.waits.push_back(wait.report);
      const std::pair holder{wait.report.holding_pid, wait.report.holding_thread};
      if (holder == start) {
        circles.push_back(circle);
        break;
      }
      at = waits.find(holder);
    }
  }
  return circles;
}

std::vector<LockReport> locks_in(const std::vector<ForeignMemory>& memories) {
  std::vector<LockReport> locks;
  for (const ForeignMemory& memory : memories) {
    for (const SyncView& view : detail::view_sync(memory)) locks.push_back(report_of(view, memory));
  }
  return locks;
}

std::vector<int> pids_of(const std::vector<ListedProcess>& processes) {
  std::vector<int> pids;
  for (const ListedProcess& process : processes) pids.push_back(process.report.pid);
  return pids;
}

}  // namespace

Result<HostReport> inspect(const InspectOptions& options) {
  PASSEL_TRY(std::vector<ListedProcess> processes, detail::list_processes());
  std::vector<ForeignMemory> memories = ForeignMemory::find(pids_of(processes));
  std::vector<int> uses;
  for (const ForeignMemory& memory : memories)
    uses.insert(uses.end(), memory.pids().begin(), memory.pids().end());
  processes = detail::find_families(std::move(processes), uses);
  if (options.pid != 0) {
    const auto asked = std::find_if(processes.begin(), processes.end(), [&](const auto& process) {
      return process.report.pid == options.pid;
    });
    if (asked == processes.end()) {
      return Error{Errc::not_found, "process " + std::to_string(options.pid) +
                                        " does not run, uses no passel, or is another user's"};
    }
    const int root = asked->report.root;
    std::erase_if(processes, [root](const auto& process) { return process.report.root != root; });
    const auto is_foreign = [&](const ForeignMemory& memory) {
      return std::none_of(memory.pids().begin(), memory.pids().end(), [&](int pid) {
        return std::any_of(processes.begin(), processes.end(),
                           [pid](const auto& process) { return process.report.pid == pid; });
      });
    };
    std::erase_if(memories, is_foreign);
  }
  HostReport report;
  for (const ListedProcess& process : processes) report.processes.push_back(process.report);
  for (const ForeignMemory& memory : memories) {
    if (const auto queue = detail::view_queue(memory))
      report.queues.push_back(report_of(*queue, memory));
    if (const auto worker = worker_in(memory, processes)) report.workers.push_back(*worker);
  }
  report.locks = locks_in(memories);
  // Seen twice alike, a circle was there between the two looks.
  if (const Waits waits = waits_in(report.locks); !waits.empty())
    report.circles = circles_in(waits, waits_in(locks_in(memories)));
  return report;
}

}  // namespace passel::inline v0
