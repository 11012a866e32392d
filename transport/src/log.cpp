// Layer transport: the library's logger. The only file that knows of spdlog.
#include <passel/log.hpp>

#include <passel/detail/futex.hpp>
#include <passel/detail/shared_object.hpp>

#include "log_line.hpp"

#include <pthread.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <forward_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <vector>

namespace passel::inline v0 {
namespace detail {

constinit std::atomic<int> log_threshold{INT_MAX};

namespace {

constexpr int level_limit = 65535;
constexpr std::uint32_t stderr_bit = 1U << 16;
constexpr std::size_t name_limit = 256;
/// Room in a line for the level, the note about lost lines and the one about a cut.
constexpr std::size_t text_limit = whole_line_limit - 2 * name_limit - 256;

constexpr std::array named_levels{LogLevel::notset, LogLevel::subdebug,   LogLevel::debug,
                                  LogLevel::info,   LogLevel::subwarning, LogLevel::warning,
                                  LogLevel::error,  LogLevel::critical};

// Nothing here is destroyed, and what is allocated is kept until the process has ended: threads may
// write lines to the last moment.
constinit std::atomic<int> set_level{0};
constinit std::atomic<bool> to_stderr{false};
constinit std::atomic<const std::string*> own_name{nullptr};
constinit std::atomic<std::uint64_t> dropped_lines{0};
constinit std::atomic<std::uint64_t> unreported_lines{0};
constinit thread_local bool in_sink = false;

/// Guards Core and the settling of the threshold; never held while a sink runs. A fork waits for
/// it, so that no child inherits it taken.
constinit std::mutex settings_mutex;
const int fork_handlers =
    ::pthread_atfork([] { settings_mutex.lock(); }, [] { settings_mutex.unlock(); },
                     [] { settings_mutex.unlock(); });

using SettingsLock = std::lock_guard<std::mutex>;

void count_dropped() noexcept { dropped_lines.fetch_add(1, std::memory_order_relaxed); }

std::string_view process_name() noexcept {
  const std::string* name = own_name.load(std::memory_order_acquire);
  return name == nullptr ? std::string_view{"MainProcess"} : std::string_view{*name};
}

/// A line on its way to the sinks, with what spdlog has no place for.
struct Line : spdlog::details::log_msg {
  Line(LogLevel line_level, std::string_view text, const SourceLocation& line_where)
      : log_msg{spdlog::source_loc{line_where.file, static_cast<int>(line_where.line),
                                   line_where.function},
                "passel", spdlog::level::info, spdlog::string_view_t{text.data(), text.size()}},
        own_level{line_level} {}
  LogLevel own_level;
};

class LineSink : public spdlog::sinks::sink {
 public:
  void log(const spdlog::details::log_msg& message) final {
    write(static_cast<const Line&>(message), {message.payload.data(), message.payload.size()});
  }
  void flush() final {}
  void set_pattern(const std::string&) final {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) final {}

 private:
  virtual void write(const Line& line, std::string_view text) = 0;
};

class StderrSink final : public LineSink {
  void write(const Line& line, std::string_view text) override {
    if (!to_stderr.load(std::memory_order_relaxed)) return;
    const std::string_view name = process_name().substr(0, name_limit);
    spdlog::memory_buf_t out;
    const auto end = std::back_inserter(out);
    const std::uint64_t lost = unreported_lines.exchange(0, std::memory_order_relaxed);
    if (lost != 0)
      fmt::format_to(end, "[WARNING/{}] {} log lines were lost here: stderr did not take them\n",
                     name, lost);
    const std::string_view shown = text.substr(0, cut_at(text));
    fmt::format_to(end, "[{}/{}] {}", to_string(line.own_level), name, shown);
    if (shown.size() < text.size())
      fmt::format_to(end, " ... ({} more bytes)", text.size() - shown.size());
    out.push_back('\n');
    const std::chrono::milliseconds patience{stuck_.load(std::memory_order_relaxed) ? 0 : 20};
    const bool done =
        write_within(patience, STDERR_FILENO, {out.data(), out.size()}) == LineWrite::done;
    stuck_.store(!done, std::memory_order_relaxed);
    if (done) return;
    unreported_lines.fetch_add(lost + 1, std::memory_order_relaxed);
    count_dropped();
  }

