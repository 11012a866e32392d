// Layer actors: processes, with the surface of Python's multiprocessing.Process.
#pragma once

#include <passel/authkey.hpp>
#include <passel/detail/child.hpp>
#include <passel/detail/task.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace passel::inline v0 {

/// Settings of one process. Python's Process(name=, daemon=) and a context's start method.
struct ProcessOptions {
  std::string name{};  ///< empty: "Process-N", nested "Process-N:M"
  std::optional<bool>
      daemon{};  ///< empty: as the starting process; a daemon is terminated when its parent ends
  std::optional<StartMethod> method{};  ///< empty: start_method()
};

namespace detail {
template <class... A>
inline constexpr bool starts_with_options = false;
template <class First, class... Rest>
inline constexpr bool starts_with_options<First, Rest...> =
    std::is_same_v<std::remove_cvref_t<First>, ProcessOptions>;
}  // namespace detail

/// A started child process, seen by its parent. Copies name the same process; none of them owns it.
/// All functions may be called from any thread of the process that started it.
class PASSEL_API ProcessHandle {
 public:
  explicit ProcessHandle(std::shared_ptr<detail::Child> child = nullptr)
      : child_{std::move(child)} {}

  [[nodiscard]] std::optional<int> pid() const;
  /// True from the start until the process has ended (Python's is_alive).
  [[nodiscard]] bool is_alive() const;
  /// Empty while it has not ended; 0 normally, k after exit(k), 1 after an exception, -N when
  /// signal N killed it (Python's exitcode).
  [[nodiscard]] std::optional<int> exitcode() const;

  /// Waits until the process has ended and returns its exitcode (Python's join, which returns
  /// None). May be repeated and called from several threads at once. Items that the child put into
  /// a queue never hold it up. Errors: invalid_state
  /// ("can only join a started process", "process object is closed").
  Result<int> join() const;
  /// The same, waiting at most `limit`; zero and negative limits look once. Errors: as join,
  /// timeout.
  template <class Rep, class Period>
  Result<int> join_for(std::chrono::duration<Rep, Period> limit) const {
    return join_until(detail::Deadline::after(limit));
  }
  /// Sends SIGTERM. No cleanup runs in the process, but its own children die with it and what it
  /// held of passel's objects goes back. Nothing happens when it has ended (Python's terminate).
  Result<void> terminate() const;
  /// Sends SIGINT, as Ctrl-C would: the process ends (exit code -2), unless it has a handler, which
  /// may let it clean up and end by itself, or ignores it, as workers of pools and servers of
  /// managers do. Nothing happens when it has ended (Python 3.14's interrupt).
  Result<void> interrupt() const;
  /// Sends SIGKILL (Python's kill).
  Result<void> kill() const;
  /// A descriptor that poll and epoll report readable once the process has ended; it belongs to the
  /// handle. Errors: invalid_state "process not started" (Python's sentinel).
  Result<int> sentinel() const;

 protected:
  [[nodiscard]] Result<std::shared_ptr<detail::Child>> started(const char* what) const;
  Result<int> join_until(detail::Deadline deadline) const;

  std::shared_ptr<detail::Child> child_;
  bool closed_ = false;
};

/// A process to be started, and then the owner of the started one: its destructor joins it, or,
/// when it is a daemon, lets it go until the parent ends. Move-only.
///
///     void greet(std::string who) { std::printf("hello %s\n", who.c_str()); }
///
///     auto p = passel::Process::spawn<greet>("bob").unwrap();         // started
///     p.join().unwrap();
///     auto q = passel::Process::make<greet>({.name = "greeter"}, "bob");
///     q.start().unwrap();                                              // Python's two steps
///     auto r = passel::Process::spawn([](int n) { work(n); }, 3).unwrap();
///
/// The target is a function, a member function (its object is the first argument: what Python does
/// by overriding run), or a lambda without captures; it runs in the new process with copies of the
/// arguments. Arguments travel by codec<T>; handles such as Queue work on the other side. What it
/// starts or forks itself does not outlive it (start method fork: if its parent is a child). An
/// exception that leaves the target is reported on stderr as "Process NAME: type: text" and makes
/// the exit code 1. Functions of one Process object are for one thread at a time, apart from those
/// of ProcessHandle.
class PASSEL_API Process : public ProcessHandle {
 public:
  Process(Process&&) noexcept = default;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  /// A process that is not started yet. Arguments are encoded when it is.
  template <auto F, class... A>
  [[nodiscard]] static Process make(ProcessOptions options, A&&... args) {
    return make_target<detail::FunctionTarget<F>>(std::move(options), std::forward<A>(args)...);
  }
  template <class L, class... A>
  [[nodiscard]] static Process make(ProcessOptions options, L,
                                    A&&... args) requires std::is_class_v<L> {
    check_lambda<L>();
    return make_target<L>(std::move(options), std::forward<A>(args)...);
  }

