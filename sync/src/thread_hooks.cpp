// Layer sync: what a program may hang into the life of its threads.
#include <passel/thread_hooks.hpp>

#include <passel/detail/future_core.hpp>

#include "thread_registry.hpp"

#include <unistd.h>
#include <cstdio>
#include <utility>

namespace passel::inline v0 {
namespace detail {
namespace {

/// One write, so that reports of several threads do not mix.
void write_report(const std::string& title, const std::string& trouble) noexcept {
  const std::string text = title + "\n" + trouble + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

/// The exception in flight, as the excepthook gets it.
ThreadExceptArgs args_in_flight(ThreadState& state) {
  ThreadExceptArgs args{.exception = std::current_exception(),
                        .thread = Thread{state.shared_from_this()}};
  const Error error = current_exception_error();
  if (const auto* thrown = error.detail<RemoteError>()) {
    args.type_name = thrown->type_name;
    args.what = thrown->what;
  }
  return args;
}

/// An empty one is none.
template <class Hook>
std::shared_ptr<const Hook> shared_hook(Hook hook) {
  if (!hook) return nullptr;
  return std::make_shared<const Hook>(std::move(hook));
}

}  // namespace

void report_exception(ThreadState& state) noexcept {
  const ThreadExceptArgs args = args_in_flight(state);
  std::shared_ptr<const ThreadExceptHook> hook;
  {
    ThreadRegistry& registry = ThreadRegistry::get();
    const std::lock_guard lock{registry.mutex};
    hook = registry.except_hook;
  }
  try {
    if (hook) {
      (*hook)(args);
    } else {
      default_thread_excepthook(args);
    }
  } catch (...) {
    write_report("Exception in the thread excepthook:", current_exception_error().what());
    default_thread_excepthook(args);
  }
}

void call_hook(const std::shared_ptr<const ThreadHook>& hook, ThreadState& state,
               ThreadMoment moment) noexcept {
  if (!hook) return;
  try {
    (*hook)(Thread{state.shared_from_this()}, moment);
  } catch (...) {
    write_report("Exception in the thread hook:", current_exception_error().what());
  }
}

}  // namespace detail

using detail::ThreadRegistry;

ThreadExceptHook set_thread_excepthook(ThreadExceptHook hook) {
  auto made = detail::shared_hook(std::move(hook));
  {
    ThreadRegistry& registry = ThreadRegistry::get();
    const std::lock_guard lock{registry.mutex};
    made.swap(registry.except_hook);
  }
  return made ? *made : ThreadExceptHook{};
}

void default_thread_excepthook(const ThreadExceptArgs& args) {
  const std::string who = args.thread ? args.thread->name() : std::to_string(get_ident());
  detail::write_report("Exception in thread " + who + ":", args.type_name + ": " + args.what);
}

void set_thread_hook(ThreadHook hook) {
  auto made = detail::shared_hook(std::move(hook));
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  made.swap(registry.hook);
}

void set_thread_hook_all_threads(ThreadHook hook) {
  const auto made = detail::shared_hook(std::move(hook));
  std::vector<std::shared_ptr<const ThreadHook>> old;  // destroyed without the lock
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  old.push_back(std::exchange(registry.hook, made));
  for (const auto& state : registry.alive) {
    if (state->kind == detail::ThreadKind::regular) old.push_back(std::exchange(state->hook, made));
  }
}

ThreadHook thread_hook() {
  std::shared_ptr<const ThreadHook> hook;
  {
    ThreadRegistry& registry = ThreadRegistry::get();
    const std::lock_guard lock{registry.mutex};
    hook = registry.hook;
  }
  return hook ? *hook : ThreadHook{};
}

Result<void> register_thread_atexit(std::function<void()> callback) {
  detail::ensure_exit_step();
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  if (registry.ending) return Error{Errc::invalid_state, "can't register atexit after shutdown"};
  if (callback) registry.at_exit.push_back(std::move(callback));
  return {};
}

Result<void> interrupt_main(int signal_number) {
  struct sigaction action {};
  if (signal_number < 1 || ::sigaction(signal_number, nullptr, &action) != 0)
    return Error{Errc::invalid_argument,
                 "signal number " + std::to_string(signal_number) + " out of range"};
  // sa_handler and sa_sigaction are one word.
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) return {};
  if (::tgkill(::getpid(), ::getpid(), signal_number) != 0)
    return detail::system_error("tgkill", errno);
  return {};
}

}  // namespace passel::inline v0
