// Layer sync: threads, with the surface of Python's threading.Thread.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/thread_state.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// Settings of one thread. Python's Thread(name=, daemon=).
struct ThreadOptions {
  /// Empty: "Thread-N", or "Thread-N (work)" for make<work>.
  std::string name{};
  /// Empty: as the thread that makes it. One that the library did not start counts as a daemon.
  std::optional<bool> daemon{};
};

/// Ends the calling thread when it leaves the target, without a report (Python's SystemExit in a
/// thread). `throw passel::ThreadExit{};`, or `exit_thread()`.
struct PASSEL_API ThreadExit {};
/// Throws ThreadExit.
[[noreturn]] PASSEL_API void exit_thread();

/// A thread of this process. The object is a handle: copies name the same thread, moving copies,
/// and dropping every handle changes nothing: the thread runs on, and the end of the process waits
/// for it unless it is a daemon (Python's threading.Thread).
///
///     passel::Thread t{[](int n) { work(n); }, 3};               // made
///     t.start().unwrap();                                        // running
///     t.join().unwrap();
///     auto u = passel::Thread::spawn(work, 4).unwrap();           // both at once
///     passel::Thread v{{.name = "writer", .daemon = true}, write_all, std::move(file)};
///     auto w = passel::Thread::make<work>({}, 5);                 // w.name() == "Thread-3 (work)"
///
/// The target is anything that can be called with the arguments; it gets copies of its own (or what
/// was moved in), is called once, and is destroyed with them when the call is over, also when it
/// threw. What it returns is thrown away. An exception that leaves it never ends the process: see
/// set_thread_excepthook. A class with a `run()` is run by ThreadOf.
///
/// The end of the Runtime, of a child process, and std::exit wait for all threads that are not
/// daemons, before finalizers and before children are joined. A daemon is left where it is, so it
/// must only use what lives as long as the process: nothing that main keeps, no static object with
/// a destructor. Without a Runtime the wait is done by a handler of std::atexit, registered by the
/// first start: static objects made later than that are destroyed before it.
///
/// In a forked child only the thread that forked lives on, as its main_thread(); handles of others
/// say that they are not alive.
///
/// All functions may be called from any thread.
class PASSEL_API Thread {
 public:
  /// A thread without a target: it ends as soon as it runs.
  Thread();
  explicit Thread(ThreadOptions options);
  /// A thread that is not started yet.
  template <class F, class... A>
  requires detail::ThreadTarget<F, A...>
  explicit Thread(F&& target, A&&... args)
      : Thread{ThreadOptions{}, std::forward<F>(target), std::forward<A>(args)...} {}
  template <class F, class... A>
  requires detail::ThreadTarget<F, A...>
  explicit Thread(ThreadOptions options, F&& target, A&&... args)
      : Thread{std::move(options),
               detail::make_body(std::forward<F>(target), std::forward<A>(args)...), "", "Thread"} {
  }
  /// The same with a function that is known by name, which is in the default name of the thread.
  template <auto F, class... A>
  requires detail::ThreadTarget<decltype(F), A...>
  [[nodiscard]] static Thread make(ThreadOptions options, A&&... args) {
    return Thread{std::move(options), detail::make_body(F, std::forward<A>(args)...),
                  detail::function_name<F>(), "Thread"};
  }

  Thread(const Thread&) = default;
  Thread& operator=(const Thread&) = default;
  ~Thread() = default;

  /// Makes and starts one. Errors: those of start.
  template <class F, class... A>
  requires detail::ThreadTarget<F, A...>
  static Result<Thread> spawn(F&& target, A&&... args) {
    return Thread{std::forward<F>(target), std::forward<A>(args)...}.started();
  }
  template <class F, class... A>
  requires detail::ThreadTarget<F, A...>
  static Result<Thread> spawn(ThreadOptions options, F&& target, A&&... args) {
    return Thread{std::move(options), std::forward<F>(target), std::forward<A>(args)...}.started();
  }
  template <auto F, class... A>
  requires detail::ThreadTarget<decltype(F), A...>
  static Result<Thread> spawn(A&&... args) {
    return make<F>(ThreadOptions{}, std::forward<A>(args)...).started();
  }
  template <auto F, class... A>
  requires detail::ThreadTarget<decltype(F), A...>
  static Result<Thread> spawn(ThreadOptions options, A&&... args) {
    return make<F>(std::move(options), std::forward<A>(args)...).started();
  }

  /// Starts it; returns when the thread exists. Errors: invalid_state "threads can only be started
  /// once"; no_space when the system refuses, and then the thread is as before and may be started
  /// again.
  Result<void> start() const;
  /// Calls the target here and now, in the calling thread, as start would do in a new one. What it
  /// throws comes through. That is no start: it can still not be joined. Errors: invalid_state when
  /// the target has run, or is running.
  Result<void> run() const;