  /// Makes and starts one. Errors: those of start.
  template <auto F, class... A>
  static Result<Process> spawn(ProcessOptions options, A&&... args) {
    return started_process(make<F>(std::move(options), std::forward<A>(args)...));
  }
  template <auto F, class... A>
  requires(!detail::starts_with_options<A...>) static Result<Process> spawn(A&&... args) {
    return started_process(make<F>(ProcessOptions{}, std::forward<A>(args)...));
  }
  template <class L, class... A>
  requires std::is_class_v<L>
  static Result<Process> spawn(ProcessOptions options, L target, A&&... args) {
    return started_process(make(std::move(options), target, std::forward<A>(args)...));
  }
  template <class L, class... A>
  requires(std::is_class_v<L> &&
           !std::is_same_v<L, ProcessOptions>) static Result<Process> spawn(L target, A&&... args) {
    return started_process(make(ProcessOptions{}, target, std::forward<A>(args)...));
  }

  /// Starts it; returns when the process exists. The standard streams are flushed before. Errors:
  /// invalid_state ("cannot start a process twice", no Runtime, "daemonic processes are not allowed
  /// to have children"), whatever encoding an argument says, no_space, timeout, peer_lost,
  /// unsupported (start method fork where threads are running).
  Result<void> start();

  [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
  /// Renames it for this process; the child keeps the name it was started with.
  void set_name(std::string name) { options_.name = std::move(name); }
  [[nodiscard]] bool daemon() const noexcept;
  /// Errors: invalid_state "process has already started".
  Result<void> set_daemon(bool daemon);
  /// Gives up what the handle holds; the handle is of no use after that. Errors: invalid_state
  /// "cannot close a process while it is still running" (Python's close).
  Result<void> close();
  /// "<Process name='x' pid=7 parent=1 started daemon>"
  [[nodiscard]] std::string to_string() const;

 private:
  using Encoder = std::function<Result<detail::Encoded>()>;

  Process(ProcessOptions options, detail::TaskId task, Encoder encode);

  template <class L>
  static constexpr void check_lambda() {
    static_assert(
        detail::StatelessCallable<L>,
        "passel: a lambda with captures cannot travel to another process: pass what it captures as "
        "arguments, or use a function");
  }
  template <class Target, class... A>
  static Process make_target(ProcessOptions options, A&&... args) {
    using Stored = detail::task_arguments<Target, A...>;
    static_assert(std::tuple_size_v<Stored> == sizeof...(A),
                  "passel: this task is given another number of arguments than it takes");
    // Shared because std::function wants to be copied; it never is.
    auto kept = std::make_shared<Stored>(std::forward<A>(args)...);
    return Process{std::move(options), detail::Task<Target, Stored>::id(), [kept] {
                     return std::apply(
                         [](const auto&... stored) { return detail::encode_pack(stored...); },
                         *kept);
                   }};
  }
  static Result<Process> started_process(Process process);

  ProcessOptions options_;
  detail::TaskId task_;
  Encoder encode_;
};

/// What a process knows about itself (Python's current_process).
struct CurrentProcess {
  std::string name;
  int pid = 0;
  bool daemon = false;
  /// The key of this process, as `passel::authkey()`; `set_authkey` gives it another one.
  [[nodiscard]] static AuthKey authkey() { return passel::authkey(); }
};
[[nodiscard]] PASSEL_API CurrentProcess current_process();

/// The process that started this one.
class PASSEL_API ParentProcess {
 public:
  ParentProcess(std::string name, detail::ProcessId id, std::shared_ptr<detail::Descriptor> pidfd)
      : name_{std::move(name)}, id_{id}, pidfd_{std::move(pidfd)} {}
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] int pid() const noexcept { return id_.pid; }
  [[nodiscard]] bool is_alive() const;
  /// Waits at most `limit` for its end. Note that a child dies with its parent unless it was forked
  /// directly. Errors: timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) const {
    return join_until(detail::Deadline::after(limit));
  }

 private:
  Result<void> join_until(detail::Deadline deadline) const;
  std::string name_;
  detail::ProcessId id_;
  std::shared_ptr<detail::Descriptor> pidfd_;
};
/// Empty in the root process (Python's parent_process).
[[nodiscard]] PASSEL_API std::optional<ParentProcess> parent_process();

/// The children of this process that are still running (Python's active_children).
[[nodiscard]] PASSEL_API std::vector<ProcessHandle> active_children();

/// Processors of the host, at least 1 (Python's cpu_count).
[[nodiscard]] PASSEL_API int cpu_count();
/// Processors this process may use: the smaller of its affinity and its control group's quota,
/// rounded up, at least 1. PASSEL_CPU_COUNT in the environment overrides it (Python's
/// os.process_cpu_count and -X cpu_count).
[[nodiscard]] PASSEL_API int usable_cpu_count();

/// The start method of processes that do not ask for one: forkserver, unless set (Python's
/// get_start_method).
[[nodiscard]] PASSEL_API StartMethod start_method();
/// Errors: invalid_state "context has already been set", unless `force`.
PASSEL_API Result<void> set_start_method(StartMethod method, bool force = false);
/// The default comes first.
[[nodiscard]] PASSEL_API std::vector<StartMethod> all_start_methods();
/// "forkserver", "spawn", "fork".
[[nodiscard]] PASSEL_API std::string to_string(StartMethod method);
/// Errors: invalid_argument naming the known ones.
PASSEL_API Result<StartMethod> parse_start_method(const std::string& name);

}  // namespace passel::inline v0
