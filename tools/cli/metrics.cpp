// Tool passel: what inspect() told, as figures: in the text format of Prometheus, or as JSON.
#include "metrics.hpp"

#include <chrono>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace passel_cli {

using nlohmann::json;

namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

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
Metric metric_of(const char* name, const char* type, const char* help, const Reports& reports,
                 Figure figure) {
  Metric metric{.name = name, .type = type, .help = help, .samples = {}};
  for (const auto& report : reports)
    metric.samples.push_back({labels_of(report), json(figure(report))});
  return metric;
}

double seconds(std::chrono::milliseconds time) { return static_cast<double>(time.count()) / 1000; }

}  // namespace

std::vector<Metric> metrics_of(const passel::HostReport& report) {
  using passel::LockReport;
  using passel::ProcessReport;
  using passel::QueueReport;
  using passel::WorkerReport;
  return {
      metric_of("passel_process_memory_bytes", "gauge", "Resident memory.", report.processes,
                [](const ProcessReport& process) { return process.memory; }),
      metric_of("passel_process_cpu_seconds_total", "counter", "Processor time used.",
                report.processes,
                [](const ProcessReport& process) { return seconds(process.cpu); }),
      metric_of("passel_process_threads", "gauge", "Threads.", report.processes,
                [](const ProcessReport& process) { return process.threads; }),
      metric_of("passel_process_descriptors", "gauge", "Open descriptors.", report.processes,
                [](const ProcessReport& process) { return process.descriptors; }),
      metric_of("passel_queue_depth", "gauge", "Items that nobody has taken.", report.queues,
                [](const QueueReport& queue) { return queue.depth; }),
      metric_of("passel_queue_puts_total", "counter", "Items put since the queue was made.",
                report.queues, [](const QueueReport& queue) { return queue.puts; }),
      metric_of("passel_queue_unfinished", "gauge", "Items without their task_done.", report.queues,
                [](const QueueReport& queue) { return queue.unfinished; }),
      metric_of("passel_queue_waiting_getters", "gauge", "Who waits for an item.", report.queues,
                [](const QueueReport& queue) { return queue.getters; }),
      metric_of("passel_queue_waiting_putters", "gauge", "Who waits for room.", report.queues,
                [](const QueueReport& queue) { return queue.putters; }),
      metric_of("passel_lock_holders", "gauge", "Who holds the lock, or a permit.", report.locks,
                [](const LockReport& lock) { return lock.holders.size(); }),
      metric_of("passel_lock_waiters", "gauge", "Who waits for it.", report.locks,
                [](const LockReport& lock) { return lock.waiters.size(); }),
      metric_of("passel_worker_busy", "gauge", "1 while the worker runs a task.", report.workers,
                [](const WorkerReport& worker) { return worker.state == "busy" ? 1 : 0; }),
      metric_of("passel_worker_tasks_done_total", "counter", "Tasks answered.", report.workers,
                [](const WorkerReport& worker) { return worker.done; }),
      Metric{.name = "passel_deadlocks",
             .type = "gauge",
             .help = "Circles of threads that wait for each other.",
             .samples = {{{}, report.circles.size()}}}};
}

void print(std::ostream& out, const std::vector<Metric>& metrics) {
  for (const Metric& metric : metrics) {
    out << "# HELP " << metric.name << ' ' << metric.help << "\n# TYPE " << metric.name << ' '
        << metric.type << '\n';
    for (const auto& [labels, value] : metric.samples) {
      out << metric.name;
      const char* before = "{";
      for (const auto& [key, text] : labels)
        out << std::exchange(before, ",") << key << "=\"" << escaped(text) << '"';
      out << (labels.empty() ? " " : "} ") << value << '\n';
    }
  }
}

json to_json(const std::vector<Metric>& metrics) {
  json out = json::object();
  for (const Metric& metric : metrics) {
    json& samples = out[metric.name] = json::array();
    for (const auto& [labels, value] : metric.samples) {
      json sample{{"value", value}};
      for (const auto& [key, text] : labels) sample[key] = text;
      samples.push_back(std::move(sample));
    }
  }
  return out;
}

}  // namespace passel_cli
