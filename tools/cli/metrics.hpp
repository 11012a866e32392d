// Tool passel: what inspect() told, as figures: in the text format of Prometheus, or as JSON.
#pragma once

#include <passel/inspect.hpp>

#include <nlohmann/json.hpp>

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

namespace passel_cli {

/// One of Prometheus' metrics.
struct Metric {
  struct Sample {
    std::vector<std::pair<std::string, std::string>> labels;
    nlohmann::json value;  ///< a number
  };
  std::string name;
  std::string type;
  std::string help;
  std::vector<Sample> samples;
};

[[nodiscard]] std::vector<Metric> metrics_of(const passel::HostReport& report);
/// Every figure with its help and type, labels escaped, as /metrics answers it.
void print(std::ostream& out, const std::vector<Metric>& metrics);
/// {"passel_process_threads": [{"pid": "12", ..., "value": 3}], ...}
[[nodiscard]] nlohmann::json to_json(const std::vector<Metric>& metrics);

}  // namespace passel_cli
