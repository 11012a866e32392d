// Tool passel: what inspect() told, in the text format of Prometheus.
#include "metrics.hpp"

#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel_cli {
namespace {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

/// One metric: its head once, then its samples.
class Metric {
 public:
  Metric(std::ostream& out, std::string name, std::string_view type, std::string_view help)
      : out_{out}, name_{std::move(name)} {
    out_ << "# HELP " << name_ << ' ' << help << "\n# TYPE " << name_ << ' ' << type << '\n';
  }
  template <class Number>
  void sample(const Labels& labels, Number value) {
    out_ << name_;
    const char* before = "{";
    for (const auto& [key, text] : labels) {
      out_ << std::exchange(before, ",") << key << "=\"" << escaped(text) << '"';
    }
    out_ << (labels.empty() ? " " : "} ") << value << '\n';
  }

 private:
  std::ostream& out_;
  std::string name_;
};

Labels labels_of(const passel::ProcessReport& process) {
  return {{"pid", std::to_string(process.pid)},
          {"family", std::to_string(process.root)},
          {"role", process.role},
          {"name", process.name}};
}

Labels labels_of(const passel::QueueReport& queue) {
  return {{"queue", queue.id}, {"type", queue.type}};
}

Labels labels_of(const passel::LockReport& lock) {
  return {{"lock", lock.id}, {"kind", lock.kind}, {"name", lock.name}};
}

Labels labels_of(const passel::WorkerReport& worker) {
  return {{"pool_of", std::to_string(worker.owner)}, {"worker", std::to_string(worker.pid)}};
}

template <class Reports, class Figure>
void print(std::ostream& out, const char* name, const char* type, const char* help,
           const Reports& reports, Figure figure) {
  Metric metric{out, name, type, help};
  for (const auto& report : reports) metric.sample(labels_of(report), figure(report));
}

double seconds(std::chrono::milliseconds time) { return static_cast<double>(time.count()) / 1000; }

}  // namespace

void print_metrics(std::ostream& out, const passel::HostReport& report) {
  using passel::LockReport;
  using passel::ProcessReport;
  using passel::QueueReport;
  using passel::WorkerReport;
  print(out, "passel_process_memory_bytes", "gauge", "Resident memory.", report.processes,
        [](const ProcessReport& process) { return process.memory; });
  print(out, "passel_process_cpu_seconds_total", "counter", "Processor time used.",
        report.processes, [](const ProcessReport& process) { return seconds(process.cpu); });
  print(out, "passel_process_threads", "gauge", "Threads.", report.processes,
        [](const ProcessReport& process) { return process.threads; });
  print(out, "passel_process_descriptors", "gauge", "Open descriptors.", report.processes,
        [](const ProcessReport& process) { return process.descriptors; });
  print(out, "passel_queue_depth", "gauge", "Items that nobody has taken.", report.queues,
        [](const QueueReport& queue) { return queue.depth; });
  print(out, "passel_queue_puts_total", "counter", "Items put since the queue was made.",
        report.queues, [](const QueueReport& queue) { return queue.puts; });
  print(out, "passel_queue_unfinished", "gauge", "Items without their task_done.", report.queues,
        [](const QueueReport& queue) { return queue.unfinished; });
  print(out, "passel_queue_waiting_getters", "gauge", "Who waits for an item.", report.queues,
        [](const QueueReport& queue) { return queue.getters; });
  print(out, "passel_queue_waiting_putters", "gauge", "Who waits for room.", report.queues,
        [](const QueueReport& queue) { return queue.putters; });
  print(out, "passel_lock_holders", "gauge", "Who holds the lock, or a permit.", report.locks,
        [](const LockReport& lock) { return lock.holders.size(); });
  print(out, "passel_lock_waiters", "gauge", "Who waits for it.", report.locks,
        [](const LockReport& lock) { return lock.waiters.size(); });
  print(out, "passel_worker_busy", "gauge", "1 while the worker runs a task.", report.workers,
        [](const WorkerReport& worker) { return worker.state == "busy" ? 1 : 0; });
  print(out, "passel_worker_tasks_done_total", "counter", "Tasks answered.", report.workers,
        [](const WorkerReport& worker) { return worker.done; });
  Metric{out, "passel_deadlocks", "gauge", "Circles of threads that wait for each other."}.sample(
      {}, report.circles.size());
}

}  // namespace passel_cli
