// Layer transport: what the library has to say about itself, to whoever asks for it.
#pragma once

#include <passel/result.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>

namespace passel::inline v0 {

/// How much a line matters, with the numbers of Python's logging and multiprocessing.util. Numbers
/// between them are levels, too (`LogLevel{32}`), from 0 to 65535.
enum class LogLevel : int {
  notset = 0,  ///< as a setting: not decided, which means warning; as a line's level: never shown
  subdebug = 5,
  debug = 10,
  info = 20,
  subwarning = 25,
  warning = 30,
  error = 40,
  critical = 50,
};

/// "WARNING"; "Level 32" for a level without a name (Python's getLevelName).
[[nodiscard]] PASSEL_API std::string to_string(LogLevel level);
/// Reads a name in either case, or a number. Errors: invalid_argument naming the known ones.
PASSEL_API Result<LogLevel> parse_log_level(std::string_view text);

/// Where a line of code is: std::source_location, which clang 14 does not have.
struct SourceLocation {
  const char* file = "";
  unsigned line = 0;
  const char* function = "";

  [[nodiscard]] static constexpr SourceLocation current(
      const char* file = __builtin_FILE(), unsigned line = __builtin_LINE(),
      const char* function = __builtin_FUNCTION()) noexcept {
    return SourceLocation{file, line, function};
  }
};

/// One line, as a sink gets it. It can travel: a `Queue<LogRecord>` brings the lines of all
/// processes to one place.
struct LogRecord {
  LogLevel level{};
  std::string process_name;  ///< as current_process().name of who wrote it
  int pid = 0;
  std::string text;
  std::chrono::system_clock::time_point time;
  std::string file;  ///< of the caller
  std::uint32_t line = 0;
  std::string function;
};

namespace detail {
/// The lowest level that anybody sees; above all levels while nobody looks.
extern PASSEL_API std::atomic<int> log_threshold;
PASSEL_API void write_log(LogLevel level, std::string_view text,
                          const SourceLocation& where) noexcept;

/// Level and stderr switch in one number, as they travel to a new process.
[[nodiscard]] PASSEL_API std::uint32_t log_settings() noexcept;
/// In a new process: its name, and what its parent had set. A sink of the parent's is not taken
/// over.
PASSEL_API void begin_logging_in_child(std::string_view process_name,
                                       std::uint32_t settings) noexcept;
/// When a Runtime begins: the name of this process; PASSEL_LOG, unless the program has asked for
/// lines itself.
PASSEL_API void begin_logging(std::string_view process_name);
}  // namespace detail

/// The library's logger. A handle without content: all of them are the same logger, the one of this
/// process. Silent until `log_to_stderr`, `set_log_sink` or PASSEL_LOG; a line that nobody sees
/// costs one load of an atomic and a comparison. Safe from any thread and in forked processes;
/// never throws.
class PASSEL_API Logger {
 public:
  /// Writes a line. To stderr it goes whole, in one write, and waits 20 ms at most: see
  /// log_to_stderr.
  void log(LogLevel level, std::string_view text,
           SourceLocation where = SourceLocation::current()) const noexcept {
    if (is_enabled_for(level)) detail::write_log(level, text, where);
  }
  /// The same with a text that is only made when somebody sees it.
  ///
  ///     passel::get_logger().log(LogLevel::debug, [&] { return "joined " + name; });
  template <std::invocable F>
  requires std::convertible_to<std::invoke_result_t<F&>, std::string_view>
  void log(LogLevel level, F make_text, SourceLocation where = SourceLocation::current()) const {
    if (is_enabled_for(level)) detail::write_log(level, make_text(), where);
  }
  void subdebug(std::string_view text,
                SourceLocation where = SourceLocation::current()) const noexcept {
    log(LogLevel::subdebug, text, where);
  }
  void debug(std::string_view text,
             SourceLocation where = SourceLocation::current()) const noexcept {
    log(LogLevel::debug, text, where);
  }
  void info(std::string_view text,
            SourceLocation where = SourceLocation::current()) const noexcept {
    log(LogLevel::info, text, where);
  }
  void subwarning(std::string_view text,
                  SourceLocation where = SourceLocation::current()) const noexcept {
    log(LogLevel::subwarning, text, where);
  }
  void warning(std::string_view text,
               SourceLocation where = SourceLocation::current()) const noexcept {
    log(LogLevel::warning, text, where);
  }
  void error(std::string_view text,
             SourceLocation where = SourceLocation::current()) const noexcept {
    log(LogLevel::error, text, where);
  }

  /// What was set; notset in the beginning (Python's logger.level).
  [[nodiscard]] LogLevel level() const noexcept;
  /// What counts: the level, warning when it is notset (Python's getEffectiveLevel).
  [[nodiscard]] LogLevel effective_level() const noexcept;
  /// For this process, and for the children it starts from now on.
  void set_level(LogLevel level) const noexcept;
  /// True when a line of that level would be seen by somebody.
  [[nodiscard]] bool is_enabled_for(LogLevel level) const noexcept {
    return static_cast<int>(level) >= detail::log_threshold.load(std::memory_order_relaxed);
  }
  /// Lines of this process that were lost: stderr did not take them, or the sink threw.
  [[nodiscard]] std::uint64_t dropped() const noexcept;
};

/// The library's logger (Python's multiprocessing.get_logger).
[[nodiscard]] inline Logger get_logger() noexcept { return {}; }

/// Has lines written to stderr as "[LEVEL/ProcessName] text", and sets the level unless it is
/// notset (Python's multiprocessing.log_to_stderr; here a second call does not double the lines).
/// Children started from now on do the same: on the stderr that the program had when its Runtime
/// began.
///
/// A line is one write of at most 4096 bytes, so lines of many processes in one pipe, file or
/// terminal stay whole; longer ones are cut and say so. A full pipe or socket or a stopped terminal
/// is given 20 ms to make room; what it does not take then is lost and counted, nothing waits until
/// a line gets through again, and that line is preceded by one with their number. The same is said
/// after a full disk. A stderr without a reader raises no SIGPIPE. PASSEL_LOG=level in the
/// environment is the same call when the Runtime begins, unless the program has called this or
/// set_level itself before.
///
///     passel::log_to_stderr(passel::LogLevel::info).info("off we go");   // [INFO/MainProcess] ...
PASSEL_API Logger log_to_stderr(LogLevel level = LogLevel::notset) noexcept;

/// Has each line at or above the level handed to `sink`, on the thread that wrote it, beside stderr
/// where that is on; an empty function ends it. Several threads may call it at once. What it writes
/// to the logger itself does not come back to it; what it throws counts as a lost line. It should
/// not wait for long: the library waits for it. When this returns the previous sink is not running
/// any more (apart from the call this was made in) and has been destroyed. A sink belongs to its
/// process: a child has none until it sets one.
///
///     void task(passel::Queue<passel::LogRecord> lines) {          // in each worker
///       passel::set_log_sink([lines](const passel::LogRecord& r) { (void)lines.put(r).is_ok(); });
///       ...
///     }
PASSEL_API void set_log_sink(std::function<void(const LogRecord&)> sink);

}  // namespace passel::inline v0