  /// Where to cut a long text, not within a UTF-8 sequence.
  static std::size_t cut_at(std::string_view text) noexcept {
    if (text.size() <= text_limit) return text.size();
    std::size_t at = text_limit;
    for (int back = 0; back < 3 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U; ++back)
      --at;
    return at;
  }

  /// The last line was lost: a reader that has stopped is not waited for again and again.
  std::atomic<bool> stuck_{false};
};

/// The program's own sink. `running` counts the calls under way, so that whoever takes it out can
/// wait for them.
struct Hook {
  std::function<void(const LogRecord&)> call;
  std::uint32_t generation = fork_generation();
  std::atomic<std::uint32_t> running{0};
};
std::shared_ptr<Hook> enter_hook();

class HookSink final : public LineSink {
  void write(const Line& line, std::string_view text) override {
    if (in_sink) return;
    const std::shared_ptr<Hook> hook = enter_hook();
    if (!hook) return;
    in_sink = true;
    try {
      hook->call(LogRecord{.level = line.own_level,
                           .process_name = std::string{process_name()},
                           .pid = ::getpid(),
                           .text = std::string{text},
                           .time = line.time,
                           .file = line.source.filename,
                           .line = static_cast<std::uint32_t>(line.source.line),
                           .function = line.source.funcname});
    } catch (...) {
      count_dropped();
    }
    in_sink = false;
    hook->running.fetch_sub(1, std::memory_order_acq_rel);
    futex_wake(hook->running, INT_MAX, FutexScope::process);
  }
};

class Dispatcher final : public spdlog::logger {
 public:
  Dispatcher() : logger{"passel", {std::make_shared<StderrSink>(), std::make_shared<HookSink>()}} {}
  void dispatch(const Line& line) { sink_it_(line); }
};

struct Core {
  Dispatcher dispatcher;
  std::shared_ptr<Hook> hook;                      // guarded by settings_mutex
  std::vector<std::shared_ptr<Hook>> left_behind;  // of the process this one was forked from
  std::forward_list<std::string> names;
};
constinit std::atomic<Core*> core{nullptr};

/// Called with the lock held.
Core& made_core() {
  Core* found = core.load(std::memory_order_relaxed);
  if (found == nullptr) {
    static_cast<void>(fork_handlers);
    found = new Core;
    core.store(found, std::memory_order_release);
  }
  return *found;
}

std::shared_ptr<Hook> enter_hook() {
  const SettingsLock lock{settings_mutex};
  auto hook = core.load(std::memory_order_relaxed)->hook;
  if (hook) hook->running.fetch_add(1, std::memory_order_relaxed);
  return hook;
}

int effective(int level) noexcept {
  return level == 0 ? static_cast<int>(LogLevel::warning) : level;
}

/// Called with the lock held.
void settle_threshold() noexcept {
  const Core* found = core.load(std::memory_order_relaxed);
  const bool seen =
      to_stderr.load(std::memory_order_relaxed) || (found != nullptr && found->hook != nullptr);
  log_threshold.store(seen ? effective(set_level.load(std::memory_order_relaxed)) : INT_MAX,
                      std::memory_order_relaxed);
}

/// Called with the lock held. Old names stay: a thread may be writing a line with one.
void set_name(Core& made, std::string_view name) {
  auto found = std::find(made.names.begin(), made.names.end(), name);
  if (found == made.names.end()) found = made.names.emplace_after(made.names.before_begin(), name);
  own_name.store(&*found, std::memory_order_release);
}

bool same_letters(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::toupper(x) == std::toupper(y);
  });
}

}  // namespace

void write_log(LogLevel level, std::string_view text, const SourceLocation& where) noexcept {
  const int kept_errno = errno;
  try {
    if (Core* found = core.load(std::memory_order_acquire))
      found->dispatcher.dispatch(Line{level, text, where});
  } catch (...) {
    count_dropped();
  }
  errno = kept_errno;
}

std::uint32_t log_settings() noexcept {
  return static_cast<std::uint32_t>(set_level.load(std::memory_order_relaxed)) |
         (to_stderr.load(std::memory_order_relaxed) ? stderr_bit : 0);
}

