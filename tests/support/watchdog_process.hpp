// Test support: the watching side of the watchdog, a process of its own.
#pragma once

#include <csignal>

#include <sys/types.h>

namespace passel_test {

inline constexpr const char* watchdog_flag = "--passel-watchdog";
inline constexpr int watchdog_descriptor = 3;  ///< where the watcher finds its end of the pipe
inline constexpr int watchdog_print = 1;       ///< signal value: print the stack of this thread
inline constexpr int watchdog_exit = 2;        ///< signal value: _exit(3)

[[nodiscard]] inline int watchdog_signal() { return SIGRTMAX - 1; }

/// Watches `watched` until it is gone. Returns the exit code for the watcher.
int watch(pid_t watched);

}  // namespace passel_test