  /// Waits until the thread has ended altogether, with the destructors of its thread-local
  /// variables. May be repeated and called by many threads at once. Errors: invalid_state "cannot
  /// join thread before it is started", "cannot join current thread", "cannot join a dummy thread";
  /// deadlock when that thread waits in join for the calling one, or for one that does. The main
  /// thread has ended for this when its Runtime or its process begins to end.
  Result<void> join() const;
  /// The same, waiting at most `limit`; zero and negative limits look once. Once the target has
  /// returned, the thread_local objects get two more seconds. Errors: as join, timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) const {
    return join_until(detail::Deadline::after(limit));
  }
  /// True from the start until the target has returned. False in a forked child for threads that
  /// did not come along.
  [[nodiscard]] bool is_alive() const noexcept;

  [[nodiscard]] std::string name() const;
  /// Any name, at any time; names need not be different. The kernel's name of the thread is set
  /// once, from the first 15 bytes that it has when it starts.
  void set_name(std::string name) const;
  [[nodiscard]] bool daemon() const noexcept;
  /// Errors: invalid_state "cannot set daemon status of active thread", also when it has ended.
  Result<void> set_daemon(bool daemon) const;
  /// What get_ident() says in it; empty before the start, kept after the end.
  [[nodiscard]] std::optional<std::uint64_t> ident() const noexcept;
  /// What get_native_id() says in it, kept after the end; empty before the start. May wait for the
  /// moment in which a thread that was just started comes up.
  [[nodiscard]] std::optional<int> native_id() const noexcept;

  /// "<Thread(Thread-1 (work), initial)>", "<Thread(writer, started daemon 140231)>", "<Thread(x,
  /// stopped 140231)>".
  [[nodiscard]] std::string to_string() const;

  /// The same thread.
  friend bool operator==(const Thread& a, const Thread& b) noexcept { return a.state_ == b.state_; }

  /// For the library: the handle of a thread it knows.
  explicit Thread(std::shared_ptr<detail::ThreadState> state) : state_{std::move(state)} {}

 protected:
  Thread(ThreadOptions options, std::unique_ptr<detail::ThreadBody> body,
         std::string_view target_name, std::string_view class_name);
  [[nodiscard]] Result<Thread> started() const;

 private:
  Result<void> join_until(detail::Deadline deadline) const;

  std::shared_ptr<detail::ThreadState> state_;
};

/// A thread that runs an object: `T::run()` in place of a target (in Python a subclass of Thread
/// that overrides run). The object is made here and lives as long as the handles and the thread
/// that uses it, so that it may carry the results.
///
///     struct Fetcher {
///       std::string url;
///       std::string page;
///       void run() { page = fetch(url); }
///     };
///     passel::ThreadOf<Fetcher> t{{.name = "fetcher"}, url};
///     t.start().unwrap();
///     t.join().unwrap();
///     use(t->page);                         // t->run() would run it in this thread
///
/// A handle like Thread, and one of it. Access to the object while the thread runs is up to T.
template <class T>
requires requires(T& object) { object.run(); }
class ThreadOf : public Thread {
 public:
  /// T is made of the arguments, in braces or in parentheses.
  template <class... A>
  explicit ThreadOf(ThreadOptions options = {}, A&&... args)
      : ThreadOf{std::move(options), make_object(std::forward<A>(args)...), std::in_place} {}

  [[nodiscard]] T* operator->() const noexcept { return object_.get(); }
  [[nodiscard]] T& operator*() const noexcept { return *object_; }

 private:
  ThreadOf(ThreadOptions options, std::shared_ptr<T> object, std::in_place_t)
      : Thread{std::move(options),
               detail::make_body([](const std::shared_ptr<T>& it) { static_cast<void>(it->run()); },
                                 object),
               "", "Thread"},
        object_{std::move(object)} {}
  template <class... A>
  static std::shared_ptr<T> make_object(A&&... args) {
    if constexpr (std::is_constructible_v<T, A...>) {
      return std::make_shared<T>(std::forward<A>(args)...);
    } else {
      return std::shared_ptr<T>{new T{std::forward<A>(args)...}};
    }
  }

  std::shared_ptr<T> object_;
};

/// Python's threading.TIMEOUT_MAX, the longest limit that is accepted there. Here any duration is:
/// a limit beyond what the clock can hold means for ever.
inline constexpr std::chrono::seconds timeout_max{9'223'372'036};

/// The calling thread. For one that the library did not start (a std::thread) a stand-in: alive, a
/// daemon, named "Dummy-N", gone when that thread ends (Python's current_thread).
[[nodiscard]] PASSEL_API Thread current_thread();
/// The thread that the process began with, or in a forked child the one that forked; the same from
/// any thread (Python's main_thread).
[[nodiscard]] PASSEL_API Thread main_thread();
/// All threads that are alive and known: the main thread, those that were started, stand-ins
/// (Python's threading.enumerate).
[[nodiscard]] PASSEL_API std::vector<Thread> enumerate_threads();
/// How many that are (Python's active_count).
[[nodiscard]] PASSEL_API std::size_t active_count();
/// A number of the calling thread that is not 0 and that no other living thread of this process has
/// (Python's get_ident).
[[nodiscard]] PASSEL_API std::uint64_t get_ident() noexcept;
/// The kernel's number of the calling thread (Python's get_native_id).
[[nodiscard]] PASSEL_API int get_native_id() noexcept;

/// The stack of threads that will be started; 0 is the platform's choice (Python's stack_size()).
[[nodiscard]] PASSEL_API std::size_t stack_size() noexcept;
/// Sets it for the whole process, rounded up to whole pages, and returns what it was. Errors:
/// invalid_argument below 32768 bytes, apart from 0.
PASSEL_API Result<std::size_t> set_stack_size(std::size_t bytes);

}  // namespace passel::inline v0