void begin_logging_in_child(std::string_view process_name, std::uint32_t settings) noexcept {
  const SettingsLock lock{settings_mutex};
  Core& made = made_core();
  // Not destroyed: what it holds is the parent's to clean up.
  if (made.hook) made.left_behind.push_back(std::exchange(made.hook, nullptr));
  set_name(made, process_name);
  set_level.store(static_cast<int>(settings & level_limit), std::memory_order_relaxed);
  to_stderr.store((settings & stderr_bit) != 0, std::memory_order_relaxed);
  dropped_lines.store(0, std::memory_order_relaxed);
  unreported_lines.store(0, std::memory_order_relaxed);
  settle_threshold();
}

void begin_logging(std::string_view process_name) {
  bool asked = false;
  {
    const SettingsLock lock{settings_mutex};
    set_name(made_core(), process_name);
    asked =
        set_level.load(std::memory_order_relaxed) != 0 || to_stderr.load(std::memory_order_relaxed);
  }
  const char* wish = std::getenv("PASSEL_LOG");
  if (asked || wish == nullptr || *wish == '\0') return;
  const auto level = parse_log_level(wish);
  log_to_stderr(level ? *level : LogLevel::notset);
  if (!level) get_logger().warning("PASSEL_LOG: " + level.error().what());
}

}  // namespace detail

std::string to_string(LogLevel level) {
  switch (level) {
    case LogLevel::notset: return "NOTSET";
    case LogLevel::subdebug: return "SUBDEBUG";
    case LogLevel::debug: return "DEBUG";
    case LogLevel::info: return "INFO";
    case LogLevel::subwarning: return "SUBWARNING";
    case LogLevel::warning: return "WARNING";
    case LogLevel::error: return "ERROR";
    case LogLevel::critical: return "CRITICAL";
  }
  return "Level " + std::to_string(static_cast<int>(level));
}

Result<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level : detail::named_levels)
    if (detail::same_letters(text, to_string(level))) return level;
  int number = -1;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed == std::errc{} && end == text.data() + text.size() && number >= 0 &&
      number <= detail::level_limit)
    return LogLevel{number};
  std::string known;
  for (const LogLevel level : detail::named_levels) known += to_string(level) + ", ";
  return Error{Errc::invalid_argument, "\"" + std::string{text} + "\" is no log level; known are " +
                                           known + "and numbers from 0 to " +
                                           std::to_string(detail::level_limit)};
}

LogLevel Logger::level() const noexcept {
  return LogLevel{detail::set_level.load(std::memory_order_relaxed)};
}

LogLevel Logger::effective_level() const noexcept {
  return LogLevel{detail::effective(static_cast<int>(level()))};
}

void Logger::set_level(LogLevel level) const noexcept {
  const detail::SettingsLock lock{detail::settings_mutex};
  detail::set_level.store(std::clamp(static_cast<int>(level), 0, detail::level_limit),
                          std::memory_order_relaxed);
  detail::settle_threshold();
}

std::uint64_t Logger::dropped() const noexcept {
  return detail::dropped_lines.load(std::memory_order_relaxed);
}

Logger log_to_stderr(LogLevel level) noexcept {
  const Logger logger = get_logger();
  {
    const detail::SettingsLock lock{detail::settings_mutex};
    detail::made_core();
    detail::to_stderr.store(true, std::memory_order_relaxed);
    detail::settle_threshold();
  }
  if (level != LogLevel::notset) logger.set_level(level);
  return logger;
}

void set_log_sink(std::function<void(const LogRecord&)> sink) {
  using namespace detail;
  std::shared_ptr<Hook> hook;
  if (sink) {
    hook = std::make_shared<Hook>();
    hook->call = std::move(sink);
  }
  std::shared_ptr<Hook> old;
  {
    const SettingsLock lock{settings_mutex};
    Core& made = made_core();
    old = std::exchange(made.hook, std::move(hook));
    if (old && old->generation != fork_generation())
      made.left_behind.push_back(std::exchange(old, nullptr));
    settle_threshold();
  }
  if (!old) return;
  const std::uint32_t own_calls = in_sink ? 1 : 0;
  for (std::uint32_t running; (running = old->running.load(std::memory_order_acquire)) > own_calls;)
    futex_wait(old->running, running, Deadline::never(), FutexScope::process);
  if (own_calls == 0) old->call = nullptr;
}

}  // namespace passel::inline v0
