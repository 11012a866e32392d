// Layer sync: what a program may hang into the life of its threads.
#pragma once

#include <passel/thread.hpp>

#include <csignal>
#include <exception>
#include <functional>
#include <optional>
#include <string>

namespace passel::inline v0 {

/// An exception that left a thread (Python's threading.ExceptHookArgs).
struct ThreadExceptArgs {
  std::exception_ptr exception{};
  std::string type_name{};  ///< demangled
  std::string what{};       ///< its text, with those of nested exceptions behind it
  std::optional<Thread> thread{};
};
using ThreadExceptHook = std::function<void(const ThreadExceptArgs&)>;

/// Has exceptions that leave a thread's target handed to `hook`, on that thread, while it is still
/// alive; an empty one restores the default. Returns the one before, empty for the default. What
/// the hook throws is itself reported on stderr, then the thread ends as usual. ThreadExit never
/// comes here. For the whole process; a forked child keeps it (Python's threading.excepthook).
///
///     passel::set_thread_excepthook([](const passel::ThreadExceptArgs& args) {
///       log(args.thread->name(), args.type_name, args.what);
///     });
PASSEL_API ThreadExceptHook set_thread_excepthook(ThreadExceptHook hook);
/// The default: "Exception in thread NAME:" and "TYPE: text" on stderr, in one write; the ident of
/// the calling thread in place of the name when no thread is given (Python's __excepthook__).
PASSEL_API void default_thread_excepthook(const ThreadExceptArgs& args);

/// Where in a thread's life a ThreadHook is called.
enum class ThreadMoment {
  begin,  ///< before the target is called
  end,    ///< when it has returned or thrown; the arguments are destroyed by then
};
/// Called on the thread concerned, while it is alive and current_thread(). What it throws is
/// reported on stderr.
using ThreadHook = std::function<void(const Thread&, ThreadMoment)>;

/// Has `hook` called in every thread that begins from then on, at its begin and its end; an empty
/// one ends that for later threads. In C++ that is what remains of Python's threading.settrace and
/// setprofile: a place to set up and to take down what watches a thread.
PASSEL_API void set_thread_hook(ThreadHook hook);
/// The same, and the threads that run now are to call it at their end (settrace_all_threads).
PASSEL_API void set_thread_hook_all_threads(ThreadHook hook);
/// What was set, or an empty one (gettrace, getprofile).
[[nodiscard]] PASSEL_API ThreadHook thread_hook();

/// Has `callback` called once when this process or its Runtime ends, before threads are joined, the
/// newest first: the place to tell threads that they should end (Python's
/// threading._register_atexit). What it throws is logged as an error. A forked child starts without
/// any. Errors: invalid_state "can't register atexit after shutdown".
PASSEL_API Result<void> register_thread_atexit(std::function<void()> callback);

/// Sends a signal to the main thread, if the program has a handler for it; a signal that is ignored
/// or has its default action is left alone, so that this never ends the process (Python's
/// _thread.interrupt_main). Errors: invalid_argument for a number that is no signal.
PASSEL_API Result<void> interrupt_main(int signal_number = SIGINT);

}  // namespace passel::inline v0
