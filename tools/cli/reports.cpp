// Tool passel: what inspect() told, as tables and as JSON.
#include "reports.hpp"

#include "table.hpp"

#include <nlohmann/json.hpp>

#include <ostream>
#include <string>

namespace passel_cli {
namespace {

using nlohmann::json;
using passel::HostReport;
using passel::LockReport;
using passel::PartyReport;
using passel::ProcessReport;
using passel::QueueReport;
using passel::WorkerReport;

std::string to_text(const PartyReport& party) {
  return std::to_string(party.pid) +
         (party.thread != 0 ? "/" + std::to_string(party.thread) : std::string{});
}

std::string to_text(const std::vector<PartyReport>& parties) {
  std::string text;
  for (const PartyReport& party : parties) text += (text.empty() ? "" : " ") + to_text(party);
  return text.empty() ? "-" : text;
}

double seconds(std::chrono::milliseconds time) { return static_cast<double>(time.count()) / 1000; }

std::string state_text(char state) {
  switch (state) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "waiting";
    case 'T': return "stopped";
    case 't': return "traced";
    case 'Z': return "dead";
    default: return std::string(1, state);
  }
}

void print_processes(std::ostream& out, const HostReport& report, bool in_colour) {
  Table table{{"PID", "FAMILY", "ROLE", "NAME", "STATE", "MEMORY", "CPU", "UP", "THREADS", "FDS",
               "COMMAND"}};
  for (const ProcessReport& process : report.processes) {
    const bool stuck = process.state == 'T' || process.state == 'Z';
    table.add({{std::to_string(process.pid)},
               {std::to_string(process.root)},
               {process.role},
               {process.name},
               {state_text(process.state), stuck ? Tone::bad : Tone::plain},
               {size_text(process.memory)},
               {time_text(seconds(process.cpu))},
               {time_text(seconds(process.running))},
               {std::to_string(process.threads)},
               {std::to_string(process.descriptors)},
               {process.command.substr(0, 60)}});
  }
  table.print(out, in_colour);
}

std::string waits_text(const QueueReport& queue) {
  std::string text;
  if (queue.getters > 0) text = std::to_string(queue.getters) + " for items";
  if (queue.putters > 0)
    text += (text.empty() ? "" : ", ") + std::to_string(queue.putters) + " for room";
  return text.empty() ? "-" : text;
}

void print_queues(std::ostream& out, const HostReport& report, bool in_colour) {
  Table table{
      {"QUEUE", "ITEMS", "DEPTH", "MAXSIZE", "UNFINISHED", "PUTS", "MEMORY", "WAITING", "PIDS"}};
  for (const QueueReport& queue : report.queues) {
    std::string pids;
    for (const int pid : queue.pids) pids += (pids.empty() ? "" : " ") + std::to_string(pid);
    const bool full = queue.maxsize != 0 && queue.depth >= queue.maxsize;
    table.add({{queue.id},
               {queue.type},
               {std::to_string(queue.depth), full ? Tone::warning : Tone::plain},
               {queue.maxsize == 0 ? "-" : std::to_string(queue.maxsize)},
               {queue.joinable ? std::to_string(queue.unfinished) : "-"},
               {std::to_string(queue.puts)},
               {size_text(queue.bytes)},
               {queue.shut_down ? "shut down" : waits_text(queue),
                queue.shut_down ? Tone::warning : Tone::plain},
               {pids}});
  }
  table.print(out, in_colour);
}

std::string lock_state(const LockReport& lock) {
  if (lock.kind == "event") return lock.is_set ? "set" : "unset";
  if (lock.kind == "condition") return "of " + lock.lock;
  if (lock.kind == "barrier")
    return lock.is_broken
               ? "broken"
               : std::to_string(lock.waiters.size()) + " of " + std::to_string(lock.parties);
  if (lock.kind == "lock" || lock.kind == "rlock") {
    if (lock.holders.empty()) return "free";
    return lock.depth > 1 ? "held " + std::to_string(lock.depth) + " times" : "held";
  }
  return std::to_string(lock.available) + " free";
}

void print_locks(std::ostream& out, const HostReport& report, bool in_colour) {
  Table table{{"LOCK", "KIND", "NAME", "STATE", "TOKEN", "HOLDERS", "WAITERS"}};
  for (const LockReport& lock : report.locks) {
    table.add({{lock.id},
               {lock.kind},
               {lock.name.empty() ? "-" : lock.name},
               {lock_state(lock), lock.is_broken ? Tone::bad : Tone::plain},
               {std::to_string(lock.token)},
               {to_text(lock.holders)},
               {to_text(lock.waiters), lock.waiters.empty() ? Tone::plain : Tone::warning}});
  }
  table.print(out, in_colour);
  for (const passel::DeadlockReport& circle : report.circles)
    out << toned("deadlock: " + circle.to_string(), Tone::bad, in_colour) << '\n';
}

void print_workers(std::ostream& out, const HostReport& report, bool in_colour) {
  Table table{{"POOL OF", "WORKER", "STATE", "WAITING", "DONE"}};
  for (const WorkerReport& worker : report.workers) {
    table.add({{std::to_string(worker.owner)},
               {worker.pid == 0 ? "-" : std::to_string(worker.pid)},
               {worker.state, worker.state == "busy" ? Tone::good : Tone::plain},
               {std::to_string(worker.given - worker.done)},
               {std::to_string(worker.done)}});
  }
  table.print(out, in_colour);
}

json to_json(const std::vector<PartyReport>& parties) {
  json list = json::array();
  for (const PartyReport& party : parties)
    list.push_back({{"pid", party.pid}, {"thread", party.thread}});
  return list;
}

json to_json(const ProcessReport& process) {
  return {{"pid", process.pid},
          {"family", process.root},
          {"role", process.role},
          {"name", process.name},
          {"command", process.command},
          {"state", state_text(process.state)},
          {"threads", process.threads},
          {"descriptors", process.descriptors},
          {"memory_bytes", process.memory},
          {"cpu_seconds", seconds(process.cpu)},
          {"up_seconds", seconds(process.running)}};
}

json to_json(const QueueReport& queue) {
  return {{"id", queue.id},
          {"type", queue.type},
          {"depth", queue.depth},
          {"maxsize", queue.maxsize},
          {"puts", queue.puts},
          {"memory_bytes", queue.bytes},
          {"getters", queue.getters},
          {"putters", queue.putters},
          {"joinable", queue.joinable},
          {"unfinished", queue.unfinished},
          {"shut_down", queue.shut_down},
          {"pids", queue.pids}};
}

json to_json(const LockReport& lock) {
  json object{{"id", lock.id},
              {"kind", lock.kind},
              {"name", lock.name},
              {"state", lock_state(lock)},
              {"holders", to_json(lock.holders)},
              {"waiters", to_json(lock.waiters)},
              {"pids", lock.pids}};
  if (lock.kind == "lock" || lock.kind == "rlock") object["token"] = lock.token;
  if (lock.kind == "rlock") object["depth"] = lock.depth;
  if (lock.kind == "semaphore" || lock.kind == "bounded semaphore")
    object["available"] = lock.available;
  if (lock.kind == "condition") object["lock"] = lock.lock;
  if (lock.kind == "event") object["is_set"] = lock.is_set;
  if (lock.kind == "barrier") {
    object["parties"] = lock.parties;
    object["is_broken"] = lock.is_broken;
  }
  return object;
}

json to_json(const WorkerReport& worker) {
  return {{"id", worker.id},       {"pool_of", worker.owner}, {"pid", worker.pid},
          {"state", worker.state}, {"given", worker.given},   {"done", worker.done}};
}

json to_json(const passel::DeadlockReport& circle) {
  json list = json::array();
  for (const passel::LockWait& wait : circle.waits) {
    list.push_back({{"waiting", {{"pid", wait.waiting_pid}, {"thread", wait.waiting_thread}}},
                    {"lock", wait.lock},
                    {"holding", {{"pid", wait.holding_pid}, {"thread", wait.holding_thread}}}});
  }
  return list;
}

template <class T>
json list_of(const std::vector<T>& reports) {
  json list = json::array();
  for (const T& report : reports) list.push_back(to_json(report));
  return list;
}

}  // namespace

void print(std::ostream& out, const HostReport& report, View view, bool in_colour) {
  switch (view) {
    case View::processes: return print_processes(out, report, in_colour);
    case View::queues: return print_queues(out, report, in_colour);
    case View::locks: return print_locks(out, report, in_colour);
    case View::workers: return print_workers(out, report, in_colour);
  }
}

json to_json(const HostReport& report, View view) {
  switch (view) {
    case View::processes: return list_of(report.processes);
    case View::queues: return list_of(report.queues);
    case View::locks:
      return {{"locks", list_of(report.locks)}, {"circles", list_of(report.circles)}};
    case View::workers: return list_of(report.workers);
  }
  return {};
}

}  // namespace passel_cli
