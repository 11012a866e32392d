// Tool passel: what the service manager that started this process wants to know (systemd's
// sd_notify, by its protocol alone).
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace passel_cli {

/// Tells the service manager, when there is one: "READY=1", "STOPPING=1", "STATUS=text". Never
/// waits; a service manager that does not listen is not told.
void notify_service_manager(const std::string& state) noexcept;

/// How often it wants to hear WATCHDOG=1; empty when it does not want to.
[[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval();

}  // namespace passel_cli
