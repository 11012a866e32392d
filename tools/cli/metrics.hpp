// Tool passel: what inspect() told, in the text format of Prometheus.
#pragma once

#include <passel/inspect.hpp>

#include <iosfwd>

namespace passel_cli {

/// Every figure with its help and type, labels escaped, as /metrics answers it.
void print_metrics(std::ostream& out, const passel::HostReport& report);

}  // namespace passel_cli
